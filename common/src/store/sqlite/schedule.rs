//! Scheduled events.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::SqliteConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::SqliteStore;
use super::audit::append;
use super::link::{Link, document, now};
use crate::event::EventId;
use crate::sqlite::Error;
use crate::store::tables::schedule::{HeldRow, Known, ScheduledRow, WaitingRow};
use crate::store::tables::text::{comparable, keepable};
use crate::store::{
    Act, AfterScheduled, AuditOutcome, Cancelled, NewCancellation, Schedule, ScheduledEvent,
    StoreError,
};

const WAIT: &str = r#"INSERT INTO "NAMESPACE.scheduled_events" (event_id, not_before)
    SELECT unhex(value ->> 'event', '-'), value ->> 'not_before' FROM jsonb_each($1)"#;

const RELEASE: &str = r#"UPDATE "NAMESPACE.scheduled_events" SET released_at = $2
    WHERE event_id IN (SELECT unhex(value, '-') FROM json_each($1))
        AND released_at IS NULL AND cancelled_at IS NULL
    RETURNING event_id"#;

const HELD: &str = r#"SELECT event_id FROM "NAMESPACE.scheduled_events"
    WHERE event_id IN (SELECT unhex(value, '-') FROM json_each($1)) AND released_at IS NULL"#;

const TO_RELEASE: &str = r#"SELECT event_id, not_before FROM "NAMESPACE.scheduled_events"
    WHERE not_before <= $2 AND sent_at IS NULL AND released_at IS NULL AND cancelled_at IS NULL
    ORDER BY not_before, event_id LIMIT $1"#;

const MARK_SENT: &str = r#"UPDATE "NAMESPACE.scheduled_events" SET sent_at = $2
    WHERE event_id IN (SELECT unhex(value, '-') FROM json_each($1))
        AND released_at IS NULL AND cancelled_at IS NULL"#;

const SEND_AGAIN: &str = r#"UPDATE "NAMESPACE.scheduled_events" AS waiting SET sent_at = NULL
    WHERE sent_at < $1 AND released_at IS NULL AND cancelled_at IS NULL
        AND NOT EXISTS (SELECT 1 FROM "NAMESPACE.dead_letters" AS letter
            WHERE letter.event_id = waiting.event_id AND letter.stage = 'store'
                    AND letter.last_failed_at >= waiting.not_before
                    AND (letter.state IN ('open', 'replaying', 'discarded') OR letter.replayed_at > $2))"#;

const CANCEL: &str = r#"UPDATE "NAMESPACE.scheduled_events"
    SET cancelled_at = $2, cancelled_by = $3, cancelled_why = $4
    WHERE event_id = $1 AND released_at IS NULL AND cancelled_at IS NULL"#;

const STANDS: &str = r#"SELECT cancelled_at IS NOT NULL AS is_cancelled
    FROM "NAMESPACE.events" LEFT JOIN "NAMESPACE.scheduled_events" USING (event_id) WHERE event_id = $1"#;

const SCHEDULED: &str = r#"SELECT event_id, type, source, not_before, received_at
    FROM "NAMESPACE.scheduled_events" JOIN "NAMESPACE.events" USING (event_id)
    WHERE released_at IS NULL AND cancelled_at IS NULL
        AND ($1 IS NULL OR (not_before, event_id) > ($1, $2))
    ORDER BY not_before, event_id LIMIT $3"#;

/// Lets new events wait.
pub(super) async fn wait(
    connection: &mut SqliteConnection,
    link: &Link,
    waiting: &[WaitingRow],
) -> Result<(), Error> {
    if waiting.is_empty() {
        return Ok(());
    }
    sqlx::query(link.sql(WAIT))
        .bind(document(waiting)?)
        .execute(connection)
        .await?;
    Ok(())
}

