//! Scheduled events, as rows.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

use super::text::moment;
use crate::event::EventId;
use crate::store::{Cancelled, Moment, NewEvent, ScheduledEvent, Stored};

/// A new row of `scheduled_events`.
#[derive(Serialize)]
pub(in crate::store) struct WaitingRow {
    pub event: Uuid,
    #[serde(serialize_with = "moment")]
    pub not_before: OffsetDateTime,
}

/// The rows of those of new events that wait.
pub(in crate::store) fn waiting(events: &[&NewEvent]) -> Vec<WaitingRow> {
    let waiting = events.iter().filter(|event| event.waits());
    let row = |event: &&NewEvent| {
        let not_before = event.not_before?.at;
        Some(WaitingRow {
            event: event.id.uuid(),
            not_before,
        })
    };
    waiting.filter_map(row).collect()
}

/// Which of known events are released, or held.
#[derive(Debug, Default)]
pub(in crate::store) struct Known {
    /// Those that were released just now.
    pub released: HashSet<Uuid>,
    /// Those that wait, or were cancelled.
    pub held: HashSet<Uuid>,
}

impl Known {
    /// The outcome of an event that is stored with the same content.
    pub(in crate::store) fn outcome(&self, event: Uuid) -> Stored {
        if self.released.contains(&event) {
            Stored::New
        } else if self.held.contains(&event) {
            Stored::Scheduled
        } else {
            Stored::Before
        }
    }

    /// Those of known events whose deliveries are due now: released ones, and replayed ones that are not held. `same` says which of
    /// them are stored with the same content.
    pub(in crate::store) fn due<'e>(
        &self,
        events: &[&'e NewEvent],
        same: &HashMap<Uuid, bool>,
    ) -> Vec<&'e NewEvent> {
        let is_due = |event: &&&NewEvent| {
            let id = event.id.uuid();
            let is_replayed = event.generation > 0 && !self.held.contains(&id);
            same.get(&id) == Some(&true) && (is_replayed || self.released.contains(&id))
        };
        events.iter().filter(is_due).copied().collect()
    }
}

/// The known events with the same content, and those of them that were sent to be released.
pub(in crate::store) fn to_release(
    events: &[&NewEvent],
    same: &HashMap<Uuid, bool>,
) -> (Vec<Uuid>, Vec<Uuid>) {
    let is_same = |event: &&&NewEvent| same.get(&event.id.uuid()) == Some(&true);
    let known = events.iter().filter(is_same);
    let sent = known
        .clone()
        .filter(|event| event.not_before.is_some_and(|moment| moment.is_release));
    let ids = |event: &&NewEvent| event.id.uuid();
    (known.map(ids).collect(), sent.map(ids).collect())
}

/// Why an event could not be cancelled.
#[derive(sqlx_macros::FromRow)]
pub(in crate::store) struct HeldRow {
    is_cancelled: bool,
}

impl HeldRow {
    /// What cancelling the event came to.
    pub(in crate::store) fn outcome(row: Option<Self>) -> Cancelled {
        match row {
            None => Cancelled::Unknown,
            Some(Self { is_cancelled: true }) => Cancelled::Before,
            Some(_) => Cancelled::TooLate,
        }
    }
}

/// An event that waits.
#[derive(sqlx_macros::FromRow)]
pub(in crate::store) struct ScheduledRow {
    event_id: Uuid,
    r#type: String,
    source: String,
    not_before: OffsetDateTime,
    received_at: OffsetDateTime,
}

impl From<ScheduledRow> for ScheduledEvent {
    fn from(row: ScheduledRow) -> Self {
        Self {
            id: EventId(row.event_id),
            kind: row.r#type,
            source: row.source,
            not_before: Moment(row.not_before),
            received_at: Moment(row.received_at),
        }
    }
}
