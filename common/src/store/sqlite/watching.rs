//! What the standing watch and the surveys ask.

mod letters;
mod streams;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use time::OffsetDateTime;
use uuid::Uuid;

use super::SqliteStore;
use super::link::{document, now};
use crate::event::EventId;
use crate::sqlite::Error;
use crate::store::tables::text::comparable;
use crate::store::tables::watching::{
    BodyRow, DueRow, FactRow, FindingRecord, RepairRecord, finding_rows, position, position_column,
    repair_rows,
};
use crate::store::{
    DeadState, Deaths, DeliveryKey, DueDelivery, FactVisitor, Lease, LeaseState, Moment, Repair,
    RepairKey, StoreError, StoredBody, WatchFinding, Watching,
};

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

const COMPLETED: &str = r#"
    SELECT event_id FROM "NAMESPACE.events" AS event
    WHERE event_id IN (SELECT unhex(value, '-') FROM json_each(?1))
        AND NOT EXISTS (SELECT 1 FROM "NAMESPACE.deliveries" AS open
            WHERE open.event_id = event.event_id AND open.status NOT IN ('delivered', 'discarded'))"#;

const DUE: &str = r#"
    SELECT event_id, destination, generation, attempts, due_at, last_attempt_at
    FROM "NAMESPACE.deliveries" AS due
    WHERE due_at >= ?1 AND due_at < ?2 AND status = 'due'
        AND NOT EXISTS (SELECT 1 FROM "NAMESPACE.deliveries" AS newer
            WHERE newer.event_id = due.event_id AND newer.destination = due.destination
                AND newer.generation > due.generation)
        AND NOT EXISTS (SELECT 1 FROM "NAMESPACE.dead_letters" AS letter
            WHERE letter.event_id = due.event_id AND letter.state = 'replaying')
    ORDER BY due_at LIMIT ?3"#;

const DUE_OF: &str = r#"
    SELECT event_id, destination, generation, attempts, due_at, last_attempt_at
    FROM "NAMESPACE.deliveries" AS due
    WHERE event_id IN (SELECT unhex(value, '-') FROM json_each(?1)) AND status = 'due'
        AND NOT EXISTS (SELECT 1 FROM "NAMESPACE.deliveries" AS newer
            WHERE newer.event_id = due.event_id AND newer.destination = due.destination
                AND newer.generation > due.generation)"#;

const COUNT_DUE: &str = r#"
    SELECT destination, count(*) FROM "NAMESPACE.deliveries"
    WHERE status = 'due' AND destination IN (SELECT value FROM json_each(?1))
    GROUP BY destination"#;

const LAST_ATTEMPTS: &str = r#"
    SELECT destination, max(last_attempt_at) FROM "NAMESPACE.deliveries"
    WHERE due_at >= ?1 AND last_attempt_at IS NOT NULL GROUP BY destination"#;

const BODIES: &str = r#"
    SELECT event_id, type, source, publisher, received_at, accepted_at, body
    FROM "NAMESPACE.events" WHERE event_id IN (SELECT unhex(value, '-') FROM json_each(?1))"#;

const STORED_BETWEEN: &str = r#"
    SELECT event_id, stream_id, type, received_at, stored_at AS at FROM "NAMESPACE.events"
    WHERE stored_at >= ?1 AND stored_at < ?2"#;
const NEVER_STORED: &str = r#"
    SELECT event_id, NULL AS stream_id, NULL AS type, NULL AS received_at, due_at AS at
    FROM "NAMESPACE.deliveries" AS made
    WHERE due_at >= ?1 AND due_at < ?2
        AND NOT EXISTS (SELECT 1 FROM "NAMESPACE.events" WHERE event_id = made.event_id)"#;

const RECORD: &str = r#"
    INSERT INTO "NAMESPACE.watch_repairs" AS known (subject, destination, generation, first_at, last_at)
    SELECT unhex(value ->> 'subject', '-'), value ->> 'destination', value ->> 'generation', ?2, ?2
    FROM json_each(?1) WHERE true
    ON CONFLICT (subject, destination, generation) DO UPDATE SET
        sent = known.sent + 1, last_at = excluded.last_at"#;

const REPAIRS: &str = r#"
    SELECT subject, destination, generation, sent, last_at FROM "NAMESPACE.watch_repairs"
    WHERE subject IN (SELECT unhex(value, '-') FROM json_each(?1))"#;

const REPAIRS_SINCE: &str = r#"
    SELECT count(*) FILTER (WHERE destination = ''), count(*) FILTER (WHERE destination <> '')
    FROM "NAMESPACE.watch_repairs" WHERE last_at >= ?1"#;

const FORGET: &str = r#"
    DELETE FROM "NAMESPACE.watch_findings" WHERE NOT EXISTS (
        SELECT 1 FROM json_each(?1)
        WHERE value ->> 'finding' = finding AND value ->> 'subject' = subject)"#;
const KEEP: &str = r#"
    INSERT INTO "NAMESPACE.watch_findings" (finding, subject, number, detail, found_at)
    SELECT value ->> 'finding', value ->> 'subject', value ->> 'number', value ->> 'detail', ?2
    FROM json_each(?1) WHERE true
    ON CONFLICT (finding, subject) DO UPDATE SET
        number = excluded.number, detail = excluded.detail"#;

const FINDINGS: &str = r#"
    SELECT finding, subject, number, detail, found_at FROM "NAMESPACE.watch_findings"
    ORDER BY finding, subject"#;

/// A lease that ends later than this was written before somebody set the clock back.
const FARTHEST_END: Duration = Duration::from_secs(600);

