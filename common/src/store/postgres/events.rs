//! Storing events, exactly once each.
//!
//! Everything about one event is decided by two keys, `events_pkey` and `signups_email_normalised_key`. Both are
//! taken with `ON CONFLICT DO NOTHING`, which waits until another transaction that takes the same key commits or
//! gives up. Ids are taken before addresses, and both in order, so that two batches never wait for each other in a
//! circle.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use super::PostgresStore;
use super::columns::column;
use super::order::take_places;
use super::schedule::{release, wait};
use crate::event::EventId;
use crate::store::tables::events::{
    Confirmation, Processing, Signup, due, filtered, filtered_of, same_content, waves,
};
use crate::store::tables::order::places;
use crate::store::tables::schedule::{to_release, waiting};
use crate::store::tables::text::json;
use crate::store::{
    EventRecord, Events, FilteredDestination, NewEvent, Statuses as _, StoreError, Stored,
};

const EVENT: &str = "SELECT publisher, source, body::text FROM events WHERE event_id = $1";

const DELETE: &str = "DELETE FROM events WHERE event_id = ANY($1)";

const INSERT: &str = "WITH
    new_events AS (
        INSERT INTO events (event_id, type, source, source_id, publisher, subject, time,
                            received_at, accepted_at, fingerprint, body, stream_id, filtered)
        SELECT event_id, type, source, source_id, publisher, subject, time,
               received_at, accepted_at, fingerprint, body::json, stream_id, filtered::json
        FROM UNNEST($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                    $7::timestamptz[], $8::timestamptz[], $9::timestamptz[], $10::bytea[],
                    $11::text[], $26::uuid[], $27::text[])
             AS given (event_id, type, source, source_id, publisher, subject, time,
                       received_at, accepted_at, fingerprint, body, stream_id, filtered)
        ORDER BY event_id
        ON CONFLICT (event_id) DO NOTHING
        RETURNING event_id
    ),
    asked AS (
        SELECT given.*
        FROM UNNEST($12::uuid[], $13::text[], $14::text[], $15::text[], $16::text[],
                    $17::text[], $18::text[], $19::text[])
             AS given (event_id, email, email_normalised, name, plan, locale, password_hash,
                       attributes)
        JOIN new_events USING (event_id)
    ),
    new_signups AS (
        INSERT INTO signups (event_id, email, email_normalised, name, plan, locale,
                             password_hash, attributes)
        SELECT event_id, email, email_normalised, name, plan, locale, password_hash,
               attributes::json
        FROM asked
        -- Sorting reads all of new_events first: every id is taken before the first address.
        ORDER BY email_normalised
        ON CONFLICT (email_normalised) DO NOTHING
        RETURNING event_id
    ),
    new_processing AS (
        INSERT INTO processing (event_id, task, payload)
        SELECT event_id, task, payload::json
        FROM UNNEST($20::uuid[], $21::text[], $22::text[]) AS given (event_id, task, payload)
        JOIN new_events USING (event_id)
    ),
    outcome AS (
        SELECT event_id,
               asked.event_id IS NOT NULL AND new_signups.event_id IS NULL AS email_taken
        FROM new_events
        LEFT JOIN asked USING (event_id)
        LEFT JOIN new_signups USING (event_id)
    ),
    new_deliveries AS (
        INSERT INTO deliveries (event_id, destination, generation)
        SELECT event_id, destination, generation
        FROM UNNEST($23::uuid[], $24::text[], $25::bigint[])
             AS given (event_id, destination, generation)
        JOIN outcome USING (event_id)
        WHERE NOT email_taken
        ORDER BY event_id, destination, generation
        ON CONFLICT (event_id, destination, generation) DO NOTHING
    )
    SELECT event_id, email_taken FROM outcome";

const COMPARE: &str = "SELECT event_id,
            CASE WHEN events.fingerprint <> given.fingerprint THEN events.body::text END
    FROM UNNEST($1::uuid[], $2::bytea[]) AS given (event_id, fingerprint)
    JOIN events USING (event_id)";

const FILTERED: &str = "SELECT event_id, filtered::text FROM events
    WHERE event_id = ANY($1) AND filtered IS NOT NULL";

const FILTER: &str = "UPDATE events SET filtered = $2::json WHERE event_id = $1";

const INSERT_DUE: &str = "INSERT INTO deliveries (event_id, destination, generation)
    SELECT event_id, destination, generation
    FROM UNNEST($1::uuid[], $2::text[], $3::bigint[])
         AS given (event_id, destination, generation)
    ORDER BY event_id, destination, generation
    ON CONFLICT (event_id, destination, generation) DO NOTHING";

