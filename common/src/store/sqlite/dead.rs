//! Dead letters: keeping and finding them.

mod filter;
mod groups;
pub(super) mod superseded;

use std::collections::{BTreeMap, HashSet};

use async_trait::async_trait;
use serde::Serialize;
use sqlx::SqliteConnection;
use time::OffsetDateTime;
use uuid::Uuid;

pub(super) use self::filter::matching;
use super::SqliteStore;
use super::link::{Link, document, now};
use super::story::story_of;
use crate::sqlite::Error;
use crate::store::tables::letters::{INTEGRATE, LetterRow, NewLetterRow, SummaryRow};
use crate::store::tables::text::{comparable, moment};
use crate::store::{
    DeadFilter, DeadGroup, DeadLetter, DeadLetters, DeadPage, DeadStory, DeadSummary, StoreError,
};

/// Keeps the letters that are not kept yet, and returns them.
const INSERT: &str = r#"INSERT INTO "NAMESPACE.dead_letters"
    (dead_letter_id, event_id, type, source, queue, stage, destination, generation, reason, error,
     fingerprint, attempts, first_failed_at, last_failed_at, routing_key, content_type, properties,
     headers, body, copies, entry_key, archived_at)
    SELECT unhex(value ->> 'id', '-'), unhex(value ->> 'event', '-'), value ->> 'kind',
           value ->> 'source', value ->> 'queue', value ->> 'stage', value ->> 'destination',
           value ->> 'generation', value ->> 'reason', value ->> 'error',
           value ->> 'fingerprint', value ->> 'attempts', value ->> 'first_failed_at',
           value ->> 'last_failed_at', value ->> 'routing_key', value ->> 'content_type',
           value ->> 'properties', value ->> 'headers', unhex(value ->> 'body'),
           max(value ->> 'copies', 1), unhex(value ->> 'entry_key', '-'), $2
    FROM jsonb_each($1) WHERE true
    ON CONFLICT (dead_letter_id) DO NOTHING
    RETURNING dead_letter_id"#;

/// Counts the new copies of letters that are kept already.
const COUNT_COPIES: &str = r#"UPDATE "NAMESPACE.dead_letters" SET copies = copies + given.more
    FROM (SELECT unhex(value ->> 'id', '-') AS id, value ->> 'copies' AS more FROM jsonb_each($1)) AS given
    WHERE dead_letter_id = given.id AND given.more > 0"#;

const MARK_DELIVERIES: &str = r#"INSERT INTO "NAMESPACE.deliveries" AS known
    (event_id, destination, generation, status, attempts, due_at, last_attempt_at, last_error)
    SELECT unhex(value ->> 'event', '-'), value ->> 'destination', value ->> 'generation', 'dead',
           value ->> 'attempts', $2, value ->> 'last_failed_at', value ->> 'error'
    FROM jsonb_each($1) WHERE true
    ON CONFLICT (event_id, destination, generation) DO UPDATE SET
        status = 'dead',
        attempts = max(known.attempts, excluded.attempts),
        last_attempt_at = coalesce(known.last_attempt_at, excluded.last_attempt_at),
        last_error = coalesce(known.last_error, excluded.last_error)
        WHERE known.status = 'due'"#;

const LETTER: &str = r#"SELECT * FROM "NAMESPACE.dead_letters" WHERE dead_letter_id = $1"#;

const SUMMARIES: &str = r#"SELECT dead_letter_id, event_id, type, queue, destination, reason, error, attempts,
        generation, last_failed_at, state, copies
    FROM "NAMESPACE.dead_letters" WHERE "#;

const COUNT: &str = r#"SELECT count(*) FROM "NAMESPACE.dead_letters" WHERE "#;

