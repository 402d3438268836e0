//! Deliveries: due, tried, made.

use async_trait::async_trait;

use super::{Attempt, DeliveryKey, DeliveryRecord, StoreError};

/// Keeps deliveries and their attempts.
#[async_trait]
pub trait Deliveries: Send + Sync {
    /// The states of deliveries, in the order asked; `None` for a delivery that is not known.
    ///
    /// # Errors
    /// The database cannot say.
    async fn deliveries(
        &self,
        keys: &[DeliveryKey],
    ) -> Result<Vec<Option<DeliveryRecord>>, StoreError>;

    /// Marks due deliveries as discarded. Others stay as they are.
    ///
    /// # Errors
    /// Nothing is marked.
    async fn discard_due(&self, keys: &[DeliveryKey]) -> Result<(), StoreError>;

    /// Records attempts and the resulting state of their deliveries, all in one transaction. A delivery that is
    /// `delivered` stays so, and supersedes open letters of its generation and of earlier ones.
    ///
    /// # Errors
    /// Nothing of the batch is recorded.
    async fn record_attempts(&self, batch: &[Attempt]) -> Result<(), StoreError>;
}
