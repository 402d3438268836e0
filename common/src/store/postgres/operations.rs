//! Operations: beginning them, steering them, and writing down how far they are.

use std::sync::Arc;

use async_trait::async_trait;
use uuid::Uuid;

use super::PostgresStore;
use super::dead::superseded;
use super::replays::{self, OUTCOME};
use crate::store::tables::letters::{INTEGRATE, LetterRow};
use crate::store::tables::operations::{
    NewOperationRow, OperationRow, OutcomeRow, Steer, check_end, no_such_operation, report_column,
};
use crate::store::{
    DeadLetter, Operation, OperationPage, OperationReport, OperationState, Operations, Progress,
    ReplayOutcome, Runs, StoreError,
};

const BEGIN: &str = "INSERT INTO replays
        (replay_id, filter, to_queue, who, why, rate, stop_when, slice, new_ids, resumes, kind, handed_over_at)
    VALUES ($1, $2::text::json, $3, $4, $5, $6, $7, $8::text::json, $9, $10, $11, clock_timestamp())
    ON CONFLICT (replay_id) DO NOTHING";

const HAND_OVER: &str = "UPDATE replays SET handed_over_at = clock_timestamp()
    WHERE replay_id = $1 AND handed_over_at IS NULL";

const SET_RATE: &str = "UPDATE replays SET rate = $2 WHERE replay_id = $1";

const RUNNING: &str = "SELECT replay_id FROM replays
    WHERE state = 'running' AND handed_over_at IS NOT NULL ORDER BY started_at LIMIT $1";

const REPLAY: &str =
    "SELECT replay_id, kind, filter::text, to_queue, who, why, state, rate, stop_when,
        slice::text, new_ids, position, replayed, started_at, ended_at, handed_over_at, resumes,
        report::text
    FROM replays WHERE replay_id = $1";

const PAGE: &str =
    "SELECT replay_id, kind, filter::text, to_queue, who, why, state, rate, stop_when,
        slice::text, new_ids, position, replayed, started_at, ended_at, handed_over_at, resumes,
        report::text
    FROM replays
    WHERE $1::timestamptz IS NULL OR (started_at, replay_id) < ($1, $2::uuid)
    ORDER BY started_at DESC, replay_id DESC LIMIT $3";

const STILL_CLAIMED: &str = "SELECT letter.*
    FROM dead_letters AS letter JOIN replays USING (replay_id)
    WHERE replay_id = $1 AND replays.state = 'running'
          AND letter.state = 'replaying' AND dead_letter_id > $2
    ORDER BY dead_letter_id LIMIT $3";

/// Only claimed letters are counted, so marking twice counts once. A letter that was opened again in between,
/// because the replay was stopped, was sent all the same.
///
/// `IS NOT DISTINCT FROM` keeps the planner from finding the letters by their replay. It takes that for the
/// shortest way if its figures are from before the replay: each batch would read all that were sent before it. And
/// as the statement is planned anew each time, its plan knows the size of the table.
const MARK: &str = "WITH marked AS (
        UPDATE dead_letters SET state = 'replayed', replayed_at = clock_timestamp()
        WHERE dead_letter_id = ANY($2) AND replay_id IS NOT DISTINCT FROM $1
              AND state IN ('replaying', 'open')
        RETURNING dead_letter_id
    )
    UPDATE replays SET replayed = replayed + (SELECT count(*) FROM marked)
    WHERE replay_id = $1";

const ADVANCE: &str =
    "UPDATE replays SET replayed = replayed + $2, position = $3, report = $4::text::json
    WHERE replay_id = $1 AND (position IS NULL OR position < $3)";

const REPORT: &str = "UPDATE replays SET report = $2::text::json WHERE replay_id = $1";

const REOPEN_HISTORY: &str = "UPDATE replays
    SET state = 'running', ended_at = NULL,
        handed_over_at = COALESCE(handed_over_at, clock_timestamp())
    WHERE replay_id = $1 AND state = 'stopped' AND slice IS NOT NULL";

