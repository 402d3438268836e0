//! Pauses of destinations.

use std::sync::Arc;

use async_trait::async_trait;

use super::PostgresStore;
use super::audit::append;
use crate::store::tables::destinations::{PauseRow, changed};
use crate::store::{Act, AuditOutcome, Destinations, NewPause, PausedDestination, StoreError};

const PAUSE: &str =
    "INSERT INTO destinations AS known (name, paused_at, paused_by, paused_why)
    VALUES ($1, clock_timestamp(), $2, $3)
    ON CONFLICT (name) DO UPDATE
        SET paused_at = excluded.paused_at, paused_by = excluded.paused_by, paused_why = excluded.paused_why
        WHERE known.paused_at IS NULL";

const ONE: &str = "SELECT name, paused_at, paused_by, paused_why FROM destinations
    WHERE name = $1 AND paused_at IS NOT NULL";

const ONE_FOR_UPDATE: &str = "SELECT name, paused_at, paused_by, paused_why FROM destinations
    WHERE name = $1 AND paused_at IS NOT NULL FOR UPDATE";

const RESUME: &str =
    "UPDATE destinations SET paused_at = NULL, paused_by = NULL, paused_why = NULL WHERE name = $1";

const PAUSED: &str = "SELECT name, paused_at, paused_by, paused_why FROM destinations
    WHERE paused_at IS NOT NULL ORDER BY name";

#[async_trait]
impl Destinations for PostgresStore {
    async fn pause_destination(
        &self,
        pause: &NewPause,
        act: Option<&Act>,
    ) -> Result<PausedDestination, StoreError> {
        let pause = Arc::new(pause.clone());
        let act = Arc::new(act.map(|act| changed(act, true)));
        let row: PauseRow = self
            .link
            .transaction(move |connection| {
                let (pause, act) = (Arc::clone(&pause), Arc::clone(&act));
                Box::pin(async move {
                    let begun = sqlx::query(PAUSE)
                        .bind(&pause.destination)
                        .bind(&pause.by)
                        .bind(&pause.why)
                        .execute(&mut *connection)
                        .await?
                        .rows_affected();
                    let row = sqlx::query_as(ONE)
                        .bind(&pause.destination)
                        .fetch_one(&mut *connection)
                        .await?;
                    if let (1.., Some(act)) = (begun, &*act) {
                        append(connection, act, AuditOutcome::Allowed).await?;
                    }
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
        let (name, act) = (Arc::<str>::from(name), Arc::new(changed(act, false)));
        let row: Option<PauseRow> = self
            .link
            .transaction(move |connection| {
                let (name, act) = (Arc::clone(&name), Arc::clone(&act));
                Box::pin(async move {
                    let row = sqlx::query_as(ONE_FOR_UPDATE)
                        .bind(&*name)
                        .fetch_optional(&mut *connection)
                        .await?;
                    if row.is_some() {
                        sqlx::query(RESUME)
                            .bind(&*name)
                            .execute(&mut *connection)
                            .await?;
                        append(connection, &act, AuditOutcome::Allowed).await?;
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
