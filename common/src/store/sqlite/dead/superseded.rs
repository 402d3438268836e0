//! Superseded dead letters: sending one again would only repeat the work of a later generation.
//!
//! - A letter that died on its way to a destination is superseded by a letter of a later generation there. A
//!   delivery of its generation or a later one that was made supersedes it as well.
//! - A letter that died before is superseded by such a letter of a later generation. The event itself supersedes
//!   it as well, once that is stored and nothing of this generation is due any more. While a delivery is due, or the
//!   event waits for its moment, the letter may be the only thing that gets it going.

use sqlx::SqliteConnection;
use uuid::Uuid;

use crate::sqlite::Error;
use crate::store::sqlite::link::{Link, document, now};

/// Letters by `$1` as `json_each` gives it, that are superseded.
const OF_LETTERS: &str = r#"SELECT letter.dead_letter_id FROM "NAMESPACE.dead_letters" AS letter
    WHERE letter.dead_letter_id IN (SELECT unhex(value, '-') FROM json_each($1))
        AND letter.state = 'open' AND letter.event_id IS NOT NULL AND
        (CASE WHEN letter.stage = 'integrate' AND letter.destination IS NOT NULL THEN
            EXISTS (
                SELECT 1 FROM "NAMESPACE.dead_letters" AS newer
                WHERE newer.event_id = letter.event_id AND newer.destination = letter.destination
                      AND newer.stage = 'integrate' AND newer.generation > letter.generation)
            OR EXISTS (
                SELECT 1 FROM "NAMESPACE.deliveries" AS delivery
                WHERE delivery.event_id = letter.event_id
                      AND delivery.destination = letter.destination
                      AND delivery.generation >= letter.generation
                      AND delivery.status = 'delivered')
        ELSE
            EXISTS (
                SELECT 1 FROM "NAMESPACE.dead_letters" AS newer
                WHERE newer.event_id = letter.event_id AND newer.stage <> 'integrate'
                      AND newer.generation > letter.generation)
            OR (EXISTS (SELECT 1 FROM "NAMESPACE.events" AS event WHERE event.event_id = letter.event_id)
                AND NOT EXISTS (SELECT 1 FROM "NAMESPACE.scheduled_events" AS waiting
                    WHERE waiting.event_id = letter.event_id
                          AND released_at IS NULL AND cancelled_at IS NULL)
                AND (letter.generation = 0 OR EXISTS (
                    SELECT 1 FROM "NAMESPACE.deliveries" AS delivery
                    WHERE delivery.event_id = letter.event_id
                          AND delivery.generation >= letter.generation))
                AND NOT EXISTS (
                    SELECT 1 FROM "NAMESPACE.deliveries" AS delivery
                    WHERE delivery.event_id = letter.event_id AND delivery.status = 'due'
                          AND delivery.generation >= letter.generation))
        END)"#;

/// Open letters of some events.
const OF_EVENTS: &str = r#"SELECT dead_letter_id FROM "NAMESPACE.dead_letters"
    WHERE event_id IN (SELECT unhex(value, '-') FROM json_each($1)) AND state = 'open'"#;

const SUPERSEDE: &str = r#"UPDATE "NAMESPACE.dead_letters" SET state = 'superseded', superseded_at = $2
    WHERE dead_letter_id IN (SELECT unhex(value, '-') FROM json_each($1)) AND state = 'open'"#;

/// Marks the open letters of these events that are superseded.
pub(in crate::store::sqlite) async fn of_events(
    connection: &mut SqliteConnection,
    link: &Link,
    events: &[Uuid],
) -> Result<(), Error> {
    if events.is_empty() {
        return Ok(());
    }
    let open: Vec<Uuid> = sqlx::query_scalar(link.sql(OF_EVENTS))
        .bind(document(events)?)
        .fetch_all(&mut *connection)
        .await?;
    left_open(connection, link, open).await?;
    Ok(())
}

/// Of open letters, marks those that are superseded and returns the others.
pub(in crate::store::sqlite) async fn left_open(
    connection: &mut SqliteConnection,
    link: &Link,
    mut letters: Vec<Uuid>,
) -> Result<Vec<Uuid>, Error> {
    if letters.is_empty() {
        return Ok(letters);
    }
    let found: Vec<Uuid> = sqlx::query_scalar(link.sql(OF_LETTERS))
        .bind(document(&letters)?)
        .fetch_all(&mut *connection)
        .await?;
    if !found.is_empty() {
        sqlx::query(link.sql(SUPERSEDE))
            .bind(document(&found)?)
            .bind(now()?)
            .execute(connection)
            .await?;
    }
    letters.retain(|letter| !found.contains(letter));
    Ok(letters)
}
