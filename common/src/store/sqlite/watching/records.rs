//! The records of the standing watch.

use async_trait::async_trait;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::store::sqlite::SqliteStore;
use crate::store::sqlite::link::{document, now};
use crate::store::tables::text::comparable;
use crate::store::tables::watching::{FindingRecord, RepairRecord, finding_rows, repair_rows};
use crate::store::{Moment, Repair, RepairKey, StoreError, WatchFinding, WatchRecords};

const RECORD: &str = r#"
    INSERT INTO "NAMESPACE.watch_repairs" AS known (subject, destination, generation, first_at, last_at)
    SELECT unhex(value ->> 'subject', '-'), value ->> 'destination', value ->> 'generation', ?2, ?2
    FROM json_each(?1) WHERE true
    ON CONFLICT (subject, destination, generation) DO UPDATE SET
        sent = known.sent + 1, last_at = excluded.last_at"#;

const REPAIRS: &str = r#"
    SELECT subject, destination, generation, sent, last_at FROM "NAMESPACE.watch_repairs"
    WHERE subject IN (SELECT unhex(value, '-') FROM json_each(?1))"#;

const REPAIRS_SINCE: &str = r#"
    SELECT count(*) FILTER (WHERE destination = ''), count(*) FILTER (WHERE destination <> '')
    FROM "NAMESPACE.watch_repairs" WHERE last_at >= ?1"#;

const FORGET: &str = r#"
    DELETE FROM "NAMESPACE.watch_findings" WHERE NOT EXISTS (
        SELECT 1 FROM json_each(?1)
        WHERE value ->> 'finding' = finding AND value ->> 'subject' = subject)"#;

const KEEP: &str = r#"
    INSERT INTO "NAMESPACE.watch_findings" (finding, subject, number, detail, found_at)
    SELECT value ->> 'finding', value ->> 'subject', value ->> 'number', value ->> 'detail', ?2
    FROM json_each(?1) WHERE true
    ON CONFLICT (finding, subject) DO UPDATE SET
        number = excluded.number, detail = excluded.detail"#;

const FINDINGS: &str = r#"
    SELECT finding, subject, number, detail, found_at FROM "NAMESPACE.watch_findings"
    ORDER BY finding, subject"#;

#[async_trait]
impl WatchRecords for SqliteStore {
    async fn record_repairs(&self, repairs: &[RepairKey]) -> Result<(), StoreError> {
        let rows = document(&repair_rows(repairs))?;
        self.link
            .write(move |connection, link| {
                Box::pin(async move {
                    let query = sqlx::query(link.sql(RECORD)).bind(rows).bind(now()?);
                    query.execute(connection).await?;
                    Ok(())
                })
            })
            .await
    }

    async fn repairs(&self, subjects: &[Uuid]) -> Result<Vec<Repair>, StoreError> {
        let subjects = document(subjects)?;
        let rows: Vec<RepairRecord> = self
            .link
            .rows(REPAIRS, |query| query.bind(subjects))
            .await?;
        rows.into_iter().map(Repair::try_from).collect()
    }

    async fn repairs_since(&self, since: OffsetDateTime) -> Result<(u64, u64), StoreError> {
        let (events, deliveries): (i64, i64) = self
            .link
            .one(REPAIRS_SINCE, |query| query.bind(comparable(since)))
            .await?;
        Ok((events.unsigned_abs(), deliveries.unsigned_abs()))
    }

    async fn keep_findings(&self, findings: &[WatchFinding]) -> Result<(), StoreError> {
        let rows = document(&finding_rows(findings))?;
        self.link
            .write(move |connection, link| {
                Box::pin(async move {
                    sqlx::query(link.sql(FORGET))
                        .bind(&rows)
                        .execute(&mut *connection)
                        .await?;
                    let query = sqlx::query(link.sql(KEEP)).bind(&rows).bind(now()?);
                    query.execute(connection).await?;
                    Ok(())
                })
            })
            .await
    }

    async fn findings(&self) -> Result<Vec<(WatchFinding, Moment)>, StoreError> {
        let rows: Vec<FindingRecord> = self.link.rows(FINDINGS, |query| query).await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }
}
