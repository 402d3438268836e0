//! Deliveries that are due, and the attempts at them.

use async_trait::async_trait;
use uuid::Uuid;

use super::SqliteStore;
use super::dead::superseded;
use super::link::{document, now};
use crate::store::tables::deliveries::{
    AttemptRow, KeyRow, OutcomeRow, in_order, may_have_letters, outcomes,
};
use crate::store::{Attempt, Deliveries, DeliveryKey, DeliveryRecord, StoreError};

const RECORDS: &str = r#"SELECT event_id, destination, generation, status, attempts, last_status_code,
           last_error
    FROM "NAMESPACE.deliveries"
    WHERE event_id IN (SELECT unhex(value, '-') FROM json_each($1))"#;

const DISCARD: &str = r#"UPDATE "NAMESPACE.deliveries" SET status = 'discarded'
    WHERE status = 'due' AND (event_id, destination, generation) IN (
        SELECT unhex(value ->> 'event', '-'), value ->> 'destination', value ->> 'generation'
        FROM json_each($1))"#;

const INSERT_ATTEMPTS: &str = r#"INSERT INTO "NAMESPACE.delivery_attempts"
    (event_id, destination, generation, attempt, started_at, duration_ms, status_code, error,
     response_excerpt)
    SELECT unhex(value ->> 'event', '-'), value ->> 'destination', value ->> 'generation',
           value ->> 'attempt', value ->> 'started_at', value ->> 'duration_ms',
           value ->> 'status_code', value ->> 'error', value ->> 'response_excerpt'
    FROM jsonb_each($1) WHERE true
    ON CONFLICT (event_id, destination, generation, attempt, started_at) DO NOTHING"#;

const RECORD: &str = r#"INSERT INTO "NAMESPACE.deliveries" AS known
    (event_id, destination, generation, status, attempts, due_at, last_attempt_at, delivered_at,
     last_status_code, last_error)
    SELECT unhex(value ->> 'event', '-'), value ->> 'destination', value ->> 'generation',
           CASE WHEN value ->> 'delivered_at' IS NULL THEN 'due' ELSE 'delivered' END,
           value ->> 'attempts', $2, value ->> 'last_attempt_at',
           value ->> 'delivered_at', value ->> 'last_status_code', value ->> 'last_error'
    FROM jsonb_each($1) WHERE true
    ON CONFLICT (event_id, destination, generation) DO UPDATE SET
        -- What the receiver has, it has: a failure that is recorded late does not take it away.
        -- A failure leaves a delivery that was given up or discarded as it is.
        status = CASE WHEN excluded.status = 'delivered' THEN 'delivered' ELSE known.status END,
        attempts = max(known.attempts, excluded.attempts),
        delivered_at = coalesce(known.delivered_at, excluded.delivered_at),
        last_attempt_at = max(coalesce(known.last_attempt_at, ''), excluded.last_attempt_at),
        last_status_code = CASE WHEN known.last_attempt_at > excluded.last_attempt_at
                                THEN known.last_status_code
                                ELSE excluded.last_status_code END,
        last_error = CASE WHEN known.last_attempt_at > excluded.last_attempt_at
                          THEN known.last_error
                          ELSE excluded.last_error END"#;

#[async_trait]
impl Deliveries for SqliteStore {
    async fn deliveries(
        &self,
        keys: &[DeliveryKey],
    ) -> Result<Vec<Option<DeliveryRecord>>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let events: Vec<Uuid> = keys.iter().map(|key| key.event.uuid()).collect();
        let events = document(&events)?;
        let rows = self.link.rows(RECORDS, |query| query.bind(events)).await?;
        in_order(rows, keys)
    }

    async fn discard_due(&self, keys: &[DeliveryKey]) -> Result<(), StoreError> {
        if keys.is_empty() {
            return Ok(());
        }
        let keys: Vec<KeyRow> = keys.iter().map(KeyRow::from).collect();
        let keys = document(&keys)?;
        self.link.execute(DISCARD, |query| query.bind(keys)).await
    }

    async fn record_attempts(&self, batch: &[Attempt]) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        let attempts: Vec<AttemptRow> = batch.iter().map(AttemptRow::from).collect();
        let outcomes: Vec<OutcomeRow> = outcomes(batch);
        let may_have_letters = may_have_letters(&outcomes);
        let (attempts, outcomes) = (document(&attempts)?, document(&outcomes)?);
        self.link
            .write(move |connection, link| {
                Box::pin(async move {
                    sqlx::query(link.sql(INSERT_ATTEMPTS))
                        .bind(attempts)
                        .execute(&mut *connection)
                        .await?;
                    sqlx::query(link.sql(RECORD))
                        .bind(outcomes)
                        .bind(now()?)
                        .execute(&mut *connection)
                        .await?;
                    superseded::of_events(connection, link, &may_have_letters).await
                })
            })
            .await
    }
}
