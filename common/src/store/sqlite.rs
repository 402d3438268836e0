//! SQLite: the store of one machine, in one file.
//!
//! It says and does what [`PostgresStore`](super::postgres::PostgresStore) does. Where that leaves a batch
//! to `UNNEST`, here a batch is one JSON document for `jsonb_each`: a statement has one text, whatever the
//! size of the batch. Several statements of one piece of work are in one transaction, in which nobody else
//! writes.

mod dead;
mod deliveries;
mod events;
mod leases;
mod link;
mod mending;
mod rejections;
mod replays;
mod schema;
mod statuses;
mod story;
mod watching;

use async_trait::async_trait;
use uuid::Uuid;

use self::link::Link;
use super::{
    DeadLetter, Progress, Replay, ReplayOutcome, ReplayPage, ReplayState, Store, StoreError,
    Watching,
};
use crate::config;
use crate::namespace::Namespace;
use crate::sqlite::{Database, Location};

/// Rows in an SQLite file, in tables whose names begin with the namespace. Clones share the connections.
#[derive(Clone)]
pub struct SqliteStore {
    link: Link,
}

impl SqliteStore {
    /// A store that opens its file when it is first used, and makes it where it is not there. Call it
    /// inside a Tokio runtime.
    ///
    /// # Errors
    /// [`StoreError::Fault`] when the address is not `sqlite:PATH`.
    pub fn new(config: &config::Database, namespace: &Namespace) -> Result<Self, StoreError> {
        let location = Location::from_url(config.url.expose()).map_err(StoreError::Fault)?;
        Ok(Self::at(&location, namespace))
    }

    /// The store at `location`. All those of this process that are at the same share their
    /// connections, and what they write at once is committed at once.
    pub fn at(location: &Location, namespace: &Namespace) -> Self {
        Self::over(Database::shared(location), namespace)
    }

    /// The store at `location`, over connections of its own, as another process would have them.
    pub fn apart(location: &Location, namespace: &Namespace) -> Self {
        Self::over(Database::separate(location), namespace)
    }

    fn over(database: Database, namespace: &Namespace) -> Self {
        Self {
            link: Link::new(database, namespace),
        }
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn begin_replay(&self, replay: &Replay) -> Result<(), StoreError> {
        replays::begin(&self.link, replay).await
    }

    async fn replay(&self, id: Uuid) -> Result<Option<Progress>, StoreError> {
        replays::progress(&self.link, id).await
    }

    async fn claim_dead(&self, replay: Uuid, most: u32) -> Result<Vec<DeadLetter>, StoreError> {
        replays::claim(&self.link, replay, most).await
    }

    async fn claimed_dead(
        &self,
        replay: Uuid,
        after: Option<Uuid>,
        most: u32,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        replays::claimed(&self.link, replay, after, most).await
    }

    async fn mark_replayed(&self, replay: Uuid, letters: &[Uuid]) -> Result<(), StoreError> {
        replays::mark(&self.link, replay, letters).await
    }

    async fn end_replay(&self, replay: Uuid, state: ReplayState) -> Result<(), StoreError> {
        replays::end(&self.link, replay, state).await
    }

    async fn replays(&self, page: ReplayPage) -> Result<Vec<Progress>, StoreError> {
        replays::page(&self.link, page).await
    }

    async fn advance_replay(&self, id: Uuid, sent: u64, position: u64) -> Result<(), StoreError> {
        replays::advance(&self.link, id, sent, position).await
    }

    async fn reopen_replay(&self, id: Uuid) -> Result<(), StoreError> {
        replays::reopen(&self.link, id).await
    }

    async fn steer_replay(
        &self,
        id: Uuid,
        to: ReplayState,
    ) -> Result<Option<ReplayState>, StoreError> {
        replays::steer(&self.link, id, to).await
    }

    async fn replay_outcome(&self, id: Uuid) -> Result<ReplayOutcome, StoreError> {
        replays::outcome(&self.link, id, None).await
    }

    async fn replay_sample(&self, id: Uuid, most: u32) -> Result<ReplayOutcome, StoreError> {
        replays::outcome(&self.link, id, Some(most)).await
    }

    fn watching(&self) -> &dyn Watching {
        self
    }
}
