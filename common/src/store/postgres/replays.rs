//! Replays: claiming dead letters, so that each is sent by one replay alone.

use std::sync::Arc;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::dead::{INTEGRATE, LetterRow, Matching, matching};
use super::link::Link;
use super::text::{json, keepable, word};
use crate::store::{
    DeadFilter, DeadLetter, DeadState, Moment, Progress, Replay, ReplayState, StoreError,
};

pub(super) async fn begin(link: &Link, replay: &Replay) -> Result<(), StoreError> {
    let filter = serde_json::to_string(&replay.filter)
        .map_err(|error| StoreError::Data(format!("the filter is no JSON: {error}")))?;
    let replay = Arc::new((replay.clone(), filter));
    link.run(move |connection| {
        let replay = Arc::clone(&replay);
        Box::pin(async move {
            let (replay, filter) = replay.as_ref();
            sqlx::query(
                "INSERT INTO replays (replay_id, filter, to_queue, who, why)
                VALUES ($1, $2::text::json, $3, $4, $5)
                ON CONFLICT (replay_id) DO NOTHING",
            )
            .bind(replay.id)
            .bind(filter)
            .bind(replay.to_queue.as_deref().map(keepable))
            .bind(keepable(&replay.who))
            .bind(replay.why.as_deref().map(keepable))
            .execute(connection)
            .await?;
            Ok(())
        })
    })
    .await
}

/// A whole row.
#[derive(sqlx::FromRow)]
struct ReplayRow {
    filter: String,
    to_queue: Option<String>,
    who: String,
    why: Option<String>,
    state: String,
    replayed: i64,
    started_at: OffsetDateTime,
    ended_at: Option<OffsetDateTime>,
}

pub(super) async fn progress(link: &Link, id: Uuid) -> Result<Option<Progress>, StoreError> {
    let row: Option<ReplayRow> = link
        .run(move |connection| {
            Box::pin(async move {
                sqlx::query_as(
                    "SELECT filter::text, to_queue, who, why, state, replayed, started_at, ended_at
                    FROM replays WHERE replay_id = $1",
                )
                .bind(id)
                .fetch_optional(connection)
                .await
            })
        })
        .await?;
    row.map(|row| {
        Ok(Progress {
            id,
            filter: json("replays.filter", &row.filter)?,
            to_queue: row.to_queue,
            who: row.who,
            why: row.why,
            state: word(&row.state)?,
            replayed: row.replayed.unsigned_abs(),
            started_at: Moment(row.started_at),
            ended_at: row.ended_at.map(Moment),
        })
    })
    .transpose()
}

pub(super) async fn claim(
    link: &Link,
    replay: Uuid,
    most: u32,
    resume: bool,
) -> Result<Vec<DeadLetter>, StoreError> {
    // What a replay sends never changes, so it can be read before the transaction.
    let Some(known) = progress(link, replay).await? else {
        return Err(StoreError::Fault(format!(
            "expected a replay that was begun, found none with the id {replay}"
        )));
    };
    let claim = Arc::new(Claim::new(replay, &known.filter, known.to_queue, most));
    let rows: Vec<LetterRow> = link
        .transaction(move |connection| {
            let claim = Arc::clone(&claim);
            Box::pin(async move {
                // Holds off the end of the replay until its claims are committed, so that none is
                // left behind.
                let running: Option<(Uuid,)> = sqlx::query_as(
                    "SELECT replay_id FROM replays
                    WHERE replay_id = $1 AND state = 'running' FOR SHARE",
                )
                .bind(claim.replay)
                .fetch_optional(&mut *connection)
                .await?;
                if running.is_none() {
                    return Ok(Vec::new());
                }
                let mut rows = if resume {
                    claim.left_behind(connection).await?
                } else {
                    Vec::new()
                };
                let more = i64::from(claim.most)
                    .saturating_sub(i64::try_from(rows.len()).unwrap_or(i64::MAX));
                if more > 0 {
                    rows.extend(claim.fresh(connection, more).await?);
                }
                Ok(rows)
            })
        })
        .await?;
    rows.into_iter().map(DeadLetter::try_from).collect()
}

/// What one call claims.
struct Claim {
    replay: Uuid,
    matching: Matching,
    to_queue: Option<String>,
    most: u32,
}

impl Claim {
    fn new(replay: Uuid, filter: &DeadFilter, to_queue: Option<String>, most: u32) -> Self {
        Self {
            replay,
            matching: Matching::new(filter, Some(DeadState::Open)),
            to_queue,
            most,
        }
    }

