//! Replays: claiming dead letters, so that each is sent by one replay alone.

use sqlx::SqliteConnection;
use uuid::Uuid;

use super::dead::{matching, superseded};
use super::link::{Link, document, now};
use crate::sqlite::Error;
use crate::store::tables::letters::{INTEGRATE, LetterRow};
use crate::store::tables::replays::{
    NewReplayRow, OutcomeRow, ReplayRow, Steer, check_end, no_such_replay, of_history,
};
use crate::store::tables::text::comparable;
use crate::store::{
    DeadLetter, DeadState, Progress, Replay, ReplayOutcome, ReplayPage, ReplayState, StoreError,
};

const BEGIN: &str = r#"INSERT INTO "NAMESPACE.replays"
    (replay_id, filter, to_queue, who, why, rate, stop_when, slice, new_ids, started_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
    ON CONFLICT (replay_id) DO NOTHING"#;

const REPLAY: &str = r#"SELECT * FROM "NAMESPACE.replays" WHERE replay_id = $1"#;

const PAGE: &str = r#"SELECT * FROM "NAMESPACE.replays"
    WHERE $1 IS NULL OR (started_at, replay_id) < ($1, $2)
    ORDER BY started_at DESC, replay_id DESC LIMIT $3"#;

const IS_RUNNING: &str = r#"SELECT EXISTS (
    SELECT 1 FROM "NAMESPACE.replays" WHERE replay_id = $1 AND state = 'running')"#;

const STILL_CLAIMED: &str = r#"SELECT letter.*
    FROM "NAMESPACE.dead_letters" AS letter JOIN "NAMESPACE.replays" AS replay USING (replay_id)
    WHERE replay_id = $1 AND replay.state = 'running' AND letter.state = 'replaying'
          AND dead_letter_id > $2
    ORDER BY dead_letter_id LIMIT $3"#;

const OPEN: &str = r#"SELECT dead_letter_id FROM "NAMESPACE.dead_letters" WHERE "#;

const CLAIM: &str = r#"UPDATE "NAMESPACE.dead_letters" SET state = 'replaying', replay_id = $1
    WHERE dead_letter_id IN (SELECT unhex(value, '-') FROM json_each($2))"#;

const CLAIMED: &str = r#"SELECT * FROM "NAMESPACE.dead_letters"
    WHERE dead_letter_id IN (SELECT unhex(value, '-') FROM json_each($1))
    ORDER BY last_failed_at, dead_letter_id"#;

const MAKE_DUE: &str = r#"INSERT INTO "NAMESPACE.deliveries"
    (event_id, destination, generation, due_at)
    SELECT DISTINCT event_id, destination, generation + 1, $2
    FROM "NAMESPACE.dead_letters"
    WHERE dead_letter_id IN (SELECT unhex(value, '-') FROM json_each($1))
          AND stage = $3 AND event_id IS NOT NULL AND destination IS NOT NULL
          -- Sent elsewhere, it is not this delivery that is made.
          AND ($4 IS NULL OR $4 = queue)
          -- There is no generation after the last.
          AND generation < 4294967295
    ON CONFLICT (event_id, destination, generation) DO NOTHING"#;

const MARK: &str = r#"UPDATE "NAMESPACE.dead_letters" SET state = 'replayed', replayed_at = $3
    WHERE dead_letter_id IN (SELECT unhex(value, '-') FROM json_each($2))
          AND replay_id = $1 AND state IN ('replaying', 'open')"#;

const COUNT: &str =
    r#"UPDATE "NAMESPACE.replays" SET replayed = replayed + $2 WHERE replay_id = $1"#;

const END: &str = r#"UPDATE "NAMESPACE.replays" SET state = $2, ended_at = $3
    WHERE replay_id = $1 AND state IN ('running', 'paused')"#;

const ADVANCE: &str = r#"UPDATE "NAMESPACE.replays" SET replayed = replayed + $2, position = $3
    WHERE replay_id = $1 AND (position IS NULL OR position < $3)"#;

