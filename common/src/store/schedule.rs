//! Scheduled events: stored, and handed on when their moment has come.
//!
//! An event may name a moment before which nobody gets it. One that comes earlier is stored without deliveries, and waits. When
//! the moment has come, its message is sent to the store stage again, which *releases* it: it writes down where the event is due,
//! by the configuration of that time, and hands it on. Until then it can be cancelled.

use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use time::OffsetDateTime;

use super::{Act, Moment, StoreError};
use crate::event::EventId;

/// The moment before which nobody gets an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotBefore {
    /// The moment.
    pub at: OffsetDateTime,
    /// Whether it has come.
    pub has_come: bool,
    /// Whether the event was stored before, and was sent to be released.
    pub is_release: bool,
}

/// An event that waits for its moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScheduledEvent {
    /// The event.
    pub id: EventId,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its source.
    pub source: String,
    /// The moment.
    pub not_before: Moment,
    /// When it came through a door.
    pub received_at: Moment,
}

/// Where a page of scheduled events begins: behind this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AfterScheduled {
    /// The moment of that event.
    pub not_before: OffsetDateTime,
    /// That event.
    pub id: EventId,
}

/// Who cancels an event, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCancellation {
    /// The event.
    pub event: EventId,
    /// Who.
    pub by: String,
    /// Why.
    pub why: Option<String>,
}

/// What cancelling an event came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// It is cancelled now.
    Now,
    /// It was cancelled before.
    Before,
    /// It was handed on, or names no moment to wait for.
    TooLate,
    /// It is not stored.
    Unknown,
}

/// Keeps scheduled events.
#[async_trait]
pub trait Schedule: Send + Sync {
    /// Up to `most` events whose moment has come and that were not sent to the store stage yet, in the order of their moments.
    ///
    /// # Errors
    /// The database cannot say.
    async fn events_to_release(
        &self,
        most: u32,
    ) -> Result<Vec<(EventId, OffsetDateTime)>, StoreError>;

    /// Writes down that these were sent to the store stage.
    ///
    /// # Errors
    /// They are sent again.
    async fn mark_events_sent(&self, events: &[EventId]) -> Result<(), StoreError>;

    /// Lets events be sent again that were sent longer than `ago` ago and wait still, but for those that died in the store stage. Gives
    /// how many these are.
    ///
    /// # Errors
    /// The database cannot say.
    async fn send_events_again(&self, ago: Duration) -> Result<u64, StoreError>;

    /// Cancels an event that waits. `act` is what an operator did, for the record.
    ///
    /// # Errors
    /// It waits as before.
    async fn cancel_event(
        &self,
        cancellation: &NewCancellation,
        act: Option<&Act>,
    ) -> Result<Cancelled, StoreError>;

    /// Up to `most` events that wait, in the order of their moments.
    ///
    /// # Errors
    /// The database cannot say.
    async fn scheduled_events(
        &self,
        after: Option<AfterScheduled>,
        most: u32,
    ) -> Result<Vec<ScheduledEvent>, StoreError>;
}
