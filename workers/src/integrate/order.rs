//! Order: of the deliveries of one key to one destination, only the first is made.
//!
//! | its message comes, and it is | then |
//! |--|--|
//! | the first of its key | it is made, and held for this worker meanwhile |
//! | behind another | it is acknowledged: its row is due, and has its place |
//! | the first, but not for long | it is put off: an earlier one may still be on its way to the database |
//! | held by another worker | it is put off: that one makes an attempt now |
//!
//! When the first has ended, the next one of the key gets a new message, before that of the first is acknowledged. So a worker
//! that dies in between leaves a message that does it again. What ends otherwise (a dead letter that is skipped, an operator's
//! discard), and what was lost on the way, is found by the [watch](crate::watch).

use std::sync::Arc;
use std::time::Duration;

use common::config::{Destination, Order as Settings};
use common::event::{EventId, OrderKey, Trail, now};
use common::message::Message;
use common::outcome::Outcome;
use common::publication::{Address, Publication};
use common::runtime::Received;
use common::store::{DeliveryKey, OrderedDelivery, Rank, RankQuestion, Store, StoreError};
use uuid::Uuid;

use super::together::Together;
use crate::stored::messages_at;

/// How long an attempt is held beside the time that it may take: it is recorded, and the next one gets its message.
const BESIDE: Duration = Duration::from_secs(5);

/// The shortest time that a delivery is put off.
const SHORTEST_WAIT: Duration = Duration::from_millis(50);

/// The order at one destination.
pub(super) struct Order {
    destination: String,
    queue: String,
    worker: Uuid,
    store: Arc<dyn Store>,
    looked: Together<OrderedDelivery, Rank>,
    held: Together<OrderedDelivery, Rank>,
    ended: Together<OrderedDelivery, Option<Message>>,
}

impl Order {
    /// The order at a destination that keeps one, whose messages are in `queue`.
    pub(super) fn start(
        destination: &Destination,
        settings: &Settings,
        queue: String,
        store: &Arc<dyn Store>,
    ) -> Self {
        let worker = Uuid::now_v7();
        let ranks = |hold: Option<Duration>| {
            let store = Arc::clone(store);
            let question = RankQuestion {
                destination: destination.name.clone(),
                within: settings.within,
                worker,
                hold,
            };
            Together::start(Duration::ZERO, move |asked: Arc<Vec<OrderedDelivery>>| {
                let (store, question) = (Arc::clone(&store), question.clone());
                async move { store.order().ranks(&question, &asked).await }
            })
        };
        let (rows, name) = (Arc::clone(store), destination.name.clone());
        let ended = Together::start(Duration::ZERO, move |ended: Arc<Vec<OrderedDelivery>>| {
            let (store, name) = (Arc::clone(&rows), name.clone());
            async move { end(&*store, &name, &ended).await }
        });
        Self {
            destination: destination.name.clone(),
            queue,
            worker,
            store: Arc::clone(store),
            looked: ranks(None),
            held: ranks(Some(destination.timeout + BESIDE)),
            ended,
        }
    }

    /// The place of the delivery of an event that has an order key.
    pub(super) fn kept(&self, key: &DeliveryKey, received: &Received) -> Option<Kept<'_>> {
        // It was read as an event before.
        let order_key = OrderKey::of(&received.message.body).ok().flatten()?;
        let delivery = OrderedDelivery {
            event: key.event,
            generation: key.generation,
            key: order_key,
            received_at: received.trail.received_at.unwrap_or_else(now),
        };
        Some(Kept {
            order: self,
            delivery,
        })
    }
}

/// A delivery that is kept in order.
#[derive(Clone, Copy)]
pub(super) struct Kept<'o> {
    order: &'o Order,
    delivery: OrderedDelivery,
}

impl Kept<'_> {
    /// What to do with its message instead of an attempt, if anything.
    ///
    /// # Errors
    /// The database cannot say.
    pub(super) async fn look(&self) -> Result<Option<Outcome>, StoreError> {
        let rank = self.order.looked.request(self.delivery).await?;
        Ok(instead(rank))
    }

    /// Holds the delivery for an attempt. What to do instead, if it cannot be held. Where it has no place, `look_up`
    /// says: it may have ended since.
    ///
    /// # Errors
    /// The database cannot say.
    pub(super) async fn hold(
        &self,
        look_up: impl Future<Output = Result<Option<Outcome>, StoreError>>,
    ) -> Result<Option<Outcome>, StoreError> {
        match self.order.held.request(self.delivery).await? {
            Rank::Unordered => look_up.await,
            rank => Ok(instead(rank)),
        }
    }

    /// The attempt has failed: any worker may make the next one.
    pub(super) async fn let_go(&self) {
        let (order, event) = (self.order, self.delivery.event);
        let rows = order.store.order();
        let let_go = async {
            rows.let_go(&order.destination, order.worker, &[event])
                .await
        };
        if let Err(error) = let_go.await {
            tracing::debug!(event.id = %event, %error, "the next attempt waits until the hold is over");
        }
    }

    /// It has ended: what to do is to send the next one of its key.
    ///
    /// # Errors
    /// The database cannot say which one.
    pub(super) async fn ended(&self) -> Result<Outcome, StoreError> {
        let next = self.order.ended.request(self.delivery).await?;
        Ok(next.map_or(Outcome::Done, |message| {
            Outcome::Next(vec![Publication {
                to: Address::Queue(self.order.queue.clone()),
                message,
            }])
        }))
    }
}

/// Ends deliveries, and gives for each the message of the next one of its key, if that is due.
async fn end(
    store: &dyn Store,
    destination: &str,
    ended: &[OrderedDelivery],
) -> Result<Vec<Option<Message>>, StoreError> {
    let keys = store.order().leave_order(destination, ended).await?;
    next_ones(store, destination, &keys, ended).await
}

/// The message of the next one of each key behind deliveries that have ended, if that is due.
///
/// # Errors
/// The database cannot say.
pub(crate) async fn next_ones(
    store: &dyn Store,
    destination: &str,
    keys: &[OrderKey],
    ended: &[OrderedDelivery],
) -> Result<Vec<Option<Message>>, StoreError> {
    let first = store.order().first_of(destination, keys, ended).await?;
    let events: Vec<EventId> = first.iter().flatten().copied().collect();
    let messages = messages_at(store, destination, &events).await?;
    let message = |event: &Option<EventId>| {
        let due = messages
            .iter()
            .find(|(due, _)| Some(due.key.event) == *event);
        due.map(|(_, message)| as_next(message.clone()))
    };
    Ok(first.iter().map(message).collect())
}

/// The message of a delivery whose turn has come. Nobody has had it before, but the delivery may have others, such as its first one,
/// which comes late. One that has not come back, and finds its delivery ended, sends no next one: or each of them would, on and on.
fn as_next(mut message: Message) -> Message {
    let trail = Trail {
        again: false,
        turn: true,
        ..Trail::read(&message.headers)
    };
    trail.write(&mut message.headers);
    message
}

fn instead(rank: Rank) -> Option<Outcome> {
    match rank {
        Rank::First | Rank::Unordered => None,
        Rank::Behind => Some(Outcome::Done),
        Rank::Unsettled(wait) | Rank::Held(wait) => Some(Outcome::Snooze(wait.max(SHORTEST_WAIT))),
    }
}
