//! Events that a rule refused.

use async_trait::async_trait;

use super::{NewRejection, RejectionRecord, StoreError};
use crate::event::EventId;

/// Keeps rejections and reads them.
#[async_trait]
pub trait Rejections: Send + Sync {
    /// Keeps rejections, all in one transaction. Keeping a rejection again changes nothing.
    ///
    /// # Errors
    /// Nothing of the batch is kept.
    async fn keep_rejections(&self, batch: &[NewRejection]) -> Result<(), StoreError>;

    /// Every rejection of an event, the oldest first. Rejections of another content under its id are among them;
    /// they leave the event itself as it stands.
    ///
    /// # Errors
    /// The database cannot say.
    async fn rejections(&self, id: EventId) -> Result<Vec<RejectionRecord>, StoreError>;
}
