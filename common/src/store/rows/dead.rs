//! Dead letters: what is kept of them, and what operators ask and do.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Moment, Progress};
use crate::event::EventId;
use crate::message::Message;
use crate::reason::{Cause, ReasonCode};

/// A dead letter, whole.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// Its id ([`letter_id`](crate::event::letter_id)), made from what tells two messages apart, so that
    /// keeping one twice keeps one.
    pub id: Uuid,
    /// The key of its entry in the history ([`entry_key`](crate::event::entry_key)), where the message died at the
    /// door and was no event of ours.
    pub entry_key: Option<Uuid>,
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
    /// The replay that has claimed it or sent it again.
    pub replay: Option<Uuid>,
    /// How often the message came at least. On its way into the store: 1, or 0 where it may have been counted
    /// before.
    pub copies: u32,
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
    /// A later generation died or was delivered: there is nothing to do about this one.
    Superseded,
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
    /// When it was given up.
    pub last_failed_at: Moment,
    /// What has been done about it.
    pub state: DeadState,
    /// How often the message came at least.
    pub copies: u32,
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
    /// With this in common with others: the [`fingerprint`](crate::fingerprint::fingerprint) of their
    /// error, as groups have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// With this text anywhere in the error. A to Z are as good as a to z; every other character is
    /// itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// Which page of a list: keyset pages, newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadPage {
    /// After this one: moment and id of the last one of the page before.
    pub after: Option<(OffsetDateTime, Uuid)>,
    /// At most so many.
    pub limit: u32,
}

/// Dead letters that have died of the same.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeadGroup {
    /// The queue they died in.
    pub queue: String,
    /// Why.
    pub reason: ReasonCode,
    /// The destination, in the integrate stage.
    pub destination: Option<String>,
    /// What their errors have in common: [`fingerprint`](crate::fingerprint::fingerprint).
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

/// How many in one hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Hourly {
    /// When the hour began, in UTC.
    pub hour: Moment,
    /// How many.
    pub letters: u64,
}

/// All that is known of a dead letter.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadStory {
    /// The letter, as it would be sent again now.
    pub letter: DeadLetter,
    /// What its error has in common with others.
    pub fingerprint: String,
    /// When it was sent again.
    pub replayed_at: Option<Moment>,
    /// Who discarded it, where somebody did.
    pub discarded: Option<DiscardRecord>,
    /// Every attempt at its event's delivery to its destination, of every generation, the oldest first.
    pub attempts: Vec<AttemptRecord>,
    /// The other letters of its event, the newest first.
    pub others: Vec<DeadSummary>,
    /// Who has changed it, the oldest change first: what was before the first one is the original.
    pub edits: Vec<EditRecord>,
    /// The replays that have claimed or sent it or another letter of its event, the newest first.
    pub replays: Vec<Progress>,
}

/// One attempt at a delivery, as it was recorded.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AttemptRecord {
    /// The generation of the delivery.
    pub generation: u32,
    /// Which attempt, 1 is the first.
    pub attempt: u32,
    /// When it began.
    pub started_at: Moment,
    /// How long it took, in milliseconds.
    pub duration_ms: u32,
    /// The HTTP status, where there was an answer.
    pub status_code: Option<u16>,
    /// What failed; `None` where it was delivered.
    pub error: Option<String>,
    /// The beginning of the answer.
    pub response_excerpt: Option<String>,
}

/// What can be mended of a dead letter. Two are equal where what is kept of them is.
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
    /// The letter with this in the place of its own.
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
    /// Which letter.
    pub letter: Uuid,
    /// What was edited: the letter's, unless somebody else was faster.
    pub before: Editable,
    /// What is to be in its place.
    pub after: Editable,
    /// Who edited it.
    pub who: String,
    /// Why.
    pub why: Option<String>,
}

/// What became of an edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edited {
    /// The letter is changed; what was before is kept.
    Saved,
    /// The letter is not open, but in this state.
    NotOpen(DeadState),
    /// There is no such letter.
    NoSuchLetter,
    /// It is not as it was when it was edited: somebody else has changed it in between.
    Changed,
}

/// One edit that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EditRecord {
    /// When.
    pub at: Moment,
    /// Who.
    pub who: String,
    /// Why.
    pub why: Option<String>,
    /// The body that it replaced.
    pub before: Bytes,
    /// Routing key, properties and headers that it replaced; `None` where it changed only the body.
    pub envelope: Option<serde_json::Value>,
}

/// Which dead letters to give up for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discard {
    /// Only open ones are ever discarded, whatever the filter says of the state.
    pub filter: DeadFilter,
    /// Who decided it.
    pub who: String,
    /// Why.
    pub why: String,
}

/// Who has discarded a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DiscardRecord {
    /// When.
    pub at: Moment,
    /// Who.
    pub who: String,
    /// Why.
    pub why: String,
}
