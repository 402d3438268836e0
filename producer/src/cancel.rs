//! `POST /v1/events/{id}/cancel`: nobody gets an event whose moment has not come yet.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::Extensions;
use common::event::EventId;
use common::store::{Cancelled, EventStatus, NewCancellation, StoreError};

use crate::auth::Grant;
use crate::door::Door;
use crate::problem::{Code, Problem};
use crate::status::{PATIENCE, event_id, unavailable, unknown};

/// Cancels a scheduled event of the caller's own, and answers where it stands then.
///
/// # Errors
/// Nothing is known of it, it was handed on, it is not the caller's, or the database cannot say.
pub(crate) async fn post(
    State(door): State<Door>,
    id: Result<Path<String>, PathRejection>,
    extensions: Extensions,
) -> Result<Json<EventStatus>, Problem> {
    let id = event_id(id)?;
    let grant = Grant::of(&extensions);
    let Ok(_place) = door.lookups.try_acquire() else {
        return Err(unavailable("too many wait for the database to answer"));
    };
    match tokio::time::timeout(PATIENCE, cancel(&door, &grant, id)).await {
        Ok(Ok(answer)) => answer.map(Json),
        Ok(Err(error)) => {
            tracing::warn!(event.id = %id, %error, "the database cannot cancel an event");
            Err(unavailable("the database cannot cancel the event now"))
        }
        Err(_) => Err(unavailable("the database did not answer in time")),
    }
}

async fn cancel(
    door: &Door,
    grant: &Grant,
    id: EventId,
) -> Result<Result<EventStatus, Problem>, StoreError> {
    let Some(status) = door.statuses.status(id).await? else {
        return Ok(Err(unknown()));
    };
    if let Err(problem) = expect_own(grant, &status) {
        return Ok(Err(problem));
    }
    let cancellation = NewCancellation {
        event: id,
        by: grant.publisher().as_str().to_owned(),
        why: None,
    };
    Ok(
        match door.schedule.cancel_event(&cancellation, None).await? {
            Cancelled::Now | Cancelled::Before => {
                let status = door.statuses.status(id).await?;
                status.map(EventStatus::public).ok_or_else(unknown)
            }
            // One that has a status and is not stored was rejected, or is dead.
            Cancelled::TooLate | Cancelled::Unknown => Err(Problem::new(
                Code::TooLate,
                "expected an event that waits for its moment, found one that was handed on or has ended",
            )),
        },
    )
}

/// Expects that the caller has published the event, and may publish its type.
fn expect_own(grant: &Grant, status: &EventStatus) -> Result<(), Problem> {
    let publisher = status.publisher.as_ref();
    if !grant.may_read(publisher) && !grant.has_published(publisher) {
        // An event of somebody else looks like one that does not exist.
        return Err(unknown());
    }
    if !grant.has_published(publisher) {
        let detail = "expected an event of the caller's own, found another caller's";
        return Err(Problem::new(Code::Forbidden, detail));
    }
    grant
        .expect_write(status.kind.as_deref().unwrap_or_default())
        .map_err(|missing| Problem::new(Code::Forbidden, missing))
}
