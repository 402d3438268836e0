//! The values that callers give to a store and get from it, free of any table or engine. Their columns are in
//! `tables`.

mod audit;
mod dead;
mod destinations;
mod keys;
mod operations;
mod operators;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::event::{EventId, Publisher};
use crate::outcome::FieldError;
use crate::reason::ReasonCode;
use crate::store::{NotBefore, Ordered};

pub use audit::{Act, Actor, AuditAction, AuditEntry, AuditFilter, AuditOutcome, AuditPage, Role};
pub use dead::{
    AttemptRecord, BulkChange, Changer, DeadEdit, DeadFilter, DeadGroup, DeadLetter, DeadPage,
    DeadState, DeadStory, DeadSummary, DiscardRecord, EditRecord, Editable, Edited, Hourly,
};
pub use destinations::{DestinationState, NewPause, OpenBreaker, PausedDestination};
pub use keys::{KeyPage, KeyRecord, NewKey, Revoked};
pub use operations::{
    HistorySlice, LeftOpen, Operation, OperationKind, OperationPage, OperationReport,
    OperationState, Progress, ReplayOutcome,
};
pub use operators::{NewOperator, OperatorMade, OperatorRecord};

/// An event to be stored, with the deliveries that are due because of it.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// Our key for it.
    pub id: EventId,
    /// The key that the history makes of it, if that is another.
    pub stream_id: Option<EventId>,
    /// How many times it has been replayed.
    pub generation: u32,
    /// Its type.
    pub kind: String,
    /// The publisher's own source.
    pub source: String,
    /// The publisher's own id.
    pub source_id: String,
    /// Who published it.
    pub publisher: String,
    /// Its subject.
    pub subject: Option<String>,
    /// When it happened.
    pub time: Option<OffsetDateTime>,
    /// When it came through a door.
    pub received_at: OffsetDateTime,
    /// When it was accepted.
    pub accepted_at: OffsetDateTime,
    /// The fingerprint of its content, which tells another content under the same id apart: see
    /// [`content`](crate::event::content).
    pub fingerprint: [u8; 32],
    /// The canonical event, byte for byte.
    pub body: String,
    /// The row of the type's own table, if it has one.
    pub details: Details,
    /// The destinations that it is due at.
    pub destinations: Vec<String>,
    /// The destinations that take its type and whose filter passes over it.
    pub filtered: Vec<FilteredDestination>,
    /// The order that it keeps, if it has a key and is due at an ordered destination.
    pub ordered: Option<Ordered>,
    /// The moment before which nobody gets it, if it names one.
    pub not_before: Option<NotBefore>,
}

impl NewEvent {
    /// Whether it waits for its moment: nothing is due yet.
    pub fn waits(&self) -> bool {
        self.not_before.is_some_and(|moment| !moment.has_come)
    }
}

/// A destination whose filter passes over an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FilteredDestination {
    /// The destination.
    pub destination: String,
    /// Why its filter has no value for the event; absent if the filter does not match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The row of a type's own table.
#[derive(Debug, Clone, PartialEq)]
pub enum Details {
    /// `signups`
    Signup {
        /// As given.
        email: String,
        /// In the form for comparing: unique.
        email_normalised: String,
        /// The person's name.
        name: String,
        /// The plan asked for.
        plan: Option<String>,
        /// A BCP 47 tag.
        locale: Option<String>,
        /// An argon2id hash in PHC format.
        password_hash: Option<String>,
        /// Anything else, a JSON object.
        attributes: Option<String>,
    },
    /// `processing`
    Processing {
        /// The kind of work.
        task: String,
        /// The input of the work, a JSON object.
        payload: String,
    },
    /// `confirmations`
    Confirmation {
        /// The event of the signup.
        signup: EventId,
        /// The confirmed address.
        email: String,
    },
    /// No table of its own.
    None,
}

