//! `GET /v1/events/{id}`: where an event stands.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::Extensions;
use common::event::EventId;
use common::store::EventStatus;

use crate::auth::Grant;
use crate::door::Door;
use crate::problem::{Code, Problem};

/// How long the database may take to answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Answers where an event stands.
///
/// # Errors
/// Nothing is known of it, or the database cannot say.
pub(crate) async fn get(
    State(door): State<Door>,
    id: Result<Path<String>, PathRejection>,
    extensions: Extensions,
) -> Result<Json<EventStatus>, Problem> {
    let id = event_id(id)?;
    let grant = Grant::of(&extensions);
    let Ok(_place) = door.lookups.try_acquire() else {
        return Err(unavailable("too many wait for the database to answer"));
    };
    match tokio::time::timeout(PATIENCE, door.statuses.status(id)).await {
        Ok(Ok(Some(status))) if grant.may_read(status.publisher.as_ref()) => {
            Ok(Json(status.public()))
        }
        // An event of somebody else looks like one that does not exist.
        Ok(Ok(_)) => Err(unknown()),
        Ok(Err(error)) => {
            tracing::warn!(event.id = %id, %error, "the database cannot say where an event stands");
            Err(unavailable(
                "the database cannot say where the event stands now",
            ))
        }
        Err(_) => Err(unavailable("the database did not answer in time")),
    }
}

/// The event id in a path.
///
/// # Errors
/// It is not a UUID.
pub(crate) fn event_id(path: Result<Path<String>, PathRejection>) -> Result<EventId, Problem> {
    path.ok()
        .and_then(|Path(text)| text.parse().ok())
        .ok_or_else(|| {
            Problem::new(
                Code::MalformedId,
                "expected an event id, a UUID as 202 answers it, found something else",
            )
        })
}

/// The answer for an event of which nothing is known.
pub(crate) fn unknown() -> Problem {
    let detail =
        "nothing is known of this event; if it was accepted just now, ask again in a moment";
    Problem::new(Code::UnknownEvent, detail).retry_after(1)
}

/// The answer when the database cannot be asked.
pub(crate) fn unavailable(reason: &str) -> Problem {
    let detail = format!("{reason}; events are accepted all the same");
    Problem::new(Code::StatusUnavailable, detail).retry_after(5)
}
