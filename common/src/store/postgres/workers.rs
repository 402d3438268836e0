//! The copies that deliver, and the configurations of all processes.

use async_trait::async_trait;
use uuid::Uuid;

use super::PostgresStore;
use crate::store::tables::workers::{ConfiguredRow, DestinationWorkerRow, WorkerRow, names};
use crate::store::{
    ConfiguredWorker, DestinationWorker, LIVE_FOR, LiveWorker, StoreError, TOLD_FOR, WorkerCard,
    Workers,
};

/// Who was not heard of for long joins anew. A sign of life that lies ahead was written before somebody set the clock back.
const BEAT: &str = "WITH me AS (
        INSERT INTO workers AS known (worker_id, program, host, version, destinations, joined_at, seen_at)
        VALUES ($1, $2, $3, $4, $5::json, clock_timestamp(), clock_timestamp())
        ON CONFLICT (worker_id) DO UPDATE SET
            joined_at = CASE WHEN known.seen_at < excluded.seen_at - $6 * interval '1 millisecond'
                             THEN excluded.joined_at ELSE known.joined_at END,
            destinations = excluded.destinations,
            seen_at = excluded.seen_at
        RETURNING worker_id, destinations::text, joined_at
    )
    SELECT worker_id, destinations, joined_at, clock_timestamp() AS at FROM me
    UNION ALL
    SELECT worker_id, destinations::text, joined_at, clock_timestamp() FROM workers
    WHERE worker_id <> $1
        AND seen_at BETWEEN clock_timestamp() - $6 * interval '1 millisecond'
                        AND clock_timestamp() + interval '10 minutes'
    ORDER BY worker_id";

const OF_DESTINATION: &str = "SELECT program, host, version, joined_at FROM workers
    WHERE destinations::jsonb ? $1
        AND seen_at BETWEEN clock_timestamp() - $2 * interval '1 millisecond'
                        AND clock_timestamp() + interval '10 minutes'
    ORDER BY program, host, worker_id";

/// Those that ended without a word go with the next that leaves.
const LEAVE: &str = "DELETE FROM workers
    WHERE worker_id = $1 OR greatest(seen_at, told_at) < clock_timestamp() - interval '1 day'";

/// A process that has not delivered yet was never seen delivering.
const TELL: &str = "INSERT INTO workers AS known
        (worker_id, program, host, version, destinations, joined_at, seen_at, configuration, configured_at, told_at)
    VALUES ($1, $2, $3, $4, '[]', to_timestamp(0), to_timestamp(0), $5, clock_timestamp(), clock_timestamp())
    ON CONFLICT (worker_id) DO UPDATE SET
        configured_at = CASE WHEN known.configuration = excluded.configuration
                             THEN known.configured_at ELSE excluded.configured_at END,
        configuration = excluded.configuration,
        told_at = excluded.told_at";

const CONFIGURED: &str =
    "SELECT worker_id, program, host, version, configuration, configured_at FROM workers
    WHERE configuration IS NOT NULL
        AND told_at BETWEEN clock_timestamp() - $1 * interval '1 millisecond'
                        AND clock_timestamp() + interval '10 minutes'
    ORDER BY program, host, worker_id";

#[async_trait]
impl Workers for PostgresStore {
    async fn beat(&self, card: &WorkerCard) -> Result<Vec<LiveWorker>, StoreError> {
        let card = card.clone();
        let destinations = names(&card.destinations);
        let live_for = i64::try_from(LIVE_FOR.as_millis()).unwrap_or(i64::MAX);
        let rows: Vec<WorkerRow> = self
            .link
            .rows(BEAT, move |query| {
                query
                    .bind(card.id)
                    .bind(&card.program)
                    .bind(&card.host)
                    .bind(&card.version)
                    .bind(&destinations)
                    .bind(live_for)
            })
            .await?;
        rows.into_iter().map(LiveWorker::try_from).collect()
    }

    async fn destination_workers(
        &self,
        destination: &str,
    ) -> Result<Vec<DestinationWorker>, StoreError> {
        let destination = destination.to_owned();
        let live_for = i64::try_from(LIVE_FOR.as_millis()).unwrap_or(i64::MAX);
        let rows: Vec<DestinationWorkerRow> = self
            .link
            .rows(OF_DESTINATION, move |query| {
                query.bind(&destination).bind(live_for)
            })
            .await?;
        Ok(rows.into_iter().map(DestinationWorker::from).collect())
    }

    async fn leave(&self, worker: Uuid) -> Result<(), StoreError> {
        self.link
            .execute(LEAVE, move |query| query.bind(worker))
            .await
    }

    async fn tell(&self, card: &WorkerCard, configuration: &str) -> Result<(), StoreError> {
        let (card, configuration) = (card.clone(), configuration.to_owned());
        self.link
            .execute(TELL, move |query| {
                query
                    .bind(card.id)
                    .bind(card.program.clone())
                    .bind(card.host.clone())
                    .bind(card.version.clone())
                    .bind(configuration.clone())
            })
            .await
    }

    async fn configured_workers(&self) -> Result<Vec<ConfiguredWorker>, StoreError> {
        let told_for = i64::try_from(TOLD_FOR.as_millis()).unwrap_or(i64::MAX);
        let rows: Vec<ConfiguredRow> = self
            .link
            .rows(CONFIGURED, move |query| query.bind(told_for))
            .await?;
        Ok(rows.into_iter().map(ConfiguredWorker::from).collect())
    }
}
