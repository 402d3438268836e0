//! Destinations: which of them are paused, and whose breaker is open.

use std::time::Duration;

use async_trait::async_trait;

use super::{Act, DestinationState, NewPause, PausedDestination, StoreError};

/// What holds the deliveries of destinations. No delivery of a paused destination is made, by any process, until it is resumed;
/// none of one whose breaker is open, until a probe or an operator has closed it.
#[async_trait]
pub trait Destinations: Send + Sync {
    /// How the destinations stand, in the order of their names.
    ///
    /// # Errors
    /// The database cannot say.
    async fn destination_states(&self) -> Result<Vec<DestinationState>, StoreError>;

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

    /// Resumes a destination: ends its pause, and closes its breaker. Gives how it stood before; `None` if neither held its
    /// deliveries. The change is an entry of the audit record, in its transaction.
    ///
    /// # Errors
    /// The destination stands as before, or the answer of the database was lost.
    async fn resume_destination(
        &self,
        name: &str,
        act: &Act,
    ) -> Result<Option<DestinationState>, StoreError>;

    /// Opens the breaker of a destination, or keeps it open: no probe is made before `open` has passed.
    ///
    /// # Errors
    /// It stands as before, or the answer of the database was lost.
    async fn open_breaker(&self, name: &str, why: &str, open: Duration) -> Result<(), StoreError>;

    /// Takes the probe of an open breaker, if one may be made now; nobody else may make one for `lease`. A probe that lies more
    /// than `farthest` ahead may be made now as well: that moment is by a clock that was set back.
    ///
    /// # Errors
    /// It is not taken, or the answer of the database was lost.
    async fn take_probe(
        &self,
        name: &str,
        lease: Duration,
        farthest: Duration,
    ) -> Result<bool, StoreError>;

    /// Closes the breaker of a destination.
    ///
    /// # Errors
    /// It stands as before, or the answer of the database was lost.
    async fn close_breaker(&self, name: &str) -> Result<(), StoreError>;
}
