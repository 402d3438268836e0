//! Deliveries that are due, and the attempts at them.

use async_trait::async_trait;
use uuid::Uuid;

use super::PostgresStore;
use super::columns::column;
use super::dead::superseded;
use crate::store::tables::deliveries::{
    AttemptRow, DeliveryRow, KeyRow, OutcomeRow, in_order, may_have_letters, outcomes,
};
use crate::store::{Attempt, Deliveries, DeliveryKey, DeliveryRecord, StoreError};

/// By the first column of the primary key alone: a join with a list of keys is planned once, while the table is
/// small, as a scan of all of it.
const RECORDS: &str =
    "SELECT event_id, destination, generation, status, attempts, last_status_code, last_error
    FROM deliveries WHERE event_id = ANY($1)";

const DISCARD: &str = "UPDATE deliveries AS known SET status = 'discarded'
    FROM UNNEST($1::uuid[], $2::text[], $3::bigint[])
         AS given (event_id, destination, generation)
    WHERE known.event_id = given.event_id AND known.destination = given.destination
          AND known.generation = given.generation AND known.status = 'due'";

/// One statement is one transaction, and one round trip.
const RECORD: &str = "WITH new_attempts AS (
        INSERT INTO delivery_attempts (event_id, destination, generation, attempt, started_at,
                                       duration_ms, status_code, error, response_excerpt)
        SELECT *
        FROM UNNEST($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::timestamptz[],
                    $6::bigint[], $7::integer[], $8::text[], $9::text[])
        ON CONFLICT (event_id, destination, generation, attempt, started_at) DO NOTHING
    )
    INSERT INTO deliveries AS known
           (event_id, destination, generation, status, attempts, due_at, last_attempt_at,
            delivered_at, last_status_code, last_error)
    SELECT event_id, destination, generation,
           CASE WHEN delivered_at IS NULL THEN 'due' ELSE 'delivered' END,
           attempts, clock_timestamp(), last_attempt_at, delivered_at, last_status_code,
           last_error
    FROM UNNEST($10::uuid[], $11::text[], $12::bigint[], $13::bigint[], $14::timestamptz[],
                $15::timestamptz[], $16::integer[], $17::text[])
         AS given (event_id, destination, generation, attempts, last_attempt_at,
                   delivered_at, last_status_code, last_error)
    ORDER BY event_id, destination, generation
    ON CONFLICT (event_id, destination, generation) DO UPDATE SET
        -- What the receiver has, it has: a failure that is recorded late does not take it away.
        -- A failure leaves a delivery that was given up or discarded as it is.
        status = CASE WHEN excluded.status = 'delivered' THEN 'delivered'
                      ELSE known.status END,
        attempts = GREATEST(known.attempts, excluded.attempts),
        delivered_at = COALESCE(known.delivered_at, excluded.delivered_at),
        last_attempt_at = GREATEST(known.last_attempt_at, excluded.last_attempt_at),
        last_status_code = CASE WHEN known.last_attempt_at > excluded.last_attempt_at
                                THEN known.last_status_code
                                ELSE excluded.last_status_code END,
        last_error = CASE WHEN known.last_attempt_at > excluded.last_attempt_at
                          THEN known.last_error
                          ELSE excluded.last_error END";

#[async_trait]
impl Deliveries for PostgresStore {
    async fn deliveries(
        &self,
        keys: &[DeliveryKey],
    ) -> Result<Vec<Option<DeliveryRecord>>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let events: Vec<Uuid> = keys.iter().map(|key| key.event.uuid()).collect();
        let rows: Vec<DeliveryRow> = self
            .link
            .rows(RECORDS, move |query| query.bind(&events))
            .await?;
        in_order(rows, keys)
    }

    async fn discard_due(&self, keys: &[DeliveryKey]) -> Result<(), StoreError> {
        if keys.is_empty() {
            return Ok(());
        }
        let keys: Vec<KeyRow> = keys.iter().map(KeyRow::from).collect();
        self.link
            .execute(DISCARD, move |query| {
                query
                    .bind(column(&keys, |key| key.event))
                    .bind(column(&keys, |key| key.destination.as_str()))
                    .bind(column(&keys, |key| key.generation))
            })
            .await
    }

    async fn record_attempts(&self, batch: &[Attempt]) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        let attempts: Vec<AttemptRow> = batch.iter().map(AttemptRow::from).collect();
        let outcomes: Vec<OutcomeRow> = outcomes(batch);
        let may_have_letters = may_have_letters(&outcomes);
        self.link
            .execute(RECORD, move |query| {
                query
                    .bind(column(&attempts, |row| row.event))
                    .bind(column(&attempts, |row| row.destination.as_str()))
                    .bind(column(&attempts, |row| row.generation))
                    .bind(column(&attempts, |row| row.attempt))
                    .bind(column(&attempts, |row| row.started_at))
                    .bind(column(&attempts, |row| row.duration_ms))
                    .bind(column(&attempts, |row| row.status_code))
                    .bind(column(&attempts, |row| row.error.as_deref()))
                    .bind(column(&attempts, |row| row.response_excerpt.as_deref()))
                    .bind(column(&outcomes, |row| row.event))
                    .bind(column(&outcomes, |row| row.destination.as_str()))
                    .bind(column(&outcomes, |row| row.generation))
                    .bind(column(&outcomes, |row| row.attempts))
                    .bind(column(&outcomes, |row| row.last_attempt_at))
                    .bind(column(&outcomes, |row| row.delivered_at))
                    .bind(column(&outcomes, |row| row.last_status_code))
                    .bind(column(&outcomes, |row| row.last_error.as_deref()))
            })
            .await?;
        superseded::of_events(&self.link, may_have_letters).await
    }
}