/// The outcome of storing an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// The event is stored now, and its deliveries are due; or it was stored before to wait for its moment, and they are due now.
    New,
    /// The event is stored, now or before, and waits for its moment; or it was cancelled.
    Scheduled,
    /// The event was stored before, with the same content. For a generation above 0 its deliveries of that
    /// generation are due now.
    Before,
    /// The event is stored with the same content, by this very call or before: the answer to a commit was lost, so
    /// nobody can tell. A caller that passes it on says that this may be a repetition.
    NewOrBefore,
    /// Another content is stored under this id: the first one stands.
    Conflict,
    /// Another signup has this e-mail address.
    EmailTaken,
}

/// Names one delivery.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct DeliveryKey {
    /// The event.
    pub event: EventId,
    /// The destination.
    pub destination: String,
    /// The generation.
    pub generation: u32,
}

/// The state of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// The delivery has to be made.
    Due,
    /// The receiver has the event.
    Delivered,
    /// The delivery was given up: there is a dead letter.
    Dead,
    /// An operator decided that it must not be made.
    Discarded,
}

/// A delivery as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRecord {
    /// Its state.
    pub state: DeliveryState,
    /// The highest number of an attempt that was made at it; 0 before the first.
    pub attempts: u32,
    /// The status in the answer to the last attempt, if there was an answer.
    pub last_status_code: Option<u16>,
    /// Why the last attempt failed, if it did.
    pub last_error: Option<String>,
}

/// One attempt at a delivery.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// The delivery.
    pub key: DeliveryKey,
    /// The number of the attempt; 1 is the first.
    pub attempt: u32,
    /// When it began.
    pub started_at: OffsetDateTime,
    /// How long it took, in milliseconds.
    pub duration_ms: u32,
    /// The HTTP status, if there was an answer.
    pub status_code: Option<u16>,
    /// The failure; `None` if it was delivered.
    pub error: Option<String>,
    /// The beginning of the answer.
    pub response_excerpt: Option<String>,
    /// Whether the receiver has the event now.
    pub delivered: bool,
}

/// A rejection to be kept.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRejection {
    /// Its id, made from event, code and content, so that keeping it twice keeps one.
    pub id: Uuid,
    /// The event.
    pub event: EventId,
    /// The key that the history makes of it, if that is another.
    pub stream_id: Option<EventId>,
    /// Its type.
    pub kind: String,
    /// Its source.
    pub source: String,
    /// Who published it.
    pub publisher: String,
    /// The reason.
    pub reason: ReasonCode,
    /// Everything that is wrong.
    pub errors: Vec<FieldError>,
    /// The stage that refused it.
    pub stage: String,
    /// When it came through a door.
    pub received_at: Option<OffsetDateTime>,
    /// When it was refused.
    pub rejected_at: OffsetDateTime,
    /// The event, secrets masked.
    pub body: Bytes,
}

/// The standing of an event, in one word.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Stored, and waits for its moment.
    Scheduled,
    /// Stored, and no due delivery was tried yet.
    Stored,
    /// On its way.
    Delivering,
    /// Everything that was due is done, or was discarded.
    Completed,
    /// Refused by a rule.
    Rejected,
    /// Given up: somebody has to do something, or has discarded it.
    Dead,
    /// Cancelled before its moment came: nobody gets it.
    Cancelled,
}

impl Standing {
    /// Whether nothing more happens to the event by itself. A dead event moves on when somebody replays it.
    pub fn is_at_rest(self) -> bool {
        match self {
            Self::Scheduled | Self::Stored | Self::Delivering => false,
            Self::Completed | Self::Rejected | Self::Dead | Self::Cancelled => true,
        }
    }
}

