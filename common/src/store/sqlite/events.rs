//! Storing events, exactly once each.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;
use sqlx::SqliteConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::SqliteStore;
use super::link::{Link, document, now};
use super::order::take_places;
use super::schedule::{release, wait};
use crate::event::EventId;
use crate::sqlite::Error;
use crate::store::tables::events::{
    Confirmation, Processing, Signup, due, filtered, filtered_of, same_content, waves,
};
use crate::store::tables::order::places;
use crate::store::tables::schedule::{Known, to_release, waiting};
use crate::store::tables::text::json;
use crate::store::tables::text::{hex, moment, moment_if_any};
use crate::store::{
    Details, EventRecord, Events, FilteredDestination, NewEvent, Statuses as _, StoreError, Stored,
};

/// Takes the free ids, and returns them.
const INSERT: &str = r#"INSERT INTO "NAMESPACE.events"
    (event_id, type, source, source_id, publisher, subject, time, received_at, accepted_at, stored_at,
     fingerprint, body, stream_id, filtered)
    SELECT unhex(value ->> 'id', '-'), value ->> 'type', value ->> 'source', value ->> 'source_id',
           value ->> 'publisher', value ->> 'subject', value ->> 'time', value ->> 'received_at',
           value ->> 'accepted_at', $2, unhex(value ->> 'fingerprint'), value ->> 'body',
           unhex(value ->> 'stream_id', '-'), value ->> 'filtered'
    FROM jsonb_each($1) WHERE true
    ON CONFLICT (event_id) DO NOTHING
    RETURNING event_id"#;

/// Takes the free addresses, and returns their events.
const INSERT_SIGNUPS: &str = r#"INSERT INTO "NAMESPACE.signups"
    (event_id, email, email_normalised, name, plan, locale, password_hash, attributes)
    SELECT unhex(value ->> 'event', '-'), value ->> 'email', value ->> 'email_normalised',
           value ->> 'name', value ->> 'plan', value ->> 'locale', value ->> 'password_hash',
           value ->> 'attributes'
    FROM jsonb_each($1) WHERE true
    ON CONFLICT (email_normalised) DO NOTHING
    RETURNING event_id"#;

const INSERT_PROCESSING: &str = r#"INSERT INTO "NAMESPACE.processing" (event_id, task, payload)
    SELECT unhex(value ->> 'event', '-'), value ->> 'task', value ->> 'payload'
    FROM jsonb_each($1)"#;

const INSERT_CONFIRMATIONS: &str = r#"INSERT INTO "NAMESPACE.confirmations"
    (signup_id, email, confirmed_at, event_id)
    SELECT unhex(value ->> 'signup', '-'), value ->> 'email', value ->> 'at', unhex(value ->> 'event', '-')
    FROM jsonb_each($1) WHERE true
    ORDER BY value ->> 'at'
    ON CONFLICT (signup_id) DO NOTHING"#;

const INSERT_DUE: &str = r#"INSERT INTO "NAMESPACE.deliveries"
    (event_id, destination, generation, due_at)
    SELECT unhex(value ->> 'event', '-'), value ->> 'destination', value ->> 'generation', $2
    FROM jsonb_each($1) WHERE true
    ON CONFLICT (event_id, destination, generation) DO NOTHING"#;

const DELETE: &str = r#"DELETE FROM "NAMESPACE.events"
    WHERE event_id IN (SELECT unhex(value, '-') FROM json_each($1))"#;

/// The body only of events whose fingerprint is another.
const COMPARE: &str = r#"SELECT event_id,
        CASE WHEN fingerprint <> unhex(given.value ->> 'fingerprint') THEN body END
    FROM jsonb_each($1) AS given
    JOIN "NAMESPACE.events" ON event_id = unhex(given.value ->> 'id', '-')"#;

const FILTERED: &str = r#"SELECT event_id, filtered FROM "NAMESPACE.events"
    WHERE event_id IN (SELECT unhex(value, '-') FROM json_each($1)) AND filtered IS NOT NULL"#;

const FILTER: &str = r#"UPDATE "NAMESPACE.events" SET filtered = $2 WHERE event_id = $1"#;

const EVENT: &str = r#"SELECT publisher, source, body FROM "NAMESPACE.events" WHERE event_id = $1"#;

