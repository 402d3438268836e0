//! The rows of the standing watch.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use super::text::{json, number, word};
use crate::event::{EventId, header};
use crate::store::{
    DeadState, Deaths, DeliveryKey, DueDelivery, Moment, Repair, RepairKey, StoreError, StoredBody,
    StoredFact, WatchFinding,
};

/// A delivery that is due.
#[derive(sqlx_macros::FromRow)]
pub(in crate::store) struct DueRow {
    event_id: Uuid,
    destination: String,
    generation: i64,
    attempts: i64,
    due_at: OffsetDateTime,
    last_attempt_at: Option<OffsetDateTime>,
    is_behind: bool,
    first_at: Option<OffsetDateTime>,
}

impl TryFrom<DueRow> for DueDelivery {
    type Error = StoreError;

    fn try_from(row: DueRow) -> Result<Self, StoreError> {
        Ok(Self {
            key: DeliveryKey {
                event: EventId(row.event_id),
                destination: row.destination,
                generation: number("deliveries.generation", row.generation)?,
            },
            attempts: number("deliveries.attempts", row.attempts)?,
            due_at: row.due_at,
            last_attempt_at: row.last_attempt_at,
            is_behind: row.is_behind,
            first_at: row.first_at,
        })
    }
}

/// An event as it was stored.
#[derive(sqlx_macros::FromRow)]
pub(in crate::store) struct BodyRow {
    event_id: Uuid,
    #[sqlx(rename = "type")]
    kind: String,
    source: String,
    publisher: String,
    received_at: OffsetDateTime,
    accepted_at: OffsetDateTime,
    body: String,
}

impl From<BodyRow> for StoredBody {
    fn from(row: BodyRow) -> Self {
        Self {
            event: EventId(row.event_id),
            kind: row.kind,
            source: row.source,
            publisher: row.publisher,
            received_at: row.received_at,
            accepted_at: row.accepted_at,
            body: row.body,
        }
    }
}

/// The fact that an event was stored, or delivered.
#[derive(sqlx_macros::FromRow)]
pub(in crate::store) struct FactRow {
    event_id: Uuid,
    stream_id: Option<Uuid>,
    #[sqlx(rename = "type")]
    kind: Option<String>,
    received_at: Option<OffsetDateTime>,
    at: OffsetDateTime,
}

impl From<FactRow> for StoredFact {
    fn from(row: FactRow) -> Self {
        Self {
            event: EventId(row.event_id),
            stream_id: row.stream_id.map(EventId),
            kind: row.kind,
            received_at: row.received_at,
            at: row.at,
        }
    }
}

/// The key of a message that was sent again.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub(in crate::store) struct RepairRow {
    pub subject: Uuid,
    pub destination: String,
    pub generation: i64,
}

/// Each once: one statement changes no row twice.
pub(in crate::store) fn repair_rows(repairs: &[RepairKey]) -> Vec<RepairRow> {
    let mut known = HashSet::new();
    let rows = repairs.iter().map(|key| RepairRow {
        subject: key.subject,
        destination: key.destination.clone().unwrap_or_default(),
        generation: key.generation.into(),
    });
    rows.filter(|row| known.insert(row.clone())).collect()
}

/// A repair as it is written down.
#[derive(sqlx_macros::FromRow)]
pub(in crate::store) struct RepairRecord {
    subject: Uuid,
    destination: String,
    generation: i64,
    sent: i64,
    last_at: OffsetDateTime,
}

impl TryFrom<RepairRecord> for Repair {
    type Error = StoreError;

    fn try_from(row: RepairRecord) -> Result<Self, StoreError> {
        Ok(Self {
            key: RepairKey {
                subject: row.subject,
                destination: Some(row.destination).filter(|name| !name.is_empty()),
                generation: number("watch_repairs.generation", row.generation)?,
            },
            sent: number("watch_repairs.sent", row.sent)?,
            last_at: row.last_at,
        })
    }
}

/// A finding on its way into its table.
#[derive(Debug, Clone, Serialize)]
pub(in crate::store) struct FindingRow {
    pub finding: String,
    pub subject: String,
    pub number: i64,
    pub detail: String,
}

/// Each finding about each subject once.
pub(in crate::store) fn finding_rows(findings: &[WatchFinding]) -> Vec<FindingRow> {
    let mut known = HashSet::new();
    findings
        .iter()
        .filter(|it| known.insert((it.finding.as_str(), it.subject.as_str())))
        .map(|it| FindingRow {
            finding: it.finding.clone(),
            subject: it.subject.clone(),
            number: i64::try_from(it.number).unwrap_or(i64::MAX),
            detail: super::text::keepable(&it.detail),
        })
        .collect()
}

