//! Superseded dead letters: sending one again would only repeat the work of a later generation.
//!
//! - A letter that died on its way to a destination is superseded by a letter of a later generation there. A
//!   delivery of its generation or a later one that was made supersedes it as well.
//! - A letter that died before is superseded by such a letter of a later generation. The event itself supersedes
//!   it as well, once that is stored and nothing of this generation is due any more. While a delivery is due, or the
//!   event waits for its moment, the letter may be the only thing that gets it going.
//!
//! Everything is looked at after the commit of any change to it: of two changes at one time, the second sees both.
//! A claim of letters looks once more.

use std::sync::Arc;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::store::StoreError;
use crate::store::postgres::link::Link;

/// Letters that are superseded, of those that a condition names.
macro_rules! superseded {
    ($of:literal) => {
        concat!(
            "SELECT letter.dead_letter_id FROM dead_letters AS letter
    WHERE letter.state = 'open' AND letter.event_id IS NOT NULL AND ",
            $of,
            " AND
        (CASE WHEN letter.stage = 'integrate' AND letter.destination IS NOT NULL THEN
            EXISTS (
                SELECT FROM dead_letters AS newer
                WHERE newer.event_id = letter.event_id AND newer.destination = letter.destination
                      AND newer.stage = 'integrate' AND newer.generation > letter.generation)
            OR EXISTS (
                SELECT FROM deliveries AS delivery
                WHERE delivery.event_id = letter.event_id
                      AND delivery.destination = letter.destination
                      AND delivery.generation >= letter.generation
                      AND delivery.status = 'delivered')
        ELSE
            EXISTS (
                SELECT FROM dead_letters AS newer
                WHERE newer.event_id = letter.event_id AND newer.stage <> 'integrate'
                      AND newer.generation > letter.generation)
            OR (EXISTS (SELECT FROM events AS event WHERE event.event_id = letter.event_id)
                AND NOT EXISTS (SELECT FROM scheduled_events AS waiting
                    WHERE waiting.event_id = letter.event_id
                          AND released_at IS NULL AND cancelled_at IS NULL)
                AND (letter.generation = 0 OR EXISTS (
                    SELECT FROM deliveries AS delivery
                    WHERE delivery.event_id = letter.event_id
                          AND delivery.generation >= letter.generation))
                AND NOT EXISTS (
                    SELECT FROM deliveries AS delivery
                    WHERE delivery.event_id = letter.event_id AND delivery.status = 'due'
                          AND delivery.generation >= letter.generation))
        END)"
        )
    };
}

const OF_EVENTS: &str = superseded!("letter.event_id = ANY($1)");
const OF_REPLAY: &str = superseded!("letter.replay_id = $1");
const OF_LETTERS: &str = superseded!("letter.dead_letter_id = ANY($1)");

const SUPERSEDE: &str =
    "UPDATE dead_letters SET state = 'superseded', superseded_at = clock_timestamp()
    WHERE dead_letter_id = ANY($1) AND state = 'open'";

/// Marks the open letters of these events that are superseded.
pub(in crate::store::postgres) async fn of_events(
    link: &Link,
    events: Vec<Uuid>,
) -> Result<(), StoreError> {
    if events.is_empty() {
        return Ok(());
    }
    let events: Arc<[Uuid]> = events.into();
    link.run(move |connection| {
        let events = Arc::clone(&events);
        Box::pin(async move {
            let found: Vec<Uuid> = sqlx::query_scalar(OF_EVENTS)
                .bind(&events[..])
                .fetch_all(&mut *connection)
                .await?;
            supersede(connection, &found).await
        })
    })
    .await
}

/// Marks the open letters of this replay that are superseded.
pub(in crate::store::postgres) async fn of_replay(
    link: &Link,
    replay: Uuid,
) -> Result<(), StoreError> {
    link.run(move |connection| {
        Box::pin(async move {
            let found: Vec<Uuid> = sqlx::query_scalar(OF_REPLAY)
                .persistent(false)
                .bind(replay)
                .fetch_all(&mut *connection)
                .await?;
            supersede(connection, &found).await
        })
    })
    .await
}

/// Of open letters that the caller has locked, marks those that are superseded and returns the others.
pub(in crate::store::postgres) async fn left_open(
    connection: &mut PgConnection,
    mut letters: Vec<Uuid>,
) -> Result<Vec<Uuid>, sqlx::Error> {
    let found: Vec<Uuid> = sqlx::query_scalar(OF_LETTERS)
        .bind(&letters)
        .fetch_all(&mut *connection)
        .await?;
    supersede(connection, &found).await?;
    letters.retain(|letter| !found.contains(letter));
    Ok(letters)
}

/// Nearly always there is none, and even an update of nothing runs the triggers that count.
async fn supersede(connection: &mut PgConnection, letters: &[Uuid]) -> Result<(), sqlx::Error> {
    if letters.is_empty() {
        return Ok(());
    }
    sqlx::query(SUPERSEDE)
        .bind(letters)
        .execute(connection)
        .await?;
    Ok(())
}
