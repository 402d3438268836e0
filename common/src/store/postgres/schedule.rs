//! Scheduled events.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::PostgresStore;
use super::audit::append;
use super::columns::column;
use crate::event::EventId;
use crate::store::tables::schedule::{HeldRow, Known, ScheduledRow, WaitingRow};
use crate::store::tables::text::keepable;
use crate::store::{
    Act, AfterScheduled, AuditOutcome, Cancelled, NewCancellation, Schedule, ScheduledEvent,
    StoreError,
};

const WAIT: &str = "INSERT INTO scheduled_events (event_id, not_before)
    SELECT event_id, not_before FROM UNNEST($1::uuid[], $2::timestamptz[]) AS given (event_id, not_before)
    ORDER BY event_id";

const RELEASE: &str = "UPDATE scheduled_events AS waiting SET released_at = clock_timestamp()
    FROM (SELECT event_id FROM scheduled_events WHERE event_id = ANY($1) ORDER BY event_id FOR UPDATE) AS given
    WHERE waiting.event_id = given.event_id AND released_at IS NULL AND cancelled_at IS NULL
    RETURNING waiting.event_id";

const HELD: &str =
    "SELECT event_id FROM scheduled_events WHERE event_id = ANY($1) AND released_at IS NULL";

/// The moment as a subquery: the index is searched for a value, and not for a function that may change from row to row.
const TO_RELEASE: &str = "SELECT event_id, not_before FROM scheduled_events
    WHERE not_before <= (SELECT clock_timestamp())
        AND sent_at IS NULL AND released_at IS NULL AND cancelled_at IS NULL
    ORDER BY not_before, event_id LIMIT $1";

/// In one order, as everywhere here, so that two that take the same rows never wait for each other in a circle.
const MARK_SENT: &str = "UPDATE scheduled_events AS waiting SET sent_at = clock_timestamp()
    FROM (SELECT event_id FROM scheduled_events WHERE event_id = ANY($1) ORDER BY event_id FOR UPDATE) AS given
    WHERE waiting.event_id = given.event_id AND released_at IS NULL AND cancelled_at IS NULL";

const SEND_AGAIN: &str = "WITH lost AS (
        SELECT event_id FROM scheduled_events AS waiting
        WHERE sent_at < (SELECT clock_timestamp()) - $1 * interval '1 millisecond'
            AND released_at IS NULL AND cancelled_at IS NULL
            AND NOT EXISTS (SELECT FROM dead_letters AS letter
                WHERE letter.event_id = waiting.event_id AND letter.stage = 'store'
                    AND letter.last_failed_at >= waiting.not_before - interval '1 minute'
                    AND (letter.state IN ('open', 'replaying', 'discarded')
                        OR letter.replayed_at > (SELECT clock_timestamp()) - interval '10 minutes'))
        ORDER BY event_id FOR UPDATE
    ),
    again AS (
        UPDATE scheduled_events AS waiting SET sent_at = NULL FROM lost
        WHERE waiting.event_id = lost.event_id AND released_at IS NULL AND cancelled_at IS NULL
        RETURNING waiting.event_id
    )
    SELECT count(*) FROM again";

const CANCEL: &str = "UPDATE scheduled_events
    SET cancelled_at = clock_timestamp(), cancelled_by = $2, cancelled_why = $3
    WHERE event_id = $1 AND released_at IS NULL AND cancelled_at IS NULL";

const STANDS: &str = "SELECT cancelled_at IS NOT NULL AS is_cancelled
    FROM events LEFT JOIN scheduled_events USING (event_id) WHERE event_id = $1";

const SCHEDULED: &str = "SELECT event_id, type, source, not_before, received_at
    FROM scheduled_events JOIN events USING (event_id)
    WHERE released_at IS NULL AND cancelled_at IS NULL
        AND ($1::timestamptz IS NULL OR (not_before, event_id) > ($1, $2))
    ORDER BY not_before, event_id LIMIT $3";

/// Lets new events wait.
pub(super) async fn wait(
    connection: &mut PgConnection,
    waiting: &[WaitingRow],
) -> Result<(), sqlx::Error> {
    if waiting.is_empty() {
        return Ok(());
    }
    sqlx::query(WAIT)
        .bind(column(waiting, |row| row.event))
        .bind(column(waiting, |row| row.not_before))
        .execute(connection)
        .await?;
    Ok(())
}

/// Releases the events that were `sent` for it, of `known` ones.
pub(super) async fn release(
    connection: &mut PgConnection,
    (asked, sent): (Vec<Uuid>, Vec<Uuid>),
) -> Result<Known, sqlx::Error> {
    let mut known = Known::default();
    if !sent.is_empty() {
        let released: Vec<Uuid> = sqlx::query_scalar(RELEASE)
            .bind(&sent)
            .fetch_all(&mut *connection)
            .await?;
        known.released.extend(released);
    }
    if !asked.is_empty() {
        let held: Vec<Uuid> = sqlx::query_scalar(HELD)
            .bind(&asked)
            .fetch_all(connection)
            .await?;
        known.held.extend(held);
    }
    Ok(known)
}

#[async_trait]
impl Schedule for PostgresStore {
    async fn events_to_release(
        &self,
        most: u32,
    ) -> Result<Vec<(EventId, OffsetDateTime)>, StoreError> {
        let rows: Vec<(Uuid, OffsetDateTime)> = self
            .link
            .rows(TO_RELEASE, move |query| query.bind(i64::from(most)))
            .await?;
        Ok(rows.into_iter().map(|(id, at)| (EventId(id), at)).collect())
    }

    async fn mark_events_sent(&self, events: &[EventId]) -> Result<(), StoreError> {
        let ids: Vec<Uuid> = events.iter().map(|id| id.uuid()).collect();
        self.link
            .execute(MARK_SENT, move |query| query.bind(&ids))
            .await
    }

    async fn send_events_again(&self, ago: Duration) -> Result<u64, StoreError> {
        let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
        let (again,): (i64,) = self
            .link
            .one(SEND_AGAIN, move |query| query.bind(ago))
            .await?;
        Ok(again.unsigned_abs())
    }

    async fn cancel_event(
        &self,
        cancellation: &NewCancellation,
        act: Option<&Act>,
    ) -> Result<Cancelled, StoreError> {
        let cancellation = Arc::new(cancellation.clone());
        let act = Arc::new(act.cloned());
        self.link
            .transaction(move |connection| {
                let (cancellation, act) = (Arc::clone(&cancellation), Arc::clone(&act));
                Box::pin(async move {
                    let event = cancellation.event.uuid();
                    let cancelled = sqlx::query(CANCEL)
                        .bind(event)
                        .bind(keepable(&cancellation.by))
                        .bind(cancellation.why.as_deref().map(keepable))
                        .execute(&mut *connection)
                        .await?
                        .rows_affected();
                    if cancelled == 0 {
                        let row: Option<HeldRow> = sqlx::query_as(STANDS)
                            .bind(event)
                            .fetch_optional(connection)
                            .await?;
                        return Ok(HeldRow::outcome(row));
                    }
                    if let Some(act) = &*act {
                        append(connection, act, AuditOutcome::Allowed).await?;
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
                    .bind(after.map(|it| it.not_before))
                    .bind(after.map(|it| it.id.uuid()))
                    .bind(i64::from(most))
            })
            .await?;
        Ok(rows.into_iter().map(ScheduledEvent::from).collect())
    }
}
