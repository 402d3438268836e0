//! Destinations: which of them are paused.

use async_trait::async_trait;

use super::{Act, NewPause, PausedDestination, StoreError};

/// Pauses of destinations. No delivery of a paused destination is made, by any process, until it is resumed.
#[async_trait]
pub trait Destinations: Send + Sync {
    /// Pauses a destination, and gives the pause that holds now: one that began earlier stays as it is. The change is an entry of
    /// the audit record, in its transaction, where an operator makes it with `act`.
    ///
    /// # Errors
    /// The destination is not paused by this call, or the answer of the database was lost.
    async fn pause_destination(
        &self,
        pause: &NewPause,
        act: Option<&Act>,
    ) -> Result<PausedDestination, StoreError>;

    /// Resumes a destination, and gives the pause that ended; `None` if it was not paused. The change is an entry of the audit
    /// record, in its transaction.
    ///
    /// # Errors
    /// The destination stands as before, or the answer of the database was lost.
    async fn resume_destination(
        &self,
        name: &str,
        act: &Act,
    ) -> Result<Option<PausedDestination>, StoreError>;

    /// The paused destinations, in the order of their names.
    ///
    /// # Errors
    /// The database cannot say.
    async fn paused_destinations(&self) -> Result<Vec<PausedDestination>, StoreError>;
}
