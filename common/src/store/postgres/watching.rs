//! What the standing watch and the surveys ask.

mod letters;
mod streams;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use sqlx::postgres::PgBindIterExt as _;
use time::OffsetDateTime;
use uuid::Uuid;

use super::PostgresStore;
use crate::event::EventId;
use crate::store::tables::watching::{
    BodyRow, DueRow, FactRow, FindingRecord, FindingRow, RepairRecord, RepairRow, finding_rows,
    position, position_column, repair_rows,
};
use crate::store::{
    DeadState, Deaths, DeliveryKey, DueDelivery, FactVisitor, Lease, LeaseState, Moment, Repair,
    RepairKey, StoreError, StoredBody, WatchFinding, Watching,
};

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

/// In two steps, each by the first column of a primary key.
const STORED: &str = "SELECT event_id FROM events WHERE event_id = ANY($1)";
const UNFINISHED: &str = "
    SELECT event_id FROM deliveries
    WHERE event_id = ANY($1) AND status NOT IN ('delivered', 'discarded')";

const DUE: &str = "
    SELECT event_id, destination, generation, attempts, due_at, last_attempt_at
    FROM deliveries AS due
    WHERE due_at >= $1 AND due_at < $2 AND status = 'due'
        AND NOT EXISTS (SELECT FROM deliveries AS newer
            WHERE newer.event_id = due.event_id AND newer.destination = due.destination
                AND newer.generation > due.generation)
        AND NOT EXISTS (SELECT FROM dead_letters AS letter
            WHERE letter.event_id = due.event_id AND letter.state = 'replaying')
    ORDER BY due_at LIMIT $3";

const DUE_OF: &str = "
    SELECT event_id, destination, generation, attempts, due_at, last_attempt_at
    FROM deliveries AS due
    WHERE event_id = ANY($1) AND status = 'due'
        AND NOT EXISTS (SELECT FROM deliveries AS newer
            WHERE newer.event_id = due.event_id AND newer.destination = due.destination
                AND newer.generation > due.generation)";

const COUNT_DUE: &str = "
    SELECT destination, count(*) FROM deliveries
    WHERE status = 'due' AND destination = ANY($1) GROUP BY destination";

const LAST_ATTEMPTS: &str = "
    SELECT destination, max(last_attempt_at) FROM deliveries
    WHERE due_at >= $1 AND last_attempt_at IS NOT NULL GROUP BY destination";

const BODIES: &str = "
    SELECT event_id, type, source, publisher, received_at, accepted_at, body::text
    FROM events WHERE event_id = ANY($1)";

const STORED_BETWEEN: &str = "
    SELECT event_id, stream_id, type, received_at, stored_at AS at FROM events
    WHERE stored_at >= $1 AND stored_at < $2";
const NEVER_STORED: &str = "
    SELECT event_id, NULL::uuid AS stream_id, NULL::text AS type, NULL::timestamptz AS received_at, due_at AS at
    FROM deliveries AS made
    WHERE due_at >= $1 AND due_at < $2
        AND NOT EXISTS (SELECT FROM events WHERE events.event_id = made.event_id)";

const RECORD: &str = "
    INSERT INTO watch_repairs AS known (subject, destination, generation)
    SELECT * FROM UNNEST($1::uuid[], $2::text[], $3::bigint[])
    ON CONFLICT (subject, destination, generation) DO UPDATE SET
        sent = known.sent + 1, last_at = clock_timestamp()";

const REPAIRS: &str = "
    SELECT subject, destination, generation, sent, last_at FROM watch_repairs
    WHERE subject = ANY($1)";

const REPAIRS_SINCE: &str = "
    SELECT count(*) FILTER (WHERE destination = ''), count(*) FILTER (WHERE destination <> '')
    FROM watch_repairs WHERE last_at >= $1";

const FORGET: &str = "
    DELETE FROM watch_findings WHERE NOT EXISTS (
        SELECT FROM UNNEST($1::text[], $2::text[]) AS told (finding, subject)
        WHERE told.finding = watch_findings.finding AND told.subject = watch_findings.subject)";
const KEEP: &str = "
    INSERT INTO watch_findings (finding, subject, number, detail)
    SELECT * FROM UNNEST($1::text[], $2::text[], $3::bigint[], $4::text[])
    ON CONFLICT (finding, subject) DO UPDATE SET
        number = excluded.number, detail = excluded.detail";

const FINDINGS: &str = "
    SELECT finding, subject, number, detail, found_at FROM watch_findings
    ORDER BY finding, subject";

fn uuids(events: &[EventId]) -> Arc<[Uuid]> {
    events.iter().map(|event| event.uuid()).collect()
}

