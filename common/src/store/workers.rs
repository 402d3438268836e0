//! Workers: which copies of a program deliver now, and with which configuration each process runs.

use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use uuid::Uuid;

use super::{Moment, StoreError};

/// How long after a sign of life a worker counts as live.
pub const LIVE_FOR: Duration = Duration::from_secs(3);

/// How long after a process told its configuration it counts as running.
pub const TOLD_FOR: Duration = Duration::from_secs(180);

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

/// A live worker of a destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DestinationWorker {
    /// The program.
    pub program: String,
    /// The machine that it runs on.
    pub host: String,
    /// Its version.
    pub version: String,
    /// Since when it has been live without a gap.
    pub since: Moment,
}

/// A process, and the configuration that it runs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfiguredWorker {
    /// The process.
    pub id: Uuid,
    /// The program.
    pub program: String,
    /// The machine that it runs on.
    pub host: String,
    /// Its version.
    pub version: String,
    /// The hash of its configuration.
    pub configuration: String,
    /// Since when it runs with this configuration.
    pub since: Moment,
}

/// The copies that deliver, and the configurations of all processes.
#[async_trait]
pub trait Workers: Send + Sync {
    /// A sign of life. Gives all live workers, this one among them, in the order of their ids.
    ///
    /// # Errors
    /// The database does not answer: nobody knows whether it was heard.
    async fn beat(&self, card: &WorkerCard) -> Result<Vec<LiveWorker>, StoreError>;

    /// The live workers that deliver to a destination, by program and host.
    ///
    /// # Errors
    /// The database cannot say.
    async fn destination_workers(
        &self,
        destination: &str,
    ) -> Result<Vec<DestinationWorker>, StoreError>;

    /// The worker is live no more.
    ///
    /// # Errors
    /// The database does not answer: others find it out after [`LIVE_FOR`].
    async fn leave(&self, worker: Uuid) -> Result<(), StoreError>;

    /// Says with which configuration the process of this card runs. It does not count as a process that delivers by that.
    ///
    /// # Errors
    /// The database does not answer: nobody knows whether it was heard.
    async fn tell(&self, card: &WorkerCard, configuration: &str) -> Result<(), StoreError>;

    /// The processes that have told their configuration within [`TOLD_FOR`], by program and host.
    ///
    /// # Errors
    /// The database cannot say.
    async fn configured_workers(&self) -> Result<Vec<ConfiguredWorker>, StoreError>;
}
