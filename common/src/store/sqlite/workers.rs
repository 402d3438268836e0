//! The copies that deliver, and the configurations of all processes.

use std::time::Duration;

use async_trait::async_trait;
use time::OffsetDateTime;
use uuid::Uuid;

use super::SqliteStore;
use crate::store::tables::text::comparable;
use crate::store::tables::workers::{ConfiguredRow, DestinationWorkerRow, WorkerRow, names};
use crate::store::{
    ConfiguredWorker, DestinationWorker, LIVE_FOR, LiveWorker, StoreError, TOLD_FOR, WorkerCard,
    Workers,
};

/// Who was not heard of for long joins anew.
const BEAT: &str = r#"INSERT INTO "NAMESPACE.workers" AS known
    (worker_id, program, host, version, destinations, started_at, joined_at, seen_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?6)
    ON CONFLICT (worker_id) DO UPDATE SET
        joined_at = CASE WHEN known.seen_at < ?7 THEN excluded.joined_at ELSE known.joined_at END,
        destinations = excluded.destinations,
        seen_at = excluded.seen_at"#;

/// A sign of life that lies ahead was written before somebody set the clock back.
const LIVE: &str = r#"SELECT worker_id, destinations, joined_at, ?1 AS at FROM "NAMESPACE.workers"
    WHERE seen_at BETWEEN ?2 AND ?3 ORDER BY worker_id"#;

const OF_DESTINATION: &str = r#"SELECT program, host, version, joined_at FROM "NAMESPACE.workers"
    WHERE ?1 IN (SELECT value FROM json_each(destinations)) AND seen_at BETWEEN ?2 AND ?3
    ORDER BY program, host, worker_id"#;

/// Those that ended without a word go with the next that leaves.
const LEAVE: &str = r#"DELETE FROM "NAMESPACE.workers"
    WHERE worker_id = ?1 OR max(seen_at, coalesce(told_at, seen_at)) < ?2"#;

/// A process that has not delivered yet was never seen delivering.
const TELL: &str = r#"INSERT INTO "NAMESPACE.workers" AS known
    (worker_id, program, host, version, destinations, started_at, joined_at, seen_at, configuration, configured_at, told_at)
    VALUES (?1, ?2, ?3, ?4, '[]', ?6, ?7, ?7, ?5, ?6, ?6)
    ON CONFLICT (worker_id) DO UPDATE SET
        configured_at = CASE WHEN known.configuration = excluded.configuration
                             THEN known.configured_at ELSE excluded.configured_at END,
        configuration = excluded.configuration,
        told_at = excluded.told_at"#;

const CONFIGURED: &str = r#"SELECT worker_id, program, host, version, configuration, configured_at
    FROM "NAMESPACE.workers"
    WHERE configuration IS NOT NULL AND told_at BETWEEN ?1 AND ?2 ORDER BY program, host, worker_id"#;

const DAY: Duration = Duration::from_secs(24 * 3600);
const FARTHEST: Duration = Duration::from_secs(600);

#[async_trait]
impl Workers for SqliteStore {
    async fn beat(&self, card: &WorkerCard) -> Result<Vec<LiveWorker>, StoreError> {
        let card = card.clone();
        let at = OffsetDateTime::now_utc();
        let rows: Vec<WorkerRow> = self
            .link
            .write(move |connection, link| {
                Box::pin(async move {
                    sqlx::query(link.sql(BEAT))
                        .bind(card.id)
                        .bind(card.program)
                        .bind(card.host)
                        .bind(card.version)
                        .bind(names(&card.destinations))
                        .bind(comparable(at))
                        .bind(comparable(at - LIVE_FOR))
                        .execute(&mut *connection)
                        .await?;
                    Ok(sqlx::query_as(link.sql(LIVE))
                        .bind(comparable(at))
                        .bind(comparable(at - LIVE_FOR))
                        .bind(comparable(at + FARTHEST))
                        .fetch_all(connection)
                        .await?)
                })
            })
            .await?;
        rows.into_iter().map(LiveWorker::try_from).collect()
    }

    async fn destination_workers(
        &self,
        destination: &str,
    ) -> Result<Vec<DestinationWorker>, StoreError> {
        let (destination, at) = (destination.to_owned(), OffsetDateTime::now_utc());
        let rows: Vec<DestinationWorkerRow> = self
            .link
            .rows(OF_DESTINATION, move |query| {
                query
                    .bind(destination.clone())
                    .bind(comparable(at - LIVE_FOR))
                    .bind(comparable(at + FARTHEST))
            })
            .await?;
        Ok(rows.into_iter().map(DestinationWorker::from).collect())
    }

    async fn leave(&self, worker: Uuid) -> Result<(), StoreError> {
        let before = comparable(OffsetDateTime::now_utc() - DAY);
        self.link
            .write(move |connection, link| {
                Box::pin(async move {
                    sqlx::query(link.sql(LEAVE))
                        .bind(worker)
                        .bind(before)
                        .execute(connection)
                        .await?;
                    Ok(())
                })
            })
            .await
    }

    async fn tell(&self, card: &WorkerCard, configuration: &str) -> Result<(), StoreError> {
        let (card, configuration) = (card.clone(), configuration.to_owned());
        let at = OffsetDateTime::now_utc();
        self.link
            .write(move |connection, link| {
                Box::pin(async move {
                    sqlx::query(link.sql(TELL))
                        .bind(card.id)
                        .bind(card.program)
                        .bind(card.host)
                        .bind(card.version)
                        .bind(configuration)
                        .bind(comparable(at))
                        .bind(comparable(OffsetDateTime::UNIX_EPOCH))
                        .execute(connection)
                        .await?;
                    Ok(())
                })
            })
            .await
    }

    async fn configured_workers(&self) -> Result<Vec<ConfiguredWorker>, StoreError> {
        let at = OffsetDateTime::now_utc();
        let rows: Vec<ConfiguredRow> = self
            .link
            .rows(CONFIGURED, move |query| {
                query
                    .bind(comparable(at - TOLD_FOR))
                    .bind(comparable(at + FARTHEST))
            })
            .await?;
        Ok(rows.into_iter().map(ConfiguredWorker::from).collect())
    }
}