/// Releases the events that were `sent` for it, of `known` ones.
pub(super) async fn release(
    connection: &mut SqliteConnection,
    link: &Link,
    (asked, sent): (Vec<Uuid>, Vec<Uuid>),
) -> Result<Known, Error> {
    let mut known = Known::default();
    if !sent.is_empty() {
        let released: Vec<Uuid> = sqlx::query_scalar(link.sql(RELEASE))
            .bind(document(&sent)?)
            .bind(now()?)
            .fetch_all(&mut *connection)
            .await?;
        known.released.extend(released);
    }
    if !asked.is_empty() {
        let held: Vec<Uuid> = sqlx::query_scalar(link.sql(HELD))
            .bind(document(&asked)?)
            .fetch_all(connection)
            .await?;
        known.held.extend(held);
    }
    Ok(known)
}

#[async_trait]
impl Schedule for SqliteStore {
    async fn events_to_release(
        &self,
        most: u32,
    ) -> Result<Vec<(EventId, OffsetDateTime)>, StoreError> {
        let at = comparable(OffsetDateTime::now_utc());
        let rows: Vec<(Uuid, OffsetDateTime)> = self
            .link
            .rows(TO_RELEASE, move |query| query.bind(most).bind(at))
            .await?;
        Ok(rows.into_iter().map(|(id, at)| (EventId(id), at)).collect())
    }

    async fn mark_events_sent(&self, events: &[EventId]) -> Result<(), StoreError> {
        let ids: Vec<Uuid> = events.iter().map(|id| id.uuid()).collect();
        self.link
            .write(move |connection, link| {
                Box::pin(async move {
                    sqlx::query(link.sql(MARK_SENT))
                        .bind(document(&ids)?)
                        .bind(now()?)
                        .execute(connection)
                        .await?;
                    Ok(())
                })
            })
            .await
    }

    async fn send_events_again(&self, ago: Duration) -> Result<u64, StoreError> {
        self.link
            .write(move |connection, link| {
                Box::pin(async move {
                    let again = sqlx::query(link.sql(SEND_AGAIN))
                        .bind(comparable(OffsetDateTime::now_utc() - ago))
                        .bind(comparable(
                            OffsetDateTime::now_utc() - time::Duration::minutes(10),
                        ))
                        .execute(connection)
                        .await?;
                    Ok(again.rows_affected())
                })
            })
            .await
    }

    async fn cancel_event(
        &self,
        cancellation: &NewCancellation,
        act: Option<&Act>,
    ) -> Result<Cancelled, StoreError> {
        let (cancellation, act) = (cancellation.clone(), act.cloned());
        self.link
            .write(move |connection, link| {
                Box::pin(async move {
                    let event = cancellation.event.uuid();
                    let cancelled = sqlx::query(link.sql(CANCEL))
                        .bind(event)
                        .bind(now()?)
                        .bind(keepable(&cancellation.by))
                        .bind(cancellation.why.as_deref().map(keepable))
                        .execute(&mut *connection)
                        .await?
                        .rows_affected();
                    if cancelled == 0 {
                        let row: Option<HeldRow> = sqlx::query_as(link.sql(STANDS))
                            .bind(event)
                            .fetch_optional(connection)
                            .await?;
                        return Ok(HeldRow::outcome(row));
                    }
                    if let Some(act) = &act {
                        append(connection, link, act, AuditOutcome::Allowed).await?;
                    }
                    Ok(Cancelled::Now)
                })
            })
            .await
    }

    async fn scheduled_events(
        &self,
        after: Option<AfterScheduled>,
        most: u32,
    ) -> Result<Vec<ScheduledEvent>, StoreError> {
        let rows: Vec<ScheduledRow> = self
            .link
            .rows(SCHEDULED, move |query| {
                query
                    .bind(after.map(|it| comparable(it.not_before)))
                    .bind(after.map(|it| it.id.uuid()))
                    .bind(most)
            })
            .await?;
        Ok(rows.into_iter().map(ScheduledEvent::from).collect())
    }
}
