//! Operations: beginning them, steering them, and writing down how far they are.

use async_trait::async_trait;
use uuid::Uuid;

use super::SqliteStore;
use super::link::{document, now};
use super::replays::{self, OUTCOME};
use super::steering;
use crate::store::tables::letters::{INTEGRATE, LetterRow};
use crate::store::tables::operations::{
    OperationRow, OutcomeRow, check_end, no_such_operation, report_column,
};
use crate::store::tables::text::comparable;
use crate::store::{
    Act, DeadLetter, Operation, OperationPage, OperationReport, OperationState, Operations,
    Progress, ReplayOutcome, Runs, StoreError,
};

const RUNNING: &str = r#"SELECT replay_id FROM "NAMESPACE.replays"
    WHERE state = 'running' AND handed_over_at IS NOT NULL ORDER BY started_at LIMIT $1"#;

const REPLAY: &str = r#"SELECT * FROM "NAMESPACE.replays" WHERE replay_id = $1"#;

const PAGE: &str = r#"SELECT * FROM "NAMESPACE.replays"
    WHERE $1 IS NULL OR (started_at, replay_id) < ($1, $2)
    ORDER BY started_at DESC, replay_id DESC LIMIT $3"#;

const STILL_CLAIMED: &str = r#"SELECT letter.*
    FROM "NAMESPACE.dead_letters" AS letter JOIN "NAMESPACE.replays" AS replay USING (replay_id)
    WHERE replay_id = $1 AND replay.state = 'running' AND letter.state = 'replaying'
          AND dead_letter_id > $2
    ORDER BY dead_letter_id LIMIT $3"#;

const MARK: &str = r#"UPDATE "NAMESPACE.dead_letters" SET state = 'replayed', replayed_at = $3
    WHERE dead_letter_id IN (SELECT unhex(value, '-') FROM json_each($2))
          AND replay_id = $1 AND state IN ('replaying', 'open')"#;

const COUNT: &str =
    r#"UPDATE "NAMESPACE.replays" SET replayed = replayed + $2 WHERE replay_id = $1"#;

const ADVANCE: &str = r#"UPDATE "NAMESPACE.replays"
    SET replayed = replayed + $2, position = $3, report = $4
    WHERE replay_id = $1 AND (position IS NULL OR position < $3)"#;

const REPORT: &str = r#"UPDATE "NAMESPACE.replays" SET report = $2 WHERE replay_id = $1"#;

#[async_trait]
impl Operations for SqliteStore {
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
        let row: Option<OperationRow> = self.link.row(REPLAY, |query| query.bind(id)).await?;
        row.map(Progress::try_from).transpose()
    }

    async fn operations_page(&self, page: OperationPage) -> Result<Vec<Progress>, StoreError> {
        let (at, id) = page.after.unzip();
        let rows: Vec<OperationRow> = self
            .link
            .rows(PAGE, |query| {
                query
                    .bind(at.map(comparable))
                    .bind(id)
                    .bind(i64::from(page.limit))
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
impl Runs for SqliteStore {
    async fn running_operations(&self, most: u32) -> Result<Vec<Uuid>, StoreError> {
        let rows: Vec<(Uuid,)> = self
            .link
            .rows(RUNNING, |query| query.bind(i64::from(most)))
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
            .rows(STILL_CLAIMED, |query| {
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
        let letters = document(letters)?;
        self.link
            .write(move |connection, link| {
                Box::pin(async move {
                    // Only claimed letters are counted, so marking twice counts once.
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

    async fn advance_replay(
        &self,
        id: Uuid,
        sent: u64,
        position: u64,
        report: &OperationReport,
    ) -> Result<(), StoreError> {
        let report = report_column(report)?;
        self.link
            .execute(ADVANCE, |query| {
                query
                    .bind(id)
                    .bind(i64::try_from(sent).unwrap_or(i64::MAX))
                    .bind(i64::try_from(position).unwrap_or(i64::MAX))
                    .bind(report)
            })
            .await
    }

    async fn report_operation(&self, id: Uuid, report: &OperationReport) -> Result<(), StoreError> {
        let report = report_column(report)?;
        self.link
            .execute(REPORT, |query| query.bind(id).bind(report))
            .await
    }

    async fn end_operation(&self, replay: Uuid, state: OperationState) -> Result<(), StoreError> {
        check_end(state)?;
        self.link
            .write(move |connection, link| {
                Box::pin(async move { steering::end(connection, link, replay, state).await })
            })
            .await
    }
}

impl SqliteStore {
    async fn outcome(&self, replay: Uuid, most: Option<u32>) -> Result<ReplayOutcome, StoreError> {
        let row: Option<OutcomeRow> = self
            .link
            .row(OUTCOME, |query| {
                // Without a limit where it is negative.
                let most = most.map_or(-1, i64::from);
                query.bind(replay).bind(INTEGRATE).bind(most)
            })
            .await?;
        row.map(|row| row.outcome(most.is_some()))
            .ok_or_else(|| no_such_operation(replay))
    }
}
