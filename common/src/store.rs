//! What keeps rows: a small contract in Longshore's own words, and its engines.
//!
//! Everything that is written is written in batches, each in one transaction, and may be written
//! twice: the keys make the second time change nothing.

mod operations;
pub mod postgres;
mod rows;
pub mod sqlite;
mod standing;
mod tables;
mod watching;
mod words;

use std::sync::Arc;

use async_trait::async_trait;

pub use operations::Operations;
pub use rows::{
    Attempt, AttemptRecord, Conflict, DeadEdit, DeadFilter, DeadGroup, DeadLetter, DeadPage,
    DeadState, DeadStory, DeadSummary, DeliveryKey, DeliveryRecord, DeliveryState, DeliveryStatus,
    Details, Discard, DiscardRecord, EditRecord, Editable, Edited, EventRecord, EventStatus,
    HistorySlice, Hourly, LeftOpen, Moment, NewEvent, NewRejection, Progress, RejectionRecord,
    Replay, ReplayOutcome, ReplayPage, ReplayReport, ReplayState, Standing, Stored, Timeline,
};
use time::OffsetDateTime;
use uuid::Uuid;
pub use watching::{
    Deaths, DueDelivery, FactVisitor, Lease, LeaseState, Repair, RepairKey, StoredBody, StoredFact,
    WatchFinding, Watching,
};
pub use words::UnknownWord;

use crate::event::EventId;

/// An engine that keeps rows.
#[async_trait]
pub trait Store: Send + Sync {
    /// Brings the schema up to date. Safe to call from many processes at once.
    ///
    /// # Errors
    /// The database cannot be reached or refuses a change.
    async fn migrate(&self) -> Result<(), StoreError>;

    /// Removes the namespace's schema with everything in it, as a demo and a test do at their end.
    ///
    /// # Errors
    /// The database cannot be reached, or somebody else's objects depend on ours.
    async fn remove_schema(&self) -> Result<(), StoreError>;

    /// Asks the database, over a connection of its own, whether work could be done now: it can be
    /// reached, takes a small write, and its schema is the one this program knows.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], or [`StoreError::Schema`] with what to do.
    async fn ready(&self) -> Result<(), StoreError>;

    /// Stores events and writes down their deliveries as due, all in one transaction. Says for each
    /// what became of it, in order.
    ///
    /// # Errors
    /// Nothing of the batch is stored. [`StoreError::Data`] means that the database refuses the
    /// data of one of them: store them one by one to find it.
    async fn store(&self, batch: Arc<[NewEvent]>) -> Result<Vec<Stored>, StoreError>;

    /// Where deliveries stand, in the order asked; `None` for one that is not known.
    ///
    /// # Errors
    /// The database cannot say.
    async fn deliveries(
        &self,
        keys: &[DeliveryKey],
    ) -> Result<Vec<Option<DeliveryRecord>>, StoreError>;

    /// Marks deliveries as discarded that are due. One that is not due, or not known, stays as it is.
    ///
    /// # Errors
    /// Nothing is marked.
    async fn discard_due(&self, keys: &[DeliveryKey]) -> Result<(), StoreError>;

    /// Records attempts and what they made of their deliveries, all in one transaction. A delivery
    /// that is `delivered` stays so, and supersedes open letters of its generation and those before.
    ///
    /// # Errors
    /// Nothing of the batch is recorded.
    async fn record_attempts(&self, batch: &[Attempt]) -> Result<(), StoreError>;

    /// Keeps dead letters, and marks the due delivery of each that died on its way to a destination
    /// as dead, all in one transaction. One that is kept already stays as it is; it only counts that it
    /// came again. Of all generations only the newest is left open, and none that was delivered since: the
    /// others are superseded.
    ///
    /// # Errors
    /// Nothing of the batch is kept, or not all that is superseded is marked: keep it again.
    async fn keep_dead(&self, batch: &[DeadLetter]) -> Result<(), StoreError>;

    /// Keeps rejections, all in one transaction. One that is kept already stays as it is.
    ///
    /// # Errors
    /// Nothing of the batch is kept.
    async fn keep_rejections(&self, batch: &[NewRejection]) -> Result<(), StoreError>;

    /// Where an event stands; `None` while nothing is known of it.
    ///
    /// # Errors
    /// The database cannot say.
    async fn status(&self, id: EventId) -> Result<Option<EventStatus>, StoreError>;

