//! What goes into the database and comes out of it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::event::EventId;
use crate::message::Message;
use crate::outcome::FieldError;
use crate::reason::ReasonCode;

/// An event to be stored, with what is due because of it.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// Our key for it.
    pub id: EventId,
    /// How often it has been replayed.
    pub generation: u32,
    /// Its type.
    pub kind: String,
    /// The publisher's own source.
    pub source: String,
    /// The publisher's own id.
    pub source_id: String,
    /// Who published it.
    pub publisher: String,
    /// What it is about.
    pub subject: Option<String>,
    /// When it happened.
    pub time: Option<OffsetDateTime>,
    /// When it came through a door.
    pub received_at: OffsetDateTime,
    /// When it was accepted.
    pub accepted_at: OffsetDateTime,
    /// What tells another content under the same id apart: SHA-256 over what the publisher said,
    /// without what we added (such as the salted hash of a password).
    pub fingerprint: [u8; 32],
    /// The canonical event, byte for byte.
    pub body: String,
    /// The row of the type's own table, where it has one.
    pub details: Details,
    /// The destinations that it is due at.
    pub destinations: Vec<String>,
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
        /// What the person is called.
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
        /// Which work.
        task: String,
        /// What the work needs to know, a JSON object.
        payload: String,
    },
    /// No table of its own.
    None,
}

/// What became of an event that was to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It is stored now, and its deliveries are due.
    New,
    /// It was stored before, with the same content. For a generation above 0 its deliveries of that
    /// generation are due now.
    Before,
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

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// It has to be made.
    Due,
    /// The receiver has it.
    Delivered,
    /// It was given up: there is a dead letter.
    Dead,
    /// An operator decided that it shall not be made.
    Discarded,
}

/// One attempt at a delivery.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// Which delivery.
    pub key: DeliveryKey,
    /// Which attempt, 1 is the first.
    pub attempt: u32,
    /// When it began.
    pub started_at: OffsetDateTime,
    /// How long it took, in milliseconds.
    pub duration_ms: u32,
    /// The HTTP status, where there was an answer.
    pub status_code: Option<u16>,
    /// What failed; `None` where it was delivered.
    pub error: Option<String>,
    /// The beginning of the answer.
    pub response_excerpt: Option<String>,
    /// Whether the receiver has the event now.
    pub delivered: bool,
}

/// A dead letter, whole.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// Its id, made from event, queue and generation, so that keeping it twice keeps one.
    pub id: Uuid,
    /// The event, where the message was one.
    pub event: Option<EventId>,
    /// Its type, where known.
    pub kind: Option<String>,
    /// Its source, where known.
    pub source: Option<String>,
    /// The queue it died in.
    pub queue: String,
    /// The stage that gave up.
    pub stage: String,
    /// The destination, in the integrate stage.
    pub destination: Option<String>,
    /// Why.
    pub reason: ReasonCode,
    /// The error chain.
    pub error: String,
    /// How many attempts failed.
    pub attempts: u32,
    /// Its generation.
    pub generation: u32,
    /// When the first attempt failed.
    pub first_failed_at: OffsetDateTime,
    /// When it was given up.
    pub last_failed_at: OffsetDateTime,
    /// The routing key it had.
    pub routing_key: String,
    /// The message: body, properties and headers as they were in the queue it died in.
    pub message: Message,
    /// What has been done about it.
    pub state: DeadState,
    /// The replay that sent it again.
    pub replay: Option<Uuid>,
}

/// What has been done about a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadState {
    /// Nothing yet.
    Open,
    /// A replay has claimed it and not yet marked it.
    Replaying,
    /// It was sent again.
    Replayed,
    /// It was given up for good.
    Discarded,
}