#[async_trait]
impl Events for SqliteStore {
    async fn store(&self, batch: Arc<[NewEvent]>) -> Result<Vec<Stored>, StoreError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        if batch.iter().any(holds_nul) {
            return Err(StoreError::Data(
                "a text holds a character that it cannot keep, such as NUL".to_owned(),
            ));
        }
        self.link
            .write(move |connection, link| {
                Box::pin(async move {
                    let mut outcomes = vec![Stored::Before; batch.len()];
                    for wave in waves(&batch) {
                        let events: Vec<&NewEvent> =
                            wave.iter().map(|&index| &batch[index]).collect();
                        let stored = store_wave(connection, link, &events).await?;
                        for (&index, outcome) in wave.iter().zip(stored) {
                            outcomes[index] = outcome;
                        }
                    }
                    Ok(outcomes)
                })
            })
            .await
    }

    async fn filtered(
        &self,
        ids: &[EventId],
    ) -> Result<HashMap<EventId, Vec<FilteredDestination>>, StoreError> {
        let ids = document(&ids.iter().map(|id| id.uuid()).collect::<Vec<Uuid>>())?;
        let rows: Vec<(Uuid, String)> = self.link.rows(FILTERED, |query| query.bind(ids)).await?;
        filtered_of(rows)
    }

    async fn event(&self, id: EventId) -> Result<Option<EventRecord>, StoreError> {
        let row: Option<(String, String, String)> =
            self.link.row(EVENT, |query| query.bind(id.uuid())).await?;
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

/// Whether an event holds a NUL: SQLite would keep it, and then stop reading at it.
fn holds_nul(event: &NewEvent) -> bool {
    let mut texts = vec![
        Some(&event.kind),
        Some(&event.source),
        Some(&event.source_id),
        Some(&event.publisher),
        event.subject.as_ref(),
        Some(&event.body),
    ];
    match &event.details {
        Details::Signup {
            email,
            email_normalised,
            name,
            plan,
            locale,
            password_hash,
            attributes,
        } => {
            texts.extend([Some(email), Some(email_normalised), Some(name)]);
            texts.extend([plan, locale, password_hash, attributes].map(Option::as_ref));
        }
        Details::Processing { task, payload } => texts.extend([Some(task), Some(payload)]),
        Details::Confirmation { email, .. } => texts.push(Some(email)),
        Details::None => {}
    }
    texts.extend(event.destinations.iter().map(Some));
    texts.into_iter().flatten().any(|text| text.contains('\0'))
}

/// A row of `events`.
#[derive(Serialize)]
struct Row<'a> {
    id: Uuid,
    #[serde(rename = "type")]
    kind: &'a str,
    source: &'a str,
    source_id: &'a str,
    publisher: &'a str,
    subject: Option<&'a str>,
    #[serde(serialize_with = "moment_if_any")]
    time: Option<OffsetDateTime>,
    #[serde(serialize_with = "moment")]
    received_at: OffsetDateTime,
    #[serde(serialize_with = "moment")]
    accepted_at: OffsetDateTime,
    #[serde(serialize_with = "hex")]
    fingerprint: [u8; 32],
    body: &'a str,
    stream_id: Option<Uuid>,
    /// A text: it is kept as one.
    filtered: Option<String>,
}

impl<'a> From<&&'a NewEvent> for Row<'a> {
    fn from(event: &&'a NewEvent) -> Self {
        Self {
            id: event.id.uuid(),
            kind: &event.kind,
            source: &event.source,
            source_id: &event.source_id,
            publisher: &event.publisher,
            subject: event.subject.as_deref(),
            time: event.time,
            received_at: event.received_at,
            accepted_at: event.accepted_at,
            fingerprint: event.fingerprint,
            body: &event.body,
            stream_id: event.stream_id.map(EventId::uuid),
            filtered: filtered(event),
        }
    }
}

/// The values that a stored event is compared with.
#[derive(Serialize)]
struct Given {
    id: Uuid,
    #[serde(serialize_with = "hex")]
    fingerprint: [u8; 32],
}

impl From<&&NewEvent> for Given {
    fn from(event: &&NewEvent) -> Self {
        Self {
            id: event.id.uuid(),
            fingerprint: event.fingerprint,
        }
    }
}

