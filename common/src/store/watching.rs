//! The questions of the standing watch and the surveys to the tables, and the records of the watch.

mod deliveries;
mod events;
mod letters;
mod records;

pub use deliveries::{DueDelivery, WatchedDeliveries};
pub use events::{FactVisitor, StoredBody, StoredFact, WatchedEvents};
pub use letters::{Deaths, WatchedLetters};
pub use records::{Repair, RepairKey, WatchFinding, WatchRecords};

use super::Leases;

/// All the questions of the standing watch, in one trait.
pub trait Watching:
    Leases + WatchedEvents + WatchedDeliveries + WatchedLetters + WatchRecords
{
}

impl<T> Watching for T where
    T: Leases + WatchedEvents + WatchedDeliveries + WatchedLetters + WatchRecords
{
}
