//! Replays: claiming dead letters, so that each is sent by one replay alone.

use std::sync::{Arc, Mutex, PoisonError};

use sqlx::PgConnection;
use uuid::Uuid;

use super::dead::{Choice, Matching, Order, Statement, superseded};
use super::link::Link;
use crate::store::tables::letters::{INTEGRATE, LetterRow};
use crate::store::tables::replays::{
    NewReplayRow, OutcomeRow, ReplayRow, Steer, check_end, no_such_replay, of_history,
};
use crate::store::{
    DeadLetter, DeadState, Progress, Replay, ReplayOutcome, ReplayPage, ReplayState, StoreError,
};

pub(super) async fn begin(link: &Link, replay: &Replay) -> Result<(), StoreError> {
    let row = NewReplayRow::try_from(replay)?;
    link.run(move |connection| {
        let row = row.clone();
        Box::pin(async move {
            sqlx::query(
                "INSERT INTO replays
                     (replay_id, filter, to_queue, who, why, rate, stop_when, slice, new_ids)
                VALUES ($1, $2::text::json, $3, $4, $5, $6, $7, $8::text::json, $9)
                ON CONFLICT (replay_id) DO NOTHING",
            )
            .bind(row.id)
            .bind(row.filter)
            .bind(row.to_queue)
            .bind(row.who)
            .bind(row.why)
            .bind(row.rate)
            .bind(row.stop_when)
            .bind(row.slice)
            .bind(row.new_ids)
            .execute(connection)
            .await?;
            Ok(())
        })
    })
    .await
}

pub(super) async fn progress(link: &Link, id: Uuid) -> Result<Option<Progress>, StoreError> {
    let row: Option<ReplayRow> = link
        .run(move |connection| {
            Box::pin(async move {
                sqlx::query_as(
                    "SELECT replay_id, filter::text, to_queue, who, why, state, rate, stop_when,
                            slice::text, new_ids, position, replayed, started_at, ended_at
                    FROM replays WHERE replay_id = $1",
                )
                .bind(id)
                .fetch_optional(connection)
                .await
            })
        })
        .await?;
    row.map(Progress::try_from).transpose()
}

pub(super) async fn page(link: &Link, page: ReplayPage) -> Result<Vec<Progress>, StoreError> {
    let (at, id) = page.after.unzip();
    let rows: Vec<ReplayRow> = link
        .run(move |connection| {
            Box::pin(async move {
                sqlx::query_as(
                    "SELECT replay_id, filter::text, to_queue, who, why, state, rate, stop_when,
                            slice::text, new_ids, position, replayed, started_at, ended_at
                    FROM replays
                    WHERE $1::timestamptz IS NULL OR (started_at, replay_id) < ($1, $2::uuid)
                    ORDER BY started_at DESC, replay_id DESC LIMIT $3",
                )
                .persistent(false)
                .bind(at)
                .bind(id)
                .bind(i64::from(page.limit))
                .fetch_all(connection)
                .await
            })
        })
        .await?;
    rows.into_iter().map(Progress::try_from).collect()
}

/// What matches the replay that has claimed last and is no older than what it has claimed. So its text is not
/// looked for again with each claim; nor is all that it has claimed passed by, which an index holds on to for a
/// while.
#[derive(Clone, Default)]
pub(super) struct LastClaim(Arc<Mutex<Option<(Uuid, Matching)>>>);

impl LastClaim {
    fn of(&self, replay: Uuid) -> Option<Matching> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_it = last.as_ref().filter(|(id, _)| *id == replay);
        of_it.map(|(_, matching)| matching.clone())
    }

    fn keep(&self, replay: Uuid, matching: Matching) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some((replay, matching));
    }
}

pub(super) async fn claim(
    link: &Link,
    last: &LastClaim,
    replay: Uuid,
    most: u32,
) -> Result<Vec<DeadLetter>, StoreError> {
    // What a replay sends never changes, so it can be read before the transaction.
    let Some(known) = progress(link, replay).await? else {
        return Err(no_such_replay(replay));
    };
    if known.slice.is_some() {
        return Err(of_history(replay));
    }
    if let Some(matching) = last.of(replay) {
        let letters = claim_matching(link, matching.clone(), &known, most).await?;
        if let Some(newest) = letters.last() {
            last.keep(replay, matching.since(newest.last_failed_at));
            return Ok(letters);
        }
        // An older letter may be open: given back by somebody else, or come late, maybe with an error that was
        // not there before. So nothing is left only when it was looked for anew.
    }
    let matching = Matching::new(&known.filter, Some(DeadState::Open));
    let letters = claim_matching(link, matching.clone(), &known, most).await?;
    if let Some(newest) = letters.last() {
        last.keep(replay, matching.since(newest.last_failed_at));
    }
    Ok(letters)
}