fn ids(events: &[EventId]) -> Result<String, Error> {
    document(&events.iter().map(|event| event.uuid()).collect::<Vec<_>>())
}

#[async_trait]
impl Watching for SqliteStore {
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

    async fn are_completed(&self, events: &[EventId]) -> Result<Vec<bool>, StoreError> {
        let (query, asked) = (self.link.sql(COMPLETED), ids(events)?);
        let completed: Vec<Uuid> = self
            .link
            .read(move |connection| {
                Box::pin(async move {
                    let query = sqlx::query_scalar(query).bind(asked);
                    Ok(query.fetch_all(connection).await?)
                })
            })
            .await?;
        let completed: HashSet<Uuid> = completed.into_iter().collect();
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
        let query = self.link.sql(DUE);
        let rows: Vec<DueRow> = self
            .link
            .read(move |connection| {
                Box::pin(async move {
                    Ok(sqlx::query_as(query)
                        .bind(comparable(since))
                        .bind(comparable(before))
                        .bind(most)
                        .fetch_all(connection)
                        .await?)
                })
            })
            .await?;
        rows.into_iter().map(DueDelivery::try_from).collect()
    }

    async fn due_of(&self, events: &[EventId]) -> Result<Vec<DueDelivery>, StoreError> {
        let (query, asked) = (self.link.sql(DUE_OF), ids(events)?);
        let rows: Vec<DueRow> = self
            .link
            .read(move |connection| {
                Box::pin(async move {
                    let query = sqlx::query_as(query).bind(asked);
                    Ok(query.fetch_all(connection).await?)
                })
            })
            .await?;
        rows.into_iter().map(DueDelivery::try_from).collect()
    }

    async fn count_due(&self, destinations: &[String]) -> Result<HashMap<String, u64>, StoreError> {
        let (query, asked) = (self.link.sql(COUNT_DUE), document(destinations)?);
        let rows: Vec<(String, i64)> = self
            .link
            .read(move |connection| {
                Box::pin(async move {
                    let query = sqlx::query_as(query).bind(asked);
                    Ok(query.fetch_all(connection).await?)
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
        let query = self.link.sql(LAST_ATTEMPTS);
        self.link
            .read(move |connection| {
                Box::pin(async move {
                    let query = sqlx::query_as(query).bind(comparable(since));
                    Ok(query.fetch_all(connection).await?)
                })
            })
            .await
    }

    async fn stored_bodies(&self, events: &[EventId]) -> Result<Vec<StoredBody>, StoreError> {
        let (query, asked) = (self.link.sql(BODIES), ids(events)?);
        let rows: Vec<BodyRow> = self
            .link
            .read(move |connection| {
                Box::pin(async move {
                    let query = sqlx::query_as(query).bind(asked);
                    Ok(query.fetch_all(connection).await?)
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
        for query in [STORED_BETWEEN, NEVER_STORED] {
            let (query, visit) = (self.link.sql(query), Arc::clone(&visit));
            self.link
                .read(move |connection| {
                    Box::pin(async move {
                        // As a stream: there may be millions.
                        let mut rows = sqlx::query_as::<_, FactRow>(query)
                            .bind(comparable(from))
                            .bind(comparable(to))
                            .fetch(connection);
                        while let Some(row) = rows.try_next().await? {
                            visit(row.into());
                        }
                        Ok(())
                    })
                })
                .await?;
        }
        Ok(())
    }

    async fn record_repairs(&self, repairs: &[RepairKey]) -> Result<(), StoreError> {
        let rows = document(&repair_rows(repairs))?;
        self.link
            .write(move |connection, link| {
                Box::pin(async move {
                    let query = sqlx::query(link.sql(RECORD)).bind(rows).bind(now()?);
                    query.execute(connection).await?;
                    Ok(())
                })
            })
            .await
    }

    async fn repairs(&self, subjects: &[Uuid]) -> Result<Vec<Repair>, StoreError> {
        let (query, subjects) = (self.link.sql(REPAIRS), document(subjects)?);
        let rows: Vec<RepairRecord> = self
            .link
            .read(move |connection| {
                Box::pin(async move {
                    let query = sqlx::query_as(query).bind(subjects);
                    Ok(query.fetch_all(connection).await?)
                })
            })
            .await?;
        rows.into_iter().map(Repair::try_from).collect()
    }

    async fn repairs_since(&self, since: OffsetDateTime) -> Result<(u64, u64), StoreError> {
        let query = self.link.sql(REPAIRS_SINCE);
        let (events, deliveries): (i64, i64) = self
            .link
            .read(move |connection| {
                Box::pin(async move {
                    let query = sqlx::query_as(query).bind(comparable(since));
                    Ok(query.fetch_one(connection).await?)
                })
            })
            .await?;
        Ok((events.unsigned_abs(), deliveries.unsigned_abs()))
    }

    async fn keep_findings(&self, findings: &[WatchFinding]) -> Result<(), StoreError> {
        let rows = document(&finding_rows(findings))?;
        self.link
            .write(move |connection, link| {
                Box::pin(async move {
                    sqlx::query(link.sql(FORGET))
                        .bind(&rows)
                        .execute(&mut *connection)
                        .await?;
                    let query = sqlx::query(link.sql(KEEP)).bind(&rows).bind(now()?);
                    query.execute(connection).await?;
                    Ok(())
                })
            })
            .await
    }

    async fn findings(&self) -> Result<Vec<(WatchFinding, Moment)>, StoreError> {
        let query = self.link.sql(FINDINGS);
        let rows: Vec<FindingRecord> = self
            .link
            .read(move |connection| {
                Box::pin(async move { Ok(sqlx::query_as(query).fetch_all(connection).await?) })
            })
            .await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }
}
