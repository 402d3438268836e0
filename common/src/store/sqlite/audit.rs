//! The audit record: a chain that grows at its end, one entry after the other.

use async_trait::async_trait;
use sqlx::SqliteConnection;

use super::SqliteStore;
use super::link::{Link, now};
use crate::sqlite::Error;
use crate::store::tables::audit::{AuditRow, FilterRow, NO_HEAD, NextRow};
use crate::store::tables::text::comparable;
use crate::store::{
    Act, Audit, AuditEntry, AuditFilter, AuditHead, AuditLink, AuditOutcome, AuditPage, StoreError,
};

const NEXT: &str = r#"UPDATE "NAMESPACE.audit_head" SET seq = seq + 1 RETURNING seq, hash"#;

const INSERT: &str = r#"INSERT INTO "NAMESPACE.audit"
    (seq, at, who, role, origin, action, target, outcome, before, after, why, request_id, previous_hash, hash)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"#;

const KEEP_HASH: &str = r#"UPDATE "NAMESPACE.audit_head" SET hash = $1"#;

const PAGE: &str = r#"SELECT * FROM "NAMESPACE.audit"
    WHERE ($1 IS NULL OR seq < $1)
          AND ($2 IS NULL OR who LIKE $2 ESCAPE '\')
          AND ($3 IS NULL OR action LIKE $3 ESCAPE '\')
          AND ($4 IS NULL OR target LIKE $4 ESCAPE '\')
          AND ($5 IS NULL OR outcome = $5)
          AND ($6 IS NULL OR at >= $6)
          AND ($7 IS NULL OR at < $7)
    ORDER BY seq DESC LIMIT $8"#;

const LINKS: &str = r#"SELECT * FROM "NAMESPACE.audit"
    WHERE $1 IS NULL OR seq > $1 ORDER BY seq LIMIT $2"#;

const HEAD: &str = r#"SELECT seq, hash FROM "NAMESPACE.audit_head""#;

/// Appends the entry of an act to the record, in the transaction of `connection`.
pub(super) async fn append(
    connection: &mut SqliteConnection,
    link: &Link,
    act: &Act,
    outcome: AuditOutcome,
) -> Result<(), Error> {
    let next: Vec<NextRow> = sqlx::query_as(link.sql(NEXT))
        .fetch_all(&mut *connection)
        .await?;
    let next = next.into_iter().next();
    let next = next.ok_or_else(|| Error::Fault(NO_HEAD.to_owned()))?;
    let row = AuditRow::new(next, now()?, act, outcome);
    sqlx::query(link.sql(INSERT))
        .bind(row.seq)
        .bind(row.at)
        .bind(row.who)
        .bind(row.role)
        .bind(row.origin)
        .bind(row.action)
        .bind(row.target)
        .bind(row.outcome)
        .bind(row.before)
        .bind(row.after)
        .bind(row.why)
        .bind(row.request_id)
        .bind(row.previous_hash)
        .bind(row.hash.clone())
        .execute(&mut *connection)
        .await?;
    sqlx::query(link.sql(KEEP_HASH))
        .bind(row.hash)
        .execute(connection)
        .await?;
    Ok(())
}

#[async_trait]
impl Audit for SqliteStore {
    async fn deny(&self, act: &Act) -> Result<(), StoreError> {
        self.append_alone(act, AuditOutcome::Denied).await
    }

    async fn record(&self, act: &Act) -> Result<(), StoreError> {
        self.append_alone(act, AuditOutcome::Allowed).await
    }

    async fn audit_page(
        &self,
        filter: &AuditFilter,
        page: AuditPage,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let row = FilterRow::from(filter);
        let rows: Vec<AuditRow> = self
            .link
            .rows(PAGE, |query| {
                query
                    .bind(page.before)
                    .bind(row.who)
                    .bind(row.action)
                    .bind(row.target)
                    .bind(row.outcome)
                    .bind(filter.since.map(comparable))
                    .bind(filter.until.map(comparable))
                    .bind(i64::from(page.limit))
            })
            .await?;
        rows.into_iter().map(AuditEntry::try_from).collect()
    }

    async fn audit_links(
        &self,
        after: Option<i64>,
        most: u32,
    ) -> Result<Vec<AuditLink>, StoreError> {
        let rows: Vec<AuditRow> = self
            .link
            .rows(LINKS, |query| query.bind(after).bind(i64::from(most)))
            .await?;
        Ok(rows.into_iter().map(AuditLink::from).collect())
    }

    async fn audit_head(&self) -> Result<Option<AuditHead>, StoreError> {
        let head: Option<(i64, Vec<u8>)> = self.link.row(HEAD, |query| query).await?;
        Ok(head.map(|(seq, hash)| AuditHead { seq, hash }))
    }
}

impl SqliteStore {
    /// Appends an entry in a transaction of its own.
    async fn append_alone(&self, act: &Act, outcome: AuditOutcome) -> Result<(), StoreError> {
        let act = act.clone();
        self.link
            .write(move |connection, link| {
                Box::pin(async move { append(connection, link, &act, outcome).await })
            })
            .await
    }
}