async fn claim_matching(
    link: &Link,
    matching: Matching,
    replay: &Progress,
    most: u32,
) -> Result<Vec<DeadLetter>, StoreError> {
    let claim = Arc::new(Claim {
        replay: replay.id,
        matching,
        choice: Choice {
            order: Order::OldestFirst,
            after: None,
            // What died after the replay began has died of it, or may have: sending that too would send
            // it in circles.
            archived_by: Some(replay.started_at.0),
            most: most.into(),
        },
        to_queue: replay.to_queue.clone(),
    });
    let rows: Vec<LetterRow> = link
        .transaction(move |connection| {
            let claim = Arc::clone(&claim);
            Box::pin(async move { claim.run(connection).await })
        })
        .await?;
    rows.into_iter().map(DeadLetter::try_from).collect()
}

/// What one call claims.
struct Claim {
    replay: Uuid,
    matching: Matching,
    choice: Choice,
    to_queue: Option<String>,
}

impl Claim {
    async fn run(&self, connection: &mut PgConnection) -> Result<Vec<LetterRow>, sqlx::Error> {
        // Holds off the end of the replay until its claims are committed, so that none is left behind, and
        // holds off no mark.
        let running: Option<(Uuid,)> = sqlx::query_as(
            "SELECT replay_id FROM replays WHERE replay_id = $1 AND state = 'running' FOR KEY SHARE",
        )
        .bind(self.replay)
        .fetch_optional(&mut *connection)
        .await?;
        if running.is_none() {
            return Ok(Vec::new());
        }
        loop {
            let chosen = self.choose(connection).await?;
            let any_chosen = !chosen.is_empty();
            let free = superseded::left_open(connection, chosen).await?;
            if !free.is_empty() {
                return self.take(connection, free).await;
            }
            // What is superseded is out of the way now; what somebody else works on is waited for.
            let more = any_chosen || self.choice.most > 0 && self.another_waits(connection).await?;
            if !more {
                return Ok(Vec::new());
            }
        }
    }

    /// Whether an open letter is left after all, in the hands of somebody else. What becomes of it there is
    /// waited for, as it may be given back.
    async fn another_waits(&self, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
        let choice = Choice {
            most: 1,
            ..self.choice
        };
        let mut query = Statement::new("SELECT dead_letter_id FROM (");
        self.matching.push_chosen(&mut query, choice);
        query.push(") AS chosen");
        let open: Option<(Uuid,)> = query
            .build_query_as()
            .persistent(false)
            .fetch_optional(&mut *connection)
            .await?;
        let Some((open,)) = open else {
            return Ok(false);
        };
        sqlx::query("SELECT FROM dead_letters WHERE dead_letter_id = $1 FOR UPDATE")
            .bind(open)
            .execute(connection)
            .await?;
        Ok(true)
    }

    /// Open letters, the oldest first, that nobody else works on.
    async fn choose(&self, connection: &mut PgConnection) -> Result<Vec<Uuid>, sqlx::Error> {
        let mut query = Statement::new("");
        self.matching.push_locked(&mut query, self.choice);
        query
            .build_query_scalar()
            .persistent(false)
            .fetch_all(connection)
            .await
    }

    /// Claims letters that are locked.
    async fn take(
        &self,
        connection: &mut PgConnection,
        letters: Vec<Uuid>,
    ) -> Result<Vec<LetterRow>, sqlx::Error> {
        let mut query = Statement::new(
            "WITH claimed AS (UPDATE dead_letters SET state = 'replaying', replay_id = ",
        );
        query.push_bind(self.replay);
        query
            .push(" WHERE dead_letter_id = ANY(")
            .push_bind(letters);
        query.push(
            ") RETURNING dead_letters.*
            ), due AS (
                INSERT INTO deliveries (event_id, destination, generation)
                SELECT DISTINCT event_id, destination, generation + 1
                FROM claimed
                WHERE event_id IS NOT NULL AND destination IS NOT NULL
                      -- There is no generation after the last.
                      AND generation < 4294967295
                      AND stage = ",
        );
        query.push_bind(INTEGRATE);
        if let Some(to_queue) = &self.to_queue {
            // Sent elsewhere, it is not this delivery that is made.
            query.push(" AND queue = ").push_bind(to_queue.clone());
        }
        query.push(
            "   ORDER BY 1, 2, 3
                ON CONFLICT (event_id, destination, generation) DO NOTHING
            )
            SELECT * FROM claimed ORDER BY last_failed_at, dead_letter_id",
        );
        query
            .build_query_as()
            .persistent(false)
            .fetch_all(connection)
            .await
    }
}

