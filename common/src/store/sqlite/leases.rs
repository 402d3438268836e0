//! Duties that one program of all has at a time.

use std::time::Duration;

use async_trait::async_trait;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::store::sqlite::SqliteStore;
use crate::store::sqlite::link::now;
use crate::store::tables::text::comparable;
use crate::store::tables::watching::{position, position_column};
use crate::store::{Lease, LeaseState, Leases, Moment, StoreError};

/// An end that lies far ahead was written before somebody set the clock back: it counts as over.
const HOLD: &str = r#"
    INSERT INTO "NAMESPACE.leases" AS known (name, holder, taken_at, renewed_at, expires_at, position)
    VALUES (?1, ?2, ?3, ?3, ?4, ?5)
    ON CONFLICT (name) DO UPDATE SET
        holder = excluded.holder,
        taken_at = CASE WHEN known.holder = excluded.holder THEN known.taken_at
                        ELSE excluded.taken_at END,
        renewed_at = excluded.renewed_at,
        expires_at = excluded.expires_at,
        position = coalesce(excluded.position, known.position)
    WHERE known.holder = excluded.holder OR known.expires_at < ?3 OR known.expires_at > ?6
    RETURNING position"#;

const GIVE_UP: &str =
    r#"UPDATE "NAMESPACE.leases" SET expires_at = ?3 WHERE name = ?1 AND holder = ?2"#;

const LEASE: &str =
    r#"SELECT expires_at > ?2, position, renewed_at FROM "NAMESPACE.leases" WHERE name = ?1"#;

/// A lease that ends later than this was written before somebody set the clock back.
const FARTHEST_END: Duration = Duration::from_secs(600);

#[async_trait]
impl Leases for SqliteStore {
    async fn hold_lease(
        &self,
        name: &str,
        holder: Uuid,
        keep: Duration,
        position_now: Option<u64>,
    ) -> Result<Option<Lease>, StoreError> {
        let name = name.to_owned();
        let at = OffsetDateTime::now_utc();
        let column = position_column(position_now);
        let row: Option<(Option<i64>,)> = self
            .link
            .write(move |connection, link| {
                Box::pin(async move {
                    Ok(sqlx::query_as(link.sql(HOLD))
                        .bind(name)
                        .bind(holder)
                        .bind(comparable(at))
                        .bind(comparable(at + keep))
                        .bind(column)
                        .bind(comparable(at + FARTHEST_END))
                        .fetch_optional(connection)
                        .await?)
                })
            })
            .await?;
        Ok(row.map(|(column,)| Lease {
            position: position(column),
        }))
    }

    async fn give_up_lease(&self, name: &str, holder: Uuid) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.link
            .write(move |connection, link| {
                Box::pin(async move {
                    sqlx::query(link.sql(GIVE_UP))
                        .bind(name)
                        .bind(holder)
                        .bind(now()?)
                        .execute(connection)
                        .await?;
                    Ok(())
                })
            })
            .await
    }

    async fn lease(&self, name: &str) -> Result<Option<LeaseState>, StoreError> {
        let (query, name) = (self.link.sql(LEASE), name.to_owned());
        let row: Option<(bool, Option<i64>, OffsetDateTime)> = self
            .link
            .read(move |connection| {
                Box::pin(async move {
                    let query = sqlx::query_as(query).bind(name).bind(now()?);
                    Ok(query.fetch_optional(connection).await?)
                })
            })
            .await?;
        Ok(row.map(|(is_held, column, renewed_at)| LeaseState {
            is_held,
            position: position(column),
            renewed_at: Moment(renewed_at),
        }))
    }
}
