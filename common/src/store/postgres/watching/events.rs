//! Stored events, for the standing watch and the surveys.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use time::OffsetDateTime;
use uuid::Uuid;

use super::uuids;
use crate::event::EventId;
use crate::store::postgres::PostgresStore;
use crate::store::tables::watching::{BodyRow, FactRow, events_in_order};
use crate::store::{FactVisitor, StoreError, StoredBody, WatchedEvents};

/// In two steps, each by the first column of a primary key.
const STORED: &str = "SELECT event_id FROM events WHERE event_id = ANY($1)
    AND NOT EXISTS (SELECT FROM scheduled_events AS held
        WHERE held.event_id = events.event_id AND held.released_at IS NULL)";

const UNFINISHED: &str = "
    SELECT event_id FROM deliveries
    WHERE event_id = ANY($1) AND status NOT IN ('delivered', 'discarded')";

const BODIES: &str = "
    SELECT event_id, type, source, publisher, received_at, accepted_at, body::text
    FROM events WHERE event_id = ANY($1)";

const STORED_BETWEEN: &str = "
    SELECT event_id, stream_id, type, received_at, stored_at AS at FROM events
    WHERE stored_at >= $1 AND stored_at < $2";

const NEVER_STORED: &str = "
    SELECT event_id, NULL::uuid AS stream_id, NULL::text AS type, NULL::timestamptz AS received_at, due_at AS at
    FROM deliveries AS made
    WHERE due_at >= $1 AND due_at < $2
        AND NOT EXISTS (SELECT FROM events WHERE events.event_id = made.event_id)";

const EVENTS_OF_STREAM: &str = "
    SELECT DISTINCT ON (stream_id) stream_id, event_id
    FROM (SELECT stream_id, event_id, received_at FROM events WHERE stream_id = ANY($1)
          UNION ALL
          SELECT stream_id, event_id, received_at FROM rejections WHERE stream_id = ANY($1)) AS known
    ORDER BY stream_id, received_at DESC NULLS LAST";

#[async_trait]
impl WatchedEvents for PostgresStore {
    async fn are_completed(&self, events: &[EventId]) -> Result<Vec<bool>, StoreError> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let ids = Arc::new(uuids(events));
        let (stored, unfinished): (Vec<Uuid>, Vec<Uuid>) = self
            .link
            .run(move |connection| {
                let ids = Arc::clone(&ids);
                Box::pin(async move {
                    let stored = sqlx::query_scalar(STORED)
                        .bind(&ids[..])
                        .fetch_all(&mut *connection)
                        .await?;
                    let unfinished = sqlx::query_scalar(UNFINISHED)
                        .bind(&ids[..])
                        .fetch_all(connection)
                        .await?;
                    Ok((stored, unfinished))
                })
            })
            .await?;
        let mut completed: std::collections::HashSet<Uuid> = stored.into_iter().collect();
        for id in &unfinished {
            completed.remove(id);
        }
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
        let ids = uuids(stream_ids);
        let rows: Vec<(Uuid, Uuid)> = self
            .link
            .rows(EVENTS_OF_STREAM, move |query| query.bind(&ids))
            .await?;
        Ok(events_in_order(rows, stream_ids))
    }

    async fn stored_bodies(&self, events: &[EventId]) -> Result<Vec<StoredBody>, StoreError> {
        let ids = uuids(events);
        let rows: Vec<BodyRow> = self
            .link
            .rows(BODIES, move |query| query.bind(&ids))
            .await?;
        Ok(rows.into_iter().map(StoredBody::from).collect())
    }

    async fn each_stored(
        &self,
        from: OffsetDateTime,
        to: OffsetDateTime,
        visit: FactVisitor,
    ) -> Result<(), StoreError> {
        self.link
            .run(move |connection| {
                let visit = Arc::clone(&visit);
                Box::pin(async move {
                    for query in [STORED_BETWEEN, NEVER_STORED] {
                        // As a stream: there may be millions.
                        let mut rows = sqlx::query_as::<_, FactRow>(query)
                            .bind(from)
                            .bind(to)
                            .fetch(&mut *connection);
                        while let Some(row) = rows.try_next().await? {
                            visit(row.into());
                        }
                    }
                    Ok(())
                })
            })
            .await
    }
}
