//! Pauses and breakers of destinations.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::PostgresStore;
use super::audit::append;
use crate::store::tables::destinations::{DestinationRow, PauseRow, pausing, resuming};
use crate::store::tables::text::keepable;
use crate::store::{
    Act, AuditOutcome, DestinationState, Destinations, NewPause, PausedDestination, StoreError,
};

const PAUSE: &str =
    "INSERT INTO destinations AS known (name, paused_at, paused_by, paused_why)
    VALUES ($1, clock_timestamp(), $2, $3)
    ON CONFLICT (name) DO UPDATE
        SET paused_at = excluded.paused_at, paused_by = excluded.paused_by, paused_why = excluded.paused_why
        WHERE known.paused_at IS NULL";

const ONE: &str = "SELECT name, paused_at, paused_by, paused_why FROM destinations
    WHERE name = $1 AND paused_at IS NOT NULL";

const HELD_FOR_UPDATE: &str =
    "SELECT name, paused_at, paused_by, paused_why, breaker_opened_at, breaker_why, breaker_probe_at,
            breaker_closed_at, clock_timestamp() AS at
    FROM destinations
    WHERE name = $1 AND (paused_at IS NOT NULL OR breaker_opened_at IS NOT NULL) FOR UPDATE";

/// A breaker that was not open did not close now.
const RESUME: &str = "UPDATE destinations
    SET paused_at = NULL, paused_by = NULL, paused_why = NULL,
        breaker_closed_at = CASE WHEN breaker_opened_at IS NULL THEN breaker_closed_at ELSE clock_timestamp() END,
        breaker_opened_at = NULL, breaker_why = NULL, breaker_probe_at = NULL
    WHERE name = $1";

const ALL: &str =
    "SELECT name, paused_at, paused_by, paused_why, breaker_opened_at, breaker_why, breaker_probe_at,
            breaker_closed_at, clock_timestamp() AS at
    FROM destinations ORDER BY name";

const OPEN: &str =
    "INSERT INTO destinations AS known (name, breaker_opened_at, breaker_why, breaker_probe_at)
    VALUES ($1, clock_timestamp(), $2, clock_timestamp() + $3 * interval '1 millisecond')
    ON CONFLICT (name) DO UPDATE
        SET breaker_opened_at = coalesce(known.breaker_opened_at, excluded.breaker_opened_at),
            breaker_why = excluded.breaker_why, breaker_probe_at = excluded.breaker_probe_at";

/// A moment that lies further ahead than it can was written before somebody set the clock back.
const TAKE_PROBE: &str = "UPDATE destinations
    SET breaker_probe_at = clock_timestamp() + $2 * interval '1 millisecond'
    WHERE name = $1
        AND (breaker_probe_at <= clock_timestamp()
             OR breaker_probe_at > clock_timestamp() + $3 * interval '1 millisecond')
    RETURNING name";

const CLOSE: &str = "UPDATE destinations
    SET breaker_opened_at = NULL, breaker_why = NULL, breaker_probe_at = NULL, breaker_closed_at = clock_timestamp()
    WHERE name = $1 AND breaker_opened_at IS NOT NULL";

#[async_trait]
impl Destinations for PostgresStore {
    async fn destination_states(&self) -> Result<Vec<DestinationState>, StoreError> {
        let rows: Vec<DestinationRow> = self.link.rows(ALL, |query| query).await?;
        Ok(rows.into_iter().map(DestinationState::from).collect())
    }

    async fn pause_destination(
        &self,
        pause: &NewPause,
        act: Option<&Act>,
    ) -> Result<PausedDestination, StoreError> {
        let pause = Arc::new(pause.clone());
        let act = Arc::new(act.map(pausing));
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
    ) -> Result<Option<DestinationState>, StoreError> {
        let (name, act) = (Arc::<str>::from(name), Arc::new(act.clone()));
        self.link
            .transaction(move |connection| {
                let (name, act) = (Arc::clone(&name), Arc::clone(&act));
                Box::pin(async move {
                    let row: Option<DestinationRow> = sqlx::query_as(HELD_FOR_UPDATE)
                        .bind(&*name)
                        .fetch_optional(&mut *connection)
                        .await?;
                    let before = row.map(DestinationState::from);
                    if let Some(before) = &before {
                        sqlx::query(RESUME)
                            .bind(&*name)
                            .execute(&mut *connection)
                            .await?;
                        let act = resuming(&act, before);
                        append(connection, &act, AuditOutcome::Allowed).await?;
                    }
                    Ok(before)
                })
            })
            .await
    }

    async fn open_breaker(&self, name: &str, why: &str, open: Duration) -> Result<(), StoreError> {
        let (name, why, open) = (name.to_owned(), keepable(why), milliseconds(open));
        self.link
            .execute(OPEN, move |query| query.bind(&name).bind(&why).bind(open))
            .await
    }

    async fn take_probe(
        &self,
        name: &str,
        lease: Duration,
        farthest: Duration,
    ) -> Result<bool, StoreError> {
        let (name, lease, farthest) =
            (name.to_owned(), milliseconds(lease), milliseconds(farthest));
        let taken: Vec<(String,)> = self
            .link
            .rows(TAKE_PROBE, move |query| {
                query.bind(&name).bind(lease).bind(farthest)
            })
            .await?;
        Ok(!taken.is_empty())
    }

    async fn close_breaker(&self, name: &str) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.link
            .execute(CLOSE, move |query| query.bind(&name))
            .await
    }
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