/// A dead letter in a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeadSummary {
    /// Its id.
    pub id: Uuid,
    /// The event, where the message was one.
    pub event: Option<EventId>,
    /// Its type, where known.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The queue it died in.
    pub queue: String,
    /// Why.
    pub reason: ReasonCode,
    /// The error chain.
    pub error: String,
    /// How many attempts failed.
    pub attempts: u32,
    /// Its generation.
    pub generation: u32,
    /// When it was given up.
    pub last_failed_at: Moment,
    /// What has been done about it.
    pub state: DeadState,
}

/// Which dead letters. Every condition that is set must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeadFilter {
    /// These alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ids: Option<Vec<Uuid>>,
    /// Died in this queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// On the way to this destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// Of this type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// For this reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<ReasonCode>,
    /// Of this event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<EventId>,
    /// In this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<DeadState>,
}

/// Which page of a list: keyset pages, newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadPage {
    /// After this one: moment and id of the last one of the page before.
    pub after: Option<(OffsetDateTime, Uuid)>,
    /// At most so many.
    pub limit: u32,
}

/// A replay to begin.
#[derive(Debug, Clone, PartialEq)]
pub struct Replay {
    /// Its id.
    pub id: Uuid,
    /// What it sends. Only open letters are ever claimed, whatever the filter says of the state.
    pub filter: DeadFilter,
    /// Where it sends them; each to the queue it died in unless set.
    pub to_queue: Option<String>,
    /// Who began it.
    pub who: String,
    /// Why.
    pub why: Option<String>,
}

/// How a replay stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplayState {
    /// Under way, or killed on the way.
    Running,
    /// Everything that matched was sent.
    Done,
    /// Stopped before its end.
    Stopped,
}

/// A replay as it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Progress {
    /// Its id.
    pub id: Uuid,
    /// What it sends.
    pub filter: DeadFilter,
    /// Where to.
    pub to_queue: Option<String>,
    /// Who began it.
    pub who: String,
    /// Why.
    pub why: Option<String>,
    /// How it stands.
    pub state: ReplayState,
    /// How many letters it has sent.
    pub replayed: u64,
    /// When it began.
    pub started_at: Moment,
    /// When it ended.
    pub ended_at: Option<Moment>,
}

/// A rejection to be kept.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRejection {
    /// Its id, made from event, code and content, so that keeping it twice keeps one.
    pub id: Uuid,
    /// The event.
    pub event: EventId,
    /// Its type.
    pub kind: String,
    /// Its source.
    pub source: String,
    /// Who published it.
    pub publisher: String,
    /// Why.
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

/// Where an event stands, as `GET /v1/events/{id}` tells it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EventStatus {
    /// Our key for it.
    pub id: EventId,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// `stored`, `delivering`, `completed`, `rejected` or `dead`.
    pub status: &'static str,
    /// What happened when, in order.
    pub timeline: Vec<Timeline>,
    /// Its deliveries, of the newest generation each.
    pub deliveries: Vec<DeliveryStatus>,
    /// Why it was rejected or died.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<RejectionRecord>,
}

/// One thing that happened to an event.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Timeline {
    /// `received`, `accepted`, `rejected`, `stored`, `delivered`, `dead`, `replayed`.
    pub step: &'static str,
    /// When.
    pub at: Moment,
    /// Where, for a delivery or a dead letter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
}

/// Where one delivery stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeliveryStatus {
    /// The destination.
    pub destination: String,
    /// The generation.
    pub generation: u32,
    /// Where it stands.
    pub status: DeliveryState,
    /// How many attempts there were.
    pub attempts: u32,
    /// The last error, where the last attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When it was last tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_attempt_at: Option<Moment>,
}

/// Why an event was rejected or died.
#[derive(Debug, Clone, PartialEq, Serialize)]
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
    /// Where it stands.
    #[serde(flatten)]
    pub status: EventStatus,
    /// Who published it.
    pub publisher: String,
    /// The publisher's own source.
    pub source: String,
    /// The canonical event.
    pub event: Value,
}

/// A moment that serialises as RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moment(#[serde(with = "time::serde::rfc3339")] pub OffsetDateTime);
