//! The standings of events.

use async_trait::async_trait;

use super::{EventStatus, Standing, StoreError};
use crate::event::EventId;

/// Tells the standings of events.
#[async_trait]
pub trait Statuses: Send + Sync {
    /// The status of an event; `None` while nothing is known of it.
    ///
    /// # Errors
    /// The database cannot say.
    async fn status(&self, id: EventId) -> Result<Option<EventStatus>, StoreError>;

    /// The standing of each event, in the order asked; `None` while nothing is known of it.
    ///
    /// # Errors
    /// The database cannot say.
    async fn standings(&self, ids: &[EventId]) -> Result<Vec<Option<Standing>>, StoreError>;
}
