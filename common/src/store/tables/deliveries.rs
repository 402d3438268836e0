//! Deliveries as rows, and the outcomes of attempts at them.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::text::{keepable, moment, moment_if_any, number, word};
use crate::store::{Attempt, AttemptRecord, DeliveryKey, DeliveryRecord, Moment, StoreError};

/// One delivery.
#[derive(sqlx_macros::FromRow)]
pub(in crate::store) struct DeliveryRow {
    event_id: Uuid,
    destination: String,
    generation: i64,
    status: String,
    attempts: i64,
    last_status_code: Option<i32>,
    last_error: Option<String>,
}

/// The deliveries in the order of `keys`, out of rows in any order.
pub(in crate::store) fn in_order(
    rows: Vec<DeliveryRow>,
    keys: &[DeliveryKey],
) -> Result<Vec<Option<DeliveryRecord>>, StoreError> {
    let mut known = HashMap::with_capacity(rows.len());
    for row in rows {
        let record = DeliveryRecord {
            state: word(&row.status)?,
            attempts: number("deliveries.attempts", row.attempts)?,
            // A number that is not a status says nothing.
            last_status_code: row.last_status_code.and_then(|code| code.try_into().ok()),
            last_error: row.last_error,
        };
        known.insert((row.event_id, row.destination, row.generation), record);
    }
    let record = |key: &DeliveryKey| {
        let key = (
            key.event.uuid(),
            key.destination.clone(),
            i64::from(key.generation),
        );
        known.get(&key).cloned()
    };
    Ok(keys.iter().map(record).collect())
}

/// Names one delivery.
#[derive(Serialize)]
pub(in crate::store) struct KeyRow {
    pub event: Uuid,
    pub destination: String,
    pub generation: i64,
}

impl From<&DeliveryKey> for KeyRow {
    fn from(key: &DeliveryKey) -> Self {
        Self {
            event: key.event.uuid(),
            destination: key.destination.clone(),
            generation: key.generation.into(),
        }
    }
}

/// One request that was made.
#[derive(Serialize)]
pub(in crate::store) struct AttemptRow {
    pub event: Uuid,
    pub destination: String,
    pub generation: i64,
    pub attempt: i64,
    #[serde(serialize_with = "moment")]
    pub started_at: OffsetDateTime,
    pub duration_ms: i64,
    pub status_code: Option<i32>,
    pub error: Option<String>,
    pub response_excerpt: Option<String>,
}

impl From<&Attempt> for AttemptRow {
    fn from(attempt: &Attempt) -> Self {
        Self {
            event: attempt.key.event.uuid(),
            destination: attempt.key.destination.clone(),
            generation: attempt.key.generation.into(),
            attempt: attempt.attempt.into(),
            started_at: attempt.started_at,
            duration_ms: attempt.duration_ms.into(),
            status_code: attempt.status_code.map(i32::from),
            error: attempt.error.as_deref().map(keepable),
            response_excerpt: attempt.response_excerpt.as_deref().map(keepable),
        }
    }
}

/// One request that was made, as it was recorded.
#[derive(sqlx_macros::FromRow)]
pub(in crate::store) struct AttemptRecordRow {
    generation: i64,
    attempt: i64,
    started_at: OffsetDateTime,
    duration_ms: i64,
    status_code: Option<i32>,
    error: Option<String>,
    response_excerpt: Option<String>,
}

impl TryFrom<AttemptRecordRow> for AttemptRecord {
    type Error = StoreError;

    fn try_from(row: AttemptRecordRow) -> Result<Self, StoreError> {
        Ok(Self {
            generation: number("delivery_attempts.generation", row.generation)?,
            attempt: number("delivery_attempts.attempt", row.attempt)?,
            started_at: Moment(row.started_at),
            duration_ms: number("delivery_attempts.duration_ms", row.duration_ms)?,
            // An invalid status is not worth a failure.
            status_code: row.status_code.and_then(|code| code.try_into().ok()),
            error: row.error,
            response_excerpt: row.response_excerpt,
        })
    }
}

/// The outcome of all attempts at one delivery in one batch.
#[derive(Serialize)]
pub(in crate::store) struct OutcomeRow {
    pub event: Uuid,
    pub destination: String,
    pub generation: i64,
    pub attempts: i64,
    #[serde(serialize_with = "moment")]
    pub last_attempt_at: OffsetDateTime,
    #[serde(serialize_with = "moment_if_any")]
    pub delivered_at: Option<OffsetDateTime>,
    pub last_status_code: Option<i32>,
    pub last_error: Option<String>,
}

/// The events that were delivered and may have died on the way before. Deliveries that go well at once have no
/// letters, and none are looked for.
pub(in crate::store) fn may_have_letters(outcomes: &[OutcomeRow]) -> Vec<Uuid> {
    let delivered = outcomes.iter().filter(|row| row.delivered_at.is_some());
    let tried_before = delivered.filter(|row| row.generation > 0 || row.attempts > 1);
    tried_before.map(|row| row.event).collect()
}

/// One row for each delivery, in the order of their keys. One statement cannot touch a row twice, and statements
/// that lock rows in one order never wait for each other in a circle.
pub(in crate::store) fn outcomes(batch: &[Attempt]) -> Vec<OutcomeRow> {
    let mut of_key: BTreeMap<(Uuid, &str, u32), Vec<&Attempt>> = BTreeMap::new();
    for attempt in batch {
        let key = &attempt.key;
        of_key
            .entry((key.event.uuid(), key.destination.as_str(), key.generation))
            .or_default()
            .push(attempt);
    }
    of_key
        .into_iter()
        .filter_map(|((event, destination, generation), mut attempts)| {
            attempts.sort_by_key(|attempt| (attempt.started_at, attempt.attempt));
            let last = attempts.last()?;
            Some(OutcomeRow {
                event,
                destination: destination.to_owned(),
                generation: generation.into(),
                attempts: attempts
                    .iter()
                    .map(|attempt| i64::from(attempt.attempt))
                    .max()?,
                last_attempt_at: last.started_at,
                delivered_at: attempts
                    .iter()
                    .find(|attempt| attempt.delivered)
                    .map(|attempt| {
                        attempt.started_at + Duration::milliseconds(attempt.duration_ms.into())
                    }),
                last_status_code: last.status_code.map(i32::from),
                last_error: last.error.as_deref().map(keepable),
            })
        })
        .collect()
}
