//! Dead letters as rows.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::event::EventId;
use crate::message::{HeaderValue, Headers, Message};
use crate::store::postgres::text::{json, keepable, number, word};
use crate::store::{DeadLetter, DeadSummary, Moment, StoreError};

/// A row to insert.
pub(super) struct NewLetterRow {
    pub id: Uuid,
    pub event: Option<Uuid>,
    pub kind: Option<String>,
    pub source: Option<String>,
    pub queue: String,
    pub stage: String,
    pub destination: Option<String>,
    pub generation: i64,
    pub reason: &'static str,
    pub error: String,
    pub attempts: i64,
    pub first_failed_at: OffsetDateTime,
    pub last_failed_at: OffsetDateTime,
    pub routing_key: String,
    pub content_type: Option<String>,
    pub properties: String,
    pub headers: String,
    pub body: Bytes,
}

/// The properties of a message that have no column of their own.
#[derive(Serialize, Deserialize)]
struct Properties {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    app_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timestamp: Option<u64>,
}

impl From<&DeadLetter> for NewLetterRow {
    fn from(letter: &DeadLetter) -> Self {
        let message = &letter.message;
        let properties = Properties {
            message_id: message.message_id.clone(),
            kind: message.kind.clone(),
            app_id: message.app_id.clone(),
            user_id: message.user_id.clone(),
            timestamp: message.timestamp,
        };
        Self {
            id: letter.id,
            event: letter.event.map(EventId::uuid),
            kind: letter.kind.as_deref().map(keepable),
            source: letter.source.as_deref().map(keepable),
            queue: keepable(&letter.queue),
            stage: keepable(&letter.stage),
            destination: letter.destination.as_deref().map(keepable),
            generation: letter.generation.into(),
            reason: letter.reason.as_str(),
            error: keepable(&letter.error),
            attempts: letter.attempts.into(),
            first_failed_at: letter.first_failed_at,
            last_failed_at: letter.last_failed_at,
            routing_key: keepable(&letter.routing_key),
            content_type: message.content_type.as_deref().map(keepable),
            // Texts and a number: this cannot fail.
            properties: serde_json::to_string(&properties).unwrap_or_else(|_| "{}".to_owned()),
            headers: message.headers.to_json().to_string(),
            body: message.body.clone(),
        }
    }
}

/// A whole row.
#[derive(sqlx::FromRow)]
pub(in crate::store::postgres) struct LetterRow {
    dead_letter_id: Uuid,
    event_id: Option<Uuid>,
    #[sqlx(rename = "type")]
    kind: Option<String>,
    source: Option<String>,
    queue: String,
    stage: String,
    destination: Option<String>,
    generation: i64,
    reason: String,
    error: String,
    attempts: i64,
    first_failed_at: OffsetDateTime,
    last_failed_at: OffsetDateTime,
    routing_key: String,
    content_type: Option<String>,
    properties: sqlx::types::Json<Box<RawValue>>,
    headers: sqlx::types::Json<Box<RawValue>>,
    body: Vec<u8>,
    state: String,
    replay_id: Option<Uuid>,
}

impl TryFrom<LetterRow> for DeadLetter {
    type Error = StoreError;

    fn try_from(row: LetterRow) -> Result<Self, StoreError> {
        let properties: Properties = json("dead_letters.properties", row.properties.get())?;
        let headers: serde_json::Value = json("dead_letters.headers", row.headers.get())?;
        let headers = match HeaderValue::from_json(&headers) {
            HeaderValue::Table(headers) => headers,
            _ => Headers::default(),
        };
        Ok(Self {
            id: row.dead_letter_id,
            event: row.event_id.map(EventId),
            kind: row.kind,
            source: row.source,
            queue: row.queue,
            stage: row.stage,
            destination: row.destination,
            reason: word(&row.reason)?,
            error: row.error,
            attempts: number("dead_letters.attempts", row.attempts)?,
            generation: number("dead_letters.generation", row.generation)?,
            first_failed_at: row.first_failed_at,
            last_failed_at: row.last_failed_at,
            routing_key: row.routing_key,
            message: Message {
                body: row.body.into(),
                content_type: row.content_type,
                message_id: properties.message_id,
                kind: properties.kind,
                app_id: properties.app_id,
                user_id: properties.user_id,
                timestamp: properties.timestamp,
                headers,
            },
            state: word(&row.state)?,
            replay: row.replay_id,
        })
    }
}

/// What a list shows of a row.
#[derive(sqlx::FromRow)]
pub(super) struct SummaryRow {
    dead_letter_id: Uuid,
    event_id: Option<Uuid>,
    #[sqlx(rename = "type")]
    kind: Option<String>,
    queue: String,
    reason: String,
    error: String,
    attempts: i64,
    generation: i64,
    last_failed_at: OffsetDateTime,
    state: String,
}

impl TryFrom<SummaryRow> for DeadSummary {
    type Error = StoreError;

    fn try_from(row: SummaryRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.dead_letter_id,
            event: row.event_id.map(EventId),
            kind: row.kind,
            queue: row.queue,
            reason: word(&row.reason)?,
            error: row.error,
            attempts: number("dead_letters.attempts", row.attempts)?,
            generation: number("dead_letters.generation", row.generation)?,
            last_failed_at: Moment(row.last_failed_at),
            state: word(&row.state)?,
        })
    }
}