/// One that has ended stays ended.
const SET_STATE: &str = r#"UPDATE "NAMESPACE.replays" SET state = $2
    WHERE replay_id = $1 AND state IN ('running', 'paused')"#;

const REOPEN_HISTORY: &str = r#"UPDATE "NAMESPACE.replays" SET state = 'running', ended_at = NULL
    WHERE replay_id = $1 AND state = 'stopped' AND slice IS NOT NULL"#;

/// Not due again after all. One that was sent nevertheless, its confirmation lost, is written down anew
/// when it is tried.
const NOT_DUE: &str = r#"DELETE FROM "NAMESPACE.deliveries"
    WHERE status = 'due' AND attempts = 0 AND (event_id, destination, generation) IN (
        SELECT event_id, destination, generation + 1 FROM "NAMESPACE.dead_letters"
        WHERE replay_id = $1 AND state = 'replaying' AND stage = $2)"#;

/// Which replay had them is still known: what the broker confirms after all is marked.
const REOPEN: &str = r#"UPDATE "NAMESPACE.dead_letters" SET state = 'open'
    WHERE replay_id = $1 AND state = 'replaying' RETURNING dead_letter_id"#;

/// A letter on its way to its destination is done with the delivery of its next generation. Sent to another
/// queue, or dead before it was stored, it is done when something of a later generation is delivered, it was
/// refused since, or it is stored, and nothing is due any more.
const OUTCOME: &str = r#"WITH sent AS MATERIALIZED (
        SELECT letter.event_id, letter.destination, letter.generation, letter.replayed_at,
               letter.stage = $2 AS stored,
               letter.stage = $2 AND letter.destination IS NOT NULL
                   AND (to_queue IS NULL OR to_queue = letter.queue) AS there
        FROM "NAMESPACE.replays" JOIN "NAMESPACE.dead_letters" AS letter USING (replay_id)
        WHERE replay_id = $1 AND letter.state = 'replayed' AND letter.event_id IS NOT NULL
        ORDER BY dead_letter_id LIMIT $3
    ), judged AS MATERIALIZED (
        SELECT CASE
            WHEN there AND EXISTS (
                SELECT 1 FROM "NAMESPACE.deliveries" AS delivery
                WHERE delivery.event_id = sent.event_id
                      AND delivery.destination = sent.destination
                      AND delivery.generation = sent.generation + 1 AND status = 'delivered')
            THEN 'completed'
            WHEN EXISTS (
                SELECT 1 FROM "NAMESPACE.dead_letters" AS again
                WHERE again.event_id = sent.event_id AND again.generation > sent.generation
                      AND (NOT there OR again.destination = sent.destination))
            THEN 'died_again'
            WHEN NOT there
                AND NOT EXISTS (
                    SELECT 1 FROM "NAMESPACE.deliveries" AS delivery
                    WHERE delivery.event_id = sent.event_id
                          AND delivery.generation > sent.generation AND status = 'due')
                AND (EXISTS (
                        SELECT 1 FROM "NAMESPACE.deliveries" AS delivery
                        WHERE delivery.event_id = sent.event_id
                              AND delivery.generation > sent.generation
                              AND status = 'delivered')
                     OR EXISTS (
                        SELECT 1 FROM "NAMESPACE.rejections" AS rejection
                        WHERE rejection.event_id = sent.event_id
                              AND rejected_at >= sent.replayed_at)
                     OR NOT stored AND EXISTS (
                        SELECT 1 FROM "NAMESPACE.events" AS event
                        WHERE event.event_id = sent.event_id))
            THEN 'completed'
            ELSE 'under_way'
        END AS became
        FROM sent
    )
    SELECT replayed,
           (SELECT count(*) FROM judged WHERE became = 'completed') AS completed,
           (SELECT count(*) FROM judged WHERE became = 'died_again') AS died_again,
           (SELECT count(*) FROM judged WHERE became = 'under_way') AS under_way
    FROM "NAMESPACE.replays" WHERE replay_id = $1"#;