/// A replay that has ended in between stays ended.
const SET_STATE: &str =
    "UPDATE replays SET state = $2 WHERE replay_id = $1 AND state IN ('running', 'paused')";

const LOCK: &str = "SELECT FROM replays WHERE replay_id = $1 FOR UPDATE";
const END: &str = "UPDATE replays SET state = $2, ended_at = clock_timestamp()
    WHERE replay_id = $1 AND state IN ('running', 'paused')";

/// The replay of the letters is still known: letters that the broker confirms after all are marked. They are not
/// due again after all. A letter that was sent nevertheless, its confirmation lost, is written down anew when it
/// is tried.
const REOPEN_LETTERS: &str = "WITH reopened AS (
        UPDATE dead_letters SET state = 'open'
        WHERE replay_id = $1 AND state = 'replaying'
        RETURNING event_id, destination, generation, stage
    )
    DELETE FROM deliveries USING reopened
    WHERE reopened.stage = $2
          AND deliveries.event_id = reopened.event_id
          AND deliveries.destination = reopened.destination
          AND deliveries.generation = reopened.generation + 1
          AND deliveries.status = 'due' AND deliveries.attempts = 0";

#[async_trait]
impl Operations for PostgresStore {
    async fn begin_operation(&self, replay: &Operation) -> Result<(), StoreError> {
        let row = NewOperationRow::try_from(replay)?;
        self.link
            .execute(BEGIN, move |query| {
                query
                    .bind(row.id)
                    .bind(&row.filter)
                    .bind(&row.to_queue)
                    .bind(&row.who)
                    .bind(&row.why)
                    .bind(row.rate)
                    .bind(row.stop_when)
                    .bind(&row.slice)
                    .bind(row.new_ids)
                    .bind(row.resumes)
                    .bind(row.kind)
            })
            .await
    }

    async fn hand_over_operation(&self, id: Uuid) -> Result<(), StoreError> {
        self.change(HAND_OVER, id).await
    }

    async fn set_operation_rate(&self, id: Uuid, rate: u32) -> Result<(), StoreError> {
        self.link
            .execute(SET_RATE, move |query| query.bind(id).bind(i64::from(rate)))
            .await
    }

    async fn operation(&self, id: Uuid) -> Result<Option<Progress>, StoreError> {
        let row: Option<OperationRow> = self.link.row(REPLAY, move |query| query.bind(id)).await?;
        row.map(Progress::try_from).transpose()
    }

