//! Stored events, for the standing watch and the surveys.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use time::OffsetDateTime;
use uuid::Uuid;

use super::ids;
use crate::event::EventId;
use crate::store::sqlite::SqliteStore;
use crate::store::tables::text::comparable;
use crate::store::tables::watching::{BodyRow, FactRow, events_in_order};
use crate::store::{FactVisitor, StoreError, StoredBody, WatchedEvents};

const COMPLETED: &str = r#"
    SELECT event_id FROM "NAMESPACE.events" AS event
    WHERE event_id IN (SELECT unhex(value, '-') FROM json_each(?1))
        AND NOT EXISTS (SELECT 1 FROM "NAMESPACE.scheduled_events" AS held
            WHERE held.event_id = event.event_id AND held.released_at IS NULL)
        AND NOT EXISTS (SELECT 1 FROM "NAMESPACE.deliveries" AS open
            WHERE open.event_id = event.event_id AND open.status NOT IN ('delivered', 'discarded'))"#;

const BODIES: &str = r#"
    SELECT event_id, type, source, publisher, received_at, accepted_at, body
    FROM "NAMESPACE.events" WHERE event_id IN (SELECT unhex(value, '-') FROM json_each(?1))"#;

const STORED_BETWEEN: &str = r#"
    SELECT event_id, stream_id, type, received_at, stored_at AS at FROM "NAMESPACE.events"
    WHERE stored_at >= ?1 AND stored_at < ?2"#;

const NEVER_STORED: &str = r#"
    SELECT event_id, NULL AS stream_id, NULL AS type, NULL AS received_at, due_at AS at
    FROM "NAMESPACE.deliveries" AS made
    WHERE due_at >= ?1 AND due_at < ?2
        AND NOT EXISTS (SELECT 1 FROM "NAMESPACE.events" WHERE event_id = made.event_id)"#;

/// SQLite takes `event_id` from the row that has the maximum.
const EVENTS_OF_STREAM: &str = r#"
    SELECT stream_id, event_id, max(coalesce(received_at, '')) FROM (
        SELECT stream_id, event_id, received_at FROM "NAMESPACE.events"
        WHERE stream_id IN (SELECT unhex(value, '-') FROM json_each(?1))
        UNION ALL
        SELECT stream_id, event_id, received_at FROM "NAMESPACE.rejections"
        WHERE stream_id IN (SELECT unhex(value, '-') FROM json_each(?1)))
    GROUP BY stream_id"#;

#[async_trait]
impl WatchedEvents for SqliteStore {
    async fn are_completed(&self, events: &[EventId]) -> Result<Vec<bool>, StoreError> {
        let asked = ids(events)?;
        let completed: Vec<(Uuid,)> = self.link.rows(COMPLETED, |query| query.bind(asked)).await?;
        let completed: HashSet<Uuid> = completed.into_iter().map(|(id,)| id).collect();
        let is_completed = |event: &EventId| completed.contains(&event.uuid());
        Ok(events.iter().map(is_completed).collect())
    }

    async fn events_of_stream(
        &self,
        stream_ids: &[EventId],
    ) -> Result<Vec<Option<EventId>>, StoreError> {
        if stream_ids.is_empty() {
            return Ok(Vec::new());
        }
        let asked = ids(stream_ids)?;
        let rows: Vec<(Uuid, Uuid, String)> = self
            .link
            .rows(EVENTS_OF_STREAM, |query| query.bind(asked))
            .await?;
        let rows = rows.into_iter().map(|(id, event, _)| (id, event));
        Ok(events_in_order(rows.collect(), stream_ids))
    }

    async fn stored_bodies(&self, events: &[EventId]) -> Result<Vec<StoredBody>, StoreError> {
        let asked = ids(events)?;
        let rows: Vec<BodyRow> = self.link.rows(BODIES, |query| query.bind(asked)).await?;
        Ok(rows.into_iter().map(StoredBody::from).collect())
    }

    async fn each_stored(
        &self,
        from: OffsetDateTime,
        to: OffsetDateTime,
        visit: FactVisitor,
    ) -> Result<(), StoreError> {
        for query in [STORED_BETWEEN, NEVER_STORED] {
            let (query, visit) = (self.link.sql(query), Arc::clone(&visit));
            self.link
                .read(move |connection| {
                    Box::pin(async move {
                        // As a stream: there may be millions.
                        let mut rows = sqlx::query_as::<_, FactRow>(query)
                            .bind(comparable(from))
                            .bind(comparable(to))
                            .fetch(connection);
                        while let Some(row) = rows.try_next().await? {
                            visit(row.into());
                        }
                        Ok(())
                    })
                })
                .await?;
        }
        Ok(())
    }
}
