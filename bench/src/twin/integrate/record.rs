use std::sync::Arc;

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, PgPool, SqlSafeStr, SqlStr};

use super::Delivered;
use crate::Namespace;

/// Records a batch of deliveries as done: one statement, so one transaction and one round trip.
pub(super) struct Record {
    pool: PgPool,
    sql: SqlStr,
}

impl Record {
    pub(super) fn new(pool: PgPool, namespace: &Namespace) -> Self {
        // `any` and no join with the batch: a join is planned while the table is empty, and then compares every
        // delivery with every one of the batch.
        let sql = format!(
            "with batch as materialized (
                 select * from unnest($1::uuid[], $2::int[], $3::int[]) as t(id, status_code, duration_ms)
             ), attempt as (
                 insert into {namespace}.delivery_attempts
                     (event_id, destination, generation, attempt, started_at, duration_ms, status_code)
                 select id, 'bench', 0, 1, now() - make_interval(secs => duration_ms / 1000.0),
                        duration_ms, status_code
                 from batch on conflict do nothing
             )
             update {namespace}.deliveries as d
             set status = 'delivered', attempts = 1, last_attempt_at = now(), delivered_at = now(),
                 last_status_code = 204
             where d.event_id = any($1) and d.destination = 'bench' and d.generation = 0"
        );
        Self {
            pool,
            // Only a `Namespace` is put into the text, and it holds nothing that would need quoting.
            sql: AssertSqlSafe(sql).into_sql_str(),
        }
    }

    /// Records these and gives them back.
    pub(super) async fn run(self: Arc<Self>, delivered: Vec<Delivered>) -> Result<Vec<Delivered>> {
        let millis = |d: &Delivered| i32::try_from(d.took.as_millis()).unwrap_or(i32::MAX);
        sqlx::query(self.sql.clone())
            .bind(delivered.iter().map(|d| d.event_id).collect::<Vec<_>>())
            .bind(
                delivered
                    .iter()
                    .map(|d| i32::from(d.status))
                    .collect::<Vec<_>>(),
            )
            .bind(delivered.iter().map(millis).collect::<Vec<_>>())
            .execute(&self.pool)
            .await
            .context("the database did not take a batch of attempts")?;
        Ok(delivered)
    }
}
