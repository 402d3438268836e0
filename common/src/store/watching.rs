//! What the standing watch and the surveys ask of the tables, and what the watch writes down.

mod deliveries;
mod events;
mod letters;
mod records;

pub use deliveries::{DueDelivery, WatchedDeliveries};
pub use events::{FactVisitor, StoredBody, StoredFact, WatchedEvents};
pub use letters::{Deaths, WatchedLetters};
pub use records::{Repair, RepairKey, WatchFinding, WatchRecords};

use super::Leases;

/// All that the standing watch asks, in one.
pub trait Watching:
    Leases + WatchedEvents + WatchedDeliveries + WatchedLetters + WatchRecords
{
}

impl<T> Watching for T where
    T: Leases + WatchedEvents + WatchedDeliveries + WatchedLetters + WatchRecords
{
}
