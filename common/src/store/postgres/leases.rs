//! Duties that one program of all has at a time.

use std::time::Duration;

use async_trait::async_trait;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::store::postgres::PostgresStore;
use crate::store::tables::watching::{position, position_column};
use crate::store::{Lease, LeaseState, Leases, Moment, StoreError};

/// An end that lies far ahead was written before somebody set the clock back: it counts as over.
const HOLD: &str = "
    INSERT INTO leases AS known (name, holder, expires_at, position)
    VALUES ($1, $2, clock_timestamp() + $3 * interval '1 millisecond', $4)
    ON CONFLICT (name) DO UPDATE SET
        holder = excluded.holder,
        taken_at = CASE WHEN known.holder = excluded.holder THEN known.taken_at
                        ELSE excluded.taken_at END,
        renewed_at = excluded.renewed_at,
        expires_at = excluded.expires_at,
        position = COALESCE(excluded.position, known.position)
    WHERE known.holder = excluded.holder OR known.expires_at < clock_timestamp()
        OR known.expires_at > clock_timestamp() + interval '10 minutes'
    RETURNING position";

const GIVE_UP: &str =
    "UPDATE leases SET expires_at = clock_timestamp() WHERE name = $1 AND holder = $2";

const LEASE: &str =
    "SELECT expires_at > clock_timestamp(), position, renewed_at FROM leases WHERE name = $1";

#[async_trait]
impl Leases for PostgresStore {
    async fn hold_lease(
        &self,
        name: &str,
        holder: Uuid,
        keep: Duration,
        position_now: Option<u64>,
    ) -> Result<Option<Lease>, StoreError> {
        let name = name.to_owned();
        let keep = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
        let column = position_column(position_now);
        let row: Option<(Option<i64>,)> = self
            .link
            .row(HOLD, move |query| {
                query.bind(&name).bind(holder).bind(keep).bind(column)
            })
            .await?;
        Ok(row.map(|(column,)| Lease {
            position: position(column),
        }))
    }

    async fn give_up_lease(&self, name: &str, holder: Uuid) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.link
            .execute(GIVE_UP, move |query| query.bind(&name).bind(holder))
            .await
    }

    async fn lease(&self, name: &str) -> Result<Option<LeaseState>, StoreError> {
        let name = name.to_owned();
        let row: Option<(bool, Option<i64>, OffsetDateTime)> =
            self.link.row(LEASE, move |query| query.bind(&name)).await?;
        Ok(row.map(|(is_held, column, renewed_at)| LeaseState {
            is_held,
            position: position(column),
            renewed_at: Moment(renewed_at),
        }))
    }
}
