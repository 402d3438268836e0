//! PostgreSQL.
//!
//! Nothing connects before it has to, so a program starts while the database is down. Every piece of
//! work runs in a task of its own and to its end, whatever becomes of the caller, and may be done twice:
//! what a broken connection or another transaction got in the way of is tried again here.

mod columns;
mod dead;
mod deliveries;
mod events;
mod failure;
mod leases;
mod link;
mod mending;
mod rejections;
mod replays;
mod schema;
mod session;
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

/// Rows in PostgreSQL 13 or later, in the schema named after the namespace. Clones share the
/// connections.
#[derive(Clone)]
pub struct PostgresStore {
    link: Link,
    namespace: Namespace,
    last_claim: replays::LastClaim,
}

impl PostgresStore {
    /// A store that connects when it is first used. Call it inside a Tokio runtime.
    ///
    /// # Errors
    /// [`StoreError::Fault`] when the address is not one of PostgreSQL. The message holds no password.
    pub fn new(config: &config::Database, namespace: &Namespace) -> Result<Self, StoreError> {
        Ok(Self {
            link: Link::new(config, namespace)?,
            namespace: namespace.clone(),
            last_claim: replays::LastClaim::default(),
        })
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn begin_replay(&self, replay: &Replay) -> Result<(), StoreError> {
        replays::begin(&self.link, replay).await
    }

    async fn replay(&self, id: Uuid) -> Result<Option<Progress>, StoreError> {
        replays::progress(&self.link, id).await
    }

    async fn claim_dead(&self, replay: Uuid, most: u32) -> Result<Vec<DeadLetter>, StoreError> {
        replays::claim(&self.link, &self.last_claim, replay, most).await
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