/// Stores events of which no two have the same id or address.
async fn store_wave(
    connection: &mut SqliteConnection,
    link: &Link,
    events: &[&NewEvent],
) -> Result<Vec<Stored>, Error> {
    let rows: Vec<Row<'_>> = events.iter().map(Row::from).collect();
    let new: Vec<Uuid> = sqlx::query_scalar(link.sql(INSERT))
        .bind(document(&rows)?)
        .bind(now()?)
        .fetch_all(&mut *connection)
        .await?;
    let new: HashSet<Uuid> = new.into_iter().collect();
    let (new, known): (Vec<&NewEvent>, Vec<&NewEvent>) = events
        .iter()
        .partition(|event| new.contains(&event.id.uuid()));
    let taken = insert_details(connection, link, &new).await?;
    let (lost, new): (Vec<&NewEvent>, Vec<&NewEvent>) = new
        .into_iter()
        .partition(|event| taken.contains(&event.id.uuid()));
    let same = compare(connection, link, &known).await?;
    let stands = release(connection, link, to_release(&known, &same)).await?;
    let again = stands.due(&known, &same);
    filter_released(connection, link, &again, &stands).await?;
    let due: Vec<&NewEvent> = new.iter().copied().chain(again).collect();
    insert_due(connection, link, &due).await?;
    take_places(connection, link, &places(&due)).await?;
    let waiting = waiting(&new);
    wait(connection, link, &waiting).await?;

    let mut outcomes: HashMap<Uuid, Stored> = HashMap::with_capacity(events.len());
    outcomes.extend(new.iter().map(|event| (event.id.uuid(), Stored::New)));
    outcomes.extend(waiting.iter().map(|row| (row.event, Stored::Scheduled)));
    outcomes.extend(
        lost.iter()
            .map(|event| (event.id.uuid(), Stored::EmailTaken)),
    );
    outcomes.extend(same.into_iter().map(|(id, same)| {
        let outcome = if same {
            stands.outcome(id)
        } else {
            Stored::Conflict
        };
        (id, outcome)
    }));
    events
        .iter()
        .map(|event| {
            outcomes.get(&event.id.uuid()).copied().ok_or_else(|| {
                Error::Fault("expected an event to be new or known, found neither".to_owned())
            })
        })
        .collect()
}

/// Writes down whose filter passes over those of `events` whose moment has come.
async fn filter_released(
    connection: &mut SqliteConnection,
    link: &Link,
    events: &[&NewEvent],
    known: &Known,
) -> Result<(), Error> {
    let released = events
        .iter()
        .filter(|event| known.released.contains(&event.id.uuid()));
    for event in released {
        if let Some(filtered) = filtered(event) {
            sqlx::query(link.sql(FILTER))
                .bind(event.id.uuid())
                .bind(filtered)
                .execute(&mut *connection)
                .await?;
        }
    }
    Ok(())
}

/// Writes the rows of the types' own tables. Returns the events that come too late for their address: nothing of
/// them stays.
async fn insert_details(
    connection: &mut SqliteConnection,
    link: &Link,
    events: &[&NewEvent],
) -> Result<HashSet<Uuid>, Error> {
    let processing: Vec<Processing<'_>> =
        events.iter().copied().filter_map(Processing::of).collect();
    if !processing.is_empty() {
        sqlx::query(link.sql(INSERT_PROCESSING))
            .bind(document(&processing)?)
            .execute(&mut *connection)
            .await?;
    }
    let confirmations = events.iter().copied().filter_map(Confirmation::of);
    let confirmations: Vec<Confirmation<'_>> = confirmations.collect();
    if !confirmations.is_empty() {
        sqlx::query(link.sql(INSERT_CONFIRMATIONS))
            .bind(document(&confirmations)?)
            .execute(&mut *connection)
            .await?;
    }
    let signups: Vec<Signup<'_>> = events.iter().copied().filter_map(Signup::of).collect();
    if signups.is_empty() {
        return Ok(HashSet::new());
    }
    let mut taken: HashSet<Uuid> = signups.iter().map(|row| row.event).collect();
    let free: Vec<Uuid> = sqlx::query_scalar(link.sql(INSERT_SIGNUPS))
        .bind(document(&signups)?)
        .fetch_all(&mut *connection)
        .await?;
    for event in free {
        taken.remove(&event);
    }
    if !taken.is_empty() {
        let ids: Vec<Uuid> = taken.iter().copied().collect();
        sqlx::query(link.sql(DELETE))
            .bind(document(&ids)?)
            .execute(connection)
            .await?;
    }
    Ok(taken)
}

/// Whether stored events have the same content.
async fn compare(
    connection: &mut SqliteConnection,
    link: &Link,
    events: &[&NewEvent],
) -> Result<HashMap<Uuid, bool>, Error> {
    if events.is_empty() {
        return Ok(HashMap::new());
    }
    let given: Vec<Given> = events.iter().map(Given::from).collect();
    let rows: Vec<(Uuid, Option<String>)> = sqlx::query_as(link.sql(COMPARE))
        .bind(document(&given)?)
        .fetch_all(connection)
        .await?;
    Ok(same_content(events, rows))
}

/// Writes deliveries down as due.
async fn insert_due(
    connection: &mut SqliteConnection,
    link: &Link,
    events: &[&NewEvent],
) -> Result<(), Error> {
    let due = due(events);
    if due.is_empty() {
        return Ok(());
    }
    sqlx::query(link.sql(INSERT_DUE))
        .bind(document(&due)?)
        .bind(now()?)
        .execute(connection)
        .await?;
    Ok(())
}
