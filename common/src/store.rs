//! The store of rows: one small trait for each role, in Longshore's own words, and the engines that implement
//! them. [`Store`] is all roles in one.
//!
//! All writes are in batches, each in one transaction, and may be repeated: the keys make the second time change
//! nothing.

mod audit;
mod chain;
mod dead_letters;
mod deliveries;
mod destinations;
mod events;
mod keys;
mod leases;
mod mending;
mod operations;
mod operators;
mod order;
pub mod postgres;
mod rejections;
mod rows;
mod runs;
mod schedule;
mod schema;
pub mod sqlite;
mod standing;
mod statuses;
mod tables;
mod watching;
mod words;
mod workers;

use async_trait::async_trait;

pub use audit::Audit;
pub use chain::{AuditChain, AuditHead, AuditLink, ChainBreak};
pub use dead_letters::DeadLetters;
pub use deliveries::Deliveries;
pub use destinations::Destinations;
pub use events::Events;
pub use keys::Keys;
pub use leases::{Lease, LeaseState, Leases};
pub use mending::Mending;
pub use operations::Operations;
pub use operators::Operators;
pub use order::{DeliveryOrder, Ordered, OrderedDelivery, Rank, RankQuestion};
pub use rejections::Rejections;
pub use rows::{
    Act, Actor, Attempt, AttemptRecord, AuditAction, AuditEntry, AuditFilter, AuditOutcome,
    AuditPage, BulkChange, Changer, Conflict, DeadEdit, DeadFilter, DeadGroup, DeadLetter,
    DeadPage, DeadState, DeadStory, DeadSummary, DeliveryKey, DeliveryRecord, DeliveryState,
    DeliveryStatus, DestinationState, Details, DiscardRecord, EditRecord, Editable, Edited,
    EventRecord, EventStatus, FilteredDestination, HistorySlice, Hourly, KeyPage, KeyRecord,
    LeftOpen, Moment, NewEvent, NewKey, NewOperator, NewPause, NewRejection, OpenBreaker,
    Operation, OperationKind, OperationPage, OperationReport, OperationState, OperatorMade,
    OperatorRecord, PausedDestination, Progress, RejectionRecord, ReplayOutcome, Revoked, Role,
    Standing, Stored, Timeline,
};
pub use runs::Runs;
pub use schedule::{
    AfterScheduled, Cancelled, NewCancellation, NotBefore, Schedule, ScheduledEvent,
};
pub use schema::Schema;
pub use statuses::Statuses;
pub use watching::{
    Deaths, DueDelivery, FactVisitor, Repair, RepairKey, StoredBody, StoredFact, WatchFinding,
    WatchRecords, WatchedDeliveries, WatchedEvents, WatchedLetters, Watching,
};
pub use words::UnknownWord;
pub use workers::{
    ConfiguredWorker, DestinationWorker, LIVE_FOR, LiveWorker, TOLD_FOR, WorkerCard, Workers,
};

/// Every role in one: an engine. Code that needs one role takes that role's trait.
#[async_trait]
pub trait Store:
    Schema + Events + Statuses + Schedule + Rejections + Deliveries + DeadLetters + Mending + Keys
{
    /// Replays of dead letters and of the history, and how far each is.
    fn operations(&self) -> &dyn Operations;

    /// The record of what operators did.
    fn audit(&self) -> &dyn Audit;

    /// What holds the deliveries of destinations.
    fn destinations(&self) -> &dyn Destinations;

    /// The order of deliveries at ordered destinations.
    fn order(&self) -> &dyn DeliveryOrder;

    /// The people who look and mend.
    fn operators(&self) -> &dyn Operators;

    /// The questions of the standing watch and the surveys.
    fn watching(&self) -> &dyn Watching;

    /// The copies that deliver, and the configurations of all processes.
    fn workers(&self) -> &dyn Workers;
}

/// Why the database did not do something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database cannot be reached, is starting or stopping, or has no connection or lock to spare. Trying
    /// again later is right, and no event is to blame.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// The database refuses a value in the data.
    #[error("the database refuses the data: {0}")]
    Data(String),
    /// The schema is not the one this program knows.
    #[error("{0}")]
    Schema(String),
    /// Anything else: a fault of ours.
    #[error("the database refuses the statement: {0}")]
    Fault(String),
}
