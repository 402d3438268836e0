//! Where events stand.

use async_trait::async_trait;

use super::{EventStatus, Standing, StoreError};
use crate::event::EventId;

/// Tells where events stand.
#[async_trait]
pub trait Statuses: Send + Sync {
    /// Where an event stands; `None` while nothing is known of it.
    ///
    /// # Errors
    /// The database cannot say.
    async fn status(&self, id: EventId) -> Result<Option<EventStatus>, StoreError>;

    /// Where each event stands, in the order asked; `None` while nothing is known of it.
    ///
    /// # Errors
    /// The database cannot say.
    async fn standings(&self, ids: &[EventId]) -> Result<Vec<Option<Standing>>, StoreError>;
}