pub(super) async fn begin(link: &Link, replay: &Replay) -> Result<(), StoreError> {
    let row = NewReplayRow::try_from(replay)?;
    link.write(move |connection, link| {
        Box::pin(async move {
            sqlx::query(link.sql(BEGIN))
                .bind(row.id)
                .bind(row.filter)
                .bind(row.to_queue)
                .bind(row.who)
                .bind(row.why)
                .bind(row.rate)
                .bind(row.stop_when)
                .bind(row.slice)
                .bind(row.new_ids)
                .bind(now()?)
                .execute(connection)
                .await?;
            Ok(())
        })
    })
    .await
}

pub(super) async fn progress(link: &Link, id: Uuid) -> Result<Option<Progress>, StoreError> {
    let query = link.sql(REPLAY);
    let row: Option<ReplayRow> = link
        .read(move |connection| {
            Box::pin(async move {
                Ok(sqlx::query_as(query)
                    .bind(id)
                    .fetch_optional(connection)
                    .await?)
            })
        })
        .await?;
    row.map(Progress::try_from).transpose()
}

pub(super) async fn page(link: &Link, page: ReplayPage) -> Result<Vec<Progress>, StoreError> {
    let query = link.sql(PAGE);
    let (at, id) = page.after.unzip();
    let rows: Vec<ReplayRow> = link
        .read(move |connection| {
            Box::pin(async move {
                Ok(sqlx::query_as(query)
                    .bind(at.map(comparable))
                    .bind(id)
                    .bind(i64::from(page.limit))
                    .fetch_all(connection)
                    .await?)
            })
        })
        .await?;
    rows.into_iter().map(Progress::try_from).collect()
}

pub(super) async fn claim(
    link: &Link,
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
    let claim = Claim {
        id: replay,
        replay: known,
        most: most.into(),
    };
    let rows = link
        .write(move |connection, link| Box::pin(async move { claim.run(connection, link).await }))
        .await?;
    rows.into_iter().map(DeadLetter::try_from).collect()
}

/// What one call claims.
struct Claim {
    id: Uuid,
    replay: Progress,
    most: i64,
}

impl Claim {
    async fn run(
        &self,
        connection: &mut SqliteConnection,
        link: &Link,
    ) -> Result<Vec<LetterRow>, Error> {
        let running: bool = sqlx::query_scalar(link.sql(IS_RUNNING))
            .bind(self.id)
            .fetch_one(&mut *connection)
            .await?;
        if !running {
            return Ok(Vec::new());
        }
        loop {
            let chosen = self.choose(connection, link).await?;
            if chosen.is_empty() {
                return Ok(Vec::new());
            }
            let free = superseded::left_open(connection, link, chosen).await?;
            if !free.is_empty() {
                return self.take(connection, link, &free).await;
            }
        }
    }

    /// Open letters, the oldest first.
    async fn choose(
        &self,
        connection: &mut SqliteConnection,
        link: &Link,
    ) -> Result<Vec<Uuid>, Error> {
        let mut open = matching(
            link.in_namespace(OPEN),
            &self.replay.filter,
            Some(DeadState::Open),
        )?;
        // What died after the replay began has died of it, or may have: sending that too would send it
        // in circles.
        open.push(link.in_namespace(
            r#" AND archived_at <= (SELECT started_at FROM "NAMESPACE.replays" WHERE replay_id = "#,
        ));
        open.push_bind(self.id)
            .push(") ORDER BY last_failed_at, dead_letter_id LIMIT ")
            .push_bind(self.most);
        Ok(open.build_query_scalar().fetch_all(connection).await?)
    }

