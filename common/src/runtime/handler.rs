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

    /// Asks whether what the handler holds for ([`Outcome::Hold`]) answers again. The runtime asks the broker by itself.
    ///
    /// # Errors
    /// It does not, and how that shows.
    async fn probe(&self) -> Result<(), String> {
        Ok(())
    }
}
