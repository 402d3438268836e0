//! Operations: beginning them, steering them, and writing down how far they are.

use std::sync::Arc;

use async_trait::async_trait;
use uuid::Uuid;

use super::PostgresStore;
use super::dead::superseded;
use super::replays::{self, OUTCOME};
use super::steering;
use crate::store::tables::letters::{INTEGRATE, LetterRow};
use crate::store::tables::operations::{
    OperationRow, OutcomeRow, check_end, no_such_operation, report_column,
};
use crate::store::{
    Act, DeadLetter, Operation, OperationPage, OperationReport, OperationState, Operations,
    Progress, ReplayOutcome, Runs, StoreError,
};

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

#[async_trait]
impl Operations for PostgresStore {
    async fn begin_operation(&self, operation: &Operation) -> Result<(), StoreError> {
        steering::begin(self, operation).await
    }

    async fn hand_over_operation(&self, id: Uuid, act: &Act) -> Result<(), StoreError> {
        steering::hand_over(self, id, act).await
    }

    async fn set_operation_rate(&self, id: Uuid, rate: u32, act: &Act) -> Result<(), StoreError> {
        steering::set_rate(self, id, rate, act).await
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

    async fn reopen_operation(&self, id: Uuid, act: &Act) -> Result<(), StoreError> {
        steering::reopen(self, id, act).await
    }

    async fn steer_operation(
        &self,
        id: Uuid,
        to: OperationState,
        act: &Act,
    ) -> Result<Option<OperationState>, StoreError> {
        steering::steer(self, id, to, act).await
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
                Box::pin(async move { steering::end(connection, replay, state).await })
            })
            .await?;
        // While it was claimed, a later generation may have come to its end.
        superseded::of_replay(&self.link, replay).await
    }
}

impl PostgresStore {
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
