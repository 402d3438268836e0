//! The records of the standing watch.

use std::sync::Arc;

use async_trait::async_trait;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::store::postgres::PostgresStore;
use crate::store::postgres::columns::column;
use crate::store::tables::watching::{
    FindingRecord, FindingRow, RepairRecord, RepairRow, finding_rows, repair_rows,
};
use crate::store::{Moment, Repair, RepairKey, StoreError, WatchFinding, WatchRecords};

const RECORD: &str = "
    INSERT INTO watch_repairs AS known (subject, destination, generation)
    SELECT * FROM UNNEST($1::uuid[], $2::text[], $3::bigint[])
    ON CONFLICT (subject, destination, generation) DO UPDATE SET
        sent = known.sent + 1, last_at = clock_timestamp()";

const REPAIRS: &str = "
    SELECT subject, destination, generation, sent, last_at FROM watch_repairs
    WHERE subject = ANY($1)";

const REPAIRS_SINCE: &str = "
    SELECT count(*) FILTER (WHERE destination = ''), count(*) FILTER (WHERE destination <> '')
    FROM watch_repairs WHERE last_at >= $1";

const FORGET: &str = "
    DELETE FROM watch_findings WHERE NOT EXISTS (
        SELECT FROM UNNEST($1::text[], $2::text[]) AS told (finding, subject)
        WHERE told.finding = watch_findings.finding AND told.subject = watch_findings.subject)";

const KEEP: &str = "
    INSERT INTO watch_findings (finding, subject, number, detail)
    SELECT * FROM UNNEST($1::text[], $2::text[], $3::bigint[], $4::text[])
    ON CONFLICT (finding, subject) DO UPDATE SET
        number = excluded.number, detail = excluded.detail";

const FINDINGS: &str = "
    SELECT finding, subject, number, detail, found_at FROM watch_findings
    ORDER BY finding, subject";

#[async_trait]
impl WatchRecords for PostgresStore {
    async fn record_repairs(&self, repairs: &[RepairKey]) -> Result<(), StoreError> {
        let rows: Vec<RepairRow> = repair_rows(repairs);
        self.link
            .execute(RECORD, move |query| {
                query
                    .bind(column(&rows, |row| row.subject))
                    .bind(column(&rows, |row| row.destination.as_str()))
                    .bind(column(&rows, |row| row.generation))
            })
            .await
    }

    async fn repairs(&self, subjects: &[Uuid]) -> Result<Vec<Repair>, StoreError> {
        let subjects = subjects.to_vec();
        let rows: Vec<RepairRecord> = self
            .link
            .rows(REPAIRS, move |query| query.bind(&subjects))
            .await?;
        rows.into_iter().map(Repair::try_from).collect()
    }

    async fn repairs_since(&self, since: OffsetDateTime) -> Result<(u64, u64), StoreError> {
        let (events, deliveries): (i64, i64) = self
            .link
            .one(REPAIRS_SINCE, move |query| query.bind(since))
            .await?;
        Ok((events.unsigned_abs(), deliveries.unsigned_abs()))
    }

    async fn keep_findings(&self, findings: &[WatchFinding]) -> Result<(), StoreError> {
        let rows: Arc<[FindingRow]> = finding_rows(findings).into();
        self.link
            .transaction(move |connection| {
                let rows = Arc::clone(&rows);
                Box::pin(async move {
                    sqlx::query(FORGET)
                        .bind(column(&rows, |row| row.finding.as_str()))
                        .bind(column(&rows, |row| row.subject.as_str()))
                        .execute(&mut *connection)
                        .await?;
                    sqlx::query(KEEP)
                        .bind(column(&rows, |row| row.finding.as_str()))
                        .bind(column(&rows, |row| row.subject.as_str()))
                        .bind(column(&rows, |row| row.number))
                        .bind(column(&rows, |row| row.detail.as_str()))
                        .execute(connection)
                        .await
                        .map(|_| ())
                })
            })
            .await
    }

    async fn findings(&self) -> Result<Vec<(WatchFinding, Moment)>, StoreError> {
        let rows: Vec<FindingRecord> = self.link.rows(FINDINGS, |query| query).await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }
}
