//! What a replay tells, on its way and at its end.

use std::collections::BTreeMap;

use common::store::{LeftOpen, Progress, ReplayOutcome, ReplayReport, ReplayState};
use serde::Serialize;
use uuid::Uuid;

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
    /// Messages that the broker has confirmed, since it was run or watched.
    pub replayed: u64,
    /// How many letters could not be sent and are open still.
    pub left_open_count: u64,
    /// The first of them.
    pub left_open: Vec<LeftOpen>,
    /// Events of the history that were not sent, by why, in all runs.
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

impl Outcome {
    /// What a run came to that has confirmed so many.
    pub(super) fn of_run(replay: Uuid, replayed: u64, report: ReplayReport) -> Self {
        Self {
            replay,
            replayed,
            left_open_count: report.left_open_count,
            left_open: report.left_open,
            skipped: report.skipped,
            stopped: report.why_stopped.is_some(),
            why_stopped: report.why_stopped,
            became: None,
        }
    }

    /// What a replay came to that has ended, since it had sent `before` messages.
    pub(super) fn of_row(replay: Progress, before: u64) -> Self {
        let mut report = replay.report;
        report.why_stopped = match (replay.state, report.why_stopped) {
            (ReplayState::Stopped, None) => Some(STOPPED_ELSEWHERE.to_owned()),
            (ReplayState::Stopped, why) => why,
            _ => None,
        };
        Self::of_run(replay.id, replay.replayed.saturating_sub(before), report)
    }
}

/// Why a replay stopped that somebody has steered.
pub(super) const STOPPED_ELSEWHERE: &str = "stopped from elsewhere";

/// How the sending ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// Everything that matched was sent.
    All,
    /// Somebody has paused or ended it through its row.
    Steered,
    /// It was told to stop here, or too many have died again.
    Halted,
}

/// What was sent.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) replayed: u64,
    pub(super) ended: Ended,
}
