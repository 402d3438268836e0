//! Due deliveries, for the standing watch and the surveys.

use std::collections::HashMap;

use async_trait::async_trait;
use time::OffsetDateTime;

use crate::event::EventId;
use crate::store::{DeliveryKey, StoreError};

/// A delivery that is due, of the newest generation at its destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueDelivery {
    /// The delivery.
    pub key: DeliveryKey,
    /// How many attempts there were.
    pub attempts: u32,
    /// Since when it is due.
    pub due_at: OffsetDateTime,
    /// When the last attempt began.
    pub last_attempt_at: Option<OffsetDateTime>,
    /// Whether another one of its key is before it, so that it needs no message yet.
    pub is_behind: bool,
    /// When the one before it ended.
    pub first_at: Option<OffsetDateTime>,
}

/// Finds deliveries that are due.
#[async_trait]
pub trait WatchedDeliveries: Send + Sync {
    /// Up to `most` deliveries that became due at `since` or later, before `before`, and are due still; the
    /// oldest first. Without those that a replay has claimed and not sent yet.
    ///
    /// # Errors
    /// The database cannot say.
    async fn due_deliveries(
        &self,
        since: OffsetDateTime,
        before: OffsetDateTime,
        most: u32,
    ) -> Result<Vec<DueDelivery>, StoreError>;

    /// The deliveries of these events that are due.
    ///
    /// # Errors
    /// The database cannot say.
    async fn due_of(&self, events: &[EventId]) -> Result<Vec<DueDelivery>, StoreError>;

    /// How many deliveries are due at each of these destinations, whatever their age and place; reads the whole table.
    ///
    /// # Errors
    /// The database cannot say, or not in time.
    async fn count_due(&self, destinations: &[String]) -> Result<HashMap<String, u64>, StoreError>;

    /// When the last attempt at each destination began, among deliveries that became due at `since` or later.
    ///
    /// # Errors
    /// The database cannot say.
    async fn last_attempts(
        &self,
        since: OffsetDateTime,
    ) -> Result<Vec<(String, OffsetDateTime)>, StoreError>;
}
