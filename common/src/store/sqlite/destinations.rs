//! Pauses of destinations.

use async_trait::async_trait;

use super::SqliteStore;
use super::audit::append;
use super::link::now;
use crate::store::tables::destinations::{PauseRow, changed};
use crate::store::{Act, AuditOutcome, Destinations, NewPause, PausedDestination, StoreError};

const PAUSE: &str = r#"INSERT INTO "NAMESPACE.destinations" (name, paused_at, paused_by, paused_why)
    VALUES ($1, $2, $3, $4)
    ON CONFLICT (name) DO UPDATE
        SET paused_at = excluded.paused_at, paused_by = excluded.paused_by, paused_why = excluded.paused_why
        WHERE paused_at IS NULL"#;

const ONE: &str =
    r#"SELECT * FROM "NAMESPACE.destinations" WHERE name = $1 AND paused_at IS NOT NULL"#;

const RESUME: &str = r#"UPDATE "NAMESPACE.destinations"
    SET paused_at = NULL, paused_by = NULL, paused_why = NULL WHERE name = $1"#;

const PAUSED: &str =
    r#"SELECT * FROM "NAMESPACE.destinations" WHERE paused_at IS NOT NULL ORDER BY name"#;

#[async_trait]
impl Destinations for SqliteStore {
    async fn pause_destination(
        &self,
        pause: &NewPause,
        act: Option<&Act>,
    ) -> Result<PausedDestination, StoreError> {
        let pause = pause.clone();
        let act = act.map(|act| changed(act, true));
        let row: PauseRow = self
            .link
            .write(move |connection, link| {
                Box::pin(async move {
                    let begun = sqlx::query(link.sql(PAUSE))
                        .bind(pause.destination.clone())
                        .bind(now()?)
                        .bind(pause.by)
                        .bind(pause.why)
                        .execute(&mut *connection)
                        .await?
                        .rows_affected();
                    if let (1.., Some(act)) = (begun, &act) {
                        append(connection, link, act, AuditOutcome::Allowed).await?;
                    }
                    let row = sqlx::query_as(link.sql(ONE))
                        .bind(pause.destination)
                        .fetch_one(connection)
                        .await?;
                    Ok(row)
                })
            })
            .await?;
        Ok(row.into())
    }

    async fn resume_destination(
        &self,
        name: &str,
        act: &Act,
    ) -> Result<Option<PausedDestination>, StoreError> {
        let (name, act) = (name.to_owned(), changed(act, false));
        let row: Option<PauseRow> = self
            .link
            .write(move |connection, link| {
                Box::pin(async move {
                    let row = sqlx::query_as(link.sql(ONE))
                        .bind(name.clone())
                        .fetch_optional(&mut *connection)
                        .await?;
                    if row.is_some() {
                        sqlx::query(link.sql(RESUME))
                            .bind(name)
                            .execute(&mut *connection)
                            .await?;
                        append(connection, link, &act, AuditOutcome::Allowed).await?;
                    }
                    Ok(row)
                })
            })
            .await?;
        Ok(row.map(PausedDestination::from))
    }

    async fn paused_destinations(&self) -> Result<Vec<PausedDestination>, StoreError> {
        let rows: Vec<PauseRow> = self.link.rows(PAUSED, |query| query).await?;
        Ok(rows.into_iter().map(PausedDestination::from).collect())
    }
}
