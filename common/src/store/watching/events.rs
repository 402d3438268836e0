//! Stored events, for the standing watch and the surveys.

use std::sync::Arc;

use async_trait::async_trait;
use time::OffsetDateTime;

use crate::event::EventId;
use crate::store::StoreError;

/// An event as it was stored, to be sent once more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBody {
    /// The event.
    pub event: EventId,
    /// Its type.
    pub kind: String,
    /// Its source.
    pub source: String,
    /// Who published it.
    pub publisher: String,
    /// When it came through a door.
    pub received_at: OffsetDateTime,
    /// When it was accepted.
    pub accepted_at: OffsetDateTime,
    /// The canonical event, byte for byte.
    pub body: String,
}

/// The record of an event that was stored, or delivered without ever having been stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFact {
    /// The event.
    pub event: EventId,
    /// The key that the history makes of it, if that is another.
    pub stream_id: Option<EventId>,
    /// Its type; `None` if only a delivery of it is known.
    pub kind: Option<String>,
    /// When it came through a door, as it said itself.
    pub received_at: Option<OffsetDateTime>,
    /// When it was stored, or first delivered.
    pub at: OffsetDateTime,
}

/// Takes facts one by one, however many there are.
pub type FactVisitor = Arc<dyn Fn(StoredFact) + Send + Sync>;

/// Compares stored events with the history.
#[async_trait]
pub trait WatchedEvents: Send + Sync {
    /// Whether each event is stored and all its deliveries are made or discarded, in the order asked. Of such
    /// events, [`Standing::Completed`](crate::store::Standing) is all there is to say.
    ///
    /// # Errors
    /// The database cannot say.
    async fn are_completed(&self, events: &[EventId]) -> Result<Vec<bool>, StoreError>;

    /// For ids that the history made of events with other ids of their own: the event that was stored or rejected
    /// under its own. In the order asked; the newest event if there are several.
    ///
    /// # Errors
    /// The database cannot say.
    async fn events_of_stream(
        &self,
        stream_ids: &[EventId],
    ) -> Result<Vec<Option<EventId>>, StoreError>;

    /// These events as they were stored, in any order, without those that are not stored.
    ///
    /// # Errors
    /// The database cannot say.
    async fn stored_bodies(&self, events: &[EventId]) -> Result<Vec<StoredBody>, StoreError>;

    /// Calls `visit` with each event that was stored from `from` on and before `to`. Also with each event that is
    /// not stored but has a delivery that became due then. It may be called with some of them twice.
    ///
    /// # Errors
    /// The database cannot say.
    async fn each_stored(
        &self,
        from: OffsetDateTime,
        to: OffsetDateTime,
        visit: FactVisitor,
    ) -> Result<(), StoreError>;
}
