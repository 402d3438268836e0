//! The store stage's handler.

use std::sync::Arc;

use async_trait::async_trait;
use common::config::Destination;
use common::event::{Trail, header};
use common::message::Message;
use common::outcome::{Failure, FieldError, Outcome, Rejection};
use common::publication::Publication;
use common::reason::ReasonCode;
use common::runtime::{Batch, Handler, Outcomes, Received};
use common::seal::Seal;
use common::store::{NewEvent, Store, Stored};
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

#[async_trait]
impl Handler for StoreEvents {
    async fn handle(&self, batch: Batch<'_>) -> Result<Outcomes, Outcome> {
        let mut events = Vec::with_capacity(batch.len());
        let readable: Vec<Result<(), Failure>> = batch
            .iter()
            .map(|received| rows(received, &self.destinations, &self.seal))
            .map(|event| event.map(|event| events.push(event)))
            .collect();
        let events: Arc<[NewEvent]> = events.into();
        let stored = if events.is_empty() {
            Vec::new()
        } else {
            let stored = self.store.store(Arc::clone(&events)).await;
            stored.map_err(refused)?
        };
        let mut readable = readable.into_iter();
        let mut stored = events.iter().zip(stored);
        Ok(batch.answer(|received| match readable.next() {
            Some(Err(failure)) => Outcome::Dead(failure),
            _ => match stored.next() {
                Some((event, stored)) => outcome(received, event, stored),
                None => unanswered(),
            },
        }))
    }

    async fn probe(&self) -> Result<(), String> {
        self.store.ready().await.map_err(|error| error.to_string())
    }
}

fn outcome(received: &Received, event: &NewEvent, stored: Stored) -> Outcome {
    let next = || Outcome::Next(vec![stored_event(received, event, received.onward())]);
    match stored {
        Stored::New => next(),
        // Sent twice: the message that brought the row in has the duty to hand it on, and it will,
        // in this life or when it is given out again. This one has it only if it may be that one.
        Stored::Before if received.is_fresh() => Outcome::Done,
        Stored::Before => next(),
        // It may have gone on long ago, or it has to go on now: later stages ask.
        Stored::NewOrBefore => {
            let trail = Trail {
                again: true,
                ..received.onward()
            };
            Outcome::Next(vec![stored_event(received, event, trail)])
        }
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