    /// Claims open letters.
    async fn take(
        &self,
        connection: &mut SqliteConnection,
        link: &Link,
        letters: &[Uuid],
    ) -> Result<Vec<LetterRow>, Error> {
        let free = document(letters)?;
        sqlx::query(link.sql(CLAIM))
            .bind(self.id)
            .bind(&free)
            .execute(&mut *connection)
            .await?;
        sqlx::query(link.sql(MAKE_DUE))
            .bind(&free)
            .bind(now()?)
            .bind(INTEGRATE)
            .bind(self.replay.to_queue.as_deref())
            .execute(&mut *connection)
            .await?;
        Ok(sqlx::query_as(link.sql(CLAIMED))
            .bind(&free)
            .fetch_all(connection)
            .await?)
    }
}

pub(super) async fn claimed(
    link: &Link,
    replay: Uuid,
    after: Option<Uuid>,
    most: u32,
) -> Result<Vec<DeadLetter>, StoreError> {
    let query = link.sql(STILL_CLAIMED);
    let rows: Vec<LetterRow> = link
        .read(move |connection| {
            Box::pin(async move {
                Ok(sqlx::query_as(query)
                    .bind(replay)
                    .bind(after.unwrap_or_default())
                    .bind(i64::from(most))
                    .fetch_all(connection)
                    .await?)
            })
        })
        .await?;
    rows.into_iter().map(DeadLetter::try_from).collect()
}

pub(super) async fn mark(link: &Link, replay: Uuid, letters: &[Uuid]) -> Result<(), StoreError> {
    if letters.is_empty() {
        return Ok(());
    }
    let letters = document(letters)?;
    link.write(move |connection, link| {
        Box::pin(async move {
            // Only what is claimed is counted, so marking twice counts once.
            let marked = sqlx::query(link.sql(MARK))
                .bind(replay)
                .bind(letters)
                .bind(now()?)
                .execute(&mut *connection)
                .await?
                .rows_affected();
            sqlx::query(link.sql(COUNT))
                .bind(replay)
                .bind(i64::try_from(marked).unwrap_or(i64::MAX))
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
    link.write(move |connection, link| {
        Box::pin(async move {
            sqlx::query(link.sql(ADVANCE))
                .bind(replay)
                .bind(i64::try_from(sent).unwrap_or(i64::MAX))
                .bind(i64::try_from(position).unwrap_or(i64::MAX))
                .execute(connection)
                .await?;
            Ok(())
        })
    })
    .await
}

pub(super) async fn reopen(link: &Link, replay: Uuid) -> Result<(), StoreError> {
    link.write(move |connection, link| {
        Box::pin(async move {
            sqlx::query(link.sql(REOPEN_HISTORY))
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
            link.write(move |connection, link| {
                Box::pin(async move {
                    sqlx::query(link.sql(SET_STATE))
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
    let query = link.sql(OUTCOME);
    let row: Option<OutcomeRow> = link
        .read(move |connection| {
            Box::pin(async move {
                Ok(sqlx::query_as(query)
                    .bind(replay)
                    .bind(INTEGRATE)
                    // Without a limit where it is negative.
                    .bind(most.map_or(-1, i64::from))
                    .fetch_optional(connection)
                    .await?)
            })
        })
        .await?;
    row.map(|row| row.outcome(most.is_some()))
        .ok_or_else(|| no_such_replay(replay))
}

pub(super) async fn end(link: &Link, replay: Uuid, state: ReplayState) -> Result<(), StoreError> {
    check_end(state)?;
    link.write(move |connection, link| {
        Box::pin(async move {
            let ended = sqlx::query(link.sql(END))
                .bind(replay)
                .bind(state.as_str())
                .bind(now()?)
                .execute(&mut *connection)
                .await?
                .rows_affected();
            if ended == 0 {
                return Ok(());
            }
            sqlx::query(link.sql(NOT_DUE))
                .bind(replay)
                .bind(INTEGRATE)
                .execute(&mut *connection)
                .await?;
            let open: Vec<Uuid> = sqlx::query_scalar(link.sql(REOPEN))
                .bind(replay)
                .fetch_all(&mut *connection)
                .await?;
            // While it was claimed, a later generation may have come to its end.
            superseded::left_open(connection, link, open).await?;
            Ok(())
        })
    })
    .await
}