pub(super) async fn claimed(
    link: &Link,
    replay: Uuid,
    after: Option<Uuid>,
    most: u32,
) -> Result<Vec<DeadLetter>, StoreError> {
    let rows: Vec<LetterRow> = link
        .run(move |connection| {
            Box::pin(async move {
                sqlx::query_as(
                    "SELECT letter.* FROM dead_letters AS letter JOIN replays USING (replay_id)
                    WHERE replay_id = $1 AND replays.state = 'running'
                          AND letter.state = 'replaying' AND dead_letter_id > $2
                    ORDER BY dead_letter_id LIMIT $3",
                )
                .bind(replay)
                .bind(after.unwrap_or_default())
                .bind(i64::from(most))
                .fetch_all(connection)
                .await
            })
        })
        .await?;
    rows.into_iter().map(DeadLetter::try_from).collect()
}

pub(super) async fn mark(link: &Link, replay: Uuid, letters: &[Uuid]) -> Result<(), StoreError> {
    if letters.is_empty() {
        return Ok(());
    }
    let letters: Arc<[Uuid]> = letters.into();
    link.run(move |connection| {
        let letters = Arc::clone(&letters);
        Box::pin(async move {
            // Only what is claimed is counted, so marking twice counts once. What was opened again in
            // between, because the replay was stopped, was sent all the same.
            //
            // `IS NOT DISTINCT FROM` keeps the planner from finding the letters by their replay, which it
            // takes for the shortest way where its figures are from before the replay: each batch would
            // read all that were sent before it. And planned anew each time, it sees how large the table is.
            sqlx::query(
                "WITH marked AS (
                    UPDATE dead_letters SET state = 'replayed', replayed_at = clock_timestamp()
                    WHERE dead_letter_id = ANY($2) AND replay_id IS NOT DISTINCT FROM $1
                          AND state IN ('replaying', 'open')
                    RETURNING dead_letter_id
                )
                UPDATE replays SET replayed = replayed + (SELECT count(*) FROM marked)
                WHERE replay_id = $1",
            )
            .persistent(false)
            .bind(replay)
            .bind(&letters[..])
            .execute(connection)
            .await?;
            Ok(())
        })
    })
    .await
}

pub(super) async fn advance(
    link: &Link,
    replay: Uuid,
    sent: u64,
    position: u64,
) -> Result<(), StoreError> {
    let sent = i64::try_from(sent).unwrap_or(i64::MAX);
    let position = i64::try_from(position).unwrap_or(i64::MAX);
    link.run(move |connection| {
        Box::pin(async move {
            sqlx::query(
                "UPDATE replays SET replayed = replayed + $2, position = $3
                WHERE replay_id = $1 AND (position IS NULL OR position < $3)",
            )
            .bind(replay)
            .bind(sent)
            .bind(position)
            .execute(connection)
            .await?;
            Ok(())
        })
    })
    .await
}

pub(super) async fn reopen(link: &Link, replay: Uuid) -> Result<(), StoreError> {
    link.run(move |connection| {
        Box::pin(async move {
            sqlx::query(
                "UPDATE replays SET state = 'running', ended_at = NULL
                WHERE replay_id = $1 AND state = 'stopped' AND slice IS NOT NULL",
            )
            .bind(replay)
            .execute(connection)
            .await?;
            Ok(())
        })
    })
    .await
}

pub(super) async fn steer(
    link: &Link,
    replay: Uuid,
    to: ReplayState,
) -> Result<Option<ReplayState>, StoreError> {
    let Some(known) = progress(link, replay).await? else {
        return Ok(None);
    };
    match Steer::decide(known.state, to)? {
        Steer::Leave => return Ok(Some(known.state)),
        Steer::Stop => end(link, replay, to).await?,
        Steer::Set => {
            link.run(move |connection| {
                Box::pin(async move {
                    // One that has ended in between stays ended.
                    sqlx::query(
                        "UPDATE replays SET state = $2
                        WHERE replay_id = $1 AND state IN ('running', 'paused')",
                    )
                    .bind(replay)
                    .bind(to.as_str())
                    .execute(connection)
                    .await?;
                    Ok(())
                })
            })
            .await?;
        }
    }
    Ok(progress(link, replay).await?.map(|known| known.state))
}

