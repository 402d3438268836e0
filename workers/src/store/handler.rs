//! The store stage's handler.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use common::config::Destination;
use common::event::{EventId, Trail, header};
use common::message::Message;
use common::outcome::{Failure, FieldError, Outcome, Rejection};
use common::publication::Publication;
use common::reason::ReasonCode;
use common::runtime::{Batch, Handler, Outcomes, Received};
use common::seal::Seal;
use common::store::{FilteredDestination, NewEvent, Store, Stored};
use common::telemetry::metrics;
use common::topology::Fact;

use super::details::rows;
use crate::database::{refused, unanswered};
use common::canonical::onward;

/// Stores events and their due deliveries.
pub struct StoreEvents {
    store: Arc<dyn Store>,
    destinations: Vec<Destination>,
    seal: Seal,
}

impl StoreEvents {
    /// Stores in `store`; deliveries are due at `destinations`; `seal` opens password hashes.
    pub fn new(store: Arc<dyn Store>, destinations: Vec<Destination>, seal: Seal) -> Self {
        Self {
            store,
            destinations,
            seal,
        }
    }
}

impl StoreEvents {
    /// The destinations where events that were stored before and go on again are not due. What the row says counts: its filtered
    /// destinations stay so, and integrate goes by its deliveries. Today's filters decide for destinations that the row does
    /// not know. A replay is judged anew, so it is not asked for.
    async fn filtered_before(
        &self,
        events: &[NewEvent],
        stored: &[Stored],
        is_fresh: &[bool],
    ) -> Result<HashMap<EventId, Vec<FilteredDestination>>, Outcome> {
        let each = events.iter().zip(stored).zip(is_fresh);
        let asked: Vec<EventId> = each
            .filter(|((event, stored), is_fresh)| is_asked_about(event, **stored, **is_fresh))
            .map(|((event, _), _)| event.id)
            .collect();
        if asked.is_empty() {
            return Ok(HashMap::new());
        }
        self.store.filtered(&asked).await.map_err(refused)
    }
}

#[async_trait]
impl Handler for StoreEvents {
    async fn handle(&self, batch: Batch<'_>) -> Result<Outcomes, Outcome> {
        let mut events = Vec::with_capacity(batch.len());
        let mut is_fresh = Vec::with_capacity(batch.len());
        let readable: Vec<Result<(), Failure>> = batch
            .iter()
            .map(|received| {
                events.push(rows(received, &self.destinations, &self.seal)?);
                is_fresh.push(received.is_fresh());
                Ok(())
            })
            .collect();
        let events: Arc<[NewEvent]> = events.into();
        let stored = if events.is_empty() {
            Vec::new()
        } else {
            let stored = self.store.store(Arc::clone(&events)).await;
            stored.map_err(refused)?
        };
        // The batch is stored already, so an error is the answer for those alone that were asked about.
        let kept = self.filtered_before(&events, &stored, &is_fresh).await;
        let mut readable = readable.into_iter();
        let mut stored = events.iter().zip(stored);
        Ok(batch.answer(|received| match readable.next() {
            Some(Err(failure)) => Outcome::Dead(failure),
            _ => match stored.next() {
                Some((event, stored)) => {
                    if stored == Stored::New {
                        report_filtered(event);
                    }
                    match &kept {
                        Ok(kept) => outcome(received, event, kept.get(&event.id), stored),
                        Err(error) if is_asked_about(event, stored, received.is_fresh()) => {
                            error.clone()
                        }
                        Err(_) => outcome(received, event, None, stored),
                    }
                }
                None => unanswered(),
            },
        }))
    }

    async fn probe(&self) -> Result<(), String> {
        self.store.ready().await.map_err(|error| error.to_string())
    }
}

/// Whether the row says where the event is not due: it was, or may have been, stored before and goes on again.
fn is_asked_about(event: &NewEvent, stored: Stored, is_fresh: bool) -> bool {
    let goes_on = match stored {
        Stored::Before => !is_fresh,
        Stored::NewOrBefore => true,
        Stored::New | Stored::Scheduled | Stored::Conflict | Stored::EmailTaken => false,
    };
    goes_on && event.generation == 0
}

/// Counts and logs the destinations whose filter passed over a new event.
fn report_filtered(event: &NewEvent) {
    for filtered in &event.filtered {
        metrics::filtered(&filtered.destination, filtered.error.is_some());
        if let Some(error) = &filtered.error {
            tracing::info!(
                event.id = %event.id,
                event.type = %event.kind,
                destination.name = %filtered.destination,
                error,
                "the filter of the destination has no value for the event: it is not due there"
            );
        }
    }
}

/// The outcome of an event. `kept` are the destinations whose filter passed over it when it was stored before.
fn outcome(
    received: &Received,
    event: &NewEvent,
    kept: Option<&Vec<FilteredDestination>>,
    stored: Stored,
) -> Outcome {
    let filtered: BTreeSet<&String> = kept
        .into_iter()
        .flatten()
        .chain(&event.filtered)
        .map(|filtered| &filtered.destination)
        .collect();
    let onward = Trail {
        filtered: filtered.into_iter().cloned().collect(),
        // A replay of what dies in later stages releases nothing.
        release: false,
        ..received.onward()
    };
    let next = |trail| Outcome::Next(vec![stored_event(received, event, trail)]);
    match stored {
        Stored::New => next(onward),
        // It waits for its moment, and is sent here again then; or it was cancelled.
        Stored::Scheduled => Outcome::Done,
        // Sent twice: the message that brought the row in has the duty to hand it on, and it will,
        // in this life or when it is given out again. This one has it only if it may be that one.
        Stored::Before if received.is_fresh() => Outcome::Done,
        Stored::Before => next(onward),
        // It may have gone on long ago, or it has to go on now: later stages ask.
        Stored::NewOrBefore => next(Trail {
            again: true,
            ..onward
        }),
        Stored::Conflict => rejected(
            passed_on(received, event),
            ReasonCode::IdempotencyConflict,
            "",
            "expected the content that came first under this id or key, found another",
        ),
        Stored::EmailTaken => rejected(
            passed_on(received, event),
            ReasonCode::EmailTaken,
            "/email",
            "expected an address that nobody has signed up with, found one that is taken",
        ),
    }
}

fn stored_event(received: &Received, event: &NewEvent, trail: Trail) -> Publication {
    let message = passed_on(received, event);
    onward(Fact::Stored, &message, &event.kind, &trail)
}

/// The message as it may leave this stage: without the password hash, in its body or sealed.
fn passed_on(received: &Received, event: &NewEvent) -> Message {
    let mut message = received.message.clone();
    message.headers.remove(header::SEALED_PASSWORD_HASH);
    if message.body != event.body {
        message.body = event.body.clone().into();
    }
    message
}

fn rejected(event: Message, code: ReasonCode, pointer: &str, detail: &str) -> Outcome {
    let errors = vec![FieldError::new(pointer, detail)];
    Outcome::Rejected(Rejection {
        code,
        errors,
        event: Some(Box::new(event)),
    })
}

#[cfg(test)]
mod tests;
