//! Pauses and breakers of destinations.

use std::time::Duration;

use async_trait::async_trait;
use time::OffsetDateTime;

use super::SqliteStore;
use super::audit::append;
use super::link::now;
use crate::store::tables::destinations::{DestinationRow, PauseRow, pausing, resuming};
use crate::store::tables::text::{comparable, keepable};
use crate::store::{
    Act, AuditOutcome, DestinationState, Destinations, NewPause, PausedDestination, StoreError,
};

const PAUSE: &str = r#"INSERT INTO "NAMESPACE.destinations" (name, paused_at, paused_by, paused_why)
    VALUES ($1, $2, $3, $4)
    ON CONFLICT (name) DO UPDATE
        SET paused_at = excluded.paused_at, paused_by = excluded.paused_by, paused_why = excluded.paused_why
        WHERE paused_at IS NULL"#;

const ONE: &str =
    r#"SELECT * FROM "NAMESPACE.destinations" WHERE name = $1 AND paused_at IS NOT NULL"#;

const HELD: &str = r#"SELECT name, paused_at, paused_by, paused_why, breaker_opened_at, breaker_why,
        breaker_probe_at, breaker_closed_at, ?2 AS at
    FROM "NAMESPACE.destinations"
    WHERE name = ?1 AND (paused_at IS NOT NULL OR breaker_opened_at IS NOT NULL)"#;

/// A breaker that was not open did not close now.
const RESUME: &str = r#"UPDATE "NAMESPACE.destinations"
    SET paused_at = NULL, paused_by = NULL, paused_why = NULL,
        breaker_closed_at = CASE WHEN breaker_opened_at IS NULL THEN breaker_closed_at ELSE ?2 END,
        breaker_opened_at = NULL, breaker_why = NULL, breaker_probe_at = NULL
    WHERE name = ?1"#;

const ALL: &str = r#"SELECT name, paused_at, paused_by, paused_why, breaker_opened_at, breaker_why,
        breaker_probe_at, breaker_closed_at, ?1 AS at
    FROM "NAMESPACE.destinations" ORDER BY name"#;

const OPEN: &str = r#"INSERT INTO "NAMESPACE.destinations" AS known
    (name, breaker_opened_at, breaker_why, breaker_probe_at)
    VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (name) DO UPDATE
        SET breaker_opened_at = coalesce(known.breaker_opened_at, excluded.breaker_opened_at),
            breaker_why = excluded.breaker_why, breaker_probe_at = excluded.breaker_probe_at"#;

/// A moment that lies further ahead than it can was written before somebody set the clock back.
const TAKE_PROBE: &str = r#"UPDATE "NAMESPACE.destinations" SET breaker_probe_at = ?3
    WHERE name = ?1 AND (breaker_probe_at <= ?2 OR breaker_probe_at > ?4)"#;

const CLOSE: &str = r#"UPDATE "NAMESPACE.destinations"
    SET breaker_opened_at = NULL, breaker_why = NULL, breaker_probe_at = NULL, breaker_closed_at = ?2
    WHERE name = ?1 AND breaker_opened_at IS NOT NULL"#;

#[async_trait]
impl Destinations for SqliteStore {
    async fn destination_states(&self) -> Result<Vec<DestinationState>, StoreError> {
        let at = comparable(OffsetDateTime::now_utc());
        let rows: Vec<DestinationRow> = self.link.rows(ALL, move |query| query.bind(at)).await?;
        Ok(rows.into_iter().map(DestinationState::from).collect())
    }

    async fn pause_destination(
        &self,
        pause: &NewPause,
        act: Option<&Act>,
    ) -> Result<PausedDestination, StoreError> {
        let pause = pause.clone();
        let act = act.map(pausing);
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
    ) -> Result<Option<DestinationState>, StoreError> {
        let (name, act) = (name.to_owned(), act.clone());
        let at = OffsetDateTime::now_utc();
        self.link
            .write(move |connection, link| {
                Box::pin(async move {
                    let row: Option<DestinationRow> = sqlx::query_as(link.sql(HELD))
                        .bind(name.clone())
                        .bind(comparable(at))
                        .fetch_optional(&mut *connection)
                        .await?;
                    let before = row.map(DestinationState::from);
                    if let Some(before) = &before {
                        sqlx::query(link.sql(RESUME))
                            .bind(name)
                            .bind(comparable(at))
                            .execute(&mut *connection)
                            .await?;
                        let act = resuming(&act, before);
                        append(connection, link, &act, AuditOutcome::Allowed).await?;
                    }
                    Ok(before)
                })
            })
            .await
    }

    async fn open_breaker(&self, name: &str, why: &str, open: Duration) -> Result<(), StoreError> {
        let (name, why, at) = (name.to_owned(), keepable(why), OffsetDateTime::now_utc());
        self.link
            .write(move |connection, link| {
                Box::pin(async move {
                    sqlx::query(link.sql(OPEN))
                        .bind(name)
                        .bind(comparable(at))
                        .bind(why)
                        .bind(comparable(at + open))
                        .execute(connection)
                        .await?;
                    Ok(())
                })
            })
            .await
    }

    async fn take_probe(
        &self,
        name: &str,
        lease: Duration,
        farthest: Duration,
    ) -> Result<bool, StoreError> {
        let name = name.to_owned();
        self.link
            .write(move |connection, link| {
                Box::pin(async move {
                    // Not before its turn to write: to an earlier moment, the end of a lease just taken would lie too far ahead.
                    let at = OffsetDateTime::now_utc();
                    let taken = sqlx::query(link.sql(TAKE_PROBE))
                        .bind(name)
                        .bind(comparable(at))
                        .bind(comparable(at + lease))
                        .bind(comparable(at + farthest))
                        .execute(connection)
                        .await?;
                    Ok(taken.rows_affected() > 0)
                })
            })
            .await
    }

    async fn close_breaker(&self, name: &str) -> Result<(), StoreError> {
        let (name, at) = (name.to_owned(), OffsetDateTime::now_utc());
        self.link
            .write(move |connection, link| {
                Box::pin(async move {
                    sqlx::query(link.sql(CLOSE))
                        .bind(name)
                        .bind(comparable(at))
                        .execute(connection)
                        .await?;
                    Ok(())
                })
            })
            .await
    }
}
