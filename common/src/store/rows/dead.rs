//! Dead letters: their records, and the questions and commands of operators.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Act, Moment, Progress};
use crate::event::EventId;
use crate::message::Message;
use crate::reason::{Cause, ReasonCode};

/// A dead letter, whole.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// Its id ([`letter_id`](crate::event::letter_id)), made from the differences between messages, so that
    /// keeping a letter twice keeps one.
    pub id: Uuid,
    /// The key of its entry in the history ([`entry_key`](crate::event::entry_key)), if the message died at the
    /// door and was not an event of ours.
    pub entry_key: Option<Uuid>,
    /// The event, if the message was one.
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
    /// The reason.
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
    /// Its state.
    pub state: DeadState,
    /// The replay that has claimed it or sent it again.
    pub replay: Option<Uuid>,
    /// How many times the message came at least. On its way into the store: 1, or 0 if it may have been counted
    /// before.
    pub copies: u32,
}

/// The state of a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadState {
    /// Nothing was done about it yet.
    Open,
    /// A replay has claimed the letter and not yet marked it.
    Replaying,
    /// The letter was sent again.
    Replayed,
    /// The letter was given up for good.
    Discarded,
    /// A later generation died or was delivered: nothing is left to do about this letter.
    Superseded,
}

/// A dead letter in a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeadSummary {
    /// Its id.
    pub id: Uuid,
    /// The event, if the message was one.
    pub event: Option<EventId>,
    /// Its type, where known.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The queue it died in.
    pub queue: String,
    /// The destination, in the integrate stage.
    pub destination: Option<String>,
    /// The reason.
    pub reason: ReasonCode,
    /// The error chain.
    pub error: String,
    /// How many attempts failed.
    pub attempts: u32,
    /// Its generation.
    pub generation: u32,
    /// When it was given up.
    pub last_failed_at: Moment,
    /// Its state.
    pub state: DeadState,
    /// How many times the message came at least.
    pub copies: u32,
}

/// A filter of dead letters. Every condition that is set must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeadFilter {
    /// Only letters with these ids.
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
    /// For a reason of this cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// Of this event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<EventId>,
    /// In this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<DeadState>,
    /// Given up at this moment or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Moment>,
    /// Given up before this moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Moment>,
    /// With this [`fingerprint`](crate::fingerprint::fingerprint) of the error, as groups have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// With this text anywhere in the error. A to Z count as a to z; every other character is itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// A page of a list: keyset pages, newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadPage {
    /// The moment and id of the last letter of the page before.
    pub after: Option<(OffsetDateTime, Uuid)>,
    /// Maximum length of the page.
    pub limit: u32,
}

/// A group of dead letters that died of the same error.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeadGroup {
    /// The queue they died in.
    pub queue: String,
    /// The reason.
    pub reason: ReasonCode,
    /// The destination, in the integrate stage.
    pub destination: Option<String>,
    /// The common [`fingerprint`](crate::fingerprint::fingerprint) of their errors.
    pub fingerprint: String,
    /// How many there are.
    pub letters: u64,
    /// How many of them are open.
    pub open: u64,
    /// When the first of them was given up; to the hour, once letters of that hour were replayed,
    /// discarded or removed.
    pub first: Moment,
    /// When the last of them was given up, likewise.
    pub last: Moment,
    /// How many were given up in each of the 24 hours that end with that of `last`, the oldest first;
    /// hours without any are left out.
    pub history: Vec<Hourly>,
}

/// The count of one hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Hourly {
    /// When the hour began, in UTC.
    pub hour: Moment,
    /// How many letters were given up in the hour.
    pub letters: u64,
}

/// All that is known of a dead letter.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadStory {
    /// The letter, as it would be sent again now.
    pub letter: DeadLetter,
    /// The fingerprint of its error, which it shares with others.
    pub fingerprint: String,
    /// When it was sent again.
    pub replayed_at: Option<Moment>,
    /// The record of its discarding, if it was discarded.
    pub discarded: Option<DiscardRecord>,
    /// Every attempt at its event's delivery to its destination, of every generation, the oldest first.
    pub attempts: Vec<AttemptRecord>,
    /// The other letters of its event, the newest first.
    pub others: Vec<DeadSummary>,
    /// Its edits, the oldest first: the content before the first edit is the original.
    pub edits: Vec<EditRecord>,
    /// The replays that have claimed or sent it or another letter of its event, the newest first.
    pub replays: Vec<Progress>,
}

