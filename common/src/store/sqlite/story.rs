//! All that is known of one dead letter.

use uuid::Uuid;

use super::link::Link;
use crate::store::tables::letters::{MOST_OTHERS, StoryRow, story};
use crate::store::{DeadStory, StoreError};

const LETTER: &str = r#"SELECT * FROM "NAMESPACE.dead_letters" WHERE dead_letter_id = $1"#;

const ATTEMPTS: &str = r#"SELECT generation, attempt, started_at, duration_ms, status_code, error,
        response_excerpt
    FROM "NAMESPACE.delivery_attempts" WHERE event_id = $1 AND destination = $2
    ORDER BY started_at, generation, attempt"#;

const OTHERS: &str = r#"SELECT dead_letter_id, event_id, type, queue, destination, reason, error,
        attempts, generation, last_failed_at, state, copies
    FROM "NAMESPACE.dead_letters" WHERE event_id = $1 AND dead_letter_id <> $2
    ORDER BY last_failed_at DESC, dead_letter_id DESC LIMIT $3"#;

const EDITS: &str = r#"SELECT edited_at, who, why, before, envelope
    FROM "NAMESPACE.dead_letter_edits"
    WHERE dead_letter_id = $1 ORDER BY edit_id"#;

const REPLAYS: &str = r#"SELECT * FROM "NAMESPACE.replays" WHERE replay_id IN (
        SELECT replay_id FROM "NAMESPACE.dead_letters" WHERE dead_letter_id = $1 OR event_id = $2)
    ORDER BY started_at DESC, replay_id DESC"#;

pub(super) async fn story_of(link: &Link, id: Uuid) -> Result<Option<DeadStory>, StoreError> {
    let [letter, attempts, others, edits, replays] =
        [LETTER, ATTEMPTS, OTHERS, EDITS, REPLAYS].map(|statement| link.sql(statement));
    let rows = link
        .read(move |connection| {
            Box::pin(async move {
                let letter: Option<StoryRow> = sqlx::query_as(letter)
                    .bind(id)
                    .fetch_optional(&mut *connection)
                    .await?;
                let Some(letter) = letter else {
                    return Ok(None);
                };
                let event = letter.event();
                let attempts = sqlx::query_as(attempts)
                    .bind(event)
                    .bind(letter.destination().map(str::to_owned))
                    .fetch_all(&mut *connection)
                    .await?;
                let others = sqlx::query_as(others)
                    .bind(event)
                    .bind(id)
                    .bind(MOST_OTHERS)
                    .fetch_all(&mut *connection)
                    .await?;
                let edits = sqlx::query_as(edits)
                    .bind(id)
                    .fetch_all(&mut *connection)
                    .await?;
                let replays = sqlx::query_as(replays)
                    .bind(id)
                    .bind(event)
                    .fetch_all(connection)
                    .await?;
                Ok(Some((letter, attempts, others, edits, replays)))
            })
        })
        .await?;
    rows.map(story).transpose()
}
