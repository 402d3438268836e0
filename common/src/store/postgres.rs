//! PostgreSQL.
//!
//! Nothing connects before it has to, so a program starts while the database is down. Every piece of
//! work runs in a task of its own and to its end, whatever becomes of the caller, and may be done twice:
//! what a broken connection or another transaction got in the way of is tried again here.

mod dead;
mod deliveries;
mod events;
mod failure;
mod link;
mod mending;
mod operations;
mod rejections;
mod replays;
mod schema;
mod session;
mod status;
mod story;
mod watching;

use std::sync::Arc;

use async_trait::async_trait;
use time::OffsetDateTime;
use uuid::Uuid;

pub use self::dead::DeadQuestion;
use self::link::Link;
use super::{
    Attempt, DeadEdit, DeadFilter, DeadGroup, DeadLetter, DeadPage, DeadStory, DeadSummary,
    DeliveryKey, DeliveryRecord, Discard, Edited, EventRecord, EventStatus, NewEvent, NewRejection,
    Operations, RejectionRecord, Standing, Store, StoreError, Stored, Watching,
};
use crate::config;
use crate::event::EventId;
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

    /// How a question about dead letters is answered: the plan of each of its statements, which are run for that. For
    /// measurements and for diagnosis.
    ///
    /// # Errors
    /// The database cannot say.
    pub async fn dead_plans(
        &self,
        filter: &DeadFilter,
        question: DeadQuestion,
    ) -> Result<Vec<serde_json::Value>, StoreError> {
        dead::plans(&self.link, filter, question).await
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn migrate(&self) -> Result<(), StoreError> {
        schema::migrate(&self.link, &self.namespace).await
    }

    async fn remove_schema(&self) -> Result<(), StoreError> {
        schema::remove(&self.link, &self.namespace).await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        schema::ready(&self.link, &self.namespace).await
    }

    async fn store(&self, batch: Arc<[NewEvent]>) -> Result<Vec<Stored>, StoreError> {
        events::store(&self.link, batch).await
    }

    async fn deliveries(
        &self,
        keys: &[DeliveryKey],
    ) -> Result<Vec<Option<DeliveryRecord>>, StoreError> {
        deliveries::records(&self.link, keys).await
    }

    async fn discard_due(&self, keys: &[DeliveryKey]) -> Result<(), StoreError> {
        deliveries::discard(&self.link, keys).await
    }

    async fn record_attempts(&self, batch: &[Attempt]) -> Result<(), StoreError> {
        deliveries::record(&self.link, batch).await
    }

    async fn keep_dead(&self, batch: &[DeadLetter]) -> Result<(), StoreError> {
        dead::keep(&self.link, batch).await
    }

    async fn keep_rejections(&self, batch: &[NewRejection]) -> Result<(), StoreError> {
        rejections::keep(&self.link, batch).await
    }

    async fn status(&self, id: EventId) -> Result<Option<EventStatus>, StoreError> {
        status::status(&self.link, id).await
    }

    async fn rejections(&self, id: EventId) -> Result<Vec<RejectionRecord>, StoreError> {
        status::rejections(&self.link, id).await
    }

    async fn event(&self, id: EventId) -> Result<Option<EventRecord>, StoreError> {
        status::event(&self.link, id).await
    }

    async fn dead_page(
        &self,
        filter: &DeadFilter,
        page: DeadPage,
    ) -> Result<Vec<DeadSummary>, StoreError> {
        dead::page(&self.link, filter, page).await
    }

    async fn dead_count(&self, filter: &DeadFilter) -> Result<u64, StoreError> {
        dead::count(&self.link, filter).await
    }

    async fn dead_letter(&self, id: Uuid) -> Result<Option<DeadLetter>, StoreError> {
        dead::letter(&self.link, id).await
    }

    async fn product(&self) -> Result<Option<String>, StoreError> {
        schema::product(&self.link).await.map(Some)
    }

    async fn at_rest(&self, ids: &[EventId]) -> Result<Vec<Option<Standing>>, StoreError> {
        status::standings(&self.link, ids).await
    }

    async fn dead_story(&self, id: Uuid) -> Result<Option<DeadStory>, StoreError> {
        story::story_of(&self.link, id).await
    }

    async fn dead_stats(
        &self,
        filter: &DeadFilter,
        most: u32,
    ) -> Result<Vec<DeadGroup>, StoreError> {
        dead::stats(&self.link, filter, most).await
    }

    async fn edit_dead(&self, edit: &DeadEdit) -> Result<Edited, StoreError> {
        mending::edit(&self.link, edit).await
    }

    async fn discard_dead(&self, discard: &Discard, most: u32) -> Result<u64, StoreError> {
        mending::discard(&self.link, discard, most).await
    }

    async fn restore_dead(&self, filter: &DeadFilter, most: u32) -> Result<u64, StoreError> {
        mending::restore(&self.link, filter, most).await
    }

    async fn purge_dead(&self, older_than: OffsetDateTime, most: u32) -> Result<u64, StoreError> {
        mending::purge(&self.link, older_than, most).await
    }

    fn operations(&self) -> &dyn Operations {
        self
    }

    fn watching(&self) -> &dyn Watching {
        self
    }

    async fn close(&self) {
        self.link.close().await;
    }
}
