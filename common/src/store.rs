//! What keeps rows: one small trait for each role, in Longshore's own words, and the engines that
//! implement them. [`Store`] is all roles in one.
//!
//! Everything that is written is written in batches, each in one transaction, and may be written
//! twice: the keys make the second time change nothing.

mod dead_letters;
mod deliveries;
mod events;
mod leases;
mod mending;
pub mod postgres;
mod rejections;
mod rows;
mod schema;
pub mod sqlite;
mod standing;
mod statuses;
mod tables;
mod watching;
mod words;

use async_trait::async_trait;

pub use dead_letters::DeadLetters;
pub use deliveries::Deliveries;
pub use events::Events;
pub use leases::{Lease, LeaseState, Leases};
pub use mending::Mending;
pub use rejections::Rejections;
pub use rows::{
    Attempt, AttemptRecord, Conflict, DeadEdit, DeadFilter, DeadGroup, DeadLetter, DeadPage,
    DeadState, DeadStory, DeadSummary, DeliveryKey, DeliveryRecord, DeliveryState, DeliveryStatus,
    Details, Discard, DiscardRecord, EditRecord, Editable, Edited, EventRecord, EventStatus,
    HistorySlice, Hourly, Moment, NewEvent, NewRejection, Progress, RejectionRecord, Replay,
    ReplayOutcome, ReplayPage, ReplayState, Standing, Stored, Timeline,
};
pub use schema::Schema;
pub use statuses::Statuses;
use uuid::Uuid;
pub use watching::{
    Deaths, DueDelivery, FactVisitor, Repair, RepairKey, StoredBody, StoredFact, WatchFinding,
    WatchRecords, WatchedDeliveries, WatchedEvents, WatchedLetters, Watching,
};
pub use words::UnknownWord;

/// Every role in one: what an engine is. Who needs one role takes that.
#[async_trait]
pub trait Store:
    Schema + Events + Statuses + Rejections + Deliveries + DeadLetters + Mending
{
    /// Begins a replay: a row of its own, so that it can be resumed when it is killed.
    ///
    /// # Errors
    /// It could not be written down.
    async fn begin_replay(&self, replay: &Replay) -> Result<(), StoreError>;

    /// A replay as it stands.
    ///
    /// # Errors
    /// The database cannot say.
    async fn replay(&self, id: Uuid) -> Result<Option<Progress>, StoreError>;

    /// One page of replays, newest first.
    ///
    /// # Errors
    /// The database cannot say.
    async fn replays(&self, page: ReplayPage) -> Result<Vec<Progress>, StoreError>;

    /// Claims up to `most` open dead letters that match the replay's filter, for this replay alone,
    /// and writes down their deliveries of the next generation as due. What is superseded is not claimed, but
    /// marked. A replay that does not run claims nothing; neither does one when nothing open is left to it,
    /// which is when the last claim of another that is under way has ended.
    ///
    /// # Errors
    /// Nothing is claimed.
    async fn claim_dead(&self, replay: Uuid, most: u32) -> Result<Vec<DeadLetter>, StoreError>;

    /// Up to `most` of the letters that the replay has claimed and not marked, by their ids, behind
    /// `after`: what a killed run of it had in hand, page by page. None of a replay that does not run.
    ///
    /// # Errors
    /// The database cannot say.
    async fn claimed_dead(
        &self,
        replay: Uuid,
        after: Option<Uuid>,
        most: u32,
    ) -> Result<Vec<DeadLetter>, StoreError>;

    /// Marks claimed dead letters as replayed: only what the broker has confirmed. A letter that was
    /// opened again in between, because somebody has stopped the replay, and that nobody else has
    /// claimed since is marked as well.
    ///
    /// # Errors
    /// Nothing is marked.
    async fn mark_replayed(&self, replay: Uuid, letters: &[Uuid]) -> Result<(), StoreError>;

    /// Counts what a replay of the history has sent: `sent` events more, everything up to `position`.
    /// A position that is not beyond the one before counts nothing, so counting twice counts once.
    ///
    /// # Errors
    /// Nothing is counted.
    async fn advance_replay(&self, id: Uuid, sent: u64, position: u64) -> Result<(), StoreError>;

    /// Lets a replay of the history run again that was stopped. It began when it did, and goes on behind its position.
    ///
    /// # Errors
    /// It stands as before.
    async fn reopen_replay(&self, id: Uuid) -> Result<(), StoreError>;

    /// Pauses a replay that runs, lets one that is paused run again, or stops either, and says how it
    /// stands then; `None` where there is no such replay. One that has ended stays ended. One that is
    /// stopped gives back what it had claimed, as [`Store::end_replay`].
    ///
    /// # Errors
    /// It stands as before.
    async fn steer_replay(
        &self,
        id: Uuid,
        to: ReplayState,
    ) -> Result<Option<ReplayState>, StoreError>;

    /// What became of what a replay has sent. It looks at every letter of the replay: some microseconds
    /// for each.
    ///
    /// # Errors
    /// The database cannot say, or there is no such replay.
    async fn replay_outcome(&self, id: Uuid) -> Result<ReplayOutcome, StoreError>;

    /// What became of `most` of the letters that a replay has sent: of those with the lowest ids, which
    /// have nothing to do with when they died or were sent. It takes as long however many were sent.
    ///
    /// # Errors
    /// There is no such replay, or the database cannot say.
    async fn replay_sample(&self, id: Uuid, most: u32) -> Result<ReplayOutcome, StoreError>;

    /// Ends a replay; what it had claimed and not marked is open again.
    ///
    /// # Errors
    /// It still stands as running.
    async fn end_replay(&self, replay: Uuid, state: ReplayState) -> Result<(), StoreError>;

    /// What the standing watch and the surveys ask of it.
    fn watching(&self) -> &dyn Watching;
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