#[async_trait]
impl Watching for PostgresStore {
    async fn hold_lease(
        &self,
        name: &str,
        holder: Uuid,
        keep: Duration,
        position_now: Option<u64>,
    ) -> Result<Option<Lease>, StoreError> {
        let name: Arc<str> = name.into();
        let keep = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
        let column = position_column(position_now);
        let row: Option<(Option<i64>,)> = self
            .link
            .run(move |connection| {
                let name = Arc::clone(&name);
                Box::pin(async move {
                    sqlx::query_as(HOLD)
                        .bind(&*name)
                        .bind(holder)
                        .bind(keep)
                        .bind(column)
                        .fetch_optional(connection)
                        .await
                })
            })
            .await?;
        Ok(row.map(|(column,)| Lease {
            position: position(column),
        }))
    }

    async fn give_up_lease(&self, name: &str, holder: Uuid) -> Result<(), StoreError> {
        let name: Arc<str> = name.into();
        self.link
            .run(move |connection| {
                let name = Arc::clone(&name);
                Box::pin(async move {
                    let query = sqlx::query(GIVE_UP).bind(&*name).bind(holder);
                    query.execute(connection).await.map(|_| ())
                })
            })
            .await
    }

    async fn lease(&self, name: &str) -> Result<Option<LeaseState>, StoreError> {
        let name: Arc<str> = name.into();
        let row: Option<(bool, Option<i64>, OffsetDateTime)> = self
            .link
            .run(move |connection| {
                let name = Arc::clone(&name);
                Box::pin(async move {
                    let query = sqlx::query_as(LEASE).bind(&*name);
                    query.fetch_optional(connection).await
                })
            })
            .await?;
        Ok(row.map(|(is_held, column, renewed_at)| LeaseState {
            is_held,
            position: position(column),
            renewed_at: Moment(renewed_at),
        }))
    }