/// A finding as it is written down.
#[derive(sqlx_macros::FromRow)]
pub(in crate::store) struct FindingRecord {
    finding: String,
    subject: String,
    number: i64,
    detail: String,
    found_at: OffsetDateTime,
}

impl From<FindingRecord> for (WatchFinding, Moment) {
    fn from(row: FindingRecord) -> Self {
        let finding = WatchFinding {
            finding: row.finding,
            subject: row.subject,
            number: u64::try_from(row.number).unwrap_or_default(),
            detail: row.detail,
        };
        (finding, Moment(row.found_at))
    }
}

/// The states of letters in the order of `asked`, out of rows of id and state in any order.
pub(in crate::store) fn states_in_order(
    rows: Vec<(Uuid, String)>,
    asked: &[Uuid],
) -> Result<Vec<Option<DeadState>>, StoreError> {
    let mut known = HashMap::with_capacity(rows.len());
    for (letter, state) in rows {
        known.insert(letter, word(&state)?);
    }
    Ok(asked
        .iter()
        .map(|letter| known.get(letter).copied())
        .collect())
}

/// A dead letter that was replayed to the destination it died on its way to.
#[derive(sqlx_macros::FromRow)]
pub(in crate::store) struct ReplayedRow {
    event_id: Uuid,
    destination: String,
    generation: i64,
    new_ids: bool,
    headers: String,
}

/// The generations that name the ids of replayed deliveries, if the id is not the event's own.
pub(in crate::store) fn named_anew(
    rows: Vec<ReplayedRow>,
) -> Result<HashMap<DeliveryKey, u32>, StoreError> {
    let mut named = HashMap::new();
    for row in rows {
        let died: u32 = number("dead_letters.generation", row.generation)?;
        let generation = died.saturating_add(1);
        let headers: Value = json("dead_letters.headers", &row.headers)?;
        // Otherwise it goes on under the id that it had.
        let before = headers.get(header::NEW_ID).and_then(Value::as_u64);
        let before = before.and_then(|before| before.try_into().ok());
        let new_id = if row.new_ids {
            generation
        } else {
            before.unwrap_or(0)
        };
        if new_id > 0 {
            let key = DeliveryKey {
                event: EventId(row.event_id),
                destination: row.destination,
                generation,
            };
            named.insert(key, new_id);
        }
    }
    Ok(named)
}

/// How many messages the letters of one entry key and one state stand for.
#[derive(sqlx_macros::FromRow)]
pub(in crate::store) struct DeathsRow {
    entry_key: Uuid,
    state: String,
    number: i64,
}

/// The deaths of entries in the order of `asked`, out of rows in any order.
pub(in crate::store) fn deaths_in_order(
    rows: Vec<DeathsRow>,
    asked: &[Uuid],
) -> Result<Vec<Deaths>, StoreError> {
    let mut known: HashMap<Uuid, Deaths> = HashMap::with_capacity(rows.len());
    for row in rows {
        let deaths = known.entry(row.entry_key).or_default();
        let number = u64::try_from(row.number).unwrap_or_default();
        match word(&row.state)? {
            DeadState::Open | DeadState::Discarded | DeadState::Replaying => deaths.dead += number,
            DeadState::Replayed | DeadState::Superseded => deaths.mended += number,
        }
    }
    let of = |key| known.get(key).copied().unwrap_or_default();
    Ok(asked.iter().map(of).collect())
}

/// Events in the order of the ids `asked`, out of rows of such an id and its event.
pub(in crate::store) fn events_in_order(
    rows: Vec<(Uuid, Uuid)>,
    asked: &[EventId],
) -> Vec<Option<EventId>> {
    let known: HashMap<Uuid, Uuid> = rows.into_iter().collect();
    let of = |id: &EventId| known.get(&id.uuid()).copied().map(EventId);
    asked.iter().map(of).collect()
}

/// A position as the column holds it. Offsets are far below its end.
pub(in crate::store) fn position_column(position: Option<u64>) -> Option<i64> {
    position.map(|position| i64::try_from(position).unwrap_or(i64::MAX))
}

/// A position out of its column.
pub(in crate::store) fn position(column: Option<i64>) -> Option<u64> {
    column.and_then(|position| u64::try_from(position).ok())
}
