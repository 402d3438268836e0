//! Dead letters: keeping and finding them.

mod filter;
mod row;

use std::sync::Arc;

use sqlx::PgConnection;
use sqlx::postgres::PgBindIterExt as _;
use uuid::Uuid;

pub(super) use filter::{Matching, matching};
pub(super) use row::LetterRow;
use row::{NewLetterRow, SummaryRow};

use super::link::Link;
use crate::store::{DeadFilter, DeadLetter, DeadPage, DeadSummary, StoreError};

/// The stage whose dead letters are about a delivery.
pub(super) const INTEGRATE: &str = "integrate";

pub(super) async fn keep(link: &Link, batch: &[DeadLetter]) -> Result<(), StoreError> {
    if batch.is_empty() {
        return Ok(());
    }
    let mut rows: Vec<NewLetterRow> = batch.iter().map(NewLetterRow::from).collect();
    // In one order, so that two batches never wait for each other in a circle.
    rows.sort_by_key(|row| row.id);
    let rows: Arc<[NewLetterRow]> = rows.into();
    link.run(move |connection| {
        let rows = Arc::clone(&rows);
        Box::pin(async move { insert(connection, &rows).await })
    })
    .await
}

async fn insert(connection: &mut PgConnection, rows: &[NewLetterRow]) -> Result<(), sqlx::Error> {
    // One statement is one transaction, and one round trip.
    sqlx::query(
        "WITH new_letters AS (
            INSERT INTO dead_letters (dead_letter_id, event_id, type, source, queue, stage,
                                      destination, generation, reason, error, attempts,
                                      first_failed_at, last_failed_at, routing_key, content_type,
                                      properties, headers, body)
            SELECT dead_letter_id, event_id, type, source, queue, stage, destination, generation,
                   reason, error, attempts, first_failed_at, last_failed_at, routing_key,
                   content_type, properties::json, headers::json, body
            FROM UNNEST($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[],
                        $7::text[], $8::bigint[], $9::text[], $10::text[], $11::bigint[],
                        $12::timestamptz[], $13::timestamptz[], $14::text[], $15::text[],
                        $16::text[], $17::text[], $18::bytea[])
                 AS given (dead_letter_id, event_id, type, source, queue, stage, destination,
                           generation, reason, error, attempts, first_failed_at, last_failed_at,
                           routing_key, content_type, properties, headers, body)
            ON CONFLICT (dead_letter_id) DO NOTHING
            RETURNING event_id, stage, destination, generation, attempts, last_failed_at, error
        )
        INSERT INTO deliveries AS known (event_id, destination, generation, status, attempts,
                                         last_attempt_at, last_error)
        -- One statement cannot touch a row twice.
        SELECT DISTINCT ON (event_id, destination, generation)
               event_id, destination, generation, 'dead', attempts, last_failed_at, error
        FROM new_letters
        WHERE stage = $19 AND event_id IS NOT NULL AND destination IS NOT NULL
        ORDER BY event_id, destination, generation, last_failed_at DESC
        ON CONFLICT (event_id, destination, generation) DO UPDATE SET
            status = 'dead',
            attempts = GREATEST(known.attempts, excluded.attempts),
            last_attempt_at = COALESCE(known.last_attempt_at, excluded.last_attempt_at),
            last_error = COALESCE(known.last_error, excluded.last_error)
            WHERE known.status = 'due'",
    )
    .bind(rows.iter().map(|row| row.id).bind_iter())
    .bind(rows.iter().map(|row| row.event).bind_iter())
    .bind(rows.iter().map(|row| row.kind.as_deref()).bind_iter())
    .bind(rows.iter().map(|row| row.source.as_deref()).bind_iter())
    .bind(rows.iter().map(|row| row.queue.as_str()).bind_iter())
    .bind(rows.iter().map(|row| row.stage.as_str()).bind_iter())
    .bind(
        rows.iter()
            .map(|row| row.destination.as_deref())
            .bind_iter(),
    )
    .bind(rows.iter().map(|row| row.generation).bind_iter())
    .bind(rows.iter().map(|row| row.reason).bind_iter())
    .bind(rows.iter().map(|row| row.error.as_str()).bind_iter())
    .bind(rows.iter().map(|row| row.attempts).bind_iter())
    .bind(rows.iter().map(|row| row.first_failed_at).bind_iter())
    .bind(rows.iter().map(|row| row.last_failed_at).bind_iter())
    .bind(rows.iter().map(|row| row.routing_key.as_str()).bind_iter())
    .bind(
        rows.iter()
            .map(|row| row.content_type.as_deref())
            .bind_iter(),
    )
    .bind(rows.iter().map(|row| row.properties.as_str()).bind_iter())
    .bind(rows.iter().map(|row| row.headers.as_str()).bind_iter())
    .bind(rows.iter().map(|row| row.body.as_ref()).bind_iter())
    .bind(INTEGRATE)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn page(
    link: &Link,
    filter: &DeadFilter,
    page: DeadPage,
) -> Result<Vec<DeadSummary>, StoreError> {
    let matching = Arc::new(Matching::new(filter, filter.state));
    let (at, id) = page.after.unzip();
    let rows: Vec<SummaryRow> = link
        .run(move |connection| {
            let matching = Arc::clone(&matching);
            Box::pin(async move {
                matching
                    .bind(sqlx::query_as(concat!(
                        "SELECT dead_letter_id, event_id, type, queue, reason, error, attempts,
                                generation, last_failed_at, state
                        FROM dead_letters
                        WHERE ",
                        matching!(),
                        " AND ($8::timestamptz IS NULL
                               OR (last_failed_at, dead_letter_id) < ($8, $9::uuid))
                        ORDER BY last_failed_at DESC, dead_letter_id DESC
                        LIMIT $10"
                    )))
                    .bind(at)
                    .bind(id)
                    .bind(i64::from(page.limit))
                    .fetch_all(connection)
                    .await
            })
        })
        .await?;
    rows.into_iter().map(DeadSummary::try_from).collect()
}

pub(super) async fn count(link: &Link, filter: &DeadFilter) -> Result<u64, StoreError> {
    let matching = Arc::new(Matching::new(filter, filter.state));
    let (count,): (i64,) = link
        .run(move |connection| {
            let matching = Arc::clone(&matching);
            Box::pin(async move {
                matching
                    .bind(sqlx::query_as(concat!(
                        "SELECT count(*) FROM dead_letters WHERE ",
                        matching!()
                    )))
                    .fetch_one(connection)
                    .await
            })
        })
        .await?;
    Ok(count.unsigned_abs())
}

pub(super) async fn letter(link: &Link, id: Uuid) -> Result<Option<DeadLetter>, StoreError> {
    let row: Option<LetterRow> = link
        .run(move |connection| {
            Box::pin(async move {
                sqlx::query_as("SELECT * FROM dead_letters WHERE dead_letter_id = $1")
                    .bind(id)
                    .fetch_optional(connection)
                    .await
            })
        })
        .await?;
    row.map(DeadLetter::try_from).transpose()
}
