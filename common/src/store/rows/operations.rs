//! Operations: their orders, progress and outcomes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Act, DeadFilter, Moment};

/// What an operation does with the messages that it matches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationKind {
    /// Sends dead letters, or a part of the history, again.
    #[default]
    Replay,
    /// Discards open dead letters.
    Discard,
    /// Opens discarded dead letters again.
    Restore,
}

/// An operation to begin.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// Its id.
    pub id: Uuid,
    /// What it does.
    pub kind: OperationKind,
    /// Its letters. Its kind says in which state they are, whatever the filter says of the state.
    pub filter: DeadFilter,
    /// The queue it sends them to; each to the queue it died in unless set.
    pub to_queue: Option<String>,
    /// The act that begins it: who, and why.
    pub act: Act,
    /// Maximum letters or events a second; as fast as the broker takes them unless set.
    pub rate: Option<u32>,
    /// Maximum percentage of sent letters that may die again before the replay stops by itself.
    pub stop_when: Option<u8>,
    /// The part of the history it sends, for a replay of the history: it claims no dead letters, and
    /// its filter is empty.
    pub slice: Option<HistorySlice>,
    /// Whether receivers get its events under another `webhook-id` than before.
    pub new_ids: bool,
    /// The stopped replay of dead letters that it goes on with.
    pub resumes: Option<Uuid>,
}

/// A part of the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistorySlice {
    /// Events received at this moment or later.
    pub from: Moment,
    /// Events received before this moment.
    pub to: Moment,
    /// Events of these types, as a topic pattern; all unless set.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

/// The state of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationState {
    /// Under way, or killed on the way.
    Running,
    /// Told to wait: it claims nothing until it runs again.
    Paused,
    /// Everything that matched was sent, discarded or restored.
    Done,
    /// Stopped before its end.
    Stopped,
}

/// An operation as it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Progress {
    /// Its id.
    pub id: Uuid,
    /// What it does.
    pub kind: OperationKind,
    /// Its letters.
    pub filter: DeadFilter,
    /// The queue it sends them to; each to the queue it died in unless set.
    pub to_queue: Option<String>,
    /// Who began it.
    pub who: String,
    /// The reason.
    pub why: Option<String>,
    /// Its state.
    pub state: OperationState,
    /// Maximum letters or events a second.
    pub rate: Option<u32>,
    /// Maximum percentage of sent letters that may die again before the replay stops by itself.
    pub stop_when: Option<u8>,
    /// The part of the history it sends, for a replay of the history.
    pub slice: Option<HistorySlice>,
    /// Whether receivers get its events under another `webhook-id` than before.
    pub new_ids: bool,
    /// How many letters or events it has sent, or how many letters it has discarded or restored.
    pub replayed: u64,
    /// How far it has come in the history; everything up to this position was sent.
    pub position: Option<u64>,
    /// When it began.
    pub started_at: Moment,
    /// When it ended.
    pub ended_at: Option<Moment>,
    /// When it was handed over to the workers; `None` if a program of before runs its operations itself.
    pub handed_over_at: Option<Moment>,
    /// The stopped replay of dead letters that it goes on with.
    pub resumes: Option<Uuid>,
    /// The report of its runs, beside the counts.
    pub report: OperationReport,
}

/// The report of an operation's runs, beside the number that they have dealt with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OperationReport {
    /// The dependency it waits for at the moment, if one is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    /// Why it has stopped by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why_stopped: Option<String>,
    /// How many letters could not be sent by the last run and are open still.
    pub left_open_count: u64,
    /// The first of the letters left open.
    pub left_open: Vec<LeftOpen>,
    /// How many events of the history were not sent, by reason.
    pub skipped: BTreeMap<String, u64>,
}

/// A letter that could not be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOpen {
    /// The letter's id.
    pub letter: Uuid,
    /// The queue it should have gone to.
    pub queue: String,
    /// The reason that it was not sent.
    pub problem: String,
}

/// A page of the list of operations: keyset pages, newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperationPage {
    /// The beginning and id of the last operation of the page before.
    pub after: Option<(OffsetDateTime, Uuid)>,
    /// Maximum length of the page.
    pub limit: u32,
}

/// The outcome of the letters or events a replay has sent: `sent` is the sum of the other counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ReplayOutcome {
    /// How many letters or events it has sent.
    pub sent: u64,
    /// How many of them are done: delivered, or, if they went to another queue, at rest otherwise.
    pub completed: u64,
    /// How many of them are dead letters again.
    pub died_again: u64,
    /// How many of them are neither yet.
    pub under_way: u64,
    /// How many of them cannot be followed: letters that are not events, letters that were purged since, and
    /// events sent out of the history.
    pub untraced: u64,
}
