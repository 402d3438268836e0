//! Due deliveries, for the standing watch and the surveys.

use std::collections::HashMap;

use async_trait::async_trait;
use time::OffsetDateTime;

use super::ids;
use crate::event::EventId;
use crate::store::sqlite::SqliteStore;
use crate::store::sqlite::link::document;
use crate::store::tables::text::comparable;
use crate::store::tables::watching::DueRow;
use crate::store::{DueDelivery, StoreError, WatchedDeliveries};

const DUE: &str = r#"
    SELECT due.event_id, due.destination, due.generation, attempts, due_at, last_attempt_at, place.first_at,
        place.event_id IS NOT NULL AND EXISTS (SELECT 1 FROM "NAMESPACE.ordered_deliveries" AS earlier
            WHERE earlier.destination = place.destination AND earlier.order_key = place.order_key
                AND (earlier.received_at, earlier.event_id) < (place.received_at, place.event_id)) AS is_behind
    FROM "NAMESPACE.deliveries" AS due
    LEFT JOIN "NAMESPACE.ordered_deliveries" AS place ON place.destination = due.destination AND place.event_id = due.event_id
    WHERE due_at >= ?1 AND due_at < ?2 AND status = 'due'
        AND NOT EXISTS (SELECT 1 FROM "NAMESPACE.deliveries" AS newer
            WHERE newer.event_id = due.event_id AND newer.destination = due.destination
                AND newer.generation > due.generation)
        AND NOT EXISTS (SELECT 1 FROM "NAMESPACE.dead_letters" AS letter
            WHERE letter.event_id = due.event_id AND letter.state = 'replaying')
    ORDER BY due_at LIMIT ?3"#;

const DUE_OF: &str = r#"
    SELECT due.event_id, due.destination, due.generation, attempts, due_at, last_attempt_at, place.first_at,
        place.event_id IS NOT NULL AND EXISTS (SELECT 1 FROM "NAMESPACE.ordered_deliveries" AS earlier
            WHERE earlier.destination = place.destination AND earlier.order_key = place.order_key
                AND (earlier.received_at, earlier.event_id) < (place.received_at, place.event_id)) AS is_behind
    FROM "NAMESPACE.deliveries" AS due
    LEFT JOIN "NAMESPACE.ordered_deliveries" AS place ON place.destination = due.destination AND place.event_id = due.event_id
    WHERE due.event_id IN (SELECT unhex(value, '-') FROM json_each(?1)) AND status = 'due'
        AND NOT EXISTS (SELECT 1 FROM "NAMESPACE.deliveries" AS newer
            WHERE newer.event_id = due.event_id AND newer.destination = due.destination
                AND newer.generation > due.generation)"#;

const COUNT_DUE: &str = r#"
    SELECT destination, count(*) FROM "NAMESPACE.deliveries"
    WHERE status = 'due' AND destination IN (SELECT value FROM json_each(?1))
    GROUP BY destination"#;

const LAST_ATTEMPTS: &str = r#"
    SELECT destination, max(last_attempt_at) FROM "NAMESPACE.deliveries"
    WHERE due_at >= ?1 AND last_attempt_at IS NOT NULL GROUP BY destination"#;

#[async_trait]
impl WatchedDeliveries for SqliteStore {
    async fn due_deliveries(
        &self,
        since: OffsetDateTime,
        before: OffsetDateTime,
        most: u32,
    ) -> Result<Vec<DueDelivery>, StoreError> {
        let rows: Vec<DueRow> = self
            .link
            .rows(DUE, |query| {
                query
                    .bind(comparable(since))
                    .bind(comparable(before))
                    .bind(most)
            })
            .await?;
        rows.into_iter().map(DueDelivery::try_from).collect()
    }

    async fn due_of(&self, events: &[EventId]) -> Result<Vec<DueDelivery>, StoreError> {
        let asked = ids(events)?;
        let rows: Vec<DueRow> = self.link.rows(DUE_OF, |query| query.bind(asked)).await?;
        rows.into_iter().map(DueDelivery::try_from).collect()
    }

    async fn count_due(&self, destinations: &[String]) -> Result<HashMap<String, u64>, StoreError> {
        let asked = document(destinations)?;
        let rows: Vec<(String, i64)> = self.link.rows(COUNT_DUE, |query| query.bind(asked)).await?;
        let counts = rows.into_iter();
        Ok(counts.map(|(at, due)| (at, due.unsigned_abs())).collect())
    }

    async fn last_attempts(
        &self,
        since: OffsetDateTime,
    ) -> Result<Vec<(String, OffsetDateTime)>, StoreError> {
        self.link
            .rows(LAST_ATTEMPTS, |query| query.bind(comparable(since)))
            .await
    }
}
