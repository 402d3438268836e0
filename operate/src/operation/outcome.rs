//! The news and the outcome of an operation.

use std::collections::BTreeMap;

use common::store::{
    LeftOpen, OperationKind, OperationReport, OperationState, Progress, ReplayOutcome,
};
use serde::Serialize;
use uuid::Uuid;

/// News of an operation on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News<'n> {
    /// The broker has confirmed this number of further messages, or the database has changed this number of further letters.
    Sent(u64),
    /// The operation waits for a broker or a database, for this reason.
    Waiting(&'n str),
    /// The operation was paused.
    Paused,
    /// The operation goes on.
    GoingOn,
}

/// The outcome of an operation.
#[derive(Debug, Default, Serialize)]
pub struct Outcome {
    /// The operation; `longshore replay resume` takes it.
    pub replay: Uuid,
    /// What it did with its messages.
    pub kind: OperationKind,
    /// Messages that the broker has confirmed, or letters that were changed, since this run or this watching began.
    pub replayed: u64,
    /// How many letters could not be sent and are still open.
    pub left_open_count: u64,
    /// The first letters that could not be sent.
    pub left_open: Vec<LeftOpen>,
    /// Events of the history that were not sent, by reason, in all runs.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub skipped: BTreeMap<String, u64>,
    /// Whether the operation was stopped before its end.
    pub stopped: bool,
    /// Why the operation was stopped, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why_stopped: Option<String>,
    /// The fate of the messages of all runs, where the program waited for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub became: Option<ReplayOutcome>,
}

impl Outcome {
    /// The outcome of a run that has dealt with `replayed` messages.
    pub(super) fn of_run(
        replay: Uuid,
        kind: OperationKind,
        replayed: u64,
        report: OperationReport,
    ) -> Self {
        Self {
            replay,
            kind,
            replayed,
            left_open_count: report.left_open_count,
            left_open: report.left_open,
            skipped: report.skipped,
            stopped: report.why_stopped.is_some(),
            why_stopped: report.why_stopped,
            became: None,
        }
    }

    /// The outcome of an operation that has ended, counted from `before` sent messages on.
    pub(super) fn of_row(replay: Progress, before: u64) -> Self {
        let mut report = replay.report;
        report.why_stopped = match (replay.state, report.why_stopped) {
            (OperationState::Stopped, None) => Some(STOPPED_ELSEWHERE.to_owned()),
            (OperationState::Stopped, why) => why,
            _ => None,
        };
        let replayed = replay.replayed.saturating_sub(before);
        Self::of_run(replay.id, replay.kind, replayed, report)
    }
}

/// The reason of an operation that was paused or stopped through its row.
pub(super) const STOPPED_ELSEWHERE: &str = "stopped from elsewhere";

/// How the sending ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// Everything that matched was sent.
    All,
    /// The operation was paused or ended through its row.
    Steered,
    /// The run was told to stop here, or too many letters have died again.
    Halted,
}

/// The result of the sending.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) replayed: u64,
    pub(super) ended: Ended,
}