    async fn are_completed(&self, events: &[EventId]) -> Result<Vec<bool>, StoreError> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let ids = uuids(events);
        let (stored, unfinished): (Vec<Uuid>, Vec<Uuid>) = self
            .link
            .run(move |connection| {
                let ids = Arc::clone(&ids);
                Box::pin(async move {
                    let stored = sqlx::query_scalar(STORED)
                        .bind(&ids[..])
                        .fetch_all(&mut *connection)
                        .await?;
                    let unfinished = sqlx::query_scalar(UNFINISHED)
                        .bind(&ids[..])
                        .fetch_all(connection)
                        .await?;
                    Ok((stored, unfinished))
                })
            })
            .await?;
        let mut completed: std::collections::HashSet<Uuid> = stored.into_iter().collect();
        for id in &unfinished {
            completed.remove(id);
        }
        let is_completed = |event: &EventId| completed.contains(&event.uuid());
        Ok(events.iter().map(is_completed).collect())
    }

    async fn letter_states(&self, letters: &[Uuid]) -> Result<Vec<Option<DeadState>>, StoreError> {
        letters::letter_states(&self.link, letters).await
    }

    async fn deaths_by_entry(
        &self,
        keys: &[Uuid],
        without: &[Uuid],
        since: OffsetDateTime,
    ) -> Result<Vec<Deaths>, StoreError> {
        letters::deaths_by_entry(&self.link, keys, without, since).await
    }

    async fn events_of_stream(
        &self,
        stream_ids: &[EventId],
    ) -> Result<Vec<Option<EventId>>, StoreError> {
        streams::events_of_stream(&self.link, stream_ids).await
    }

    async fn due_deliveries(
        &self,
        since: OffsetDateTime,
        before: OffsetDateTime,
        most: u32,
    ) -> Result<Vec<DueDelivery>, StoreError> {
        let rows: Vec<DueRow> = self
            .link
            .run(move |connection| {
                Box::pin(async move {
                    sqlx::query_as(DUE)
                        .bind(since)
                        .bind(before)
                        .bind(i64::from(most))
                        .fetch_all(connection)
                        .await
                })
            })
            .await?;
        rows.into_iter().map(DueDelivery::try_from).collect()
    }

    async fn due_of(&self, events: &[EventId]) -> Result<Vec<DueDelivery>, StoreError> {
        let ids = uuids(events);
        let rows: Vec<DueRow> = self
            .link
            .run(move |connection| {
                let ids = Arc::clone(&ids);
                Box::pin(async move {
                    let query = sqlx::query_as(DUE_OF).bind(&ids[..]);
                    query.fetch_all(connection).await
                })
            })
            .await?;
        rows.into_iter().map(DueDelivery::try_from).collect()
    }

    async fn count_due(&self, destinations: &[String]) -> Result<HashMap<String, u64>, StoreError> {
        let asked: Arc<[String]> = destinations.into();
        let rows: Vec<(String, i64)> = self
            .link
            .run(move |connection| {
                let asked = Arc::clone(&asked);
                Box::pin(async move {
                    let query = sqlx::query_as(COUNT_DUE).bind(&asked[..]);
                    query.fetch_all(connection).await
                })
            })
            .await?;
        let counts = rows.into_iter();
        Ok(counts.map(|(at, due)| (at, due.unsigned_abs())).collect())
    }

    async fn count_mended(&self, since: OffsetDateTime) -> Result<u64, StoreError> {
        letters::count_mended(&self.link, since).await
    }

    async fn new_ids(&self, events: &[EventId]) -> Result<HashMap<DeliveryKey, u32>, StoreError> {
        letters::new_ids(&self.link, events).await
    }

    async fn last_attempts(
        &self,
        since: OffsetDateTime,
    ) -> Result<Vec<(String, OffsetDateTime)>, StoreError> {
        self.link
            .run(move |connection| {
                Box::pin(async move {
                    let query = sqlx::query_as(LAST_ATTEMPTS).bind(since);
                    query.fetch_all(connection).await
                })
            })
            .await
    }

    async fn stored_bodies(&self, events: &[EventId]) -> Result<Vec<StoredBody>, StoreError> {
        let ids = uuids(events);
        let rows: Vec<BodyRow> = self
            .link
            .run(move |connection| {
                let ids = Arc::clone(&ids);
                Box::pin(async move {
                    let query = sqlx::query_as(BODIES).bind(&ids[..]);
                    query.fetch_all(connection).await
                })
            })
            .await?;
        Ok(rows.into_iter().map(StoredBody::from).collect())
    }

    async fn each_stored(
        &self,
        from: OffsetDateTime,
        to: OffsetDateTime,
        visit: FactVisitor,
    ) -> Result<(), StoreError> {
        self.link
            .run(move |connection| {
                let visit = Arc::clone(&visit);
                Box::pin(async move {
                    for query in [STORED_BETWEEN, NEVER_STORED] {
                        // As a stream: there may be millions.
                        let mut rows = sqlx::query_as::<_, FactRow>(query)
                            .bind(from)
                            .bind(to)
                            .fetch(&mut *connection);
                        while let Some(row) = rows.try_next().await? {
                            visit(row.into());
                        }
                    }
                    Ok(())
                })
            })
            .await
    }

    async fn record_repairs(&self, repairs: &[RepairKey]) -> Result<(), StoreError> {
        let rows: Arc<[RepairRow]> = repair_rows(repairs).into();
        self.link
            .run(move |connection| {
                let rows = Arc::clone(&rows);
                Box::pin(async move {
                    sqlx::query(RECORD)
                        .bind(rows.iter().map(|row| row.subject).bind_iter())
                        .bind(rows.iter().map(|row| row.destination.as_str()).bind_iter())
                        .bind(rows.iter().map(|row| row.generation).bind_iter())
                        .execute(connection)
                        .await
                        .map(|_| ())
                })
            })
            .await
    }

    async fn repairs(&self, subjects: &[Uuid]) -> Result<Vec<Repair>, StoreError> {
        let subjects: Arc<[Uuid]> = subjects.into();
        let rows: Vec<RepairRecord> = self
            .link
            .run(move |connection| {
                let subjects = Arc::clone(&subjects);
                Box::pin(async move {
                    let query = sqlx::query_as(REPAIRS).bind(&subjects[..]);
                    query.fetch_all(connection).await
                })
            })
            .await?;
        rows.into_iter().map(Repair::try_from).collect()
    }

    async fn repairs_since(&self, since: OffsetDateTime) -> Result<(u64, u64), StoreError> {
        let (events, deliveries): (i64, i64) = self
            .link
            .run(move |connection| {
                Box::pin(async move {
                    let query = sqlx::query_as(REPAIRS_SINCE).bind(since);
                    query.fetch_one(connection).await
                })
            })
            .await?;
        Ok((events.unsigned_abs(), deliveries.unsigned_abs()))
    }

    async fn keep_findings(&self, findings: &[WatchFinding]) -> Result<(), StoreError> {
        let rows: Arc<[FindingRow]> = finding_rows(findings).into();
        self.link
            .transaction(move |connection| {
                let rows = Arc::clone(&rows);
                Box::pin(async move {
                    sqlx::query(FORGET)
                        .bind(rows.iter().map(|row| row.finding.as_str()).bind_iter())
                        .bind(rows.iter().map(|row| row.subject.as_str()).bind_iter())
                        .execute(&mut *connection)
                        .await?;
                    sqlx::query(KEEP)
                        .bind(rows.iter().map(|row| row.finding.as_str()).bind_iter())
                        .bind(rows.iter().map(|row| row.subject.as_str()).bind_iter())
                        .bind(rows.iter().map(|row| row.number).bind_iter())
                        .bind(rows.iter().map(|row| row.detail.as_str()).bind_iter())
                        .execute(connection)
                        .await
                        .map(|_| ())
                })
            })
            .await
    }

    async fn findings(&self) -> Result<Vec<(WatchFinding, Moment)>, StoreError> {
        let rows: Vec<FindingRecord> = self
            .link
            .run(|connection| {
                Box::pin(async move { sqlx::query_as(FINDINGS).fetch_all(connection).await })
            })
            .await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }
}
