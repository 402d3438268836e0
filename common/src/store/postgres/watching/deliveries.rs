//! Due deliveries, for the standing watch and the surveys.

use std::collections::HashMap;

use async_trait::async_trait;
use time::OffsetDateTime;

use super::uuids;
use crate::event::EventId;
use crate::store::postgres::PostgresStore;
use crate::store::tables::watching::DueRow;
use crate::store::{DueDelivery, StoreError, WatchedDeliveries};

const DUE: &str = "
    SELECT due.event_id, due.destination, due.generation, attempts, due_at, last_attempt_at, place.first_at,
        place.event_id IS NOT NULL AND EXISTS (SELECT FROM ordered_deliveries AS earlier
            WHERE earlier.destination = place.destination AND earlier.order_key = place.order_key
                AND (earlier.received_at, earlier.event_id) < (place.received_at, place.event_id)) AS is_behind
    FROM deliveries AS due
    LEFT JOIN ordered_deliveries AS place ON place.destination = due.destination AND place.event_id = due.event_id
    WHERE due_at >= $1 AND due_at < $2 AND status = 'due'
        AND NOT EXISTS (SELECT FROM deliveries AS newer
            WHERE newer.event_id = due.event_id AND newer.destination = due.destination
                AND newer.generation > due.generation)
        AND NOT EXISTS (SELECT FROM dead_letters AS letter
            WHERE letter.event_id = due.event_id AND letter.state = 'replaying')
    ORDER BY due_at LIMIT $3";

const DUE_OF: &str = "
    SELECT due.event_id, due.destination, due.generation, attempts, due_at, last_attempt_at, place.first_at,
        place.event_id IS NOT NULL AND EXISTS (SELECT FROM ordered_deliveries AS earlier
            WHERE earlier.destination = place.destination AND earlier.order_key = place.order_key
                AND (earlier.received_at, earlier.event_id) < (place.received_at, place.event_id)) AS is_behind
    FROM deliveries AS due
    LEFT JOIN ordered_deliveries AS place ON place.destination = due.destination AND place.event_id = due.event_id
    WHERE due.event_id = ANY($1) AND status = 'due'
        AND NOT EXISTS (SELECT FROM deliveries AS newer
            WHERE newer.event_id = due.event_id AND newer.destination = due.destination
                AND newer.generation > due.generation)";

const COUNT_DUE: &str = "
    SELECT destination, count(*) FROM deliveries
    WHERE status = 'due' AND destination = ANY($1) GROUP BY destination";

const LAST_ATTEMPTS: &str = "
    SELECT destination, max(last_attempt_at) FROM deliveries
    WHERE due_at >= $1 AND last_attempt_at IS NOT NULL GROUP BY destination";

#[async_trait]
impl WatchedDeliveries for PostgresStore {
    async fn due_deliveries(
        &self,
        since: OffsetDateTime,
        before: OffsetDateTime,
        most: u32,
    ) -> Result<Vec<DueDelivery>, StoreError> {
        let rows: Vec<DueRow> = self
            .link
            .rows(DUE, move |query| {
                query.bind(since).bind(before).bind(i64::from(most))
            })
            .await?;
        rows.into_iter().map(DueDelivery::try_from).collect()
    }

    async fn due_of(&self, events: &[EventId]) -> Result<Vec<DueDelivery>, StoreError> {
        let ids = uuids(events);
        let rows: Vec<DueRow> = self
            .link
            .rows(DUE_OF, move |query| query.bind(&ids))
            .await?;
        rows.into_iter().map(DueDelivery::try_from).collect()
    }

    async fn count_due(&self, destinations: &[String]) -> Result<HashMap<String, u64>, StoreError> {
        let asked = destinations.to_vec();
        let rows: Vec<(String, i64)> = self
            .link
            .rows(COUNT_DUE, move |query| query.bind(&asked))
            .await?;
        let counts = rows.into_iter();
        Ok(counts.map(|(at, due)| (at, due.unsigned_abs())).collect())
    }

    async fn last_attempts(
        &self,
        since: OffsetDateTime,
    ) -> Result<Vec<(String, OffsetDateTime)>, StoreError> {
        self.link
            .rows(LAST_ATTEMPTS, move |query| query.bind(since))
            .await
    }
}