    /// Of each event where it stands, in the order asked; `None` while nothing is known of it.
    ///
    /// # Errors
    /// The database cannot say.
    async fn at_rest(&self, ids: &[EventId]) -> Result<Vec<Option<Standing>>, StoreError>;

    /// Every rejection of an event, the oldest first: also those of another content under its id,
    /// which leave the event itself as it stands.
    ///
    /// # Errors
    /// The database cannot say.
    async fn rejections(&self, id: EventId) -> Result<Vec<RejectionRecord>, StoreError>;

    /// All that is stored of an event, body included.
    ///
    /// # Errors
    /// The database cannot say.
    async fn event(&self, id: EventId) -> Result<Option<EventRecord>, StoreError>;

    /// One page of dead letters, newest first, without bodies.
    ///
    /// # Errors
    /// The database cannot say.
    async fn dead_page(
        &self,
        filter: &DeadFilter,
        page: DeadPage,
    ) -> Result<Vec<DeadSummary>, StoreError>;

    /// How many dead letters match.
    ///
    /// # Errors
    /// The database cannot say.
    async fn dead_count(&self, filter: &DeadFilter) -> Result<u64, StoreError>;

    /// One dead letter, whole.
    ///
    /// # Errors
    /// The database cannot say.
    async fn dead_letter(&self, id: Uuid) -> Result<Option<DeadLetter>, StoreError>;

    /// All that is known of one dead letter.
    ///
    /// # Errors
    /// The database cannot say.
    async fn dead_story(&self, id: Uuid) -> Result<Option<DeadStory>, StoreError>;

    /// The `most` largest groups of dead letters with the same queue, reason, destination and error
    /// fingerprint, the largest first. A window in the filter is widened to whole hours, which is what
    /// they are counted by.
    ///
    /// # Errors
    /// The database cannot say.
    async fn dead_stats(
        &self,
        filter: &DeadFilter,
        most: u32,
    ) -> Result<Vec<DeadGroup>, StoreError>;

    /// Changes an open letter, and keeps what was before with who and why.
    ///
    /// # Errors
    /// Nothing is changed.
    async fn edit_dead(&self, edit: &DeadEdit) -> Result<Edited, StoreError>;

    /// Discards up to `most` open dead letters that match, the oldest first, and says how many. What is
    /// due or dead because of them is discarded with them. Done again until it says 0, it has discarded
    /// all.
    ///
    /// # Errors
    /// Nothing is discarded.
    async fn discard_dead(&self, discard: &Discard, most: u32) -> Result<u64, StoreError>;

    /// Opens up to `most` discarded dead letters that match, whatever the filter says of the state, and
    /// says how many. Deliveries that were discarded with them are dead again.
    ///
    /// # Errors
    /// Nothing is restored.
    async fn restore_dead(&self, filter: &DeadFilter, most: u32) -> Result<u64, StoreError>;

    /// Removes up to `most` dead letters that were replayed, discarded or superseded before `older_than`, with
    /// their edits, and says how many. What is in anybody's hands is left for another time.
    ///
    /// # Errors
    /// Nothing is removed.
    async fn purge_dead(&self, older_than: OffsetDateTime, most: u32) -> Result<u64, StoreError>;

    /// What those ask who start, watch and run operations.
    fn operations(&self) -> &dyn Operations;

    /// What the standing watch and the surveys ask of it.
    fn watching(&self) -> &dyn Watching;

    /// What the engine is and in which version, such as "PostgreSQL 15.20"; `None` where it does not
    /// tell.
    ///
    /// # Errors
    /// The database cannot say.
    async fn product(&self) -> Result<Option<String>, StoreError> {
        Ok(None)
    }

    /// Says goodbye to the database.
    async fn close(&self);
}

/// Why the database did not do something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It cannot be reached, is starting or stopping, or has no connection or lock to spare. Trying
    /// again later is right, and no event is to blame.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// It refuses what is in the data.
    #[error("the database refuses the data: {0}")]
    Data(String),
    /// The schema is not the one this program knows.
    #[error("{0}")]
    Schema(String),
    /// Anything else: a fault of ours.
    #[error("the database refuses the statement: {0}")]
    Fault(String),
}