/// The status of an event, as `GET /v1/events/{id}` tells it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct EventStatus {
    /// Our key for it.
    pub id: EventId,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Who published it, as far as it is known.
    #[serde(skip)]
    pub publisher: Option<Publisher>,
    /// Its state.
    pub status: Standing,
    /// The moment that it waits for, or waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Moment>,
    /// Whether nobody gets it: it waits for its moment, or was cancelled.
    #[serde(skip)]
    pub is_held: bool,
    /// The steps of the event, in order.
    pub timeline: Vec<Timeline>,
    /// Its deliveries, of the newest generation each.
    pub deliveries: Vec<DeliveryStatus>,
    /// The destinations where it is not due, since their filter passes over it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub filtered: Vec<FilteredDestination>,
    /// Why it was rejected or died.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<RejectionRecord>,
    /// Later events under the same id with another content, which were turned away. All of the above is about the
    /// content that came first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<Conflict>,
}

impl EventStatus {
    /// The status for everybody who knows the id: without the answers of receivers and their addresses.
    #[must_use]
    pub fn public(mut self) -> Self {
        for delivery in &mut self.deliveries {
            delivery.error = None;
        }
        self
    }

    /// When the event came through a door.
    pub fn received_at(&self) -> Option<OffsetDateTime> {
        let received = self.timeline.iter().find(|step| step.step == "received")?;
        Some(received.at.0)
    }
}

/// Another content under the id of an event that is stored.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Conflict {
    /// The stable code: `idempotency_conflict`.
    pub code: ReasonCode,
    /// One sentence on it.
    pub detail: String,
    /// The type it had.
    #[serde(rename = "type")]
    pub kind: String,
    /// When it came through a door.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received_at: Option<Moment>,
    /// When it was turned away.
    pub at: Moment,
}

/// One step of an event.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Timeline {
    /// `received`, `accepted`, `rejected`, `stored`, `released`, `cancelled`, `filtered`, `delivered`, `dead`, `replayed`.
    pub step: &'static str,
    /// When.
    pub at: Moment,
    /// The place, for a delivery, a dead letter or a filter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
}

/// The status of one delivery.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct DeliveryStatus {
    /// The destination.
    pub destination: String,
    /// The generation.
    pub generation: u32,
    /// Its state.
    pub status: DeliveryState,
    /// How many attempts there were.
    pub attempts: u32,
    /// Why it was given up, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<ReasonCode>,
    /// When it was written down, by the clock of the database.
    #[serde(skip)]
    pub due_at: Moment,
    /// The last error, if the last attempt failed. Not told to everybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub error: Option<String>,
    /// When it was last tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_attempt_at: Option<Moment>,
}

/// Why an event was rejected or died.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct RejectionRecord {
    /// The stable code.
    pub code: ReasonCode,
    /// One sentence on it.
    pub detail: String,
    /// Everything that is wrong, for a rejection.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// The dead letter, for a dead event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<Uuid>,
}

/// All that is stored of an event.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EventRecord {
    /// Its state.
    #[serde(flatten)]
    pub status: EventStatus,
    /// Who published it.
    pub publisher: String,
    /// The publisher's own source.
    pub source: String,
    /// The canonical event.
    pub event: Value,
    /// The canonical event, byte for byte.
    #[serde(skip)]
    pub body: String,
}

/// A moment that serialises as RFC 3339.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
#[schemars(extend("format" = "date-time"))]
pub struct Moment(
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "String")]
    pub OffsetDateTime,
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_standings_are_at_rest_and_a_status_says_each_by_its_word() {
        for (standing, word, is_at_rest) in [
            (Standing::Scheduled, "scheduled", false),
            (Standing::Stored, "stored", false),
            (Standing::Delivering, "delivering", false),
            (Standing::Completed, "completed", true),
            (Standing::Rejected, "rejected", true),
            (Standing::Dead, "dead", true),
            (Standing::Cancelled, "cancelled", true),
        ] {
            let status = EventStatus {
                id: EventId::born(),
                kind: None,
                publisher: None,
                status: standing,
                not_before: None,
                is_held: false,
                timeline: Vec::new(),
                deliveries: Vec::new(),
                filtered: Vec::new(),
                reason: None,
                conflicts: Vec::new(),
            };
            assert_eq!(serde_json::to_value(status).unwrap()["status"], word);
            assert_eq!(standing.is_at_rest(), is_at_rest, "{standing}");
        }
    }
}
