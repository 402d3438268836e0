//! Looking up where an event stands.

use uuid::Uuid;

use super::link::{Link, document};
use crate::event::EventId;
use crate::store::standing::{FactRow, Facts};
use crate::store::tables::rejections::record;
use crate::store::tables::text::json;
use crate::store::{EventRecord, EventStatus, RejectionRecord, Standing, StoreError};

/// One statement sees one moment: what moves between tables meanwhile is seen in one of them.
const FACTS: &str = r#"SELECT place,
    (SELECT json_object('type', type, 'received_at', received_at, 'accepted_at', accepted_at,
                        'stored_at', stored_at)
     FROM "NAMESPACE.events" WHERE event_id = asked.id) AS event,
    (SELECT json_group_array(json_object(
            'destination', destination, 'generation', generation, 'status', status,
            'attempts', attempts, 'due_at', due_at, 'last_attempt_at', last_attempt_at, 'delivered_at', delivered_at,
            'last_error', last_error))
     FROM "NAMESPACE.deliveries" WHERE event_id = asked.id) AS deliveries,
    (SELECT json_group_array(json_object(
            'dead_letter_id', lower(hex(dead_letter_id)), 'type', type, 'destination', destination,
            'generation', generation, 'reason', reason, 'last_failed_at', last_failed_at,
            'state', state, 'replayed_at', replayed_at))
     FROM "NAMESPACE.dead_letters" WHERE event_id = asked.id) AS letters,
    (SELECT json_group_array(json_object(
            'type', type, 'reason', reason, 'errors', json(errors), 'received_at', received_at,
            'rejected_at', rejected_at))
     FROM "NAMESPACE.rejections" WHERE event_id = asked.id) AS rejections
    FROM (SELECT key AS place, unhex(value, '-') AS id FROM json_each($1)) AS asked"#;

const REJECTIONS: &str = r#"SELECT reason, errors FROM "NAMESPACE.rejections"
    WHERE event_id = $1 ORDER BY rejected_at, rejection_id"#;

const EVENT: &str = r#"SELECT publisher, source, body FROM "NAMESPACE.events" WHERE event_id = $1"#;

pub(super) async fn status(link: &Link, id: EventId) -> Result<Option<EventStatus>, StoreError> {
    let known = facts(link, &[id]).await?;
    Ok(known.into_iter().next().and_then(|known| known.judge(id)))
}

pub(super) async fn standings(
    link: &Link,
    ids: &[EventId],
) -> Result<Vec<Option<Standing>>, StoreError> {
    let known = facts(link, ids).await?;
    Ok(known.iter().map(Facts::standing).collect())
}

/// All that is known of each event, in the order asked.
async fn facts(link: &Link, events: &[EventId]) -> Result<Vec<Facts>, StoreError> {
    let query = link.sql(FACTS);
    let ids = document(&events.iter().map(|id| id.uuid()).collect::<Vec<Uuid>>())?;
    let rows: Vec<FactRow> = link
        .read(move |connection| {
            Box::pin(async move {
                Ok(sqlx::query_as(query)
                    .bind(ids)
                    .fetch_all(connection)
                    .await?)
            })
        })
        .await?;
    Facts::in_order(&rows, events.len())
}

pub(super) async fn rejections(
    link: &Link,
    id: EventId,
) -> Result<Vec<RejectionRecord>, StoreError> {
    let query = link.sql(REJECTIONS);
    let rows: Vec<(String, String)> = link
        .read(move |connection| {
            Box::pin(async move {
                Ok(sqlx::query_as(query)
                    .bind(id.uuid())
                    .fetch_all(connection)
                    .await?)
            })
        })
        .await?;
    rows.iter()
        .map(|(reason, errors)| record(reason, errors))
        .collect()
}

pub(super) async fn event(link: &Link, id: EventId) -> Result<Option<EventRecord>, StoreError> {
    let query = link.sql(EVENT);
    let row: Option<(String, String, String)> = link
        .read(move |connection| {
            Box::pin(async move {
                Ok(sqlx::query_as(query)
                    .bind(id.uuid())
                    .fetch_optional(connection)
                    .await?)
            })
        })
        .await?;
    let Some((publisher, source, body)) = row else {
        return Ok(None);
    };
    let Some(status) = status(link, id).await? else {
        return Ok(None);
    };
    Ok(Some(EventRecord {
        status,
        publisher,
        source,
        event: json("events.body", &body)?,
        body,
    }))
}
