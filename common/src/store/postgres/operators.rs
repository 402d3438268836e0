//! Operators and their keys.

use std::sync::Arc;

use async_trait::async_trait;

use super::PostgresStore;
use super::audit::append;
use crate::store::tables::operators::{OperatorRow, made, revoked};
use crate::store::{
    Act, AuditOutcome, NewOperator, OperatorMade, OperatorRecord, Operators, StoreError,
};

const MAKE: &str =
    "INSERT INTO operators (operator_id, name, role, key_hash) VALUES ($1, $2, $3, $4)
    ON CONFLICT DO NOTHING";

const IS_THERE: &str =
    "SELECT EXISTS (SELECT FROM operators WHERE operator_id = $1 AND key_hash = $2)";

const ALL: &str =
    "SELECT operator_id, name, role, created_at, revoked_at, last_used_at FROM operators
    ORDER BY created_at DESC, operator_id";

const REVOKE: &str = "UPDATE operators SET revoked_at = clock_timestamp()
    WHERE operator_id = $1 AND revoked_at IS NULL";

const ONE: &str =
    "SELECT operator_id, name, role, created_at, revoked_at, last_used_at FROM operators
    WHERE operator_id = $1";

const OF_KEY: &str =
    "SELECT operator_id, name, role, created_at, revoked_at, last_used_at FROM operators
    WHERE key_hash = $1";

const USED: &str = "UPDATE operators SET last_used_at = clock_timestamp()
    WHERE key_hash = $1 AND revoked_at IS NULL
          AND (last_used_at IS NULL OR last_used_at < clock_timestamp() - interval '1 minute')";

#[async_trait]
impl Operators for PostgresStore {
    async fn make_operator(&self, operator: &NewOperator) -> Result<OperatorMade, StoreError> {
        let operator = Arc::new(operator.clone());
        self.link
            .transaction(move |connection| {
                let operator = Arc::clone(&operator);
                Box::pin(async move {
                    let inserted = sqlx::query(MAKE)
                        .bind(&operator.id)
                        .bind(&operator.name)
                        .bind(operator.role.as_str())
                        .bind(&operator.key_hash[..])
                        .execute(&mut *connection)
                        .await?
                        .rows_affected();
                    if inserted > 0 {
                        append(connection, &made(&operator), AuditOutcome::Allowed).await?;
                        return Ok(OperatorMade::Made);
                    }
                    let is_there: bool = sqlx::query_scalar(IS_THERE)
                        .bind(&operator.id)
                        .bind(&operator.key_hash[..])
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
        let (id, act) = (Arc::<str>::from(id), Arc::new(revoked(act)));
        let row: Option<OperatorRow> = self
            .link
            .transaction(move |connection| {
                let (id, act) = (Arc::clone(&id), Arc::clone(&act));
                Box::pin(async move {
                    let changed = sqlx::query(REVOKE)
                        .bind(&*id)
                        .execute(&mut *connection)
                        .await?
                        .rows_affected();
                    let row = sqlx::query_as(ONE)
                        .bind(&*id)
                        .fetch_optional(&mut *connection)
                        .await?;
                    if changed > 0 {
                        append(connection, &act, AuditOutcome::Allowed).await?;
                    }
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
        self.link
            .execute(USED, move |query| query.bind(key_hash.to_vec()))
            .await?;
        let row: Option<OperatorRow> = self
            .link
            .row(OF_KEY, move |query| query.bind(key_hash.to_vec()))
            .await?;
        row.map(OperatorRecord::try_from).transpose()
    }
}
