//! What a worker does with events.

use async_trait::async_trait;

use super::Received;
use crate::outcome::Outcome;

/// What a worker does with events.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Handles a batch: one outcome for each event, in order. May be called many times at once, and
    /// again for the same event, which must then change nothing. It may be dropped at any await,
    /// when its time is up.
    async fn handle(&self, batch: &[Received]) -> Vec<Outcome>;

    /// Asks whether a dependency that [`Outcome::Hold`] named answers again.
    ///
    /// # Errors
    /// It does not, and how that shows.
    async fn probe(&self, dependency: &'static str) -> Result<(), String>;
}
