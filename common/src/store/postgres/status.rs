//! Looking up where an event stands.

use sqlx::Row as _;

use super::link::Link;
use super::text::{json, word};
use crate::event::EventId;
use crate::reason::ReasonCode;
use crate::store::standing::Facts;
use crate::store::{EventRecord, EventStatus, RejectionRecord, StoreError};

pub(super) async fn status(link: &Link, id: EventId) -> Result<Option<EventStatus>, StoreError> {
    let row = link
        .run(move |connection| {
            Box::pin(async move {
                // One statement sees one moment: what moves between tables meanwhile is seen in one
                // of them. As text, because only text keeps what JSON there may hold.
                sqlx::query(
                    "SELECT
                    (SELECT row_to_json(found)::text FROM (
                        SELECT type, received_at, accepted_at, stored_at
                        FROM events WHERE event_id = $1) AS found) AS event,
                    (SELECT COALESCE(json_agg(found), '[]')::text FROM (
                        SELECT destination, generation, status, attempts, last_attempt_at,
                               delivered_at, last_error
                        FROM deliveries WHERE event_id = $1) AS found) AS deliveries,
                    (SELECT COALESCE(json_agg(found), '[]')::text FROM (
                        SELECT dead_letter_id, type, destination, generation, reason,
                               last_failed_at, state, replayed_at
                        FROM dead_letters WHERE event_id = $1) AS found) AS letters,
                    (SELECT COALESCE(json_agg(found), '[]')::text FROM (
                        SELECT type, reason, errors, received_at, rejected_at
                        FROM rejections WHERE event_id = $1) AS found) AS rejections",
                )
                .bind(id.uuid())
                .fetch_one(connection)
                .await
            })
        })
        .await?;
    let column = |name: &str| -> Result<Option<String>, StoreError> {
        row.try_get(name)
            .map_err(|error| super::failure::classify(&error))
    };
    let event = column("event")?;
    let list = |name| Ok::<_, StoreError>(column(name)?.unwrap_or_else(|| "[]".to_owned()));
    let facts = Facts {
        event: event.map(|text| json("events", &text)).transpose()?,
        deliveries: json("deliveries", &list("deliveries")?)?,
        letters: json("dead_letters", &list("letters")?)?,
        rejections: json("rejections", &list("rejections")?)?,
    };
    Ok(facts.judge(id))
}

pub(super) async fn rejections(
    link: &Link,
    id: EventId,
) -> Result<Vec<RejectionRecord>, StoreError> {
    let rows: Vec<(String, String)> = link
        .run(move |connection| {
            Box::pin(async move {
                sqlx::query_as(
                    "SELECT reason, errors::text FROM rejections
                    WHERE event_id = $1 ORDER BY rejected_at, rejection_id",
                )
                .bind(id.uuid())
                .fetch_all(connection)
                .await
            })
        })
        .await?;
    rows.iter()
        .map(|(reason, errors)| {
            let code: ReasonCode = word(reason)?;
            Ok(RejectionRecord {
                code,
                detail: code.summary().to_owned(),
                errors: json("rejections.errors", errors)?,
                dead_letter: None,
            })
        })
        .collect()
}

pub(super) async fn event(link: &Link, id: EventId) -> Result<Option<EventRecord>, StoreError> {
    let row: Option<(String, String, String)> = link
        .run(move |connection| {
            Box::pin(async move {
                sqlx::query_as(
                    "SELECT publisher, source, body::text FROM events WHERE event_id = $1",
                )
                .bind(id.uuid())
                .fetch_optional(connection)
                .await
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
    }))
}