const INSERT_CONFIRMATIONS: &str =
    "INSERT INTO confirmations (signup_id, email, confirmed_at, event_id)
    SELECT signup_id, email, confirmed_at, event_id
    FROM UNNEST($1::uuid[], $2::text[], $3::timestamptz[], $4::uuid[])
         AS given (signup_id, email, confirmed_at, event_id)
    ORDER BY signup_id, confirmed_at
    ON CONFLICT (signup_id) DO NOTHING";

#[async_trait]
impl Events for PostgresStore {
    async fn store(&self, batch: Arc<[NewEvent]>) -> Result<Vec<Stored>, StoreError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let waves: Arc<[Vec<usize>]> = waves(&batch).into();
        // A connection that broke during the commit leaves open whether it took place. The rows found then may be
        // this very batch, which nobody else will hand on, or may have been there before.
        let committing = Arc::new(AtomicBool::new(false));
        let unknown = Arc::clone(&committing);
        let stored = self.link.transaction(move |connection| {
            let batch = Arc::clone(&batch);
            let waves = Arc::clone(&waves);
            let committing = Arc::clone(&committing);
            Box::pin(async move {
                let perhaps_ours = committing.load(Ordering::Relaxed);
                let mut outcomes = vec![Stored::Before; batch.len()];
                for wave in waves.iter() {
                    let events: Vec<&NewEvent> = wave.iter().map(|&index| &batch[index]).collect();
                    let stored = store_wave(connection, &events).await?;
                    for (&index, outcome) in wave.iter().zip(stored) {
                        outcomes[index] = match outcome {
                            Stored::Before if perhaps_ours => Stored::NewOrBefore,
                            outcome => outcome,
                        };
                    }
                }
                committing.store(true, Ordering::Relaxed);
                Ok(outcomes)
            })
        });
        stored.await.map_err(|error| {
            if unknown.load(Ordering::Relaxed) {
                // Whatever prevented another try, the caller must not take the batch for one that is surely not
                // stored.
                StoreError::Unavailable(format!("nobody knows whether a batch was stored: {error}"))
            } else {
                error
            }
        })
    }

    async fn filtered(
        &self,
        ids: &[EventId],
    ) -> Result<HashMap<EventId, Vec<FilteredDestination>>, StoreError> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
        let rows: Vec<(Uuid, String)> = self
            .link
            .rows(FILTERED, move |query| query.bind(&ids))
            .await?;
        filtered_of(rows)
    }

    async fn event(&self, id: EventId) -> Result<Option<EventRecord>, StoreError> {
        let row: Option<(String, String, String)> = self
            .link
            .row(EVENT, move |query| query.bind(id.uuid()))
            .await?;
        let Some((publisher, source, body)) = row else {
            return Ok(None);
        };
        let Some(status) = self.status(id).await? else {
            return Ok(None);
        };
        Ok(Some(EventRecord {
            status,
            publisher,
            source,
            event: json("events.body", &body)?,
            body,
        }))
    }
}

/// Stores events of which no two have the same id or address.
async fn store_wave(
    connection: &mut PgConnection,
    events: &[&NewEvent],
) -> Result<Vec<Stored>, sqlx::Error> {
    let mut outcomes: HashMap<Uuid, Stored> = HashMap::with_capacity(events.len());
    let mut taken: Vec<Uuid> = Vec::new();
    for row in insert(connection, events).await? {
        let id: Uuid = row.try_get("event_id")?;
        if row.try_get("email_taken")? {
            taken.push(id);
            outcomes.insert(id, Stored::EmailTaken);
        } else {
            outcomes.insert(id, Stored::New);
        }
    }
    if !taken.is_empty() {
        // Their ids were ours to take, their addresses were not.
        sqlx::query(DELETE)
            .bind(&taken)
            .execute(&mut *connection)
            .await?;
    }
    let new = |event: &&NewEvent| outcomes.get(&event.id.uuid()) == Some(&Stored::New);
    let new: Vec<&NewEvent> = events.iter().copied().filter(new).collect();
    let confirmations = new.iter().copied().filter_map(Confirmation::of);
    insert_confirmations(connection, &confirmations.collect::<Vec<_>>()).await?;
    take_places(connection, places(&new)).await?;
    let waiting = waiting(&new);
    wait(connection, &waiting).await?;
    outcomes.extend(waiting.iter().map(|row| (row.event, Stored::Scheduled)));
    if outcomes.len() < events.len() {
        let known: Vec<&NewEvent> = events
            .iter()
            .filter(|event| !outcomes.contains_key(&event.id.uuid()))
            .copied()
            .collect();
        outcomes.extend(store_known(connection, &known).await?);
    }
    events
        .iter()
        .map(|event| {
            // The event is not new, and gone again before we looked: somebody deleted it in between.
            outcomes
                .get(&event.id.uuid())
                .copied()
                .ok_or(sqlx::Error::RowNotFound)
        })
        .collect()
}

