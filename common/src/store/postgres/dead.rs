//! Dead letters: keeping and finding them.

mod counts;
mod filter;
mod plans;
pub(super) mod superseded;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use sqlx::PgConnection;
use uuid::Uuid;

pub(super) use filter::{Choice, Matching, Order, Statement};
pub use plans::DeadQuestion;
pub(super) use plans::plans;

use self::filter::{Found, MANY_ERRORS, Other, Text, push_errors_with};
use super::PostgresStore;
use super::columns::column;
use super::link::Link;
use super::story::story_of;
use crate::store::tables::letters::{INTEGRATE, LetterRow, NewLetterRow, SummaryRow};
use crate::store::{
    DeadFilter, DeadGroup, DeadLetter, DeadLetters, DeadPage, DeadState, DeadStory, DeadSummary,
    StoreError,
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
                // What is tried again may have been done: then it is counted already.
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
        let matching = matching(&self.link, filter, filter.state).await?;
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
        let row: Option<LetterRow> = self
            .link
            .run(move |connection| {
                Box::pin(async move {
                    sqlx::query_as(LETTER)
                        .bind(id)
                        .fetch_optional(connection)
                        .await
                })
            })
            .await?;
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

/// What `filter` asks for, in `state`, whatever the filter says of the state. Where it asks for a fingerprint
/// or a text, the fingerprints and the errors that match are found first: they are far fewer than letters.
pub(super) async fn matching(
    link: &Link,
    filter: &DeadFilter,
    state: Option<DeadState>,
) -> Result<Matching, StoreError> {
    found(link, filter, state, false).await
}

/// The same, for figures of this moment: a fingerprint all of whose letters have the text counts as a whole.
async fn matching_counts(link: &Link, filter: &DeadFilter) -> Result<Matching, StoreError> {
    found(link, filter, filter.state, true).await
}

async fn found(
    link: &Link,
    filter: &DeadFilter,
    state: Option<DeadState>,
    as_wholes: bool,
) -> Result<Matching, StoreError> {
    let matching = Matching::new(filter, state);
    let Some((fingerprint, text)) = matching.to_find() else {
        return Ok(matching);
    };
    let found = link
        .snapshot(move |connection| {
            let (fingerprint, text) = (fingerprint.clone(), text.clone());
            Box::pin(async move {
                let (fingerprint, text) = (fingerprint.as_deref(), text.as_ref());
                find(connection, fingerprint, text, as_wholes).await
            })
        })
        .await?;
    Ok(matching.with_found(found))
}

/// The fingerprints that match as a whole, and the errors of others that do. `as_wholes` takes those for such as
/// well whose letters all match now; a letter that comes later may be another.
async fn find(
    connection: &mut PgConnection,
    fingerprint: Option<&str>,
    text: Option<&Text>,
    as_wholes: bool,
) -> Result<Found, sqlx::Error> {
    let mut found = prints(connection, fingerprint, text).await?;
    let Some(text) = text.filter(|_| !found.others.is_empty()) else {
        return Ok(found);
    };
    let mut errors = errors_with(connection, text, &found.others).await?;
    let number: usize = errors.values().map(|of_print| of_print.errors.len()).sum();
    if number > MANY_ERRORS {
        found.too_many = true;
        return Ok(found);
    }
    for mut other in std::mem::take(&mut found.others) {
        match errors.remove(&other.id) {
            // What is left of it is none of its letters.
            Some(matching) if as_wholes && matching.letters == other.letters => {
                found.prints.push((other.text, other.id));
            }
            Some(matching) => {
                other.errors = matching.errors;
                found.others.push(other);
            }
            None => {}
        }
    }
    Ok(found)
}

/// All fingerprints, or the one that is asked for: those that match as a whole, and the others.
async fn prints(
    connection: &mut PgConnection,
    fingerprint: Option<&str>,
    text: Option<&Text>,
) -> Result<Found, sqlx::Error> {
    let mut query = Statement::new("");
    push_prints(&mut query, fingerprint, text);
    let prints: Vec<(String, Uuid, i64, bool)> = query
        .build_query_as()
        .persistent(false)
        .fetch_all(connection)
        .await?;
    let mut found = Found::default();
    for (text, id, letters, matches) in prints {
        if matches {
            found.prints.push((text, id));
        } else {
            let errors = Vec::new();
            found.others.push(Other {
                text,
                id,
                letters,
                errors,
            });
        }
    }
    Ok(found)
}

fn push_prints(query: &mut Statement, fingerprint: Option<&str>, text: Option<&Text>) {
    query.push("SELECT fingerprint, md5(fingerprint)::uuid, letters, ");
    match text {
        None => query.push("true"),
        Some(text) if text.is_plain => query
            .push("lower(fingerprint COLLATE \"C\") LIKE ")
            .push_bind(text.pattern.clone()),
        Some(_) => query.push("false"),
    };
    query.push(
        " FROM (SELECT fingerprint, sum(letters)::bigint AS letters FROM dead_letter_counts
            WHERE hour = '-infinity' AND letters > 0",
    );
    if let Some(fingerprint) = fingerprint {
        query
            .push(" AND fingerprint = ")
            .push_bind(fingerprint.to_owned());
    }
    query.push(" GROUP BY fingerprint) AS counted");
}

/// The errors of one fingerprint with a text in them.
struct ErrorsWith {
    letters: i64,
    errors: Vec<Uuid>,
}

/// The errors of `others` with a text in them, by fingerprint: no more than one too many. They come in one row for
/// each fingerprint, as ten thousand rows take several times as long to be sent and read.
async fn errors_with(
    connection: &mut PgConnection,
    text: &Text,
    others: &[Other],
) -> Result<HashMap<Uuid, ErrorsWith>, sqlx::Error> {
    let mut query = Statement::new("");
    push_errors_by_print(&mut query, text, others);
    let rows: Vec<(Uuid, i64, Vec<Uuid>)> = query
        .build_query_as()
        // Planned for this text: whether its index is of use depends on it.
        .persistent(false)
        .fetch_all(connection)
        .await?;
    let rows = rows
        .into_iter()
        .map(|(print, letters, errors)| (print, ErrorsWith { letters, errors }));
    Ok(rows.collect())
}

fn push_errors_by_print(query: &mut Statement, text: &Text, others: &[Other]) {
    let prints: Vec<Uuid> = others.iter().map(|other| other.id).collect();
    query.push(
        "SELECT fingerprint_id, sum(letters)::bigint, array_agg(error_id)
        FROM (SELECT error_id, fingerprint_id, letters",
    );
    push_errors_with(query, &text.pattern, &prints);
    query
        .push(" LIMIT ")
        .push_bind(i64::try_from(MANY_ERRORS + 1).unwrap_or(i64::MAX))
        .push(") AS error GROUP BY fingerprint_id");
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
