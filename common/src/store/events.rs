//! Stored events.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::{EventRecord, FilteredDestination, NewEvent, StoreError, Stored};
use crate::event::EventId;

/// Stores events, exactly once each, and reads them.
#[async_trait]
pub trait Events: Send + Sync {
    /// Stores events, and their deliveries as due, all in one transaction. Gives the outcome of each, in order.
    ///
    /// # Errors
    /// Nothing of the batch is stored. [`StoreError::Data`] means that the database refuses the data of an event
    /// in it: store them one by one to find it.
    async fn store(&self, batch: Arc<[NewEvent]>) -> Result<Vec<Stored>, StoreError>;

    /// The destinations whose filter passed over stored events. An event without any has no entry.
    ///
    /// # Errors
    /// The database cannot say.
    async fn filtered(
        &self,
        ids: &[EventId],
    ) -> Result<HashMap<EventId, Vec<FilteredDestination>>, StoreError>;

    /// A stored event, body included.
    ///
    /// # Errors
    /// The database cannot say.
    async fn event(&self, id: EventId) -> Result<Option<EventRecord>, StoreError>;
}
