//! The audit record: a chain that grows at its end, one entry after the other.

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::PgConnection;

use super::PostgresStore;
use crate::store::tables::audit::{AuditRow, FilterRow, NO_HEAD, NextRow};
use crate::store::{
    Act, Audit, AuditEntry, AuditFilter, AuditHead, AuditLink, AuditOutcome, AuditPage, StoreError,
};

/// Locks the head until the end of the transaction: everybody else who appends waits.
const NEXT: &str = "UPDATE audit_head SET seq = seq + 1 RETURNING seq, hash";

/// Once the head is locked, so that moments come in the order of numbers.
const NOW: &str =
    r#"SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"#;

const APPEND: &str = "WITH entry AS (
        INSERT INTO audit (seq, at, who, role, origin, action, target, outcome, before, after, why, request_id,
                           previous_hash, hash)
        VALUES ($1, $2::text::timestamptz, $3, $4, $5, $6, $7, $8, $9::text::json, $10::text::json, $11, $12,
                $13, $14)
    )
    UPDATE audit_head SET hash = $14";

const PAGE: &str = r#"SELECT seq, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS at, who, role,
        origin, action, target, outcome, before::text, after::text, why, request_id, previous_hash, hash
    FROM audit
    WHERE ($1::bigint IS NULL OR seq < $1)
          AND ($2::text IS NULL OR who ILIKE $2)
          AND ($3::text IS NULL OR action ILIKE $3)
          AND ($4::text IS NULL OR target ILIKE $4)
          AND ($5::text IS NULL OR outcome = $5)
          AND ($6::timestamptz IS NULL OR audit.at >= $6)
          AND ($7::timestamptz IS NULL OR audit.at < $7)
    ORDER BY seq DESC LIMIT $8"#;

const LINKS: &str = r#"SELECT seq, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS at, who, role,
        origin, action, target, outcome, before::text, after::text, why, request_id, previous_hash, hash
    FROM audit WHERE $1::bigint IS NULL OR seq > $1 ORDER BY seq LIMIT $2"#;

const HEAD: &str = "SELECT seq, hash FROM audit_head";

/// Appends the entry of an act to the record, in the transaction of `connection`. It is the last change of a
/// transaction: one that has locked the head may not wait for another lock.
pub(super) async fn append(
    connection: &mut PgConnection,
    act: &Act,
    outcome: AuditOutcome,
) -> Result<(), sqlx::Error> {
    let next: Option<NextRow> = sqlx::query_as(NEXT)
        .fetch_optional(&mut *connection)
        .await?;
    let next = next.ok_or_else(|| sqlx::Error::InvalidArgument(NO_HEAD.to_owned()))?;
    let at: String = sqlx::query_scalar(NOW).fetch_one(&mut *connection).await?;
    let row = AuditRow::new(next, at, act, outcome);
    sqlx::query(APPEND)
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
        .bind(row.hash)
        .execute(connection)
        .await?;
    Ok(())
}

#[async_trait]
impl Audit for PostgresStore {
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
        let (row, since, until) = (FilterRow::from(filter), filter.since, filter.until);
        let rows: Vec<AuditRow> = self
            .link
            .rows(PAGE, move |query| {
                query
                    .bind(page.before)
                    .bind(row.who.clone())
                    .bind(row.action.clone())
                    .bind(row.target.clone())
                    .bind(row.outcome)
                    .bind(since)
                    .bind(until)
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
            .rows(LINKS, move |query| query.bind(after).bind(i64::from(most)))
            .await?;
        Ok(rows.into_iter().map(AuditLink::from).collect())
    }

    async fn audit_head(&self) -> Result<Option<AuditHead>, StoreError> {
        let head: Option<(i64, Vec<u8>)> = self.link.row(HEAD, |query| query).await?;
        Ok(head.map(|(seq, hash)| AuditHead { seq, hash }))
    }
}

impl PostgresStore {
    /// Appends an entry in a transaction of its own.
    async fn append_alone(&self, act: &Act, outcome: AuditOutcome) -> Result<(), StoreError> {
        let act = Arc::new(act.clone());
        self.link
            .transaction(move |connection| {
                let act = Arc::clone(&act);
                Box::pin(async move { append(connection, &act, outcome).await })
            })
            .await
    }
}