/// One attempt at a delivery, as it was recorded.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AttemptRecord {
    /// The generation of the delivery.
    pub generation: u32,
    /// The number of the attempt; 1 is the first.
    pub attempt: u32,
    /// When it began.
    pub started_at: Moment,
    /// How long it took, in milliseconds.
    pub duration_ms: u32,
    /// The HTTP status, if there was an answer.
    pub status_code: Option<u16>,
    /// The failure; `None` if it was delivered.
    pub error: Option<String>,
    /// The beginning of the answer.
    pub response_excerpt: Option<String>,
}

/// The parts of a dead letter that can be mended. Two are equal if their kept forms are.
#[derive(Debug, Clone)]
pub struct Editable {
    /// The routing key it had.
    pub routing_key: String,
    /// The message.
    pub message: Message,
}

impl From<&DeadLetter> for Editable {
    fn from(letter: &DeadLetter) -> Self {
        Self {
            routing_key: letter.routing_key.clone(),
            message: letter.message.clone(),
        }
    }
}

impl PartialEq for Editable {
    fn eq(&self, other: &Self) -> bool {
        self.message.body == other.message.body && self.envelope() == other.envelope()
    }
}

impl Editable {
    /// The letter with these parts in place of its own.
    pub fn in_place_of(&self, letter: &DeadLetter) -> DeadLetter {
        let mut mended = letter.clone();
        if self.message.kind != letter.message.kind || self.routing_key != letter.routing_key {
            let kind = self.message.kind.as_ref().unwrap_or(&self.routing_key);
            mended.kind = Some(kind.clone()).filter(|kind| !kind.is_empty());
        }
        mended.source.clone_from(&self.message.app_id);
        mended.routing_key.clone_from(&self.routing_key);
        mended.message = self.message.clone();
        mended
    }
}

/// A change of a dead letter.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadEdit {
    /// The letter's id.
    pub letter: Uuid,
    /// The content that was edited: the letter's, unless somebody else was faster.
    pub before: Editable,
    /// The content to put in its place.
    pub after: Editable,
    /// The act of the operator who edits it.
    pub act: Act,
}

/// The outcome of an edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edited {
    /// The letter is changed; its content from before is kept.
    Saved,
    /// The letter is not open, but in this state.
    NotOpen(DeadState),
    /// There is no such letter.
    NoSuchLetter,
    /// The letter is not as it was when it was edited: somebody else has changed it in between.
    Changed,
}

/// One edit that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EditRecord {
    /// The moment.
    pub at: Moment,
    /// Who.
    pub who: String,
    /// The reason.
    pub why: Option<String>,
    /// The body that it replaced.
    pub before: Bytes,
    /// Routing key, properties and headers that it replaced; `None` if it changed only the body.
    pub envelope: Option<serde_json::Value>,
}

/// A command to discard or to restore dead letters.
#[derive(Debug, Clone, PartialEq)]
pub struct BulkChange {
    /// The letters. Whatever the filter says of the state, only open ones are discarded, and only discarded ones restored.
    pub filter: DeadFilter,
    /// Who changes them.
    pub by: Changer,
}

/// Who changes dead letters in bulk.
#[derive(Debug, Clone, PartialEq)]
pub enum Changer {
    /// An operator. Each step that changes letters is an entry of the audit record.
    Operator(Act),
    /// A worker, as a part of an operation. The entry of the audit record is the beginning of the operation.
    Operation {
        /// The operation, which counts the changed letters.
        id: Uuid,
        /// Who began it.
        who: String,
        /// The reason.
        why: Option<String>,
    },
}

impl Changer {
    /// The name of the operator.
    pub fn who(&self) -> &str {
        match self {
            Self::Operator(act) => &act.actor.who,
            Self::Operation { who, .. } => who,
        }
    }

    /// The reason; empty without one.
    pub fn why(&self) -> &str {
        let why = match self {
            Self::Operator(act) => &act.why,
            Self::Operation { why, .. } => why,
        };
        why.as_deref().unwrap_or_default()
    }

    /// The operation that counts the changed letters.
    pub fn operation(&self) -> Option<Uuid> {
        match self {
            Self::Operator(_) => None,
            Self::Operation { id, .. } => Some(*id),
        }
    }
}

/// The record of a discarding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DiscardRecord {
    /// The moment.
    pub at: Moment,
    /// Who.
    pub who: String,
    /// The reason.
    pub why: String,
}