    async fn operations_page(&self, page: OperationPage) -> Result<Vec<Progress>, StoreError> {
        let (at, id) = page.after.unzip();
        let rows: Vec<OperationRow> = self
            .link
            .run(move |connection| {
                Box::pin(async move {
                    sqlx::query_as(PAGE)
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

    async fn reopen_operation(&self, id: Uuid) -> Result<(), StoreError> {
        self.change(REOPEN_HISTORY, id).await
    }

    async fn steer_operation(
        &self,
        id: Uuid,
        to: OperationState,
    ) -> Result<Option<OperationState>, StoreError> {
        let Some(known) = self.operation(id).await? else {
            return Ok(None);
        };
        match Steer::decide(known.state, to)? {
            Steer::Leave => return Ok(Some(known.state)),
            Steer::Stop => self.end_operation(id, to).await?,
            Steer::Set => {
                self.link
                    .execute(SET_STATE, move |query| query.bind(id).bind(to.as_str()))
                    .await?;
            }
        }
        Ok(self.operation(id).await?.map(|known| known.state))
    }

    async fn replay_outcome(&self, id: Uuid) -> Result<ReplayOutcome, StoreError> {
        self.outcome(id, None).await
    }

    async fn replay_sample(&self, id: Uuid, most: u32) -> Result<ReplayOutcome, StoreError> {
        self.outcome(id, Some(most)).await
    }
}

#[async_trait]
impl Runs for PostgresStore {
    async fn running_operations(&self, most: u32) -> Result<Vec<Uuid>, StoreError> {
        let rows: Vec<(Uuid,)> = self
            .link
            .rows(RUNNING, move |query| query.bind(i64::from(most)))
            .await?;
        Ok(rows.into_iter().map(|(id,)| id).collect())
    }

    async fn claim_dead(&self, replay: Uuid, most: u32) -> Result<Vec<DeadLetter>, StoreError> {
        replays::claim(self, replay, most).await
    }

    async fn claimed_dead(
        &self,
        replay: Uuid,
        after: Option<Uuid>,
        most: u32,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let rows: Vec<LetterRow> = self
            .link
            .rows(STILL_CLAIMED, move |query| {
                query
                    .bind(replay)
                    .bind(after.unwrap_or_default())
                    .bind(i64::from(most))
            })
            .await?;
        rows.into_iter().map(DeadLetter::try_from).collect()
    }

    async fn mark_replayed(&self, replay: Uuid, letters: &[Uuid]) -> Result<(), StoreError> {
        if letters.is_empty() {
            return Ok(());
        }
        let letters: Arc<[Uuid]> = letters.into();
        self.link
            .run(move |connection| {
                let letters = Arc::clone(&letters);
                Box::pin(async move {
                    sqlx::query(MARK)
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

    async fn advance_replay(
        &self,
        id: Uuid,
        sent: u64,
        position: u64,
        report: &OperationReport,
    ) -> Result<(), StoreError> {
        let sent = i64::try_from(sent).unwrap_or(i64::MAX);
        let position = i64::try_from(position).unwrap_or(i64::MAX);
        let report = report_column(report)?;
        self.link
            .execute(ADVANCE, move |query| {
                query.bind(id).bind(sent).bind(position).bind(&report)
            })
            .await
    }

    async fn report_operation(&self, id: Uuid, report: &OperationReport) -> Result<(), StoreError> {
        let report = report_column(report)?;
        self.link
            .execute(REPORT, move |query| query.bind(id).bind(&report))
            .await
    }

    async fn end_operation(&self, replay: Uuid, state: OperationState) -> Result<(), StoreError> {
        check_end(state)?;
        self.link
            .transaction(move |connection| {
                Box::pin(async move {
                    // First the replay alone: this waits for a claim under way, and only the next statement sees
                    // the claimed letters.
                    sqlx::query(LOCK)
                        .bind(replay)
                        .execute(&mut *connection)
                        .await?;
                    let ended = sqlx::query(END)
                        .bind(replay)
                        .bind(state.as_str())
                        .execute(&mut *connection)
                        .await?
                        .rows_affected();
                    if ended == 0 {
                        return Ok(());
                    }
                    sqlx::query(REOPEN_LETTERS)
                        .bind(replay)
                        .bind(INTEGRATE)
                        .execute(&mut *connection)
                        .await?;
                    Ok(())
                })
            })
            .await?;
        // While it was claimed, a later generation may have come to its end.
        superseded::of_replay(&self.link, replay).await
    }
}

impl PostgresStore {
    /// A statement that asks for the id of a replay and nothing else.
    async fn change(&self, statement: &'static str, replay: Uuid) -> Result<(), StoreError> {
        self.link
            .execute(statement, move |query| query.bind(replay))
            .await
    }

    async fn outcome(&self, replay: Uuid, most: Option<u32>) -> Result<ReplayOutcome, StoreError> {
        let row: Option<OutcomeRow> = self
            .link
            .row(OUTCOME, move |query| {
                let most = most.map(i64::from);
                query.bind(replay).bind(INTEGRATE).bind(most)
            })
            .await?;
        row.map(|row| row.outcome(most.is_some()))
            .ok_or_else(|| no_such_operation(replay))
    }
}
