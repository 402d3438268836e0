//! What a replay tells, on its way and at its end.

use std::collections::BTreeMap;

use common::store::ReplayOutcome;
use serde::Serialize;
use uuid::Uuid;

/// So many of those that could not be sent are named.
const NAMED: usize = 100;

/// What happens on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News<'n> {
    /// The broker has confirmed so many more.
    Sent(u64),
    /// Something is down and waited for.
    Waiting(&'n str),
    /// Somebody has paused it.
    Paused,
    /// It goes on.
    GoingOn,
}

/// What a replay came to.
#[derive(Debug, Default, Serialize)]
pub struct Outcome {
    /// The replay; `longshore replay resume` takes it.
    pub replay: Uuid,
    /// Messages that the broker has confirmed, in this run.
    pub replayed: u64,
    /// How many letters could not be sent and are open still.
    pub left_open_count: u64,
    /// The first of them.
    pub left_open: Vec<LeftOpen>,
    /// Events of the history that were not sent, by why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub skipped: BTreeMap<String, u64>,
    /// Whether it was stopped before its end.
    pub stopped: bool,
    /// Why, where it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why_stopped: Option<String>,
    /// What became of what it has sent, in all its runs, where that was waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub became: Option<ReplayOutcome>,
}

/// A letter that could not be sent.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct LeftOpen {
    /// Which.
    pub letter: Uuid,
    /// Where it should have gone.
    pub queue: String,
    /// Why it did not.
    pub problem: String,
}

/// How the sending ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Ended {
    /// Everything that matched was sent.
    #[default]
    All,
    /// Somebody has ended it through its row.
    Steered,
    /// It was told to stop here, or too many have died again.
    Halted,
}

/// What was sent.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pub(super) replayed: u64,
    pub(super) left_open_count: u64,
    pub(super) left_open: Vec<LeftOpen>,
    pub(super) skipped: BTreeMap<String, u64>,
    pub(super) ended: Ended,
}

impl Sent {
    /// A letter stays open.
    pub(super) fn leave(&mut self, left: LeftOpen) {
        self.left_open_count += 1;
        if self.left_open.len() < NAMED {
            self.left_open.push(left);
        }
    }

    /// An event is not sent.
    pub(super) fn skip(&mut self, why: &str) {
        *self.skipped.entry(why.to_owned()).or_default() += 1;
    }
}