/// The outcomes of events whose id is taken. Replayed ones, and those whose moment has come, are due now.
async fn store_known(
    connection: &mut PgConnection,
    events: &[&NewEvent],
) -> Result<HashMap<Uuid, Stored>, sqlx::Error> {
    let same = compare(connection, events).await?;
    let known = release(connection, to_release(events, &same)).await?;
    let due: Vec<&NewEvent> = known.due(events, &same);
    if !due.is_empty() {
        insert_due(connection, &due).await?;
        take_places(connection, places(&due)).await?;
    }
    for event in due
        .iter()
        .filter(|it| known.released.contains(&it.id.uuid()))
    {
        if let Some(filtered) = filtered(event) {
            sqlx::query(FILTER)
                .bind(event.id.uuid())
                .bind(filtered)
                .execute(&mut *connection)
                .await?;
        }
    }
    let outcome = |(id, same)| match same {
        true => (id, known.outcome(id)),
        false => (id, Stored::Conflict),
    };
    Ok(same.into_iter().map(outcome).collect())
}

/// Inserts the events whose id and address are free, with their due deliveries. Returns one row for each event
/// whose id was free.
async fn insert(
    connection: &mut PgConnection,
    events: &[&NewEvent],
) -> Result<Vec<sqlx::postgres::PgRow>, sqlx::Error> {
    let signups: Vec<Signup<'_>> = events.iter().copied().filter_map(Signup::of).collect();
    let processing: Vec<Processing<'_>> =
        events.iter().copied().filter_map(Processing::of).collect();
    let due = due(events);
    sqlx::query(INSERT)
        .bind(column(events, |event| event.id.uuid()))
        .bind(column(events, |event| event.kind.as_str()))
        .bind(column(events, |event| event.source.as_str()))
        .bind(column(events, |event| event.source_id.as_str()))
        .bind(column(events, |event| event.publisher.as_str()))
        .bind(column(events, |event| event.subject.as_deref()))
        .bind(column(events, |event| event.time))
        .bind(column(events, |event| event.received_at))
        .bind(column(events, |event| event.accepted_at))
        .bind(column(events, |event| event.fingerprint.as_slice()))
        .bind(column(events, |event| event.body.as_str()))
        .bind(column(&signups, |row| row.event))
        .bind(column(&signups, |row| row.email))
        .bind(column(&signups, |row| row.email_normalised))
        .bind(column(&signups, |row| row.name))
        .bind(column(&signups, |row| row.plan))
        .bind(column(&signups, |row| row.locale))
        .bind(column(&signups, |row| row.password_hash))
        .bind(column(&signups, |row| row.attributes))
        .bind(column(&processing, |row| row.event))
        .bind(column(&processing, |row| row.task))
        .bind(column(&processing, |row| row.payload))
        .bind(column(&due, |row| row.event))
        .bind(column(&due, |row| row.destination))
        .bind(column(&due, |row| row.generation))
        .bind(column(events, |event| event.stream_id.map(EventId::uuid)))
        .bind(column(events, |event| filtered(event)))
        .fetch_all(connection)
        .await
}

/// Writes down which signups new events confirm.
async fn insert_confirmations(
    connection: &mut PgConnection,
    rows: &[Confirmation<'_>],
) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(INSERT_CONFIRMATIONS)
        .bind(column(rows, |row| row.signup))
        .bind(column(rows, |row| row.email))
        .bind(column(rows, |row| row.at))
        .bind(column(rows, |row| row.event))
        .execute(connection)
        .await?;
    Ok(())
}

/// Whether stored events have the same content. A statement of its own, so that it sees the rows that the insert
/// has waited for.
async fn compare(
    connection: &mut PgConnection,
    events: &[&NewEvent],
) -> Result<HashMap<Uuid, bool>, sqlx::Error> {
    let rows: Vec<(Uuid, Option<String>)> = sqlx::query_as(COMPARE)
        .bind(column(events, |event| event.id.uuid()))
        .bind(column(events, |event| event.fingerprint.as_slice()))
        .fetch_all(connection)
        .await?;
    Ok(same_content(events, rows))
}

/// Writes down the deliveries of replayed events as due.
async fn insert_due(
    connection: &mut PgConnection,
    events: &[&NewEvent],
) -> Result<(), sqlx::Error> {
    let due = due(events);
    sqlx::query(INSERT_DUE)
        .bind(column(&due, |row| row.event))
        .bind(column(&due, |row| row.destination))
        .bind(column(&due, |row| row.generation))
        .execute(connection)
        .await?;
    Ok(())
}