    /// What an earlier run of this replay had claimed and not marked.
    async fn left_behind(
        &self,
        connection: &mut PgConnection,
    ) -> Result<Vec<LetterRow>, sqlx::Error> {
        sqlx::query_as(
            "SELECT * FROM dead_letters
            WHERE replay_id = $1 AND state = 'replaying'
            ORDER BY last_failed_at, dead_letter_id",
        )
        .bind(self.replay)
        .fetch_all(connection)
        .await
    }

    /// Open letters, the oldest first.
    async fn fresh(
        &self,
        connection: &mut PgConnection,
        most: i64,
    ) -> Result<Vec<LetterRow>, sqlx::Error> {
        self.matching
            .bind(sqlx::query_as(concat!(
                "WITH
                free AS (
                    SELECT dead_letter_id FROM dead_letters
                    WHERE ",
                matching!(),
                // What died after the replay began has died of it, or may have: sending that too
                // would send it in circles.
                "         AND archived_at <= (SELECT started_at FROM replays WHERE replay_id = $8)
                    ORDER BY last_failed_at, dead_letter_id
                    LIMIT $9
                    -- What another replay is claiming is left to it.
                    FOR UPDATE SKIP LOCKED
                ),
                claimed AS (
                    UPDATE dead_letters SET state = 'replaying', replay_id = $8
                    FROM free
                    WHERE dead_letters.dead_letter_id = free.dead_letter_id
                    RETURNING dead_letters.*
                ),
                due AS (
                    INSERT INTO deliveries (event_id, destination, generation)
                    SELECT DISTINCT event_id, destination, generation + 1
                    FROM claimed
                    WHERE stage = $10 AND event_id IS NOT NULL AND destination IS NOT NULL
                          -- Sent elsewhere, it is not this delivery that is made.
                          AND ($11::text IS NULL OR $11 = queue)
                          -- There is no generation after the last.
                          AND generation < 4294967295
                    ORDER BY 1, 2, 3
                    ON CONFLICT (event_id, destination, generation) DO NOTHING
                )
                SELECT * FROM claimed ORDER BY last_failed_at, dead_letter_id"
            )))
            .bind(self.replay)
            .bind(most)
            .bind(INTEGRATE)
            .bind(self.to_queue.as_deref())
            .fetch_all(connection)
            .await
    }
}

pub(super) async fn mark(link: &Link, replay: Uuid, letters: &[Uuid]) -> Result<(), StoreError> {
    if letters.is_empty() {
        return Ok(());
    }
    let letters: Arc<[Uuid]> = letters.into();
    link.run(move |connection| {
        let letters = Arc::clone(&letters);
        Box::pin(async move {
            // Only what is claimed is counted, so marking twice counts once.
            sqlx::query(
                "WITH marked AS (
                    UPDATE dead_letters SET state = 'replayed', replayed_at = clock_timestamp()
                    WHERE dead_letter_id = ANY($2) AND replay_id = $1 AND state = 'replaying'
                    RETURNING dead_letter_id
                )
                UPDATE replays SET replayed = replayed + (SELECT count(*) FROM marked)
                WHERE replay_id = $1",
            )
            .bind(replay)
            .bind(&letters[..])
            .execute(connection)
            .await?;
            Ok(())
        })
    })
    .await
}

pub(super) async fn end(link: &Link, replay: Uuid, state: ReplayState) -> Result<(), StoreError> {
    if state == ReplayState::Running {
        return Err(StoreError::Fault(
            "expected done or stopped as the end of a replay, found running".to_owned(),
        ));
    }
    link.transaction(move |connection| {
        Box::pin(async move {
            // First the replay alone: this waits for a claim under way, and what that has claimed is
            // seen by the next statement only.
            let ended = sqlx::query(
                "UPDATE replays SET state = $2, ended_at = clock_timestamp()
                WHERE replay_id = $1 AND state = 'running'",
            )
            .bind(replay)
            .bind(state.as_str())
            .execute(&mut *connection)
            .await?
            .rows_affected();
            if ended == 0 {
                return Ok(());
            }
            sqlx::query(
                "WITH reopened AS (
                    UPDATE dead_letters SET state = 'open', replay_id = NULL
                    WHERE replay_id = $1 AND state = 'replaying'
                    RETURNING event_id, destination, generation, stage
                )
                -- Not due again after all. One that was sent nevertheless, its confirmation lost, is
                -- written down anew when it is tried.
                DELETE FROM deliveries USING reopened
                WHERE reopened.stage = $2
                      AND deliveries.event_id = reopened.event_id
                      AND deliveries.destination = reopened.destination
                      AND deliveries.generation = reopened.generation + 1
                      AND deliveries.status = 'due' AND deliveries.attempts = 0",
            )
            .bind(replay)
            .bind(INTEGRATE)
            .execute(&mut *connection)
            .await?;
            Ok(())
        })
    })
    .await
}