#[async_trait]
impl DeadLetters for SqliteStore {
    async fn keep_dead(&self, batch: &[DeadLetter]) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        let rows = NewLetterRow::of(batch);
        self.link
            .write(move |connection, link| {
                Box::pin(async move {
                    let letters = document(&rows)?;
                    sqlx::query(link.sql(COUNT_COPIES))
                        .bind(&letters)
                        .execute(&mut *connection)
                        .await?;
                    let new: Vec<Uuid> = sqlx::query_scalar(link.sql(INSERT))
                        .bind(letters)
                        .bind(now()?)
                        .fetch_all(&mut *connection)
                        .await?;
                    let new: HashSet<Uuid> = new.into_iter().collect();
                    mark_deliveries(
                        connection,
                        link,
                        rows.iter().filter(|row| new.contains(&row.id)),
                    )
                    .await?;
                    let events: Vec<Uuid> = rows.iter().filter_map(|row| row.event).collect();
                    superseded::of_events(connection, link, &events).await
                })
            })
            .await
    }

    async fn dead_page(
        &self,
        filter: &DeadFilter,
        page: DeadPage,
    ) -> Result<Vec<DeadSummary>, StoreError> {
        let mut query = matching(self.link.in_namespace(SUMMARIES), filter, filter.state)?;
        if let Some((at, id)) = page.after {
            let at = comparable(at);
            query.push(" AND (last_failed_at, dead_letter_id) < (");
            query.push_bind(at).push(", ").push_bind(id).push(")");
        }
        query.push(" ORDER BY last_failed_at DESC, dead_letter_id DESC LIMIT ");
        query.push_bind(i64::from(page.limit));
        let rows: Vec<SummaryRow> = self
            .link
            .read(move |connection| {
                Box::pin(async move { Ok(query.build_query_as().fetch_all(connection).await?) })
            })
            .await?;
        rows.into_iter().map(DeadSummary::try_from).collect()
    }

    async fn dead_count(&self, filter: &DeadFilter) -> Result<u64, StoreError> {
        let mut query = matching(self.link.in_namespace(COUNT), filter, filter.state)?;
        let count: i64 = self
            .link
            .read(move |connection| {
                Box::pin(async move { Ok(query.build_query_scalar().fetch_one(connection).await?) })
            })
            .await?;
        Ok(count.unsigned_abs())
    }

    async fn dead_letter(&self, id: Uuid) -> Result<Option<DeadLetter>, StoreError> {
        let row: Option<LetterRow> = self.link.row(LETTER, |query| query.bind(id)).await?;
        row.map(DeadLetter::try_from).transpose()
    }

    async fn dead_story(&self, id: Uuid) -> Result<Option<DeadStory>, StoreError> {
        story_of(&self.link, id).await
    }

    async fn dead_stats(
        &self,
        filter: &DeadFilter,
        most: u32,
    ) -> Result<Vec<DeadGroup>, StoreError> {
        groups::stats(&self.link, filter, most).await
    }
}

/// A delivery that was given up.
#[derive(Serialize)]
struct Death<'a> {
    event: Uuid,
    destination: &'a str,
    generation: i64,
    attempts: i64,
    #[serde(serialize_with = "moment")]
    last_failed_at: OffsetDateTime,
    error: &'a str,
}

/// Marks the due delivery of each letter that died on its way to a destination as dead. Of two letters about one
/// delivery, the last one counts.
async fn mark_deliveries(
    connection: &mut SqliteConnection,
    link: &Link,
    letters: impl Iterator<Item = &NewLetterRow>,
) -> Result<(), Error> {
    let mut deaths: BTreeMap<(Uuid, &str, i64), Death<'_>> = BTreeMap::new();
    for row in letters.filter(|row| row.stage == INTEGRATE) {
        let (Some(event), Some(destination)) = (row.event, row.destination.as_deref()) else {
            continue;
        };
        let death = Death {
            event,
            destination,
            generation: row.generation,
            attempts: row.attempts,
            last_failed_at: row.last_failed_at,
            error: &row.error,
        };
        let held = deaths.get(&(event, destination, row.generation));
        if held.is_none_or(|held| held.last_failed_at < death.last_failed_at) {
            deaths.insert((event, destination, row.generation), death);
        }
    }
    if deaths.is_empty() {
        return Ok(());
    }
    let deaths: Vec<Death<'_>> = deaths.into_values().collect();
    sqlx::query(link.sql(MARK_DELIVERIES))
        .bind(document(&deaths)?)
        .bind(now()?)
        .execute(connection)
        .await?;
    Ok(())
}
