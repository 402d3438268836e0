//! The records of the standing watch.

use async_trait::async_trait;
use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::store::{Moment, StoreError};

/// The key of a message that the watch sent again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RepairKey {
    /// The event; for a message that is not an event, the dead letter that it would become.
    pub subject: Uuid,
    /// The destination it was due at; `None` if it went to validation.
    pub destination: Option<String>,
    /// The generation of the delivery.
    pub generation: u32,
}

/// A repair: how many times a message was sent again, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// The message.
    pub key: RepairKey,
    /// How many times it was sent.
    pub sent: u32,
    /// When it was sent last.
    pub last_at: OffsetDateTime,
}

/// A fault that the watch sees at the moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WatchFinding {
    /// The kind of the fault, in one word.
    pub finding: String,
    /// The subject of the fault, such as a queue.
    pub subject: String,
    /// How many there are.
    pub number: u64,
    /// The explanation for people.
    pub detail: String,
}

/// Keeps the repairs and the findings of the watch.
#[async_trait]
pub trait WatchRecords: Send + Sync {
    /// Writes down that messages are sent again, for the first time or once more.
    ///
    /// # Errors
    /// Nothing of it is written down.
    async fn record_repairs(&self, repairs: &[RepairKey]) -> Result<(), StoreError>;

    /// The repairs of these subjects.
    ///
    /// # Errors
    /// The database cannot say.
    async fn repairs(&self, subjects: &[Uuid]) -> Result<Vec<Repair>, StoreError>;

    /// How many events and how many deliveries were last sent again at that moment or later.
    ///
    /// # Errors
    /// The database cannot say.
    async fn repairs_since(&self, since: OffsetDateTime) -> Result<(u64, u64), StoreError>;

    /// Replaces the findings.
    ///
    /// # Errors
    /// The findings from before stay.
    async fn keep_findings(&self, findings: &[WatchFinding]) -> Result<(), StoreError>;

    /// The findings of the moment, each with its beginning.
    ///
    /// # Errors
    /// The database cannot say.
    async fn findings(&self) -> Result<Vec<(WatchFinding, Moment)>, StoreError>;
}