pub(super) async fn outcome(
    link: &Link,
    replay: Uuid,
    most: Option<u32>,
) -> Result<ReplayOutcome, StoreError> {
    let row: Option<OutcomeRow> = link
        .run(move |connection| {
            Box::pin(async move {
                sqlx::query_as(OUTCOME)
                    .bind(replay)
                    .bind(INTEGRATE)
                    .bind(most.map(i64::from))
                    .fetch_optional(connection)
                    .await
            })
        })
        .await?;
    row.map(|row| row.outcome(most.is_some()))
        .ok_or_else(|| no_such_replay(replay))
}

/// A letter on its way to its destination is done with the delivery of its next generation. Sent to another
/// queue, or dead before it was stored, it is done when something of a later generation is delivered, it was
/// refused since, or it is stored, and nothing is due any more.
const OUTCOME: &str = "WITH sent AS (
        SELECT letter.event_id, letter.destination, letter.generation, letter.replayed_at,
               letter.stage = $2 AS stored,
               letter.stage = $2 AND letter.destination IS NOT NULL
                   AND (to_queue IS NULL OR to_queue = letter.queue) AS there
        FROM replays JOIN dead_letters AS letter USING (replay_id)
        WHERE replay_id = $1 AND letter.state = 'replayed' AND letter.event_id IS NOT NULL
        ORDER BY dead_letter_id LIMIT $3
    ), judged AS (
        SELECT CASE
            WHEN there AND EXISTS (
                SELECT FROM deliveries
                WHERE deliveries.event_id = sent.event_id
                      AND deliveries.destination = sent.destination
                      AND deliveries.generation = sent.generation + 1 AND status = 'delivered')
            THEN 'completed'
            WHEN EXISTS (
                SELECT FROM dead_letters AS again
                WHERE again.event_id = sent.event_id AND again.generation > sent.generation
                      AND (NOT there OR again.destination = sent.destination))
            THEN 'died_again'
            WHEN NOT there
                AND NOT EXISTS (
                    SELECT FROM deliveries
                    WHERE deliveries.event_id = sent.event_id
                          AND deliveries.generation > sent.generation AND status = 'due')
                AND (EXISTS (
                        SELECT FROM deliveries
                        WHERE deliveries.event_id = sent.event_id
                              AND deliveries.generation > sent.generation
                              AND status = 'delivered')
                     OR EXISTS (
                        SELECT FROM rejections
                        WHERE rejections.event_id = sent.event_id
                              AND rejected_at >= sent.replayed_at)
                     OR NOT stored AND EXISTS (
                        SELECT FROM events WHERE events.event_id = sent.event_id))
            THEN 'completed'
            ELSE 'under_way'
        END AS became
        FROM sent
    )
    SELECT replayed,
           (SELECT count(*) FROM judged WHERE became = 'completed') AS completed,
           (SELECT count(*) FROM judged WHERE became = 'died_again') AS died_again,
           (SELECT count(*) FROM judged WHERE became = 'under_way') AS under_way
    FROM replays WHERE replay_id = $1";

pub(super) async fn end(link: &Link, replay: Uuid, state: ReplayState) -> Result<(), StoreError> {
    check_end(state)?;
    link.transaction(move |connection| {
        Box::pin(async move {
            // First the replay alone: this waits for a claim under way, and what that has claimed is
            // seen by the next statement only.
            sqlx::query("SELECT FROM replays WHERE replay_id = $1 FOR UPDATE")
                .bind(replay)
                .execute(&mut *connection)
                .await?;
            let ended = sqlx::query(
                "UPDATE replays SET state = $2, ended_at = clock_timestamp()
                WHERE replay_id = $1 AND state IN ('running', 'paused')",
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
                // Which replay had them is still known: what the broker confirms after all is marked.
                "WITH reopened AS (
                    UPDATE dead_letters SET state = 'open'
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
    .await?;
    // While it was claimed, a later generation may have come to its end.
    superseded::of_replay(link, replay).await
}
