//! Dead letters: keeping and finding them.

mod counts;
mod filter;
pub(super) mod superseded;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use sqlx::PgConnection;
use uuid::Uuid;

pub(super) use filter::{Choice, Matching, Order, Statement};

use super::PostgresStore;
use super::columns::column;
use super::story::story_of;
use crate::store::tables::letters::{INTEGRATE, LetterRow, NewLetterRow, SummaryRow};
use crate::store::{
    DeadFilter, DeadGroup, DeadLetter, DeadLetters, DeadPage, DeadStory, DeadSummary, StoreError,
};

const LETTER: &str = "SELECT * FROM dead_letters WHERE dead_letter_id = $1";

/// One statement is one transaction, and one round trip.
const KEEP: &str = "WITH given AS (
        SELECT * FROM UNNEST($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[],
                    $7::text[], $8::bigint[], $9::text[], $10::text[], $11::text[],
                    $12::bigint[], $13::timestamptz[], $14::timestamptz[], $15::text[],
                    $16::text[], $17::text[], $18::text[], $19::bytea[], $21::bigint[],
                    $22::uuid[])
             AS given (dead_letter_id, event_id, type, source, queue, stage, destination,
                       generation, reason, error, fingerprint, attempts, first_failed_at,
                       last_failed_at, routing_key, content_type, properties, headers, body,
                       copies, entry_key)
    ), kept AS (
        INSERT INTO dead_letters AS known
            (dead_letter_id, event_id, type, source, queue, stage, destination, generation,
             reason, error, fingerprint, attempts, first_failed_at, last_failed_at, routing_key,
             content_type, properties, headers, body, copies, entry_key)
        SELECT dead_letter_id, event_id, type, source, queue, stage, destination, generation,
               reason, error, fingerprint, attempts, first_failed_at, last_failed_at,
               routing_key, content_type, properties::json, headers::json, body,
               GREATEST(copies, 1), entry_key
        FROM given
        ON CONFLICT (dead_letter_id) DO UPDATE SET copies = known.copies
            + (SELECT copies FROM given WHERE dead_letter_id = excluded.dead_letter_id)
            WHERE (SELECT copies FROM given WHERE dead_letter_id = excluded.dead_letter_id) > 0
        -- What has replaced nothing is new.
        RETURNING event_id, stage, destination, generation, attempts, last_failed_at, error,
                  xmax = 0 AS is_new
    ), new_letters AS (SELECT * FROM kept WHERE is_new)
    INSERT INTO deliveries AS known (event_id, destination, generation, status, attempts,
                                     last_attempt_at, last_error)
    -- One statement cannot touch a row twice.
    SELECT DISTINCT ON (event_id, destination, generation)
           event_id, destination, generation, 'dead', attempts, last_failed_at, error
    FROM new_letters
    WHERE stage = $20 AND event_id IS NOT NULL AND destination IS NOT NULL
    ORDER BY event_id, destination, generation, last_failed_at DESC
    ON CONFLICT (event_id, destination, generation) DO UPDATE SET
        status = 'dead',
        attempts = GREATEST(known.attempts, excluded.attempts),
        last_attempt_at = COALESCE(known.last_attempt_at, excluded.last_attempt_at),
        last_error = COALESCE(known.last_error, excluded.last_error)
        WHERE known.status = 'due'";

#[async_trait]
impl DeadLetters for PostgresStore {
    async fn keep_dead(&self, batch: &[DeadLetter]) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        let rows: Arc<[NewLetterRow]> = NewLetterRow::of(batch).into();
        let events = rows.iter().filter_map(|row| row.event).collect();
        let tried = Arc::new(AtomicBool::new(false));
        self.link
            .run(move |connection| {
                let rows = Arc::clone(&rows);
                // A repeated try may have been done before: then it is counted already.
                let counts = !tried.swap(true, Ordering::Relaxed);
                Box::pin(async move { insert(connection, &rows, counts).await })
            })
            .await?;
        superseded::of_events(&self.link, events).await
    }

    async fn dead_page(
        &self,
        filter: &DeadFilter,
        page: DeadPage,
    ) -> Result<Vec<DeadSummary>, StoreError> {
        let matching = Matching::new(filter, filter.state);
        let rows: Vec<SummaryRow> = self
            .link
            .run(move |connection| {
                let matching = matching.clone();
                Box::pin(async move {
                    let mut query = Statement::new("");
                    push_page(&mut query, &matching, page);
                    query
                        .build_query_as()
                        .persistent(false)
                        .fetch_all(connection)
                        .await
                })
            })
            .await?;
        rows.into_iter().map(DeadSummary::try_from).collect()
    }

    async fn dead_letter(&self, id: Uuid) -> Result<Option<DeadLetter>, StoreError> {
        let row: Option<LetterRow> = self.link.row(LETTER, move |query| query.bind(id)).await?;
        row.map(DeadLetter::try_from).transpose()
    }

    async fn dead_count(&self, filter: &DeadFilter) -> Result<u64, StoreError> {
        counts::count(&self.link, filter).await
    }

    async fn dead_story(&self, id: Uuid) -> Result<Option<DeadStory>, StoreError> {
        story_of(&self.link, id).await
    }

    async fn dead_stats(
        &self,
        filter: &DeadFilter,
        most: u32,
    ) -> Result<Vec<DeadGroup>, StoreError> {
        counts::stats(&self.link, filter, most).await
    }
}

async fn insert(
    connection: &mut PgConnection,
    rows: &[NewLetterRow],
    counts: bool,
) -> Result<(), sqlx::Error> {
    let copies = |row: &NewLetterRow| if counts { row.copies } else { 0 };
    sqlx::query(KEEP)
        .bind(column(rows, |row| row.id))
        .bind(column(rows, |row| row.event))
        .bind(column(rows, |row| row.kind.as_deref()))
        .bind(column(rows, |row| row.source.as_deref()))
        .bind(column(rows, |row| row.queue.as_str()))
        .bind(column(rows, |row| row.stage.as_str()))
        .bind(column(rows, |row| row.destination.as_deref()))
        .bind(column(rows, |row| row.generation))
        .bind(column(rows, |row| row.reason))
        .bind(column(rows, |row| row.error.as_str()))
        .bind(column(rows, |row| row.fingerprint.as_str()))
        .bind(column(rows, |row| row.attempts))
        .bind(column(rows, |row| row.first_failed_at))
        .bind(column(rows, |row| row.last_failed_at))
        .bind(column(rows, |row| row.routing_key.as_str()))
        .bind(column(rows, |row| row.content_type.as_deref()))
        .bind(column(rows, |row| row.properties.as_str()))
        .bind(column(rows, |row| row.headers.as_str()))
        .bind(column(rows, |row| row.body.as_ref()))
        .bind(INTEGRATE)
        .bind(column(rows, copies))
        .bind(column(rows, |row| row.entry_key))
        .execute(connection)
        .await?;
    Ok(())
}

fn push_page(query: &mut Statement, matching: &Matching, page: DeadPage) {
    let choice = Choice {
        order: Order::NewestFirst,
        after: page.after,
        archived_by: None,
        most: page.limit.into(),
    };
    query.push("WITH chosen AS (");
    matching.push_chosen(query, choice);
    query.push(
        ") SELECT dead_letter_id, event_id, type, queue, destination, reason, error,
                attempts, generation, dead_letters.last_failed_at, state, copies
        FROM chosen JOIN dead_letters USING (dead_letter_id)
        ORDER BY dead_letters.last_failed_at DESC, dead_letter_id DESC",
    );
}
