//! The store stage's handler.

use std::sync::Arc;

use async_trait::async_trait;
use common::broker::Publication;
use common::config::Destination;
use common::event::{Trail, header};
use common::message::Message;
use common::outcome::{Failure, FieldError, Outcome, Rejection};
use common::reason::ReasonCode;
use common::runtime::{Handler, Received};
use common::seal::Seal;
use common::store::{NewEvent, Store, StoreError, Stored};
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

    /// Stores a batch; where the database refuses somebody's data, one by one, so that a poisoned
    /// event never fails its neighbours.
    async fn store(&self, events: &Arc<[NewEvent]>) -> Vec<Result<Stored, StoreError>> {
        match self.store.store(Arc::clone(events)).await {
            Ok(stored) => stored.into_iter().map(Ok).collect(),
            Err(StoreError::Data(_) | StoreError::Fault(_)) if events.len() > 1 => {
                let mut each = Vec::with_capacity(events.len());
                for one in events.iter() {
                    each.push(match self.store.store([one.clone()].into()).await {
                        Ok(stored) => stored.first().copied().ok_or_else(|| {
                            StoreError::Fault("nothing said of the event".to_owned())
                        }),
                        Err(error) => Err(error),
                    });
                }
                each
            }
            Err(error) => events.iter().map(|_| Err(error.clone())).collect(),
        }
    }
}

#[async_trait]
impl Handler for StoreEvents {
    async fn handle(&self, batch: &[Received]) -> Vec<Outcome> {
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
            self.store(&events).await
        };
        let mut stored = events.iter().zip(stored);
        batch
            .iter()
            .zip(readable)
            .map(|(received, readable)| match readable {
                Err(failure) => Outcome::Dead(failure),
                Ok(()) => match stored.next() {
                    Some((event, stored)) => outcome(received, event, stored),
                    None => unanswered(),
                },
            })
            .collect()
    }

    async fn probe(&self, _: &'static str) -> Result<(), String> {
        self.store.ready().await.map_err(|error| error.to_string())
    }
}

fn outcome(received: &Received, event: &NewEvent, stored: Result<Stored, StoreError>) -> Outcome {
    let next = || Outcome::Next(vec![stored_event(received, event, received.onward())]);
    match stored {
        Ok(Stored::New) => next(),
        // A duplicate: the message that inserted the row has the duty to publish, and will, in this
        // life or when it is redelivered. This message has that duty only if it may be that one.
        Ok(Stored::Before) if received.is_fresh() => Outcome::Done,
        Ok(Stored::Before) => next(),
        // It may have gone on long ago, or it has to go on now: later stages ask.
        Ok(Stored::NewOrBefore) => {
            let trail = Trail {
                again: true,
                ..received.onward()
            };
            Outcome::Next(vec![stored_event(received, event, trail)])
        }
        Ok(Stored::Conflict) => rejected(
            passed_on(received, event),
            ReasonCode::IdempotencyConflict,
            "",
            "expected the content that came first under this id or key, found another",
        ),
        Ok(Stored::EmailTaken) => rejected(
            passed_on(received, event),
            ReasonCode::EmailTaken,
            "/email",
            "expected an address that nobody has signed up with, found one that is taken",
        ),
        Err(error) => refused(error),
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
