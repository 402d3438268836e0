//! Workers: which copies of a program deliver now.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::StoreError;

/// How long after a sign of life a worker counts as live.
pub const LIVE_FOR: Duration = Duration::from_secs(3);

/// A process, as it tells others of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerCard {
    /// The process: another one after each start.
    pub id: Uuid,
    /// The program.
    pub program: String,
    /// The machine that it runs on.
    pub host: String,
    /// Its version.
    pub version: String,
    /// The destinations that it delivers to.
    pub destinations: Vec<String>,
}

/// A live worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveWorker {
    /// The process.
    pub id: Uuid,
    /// The destinations that it delivers to.
    pub destinations: Vec<String>,
    /// How long it has been live without a gap.
    pub live_for: Duration,
}

/// The copies that deliver.
#[async_trait]
pub trait Workers: Send + Sync {
    /// A sign of life. Gives all live workers, this one among them, in the order of their ids.
    ///
    /// # Errors
    /// The database does not answer: nobody knows whether it was heard.
    async fn beat(&self, card: &WorkerCard) -> Result<Vec<LiveWorker>, StoreError>;

    /// The worker is live no more.
    ///
    /// # Errors
    /// The database does not answer: others find it out after [`LIVE_FOR`].
    async fn leave(&self, worker: Uuid) -> Result<(), StoreError>;
}
