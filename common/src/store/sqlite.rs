//! SQLite: the store of one machine, in one file.
//!
//! It says and does what [`PostgresStore`](super::postgres::PostgresStore) does. Where that leaves a batch
//! to `UNNEST`, here a batch is one JSON document for `jsonb_each`: a statement has one text, whatever the
//! size of the batch. Several statements of one piece of work are in one transaction, in which nobody else
//! writes.

mod dead;
mod deliveries;
mod events;
mod link;
mod mending;
mod operations;
mod rejections;
mod replays;
mod schema;
mod status;
mod story;
mod watching;

use std::sync::Arc;

use async_trait::async_trait;
use time::OffsetDateTime;
use uuid::Uuid;

use self::link::Link;
use super::{
    Attempt, DeadEdit, DeadFilter, DeadGroup, DeadLetter, DeadPage, DeadStory, DeadSummary,
    DeliveryKey, DeliveryRecord, Discard, Edited, EventRecord, EventStatus, NewEvent, NewRejection,
    Operations, RejectionRecord, Standing, Store, StoreError, Stored, Watching,
};
use crate::config;
use crate::event::EventId;
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
    async fn migrate(&self) -> Result<(), StoreError> {
        schema::migrate(&self.link).await
    }

    /// The file stays, for those of other namespaces.
    async fn remove_schema(&self) -> Result<(), StoreError> {
        schema::remove(&self.link).await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        schema::ready(&self.link).await
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

    async fn product(&self) -> Result<Option<String>, StoreError> {
        schema::product(&self.link).await.map(Some)
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
