//! Operators and their keys.

use async_trait::async_trait;
use time::{Duration, OffsetDateTime};

use super::SqliteStore;
use super::audit::append;
use super::link::now;
use crate::store::tables::operators::{OperatorRow, made, revoked};
use crate::store::tables::text::comparable;
use crate::store::{
    Act, AuditOutcome, NewOperator, OperatorMade, OperatorRecord, Operators, StoreError,
};

const MAKE: &str = r#"INSERT INTO "NAMESPACE.operators" (operator_id, name, role, key_hash, created_at)
    VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING"#;

const IS_THERE: &str = r#"SELECT EXISTS (
    SELECT 1 FROM "NAMESPACE.operators" WHERE operator_id = $1 AND key_hash = $2)"#;

const ALL: &str = r#"SELECT * FROM "NAMESPACE.operators" ORDER BY created_at DESC, operator_id"#;

const REVOKE: &str = r#"UPDATE "NAMESPACE.operators" SET revoked_at = $2
    WHERE operator_id = $1 AND revoked_at IS NULL"#;

const ONE: &str = r#"SELECT * FROM "NAMESPACE.operators" WHERE operator_id = $1"#;

const OF_KEY: &str = r#"SELECT * FROM "NAMESPACE.operators" WHERE key_hash = $1"#;

const USED: &str = r#"UPDATE "NAMESPACE.operators" SET last_used_at = $2
    WHERE key_hash = $1 AND revoked_at IS NULL AND (last_used_at IS NULL OR last_used_at < $3)"#;

#[async_trait]
impl Operators for SqliteStore {
    async fn make_operator(&self, operator: &NewOperator) -> Result<OperatorMade, StoreError> {
        let operator = operator.clone();
        self.link
            .write(move |connection, link| {
                Box::pin(async move {
                    let inserted = sqlx::query(link.sql(MAKE))
                        .bind(operator.id.clone())
                        .bind(operator.name.clone())
                        .bind(operator.role.as_str())
                        .bind(operator.key_hash.to_vec())
                        .bind(now()?)
                        .execute(&mut *connection)
                        .await?
                        .rows_affected();
                    if inserted > 0 {
                        let act = made(&operator);
                        append(connection, link, &act, AuditOutcome::Allowed).await?;
                        return Ok(OperatorMade::Made);
                    }
                    let is_there: bool = sqlx::query_scalar(link.sql(IS_THERE))
                        .bind(operator.id)
                        .bind(operator.key_hash.to_vec())
                        .fetch_one(connection)
                        .await?;
                    Ok(if is_there {
                        OperatorMade::Made
                    } else {
                        OperatorMade::NameTaken
                    })
                })
            })
            .await
    }

    async fn all_operators(&self) -> Result<Vec<OperatorRecord>, StoreError> {
        let rows: Vec<OperatorRow> = self.link.rows(ALL, |query| query).await?;
        rows.into_iter().map(OperatorRecord::try_from).collect()
    }

    async fn revoke_operator(
        &self,
        id: &str,
        act: &Act,
    ) -> Result<Option<OperatorRecord>, StoreError> {
        let (id, act) = (id.to_owned(), revoked(act));
        let row: Option<OperatorRow> = self
            .link
            .write(move |connection, link| {
                Box::pin(async move {
                    let changed = sqlx::query(link.sql(REVOKE))
                        .bind(id.clone())
                        .bind(now()?)
                        .execute(&mut *connection)
                        .await?
                        .rows_affected();
                    if changed > 0 {
                        append(connection, link, &act, AuditOutcome::Allowed).await?;
                    }
                    let row = sqlx::query_as(link.sql(ONE))
                        .bind(id)
                        .fetch_optional(connection)
                        .await?;
                    Ok(row)
                })
            })
            .await?;
        row.map(OperatorRecord::try_from).transpose()
    }

    async fn operator_of_key(
        &self,
        key_hash: [u8; 32],
    ) -> Result<Option<OperatorRecord>, StoreError> {
        let now = OffsetDateTime::now_utc();
        let (at, before) = (comparable(now), comparable(now - Duration::MINUTE));
        self.link
            .execute(USED, |query| {
                query.bind(key_hash.to_vec()).bind(at).bind(before)
            })
            .await?;
        let row: Option<OperatorRow> = self
            .link
            .row(OF_KEY, |query| query.bind(key_hash.to_vec()))
            .await?;
        row.map(OperatorRecord::try_from).transpose()
    }
}
