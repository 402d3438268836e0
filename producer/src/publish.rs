//! Publishing: 202 only for events that the broker has confirmed and the work queue has.

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use common::broker::PublishError;
use common::event::EventId;
use common::telemetry::metrics;
use schemars::JsonSchema;
use serde::Serialize;

use crate::admit::Admitted;
use crate::door::Door;
use crate::problem::{Code, Problem};

/// The answer for an accepted event.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Receipt {
    id: EventId,
    /// Its type.
    r#type: String,
    /// Where its status is.
    status_url: String,
}

/// The answer for an accepted batch.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Receipts {
    /// One for each event of the batch, in its order.
    accepted: Vec<Receipt>,
}

impl Receipt {
    fn new(id: EventId, kind: String) -> Self {
        Self {
            id,
            r#type: kind,
            status_url: format!("/v1/events/{id}"),
        }
    }
}

/// Publishes one event and answers 202.
///
/// # Errors
/// The broker has not confirmed it.
pub(crate) async fn one(door: &Door, event: Admitted) -> Result<Response, Problem> {
    let Admitted {
        id,
        kind,
        publication,
    } = event;
    let published = door.queue.publish(vec![publication]).await;
    let published = published.into_iter().next();
    published
        .unwrap_or(Err(PublishError::Nacked))
        .map_err(|error| {
            tracing::warn!(event.id = %id, event.r#type = kind, %error, "not confirmed");
            unconfirmed(&error)
        })?;
    metrics::received(&kind, 1);
    let receipt = Receipt::new(id, kind);
    let location = receipt.status_url.clone();
    Ok((StatusCode::ACCEPTED, [(LOCATION, location)], Json(receipt)).into_response())
}

/// Publishes events all at once and answers 202 for all of them or for none.
///
/// # Errors
/// The broker has not confirmed every one.
pub(crate) async fn all(door: &Door, events: Vec<Admitted>) -> Result<Response, Problem> {
    let mut publications = Vec::with_capacity(events.len());
    let mut accepted = Vec::with_capacity(events.len());
    for event in events {
        accepted.push(Receipt::new(event.id, event.kind));
        publications.push(event.publication);
    }
    let published = door.queue.publish(publications).await;
    let mut failed = 0_usize;
    let mut first = None;
    for (outcome, receipt) in published.into_iter().zip(&accepted) {
        match outcome {
            Ok(()) => metrics::received(&receipt.r#type, 1),
            Err(error) => {
                failed += 1;
                first.get_or_insert(error);
            }
        }
    }
    if let Some(error) = first {
        tracing::warn!(failed, of = accepted.len(), %error, "a batch is not confirmed");
        return Err(unconfirmed_batch(&error, failed, accepted.len()));
    }
    Ok((StatusCode::ACCEPTED, Json(Receipts { accepted })).into_response())
}

/// Why the broker does not have an event for sure, and when to come back.
fn reason(error: &PublishError) -> (&'static str, u32) {
    match error {
        PublishError::Unroutable { .. } => ("the queue for this event is missing", 5),
        PublishError::Nacked => ("the broker did not take the event", 1),
        PublishError::TimedOut(_) => ("the broker did not confirm the event in time", 2),
        PublishError::Blocked(_) => ("the broker takes no messages now", 5),
        PublishError::Disconnected(_) => ("the broker cannot be reached", 2),
        _ => ("the broker did not confirm the event", 2),
    }
}

fn unconfirmed(error: &PublishError) -> Problem {
    if let PublishError::Invalid(_) = error {
        return invalid();
    }
    let (reason, seconds) = reason(error);
    let detail = format!(
        "{reason}; it counts as not taken: send it again, with the same Idempotency-Key (or the \
         same `source` and `id`) it is stored once"
    );
    Problem::new(Code::NotConfirmed, detail).retry_after(seconds)
}

fn unconfirmed_batch(error: &PublishError, failed: usize, of: usize) -> Problem {
    if let PublishError::Invalid(_) = error {
        return invalid();
    }
    let (reason, seconds) = reason(error);
    let detail = format!(
        "{reason} ({failed} of {of} events); the batch counts as not taken: send it again as it \
         is, no event is stored twice"
    );
    Problem::new(Code::NotConfirmed, detail).retry_after(seconds)
}

fn invalid() -> Problem {
    Problem::new(
        Code::Invalid,
        "the event's attributes cannot be written down for the broker; shorten them",
    )
}
