//! The order of deliveries at ordered destinations.
//!
//! A delivery of an event with an order key has a place among those of its key from the moment it is due until it has ended. The
//! earlier event comes first, by the moment it was received and then by its id. Only the first one is made. One that is not the
//! first has no message: when the one before it has ended, it gets a new one.

use std::time::Duration;

use async_trait::async_trait;
use time::OffsetDateTime;
use uuid::Uuid;

use super::StoreError;
use crate::event::{EventId, OrderKey};

/// The order that an event keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ordered {
    /// The key that it has in common with others.
    pub key: OrderKey,
    /// The destinations where it is due and that keep the order.
    pub destinations: Vec<String>,
}

/// A delivery to an ordered destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderedDelivery {
    /// The event.
    pub event: EventId,
    /// The generation of the delivery.
    pub generation: u32,
    /// The order key of the event.
    pub key: OrderKey,
    /// When the event was received.
    pub received_at: OffsetDateTime,
}

/// Where a delivery stands among those of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rank {
    /// It has no place: it has ended, or is not kept in order.
    Unordered,
    /// Another one is before it.
    Behind,
    /// It is the first. An earlier one may still come for this long.
    Unsettled(Duration),
    /// It is the first, and another worker may make an attempt for this long.
    Held(Duration),
    /// It is the first.
    First,
}

/// Who asks for ranks, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RankQuestion {
    /// The destination.
    pub destination: String,
    /// How long after a delivery has got its place an earlier one may come.
    pub within: Duration,
    /// The worker that asks.
    pub worker: Uuid,
    /// How long nobody else may make an attempt at those that are first; `None` for one who only looks.
    pub hold: Option<Duration>,
}

/// Keeps deliveries in order.
#[async_trait]
pub trait DeliveryOrder: Send + Sync {
    /// The ranks of deliveries, in the order asked. A delivery that is due and has no place gets one first: a replay, or one that
    /// was due before its destination kept an order.
    ///
    /// # Errors
    /// The database cannot say, and nobody is kept from an attempt.
    async fn ranks(
        &self,
        question: &RankQuestion,
        asked: &[OrderedDelivery],
    ) -> Result<Vec<Rank>, StoreError>;

    /// Lets others make attempts again at deliveries that this worker holds.
    ///
    /// # Errors
    /// They wait until the time of the hold is over.
    async fn let_go(
        &self,
        destination: &str,
        worker: Uuid,
        events: &[EventId],
    ) -> Result<(), StoreError>;

    /// These deliveries have ended: they give up their places. Gives for each the key that its place had.
    ///
    /// # Errors
    /// They keep their places, or the answer of the database was lost.
    async fn leave_order(
        &self,
        destination: &str,
        ended: &[OrderedDelivery],
    ) -> Result<Vec<OrderKey>, StoreError>;

    /// The event that is the first of each key, but for `ended` ones. To be asked after they have left: what comes later sees that
    /// itself.
    ///
    /// # Errors
    /// The database cannot say.
    async fn first_of(
        &self,
        destination: &str,
        keys: &[OrderKey],
        ended: &[OrderedDelivery],
    ) -> Result<Vec<Option<EventId>>, StoreError>;

    /// Up to `most` deliveries that are first of their key at a destination, are held by nobody, and have ended: delivered,
    /// discarded, or, if `skips_dead`, dead.
    ///
    /// # Errors
    /// The database cannot say.
    async fn ended_first(
        &self,
        destination: &str,
        skips_dead: bool,
        most: u32,
    ) -> Result<Vec<OrderedDelivery>, StoreError>;

    /// The destinations other than these with places, none of which was taken within `quiet`.
    ///
    /// # Errors
    /// The database cannot say.
    async fn unordered(
        &self,
        ordered: &[String],
        quiet: Duration,
    ) -> Result<Vec<String>, StoreError>;

    /// Up to `most` deliveries that have places at a destination, in their order.
    ///
    /// # Errors
    /// The database cannot say.
    async fn places(
        &self,
        destination: &str,
        most: u32,
    ) -> Result<Vec<OrderedDelivery>, StoreError>;
}
