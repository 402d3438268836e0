//! What the standing watch writes down.

use async_trait::async_trait;
use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::store::{Moment, StoreError};

/// Something the watch sent again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RepairKey {
    /// The event; of a message that is none, the dead letter that it would become.
    pub subject: Uuid,
    /// The destination it was due at; `None` where it went to validation.
    pub destination: Option<String>,
    /// The generation of the delivery.
    pub generation: u32,
}

/// How often, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// What.
    pub key: RepairKey,
    /// How often it was sent.
    pub sent: u32,
    /// When it was sent last.
    pub last_at: OffsetDateTime,
}

/// Something that is wrong at the moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WatchFinding {
    /// What, in one word.
    pub finding: String,
    /// What it is about, such as a queue.
    pub subject: String,
    /// How many there are.
    pub number: u64,
    /// For people.
    pub detail: String,
}

/// Keeps the repairs and the findings of the watch.
#[async_trait]
pub trait WatchRecords: Send + Sync {
    /// Writes down that something is sent again, for the first time or once more.
    ///
    /// # Errors
    /// Nothing of it is written down.
    async fn record_repairs(&self, repairs: &[RepairKey]) -> Result<(), StoreError>;

    /// What was sent again of these subjects.
    ///
    /// # Errors
    /// The database cannot say.
    async fn repairs(&self, subjects: &[Uuid]) -> Result<Vec<Repair>, StoreError>;

    /// How many events and how many deliveries were last sent again at that moment or later.
    ///
    /// # Errors
    /// The database cannot say.
    async fn repairs_since(&self, since: OffsetDateTime) -> Result<(u64, u64), StoreError>;

    /// Puts these findings in the place of the ones before.
    ///
    /// # Errors
    /// The ones before stay.
    async fn keep_findings(&self, findings: &[WatchFinding]) -> Result<(), StoreError>;

    /// What is wrong at the moment, and since when.
    ///
    /// # Errors
    /// The database cannot say.
    async fn findings(&self) -> Result<Vec<(WatchFinding, Moment)>, StoreError>;
}
