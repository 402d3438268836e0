//! All that is known of one dead letter.

use sqlx::PgConnection;
use uuid::Uuid;

use super::link::Link;
use crate::store::tables::letters::{MOST_OTHERS, StoryRow, StoryRows, story};
use crate::store::{DeadStory, StoreError};

const LETTER: &str = "SELECT * FROM dead_letters WHERE dead_letter_id = $1";

const ATTEMPTS: &str =
    "SELECT generation, attempt, started_at, duration_ms, status_code, error, response_excerpt
    FROM delivery_attempts WHERE event_id = $1 AND destination = $2
    ORDER BY started_at, generation, attempt";

const OTHERS: &str =
    "SELECT dead_letter_id, event_id, type, queue, destination, reason, error, attempts,
            generation, last_failed_at, state, copies
    FROM dead_letters WHERE event_id = $1 AND dead_letter_id <> $2
    ORDER BY last_failed_at DESC, dead_letter_id DESC LIMIT $3";

const EDITS: &str = "SELECT edited_at, who, why, before, envelope FROM dead_letter_edits
    WHERE dead_letter_id = $1 ORDER BY edited_at, edit_id";

const REPLAYS: &str =
    "SELECT replay_id, kind, filter::text, to_queue, who, why, state, rate, stop_when, slice::text,
            new_ids, position, replayed, started_at, ended_at, handed_over_at, resumes, report::text
    FROM replays WHERE replay_id IN (
        SELECT replay_id FROM dead_letters WHERE dead_letter_id = $1 OR event_id = $2)
    ORDER BY started_at DESC, replay_id DESC";

pub(super) async fn story_of(link: &Link, id: Uuid) -> Result<Option<DeadStory>, StoreError> {
    let parts = link
        .run(move |connection| Box::pin(async move { read(connection, id).await }))
        .await?;
    parts.map(story).transpose()
}

async fn read(connection: &mut PgConnection, id: Uuid) -> Result<Option<StoryRows>, sqlx::Error> {
    let letter: Option<StoryRow> = sqlx::query_as(LETTER)
        .bind(id)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(letter) = letter else {
        return Ok(None);
    };
    let attempts = sqlx::query_as(ATTEMPTS)
        .bind(letter.event())
        .bind(letter.destination())
        .fetch_all(&mut *connection)
        .await?;
    let others = sqlx::query_as(OTHERS)
        .bind(letter.event())
        .bind(id)
        .bind(MOST_OTHERS)
        .fetch_all(&mut *connection)
        .await?;
    let edits = sqlx::query_as(EDITS)
        .bind(id)
        .fetch_all(&mut *connection)
        .await?;
    let replays = sqlx::query_as(REPLAYS)
        .bind(id)
        .bind(letter.event())
        .fetch_all(connection)
        .await?;
    Ok(Some((letter, attempts, others, edits, replays)))
}
