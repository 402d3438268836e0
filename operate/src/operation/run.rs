//! One run of an operation: its tools, and how it is steered.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::bootstrap::Failure;
use common::store::{OperationState, Progress};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::outcome::News;
use super::pace::Pace;
use super::patience::Patience;
use super::report::Report;
use super::routes::Routes;
use super::{BATCH, Executor, Runner};

/// Time between two looks of a paused operation whether it may go on.
const LOOK: Duration = Duration::from_millis(500);

/// One run of an operation.
pub(super) struct Run<'a> {
    pub(super) executor: &'a Executor<'a>,
    pub(super) operation: &'a Progress,
    pub(super) report: &'a Report<'a>,
    pub(super) patience: Patience<'a>,
    pub(super) pace: Pace,
    pub(super) routes: Routes,
    /// The source of the next letters. One claim at a time: two claims of one operation would only wait for each
    /// other's letters.
    pub(super) supply: Mutex<Supply>,
    /// Cancelled when too many letters have died again, and when the operation goes on elsewhere.
    enough: [&'a CancellationToken; 2],
    /// Whether the broker may have taken a message without confirming it.
    unsure: AtomicBool,
}

/// The source of the next letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Supply {
    /// Letters that a previous run had claimed and not marked, after this letter.
    LeftBehind(Option<Uuid>),
    /// Open letters.
    Open,
}

/// The wish of those who steer the operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    GoOn,
    Stop,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        executor: &'a Executor<'a>,
        operation: &'a Progress,
        report: &'a Report<'a>,
        enough: [&'a CancellationToken; 2],
    ) -> Self {
        Self {
            executor,
            operation,
            report,
            patience: Patience::new(executor.patience, executor.stop, report),
            pace: Pace::new(operation.rate),
            routes: Routes::default(),
            supply: Mutex::new(Supply::LeftBehind(None)),
            enough,
            unsure: AtomicBool::new(false),
        }
    }

    /// Maximum taken at once: at most a second's worth, so that steering is heard in time.
    pub(super) fn most(&self) -> u32 {
        self.operation
            .rate
            .map_or(BATCH, |rate| rate.clamp(1, BATCH))
    }

    /// Whether the run is to end here.
    pub(super) fn is_halted(&self) -> bool {
        self.executor.stop.is_cancelled() || self.enough.iter().any(|it| it.is_cancelled())
    }

    /// Records that the run ends, and that the broker may have taken a message without confirming it.
    pub(super) fn leave_unsure(&self) {
        self.unsure.store(true, Ordering::Relaxed);
    }

    /// Whether the broker may have taken a message without confirming it.
    pub(super) fn is_unsure(&self) -> bool {
        self.unsure.load(Ordering::Relaxed)
    }

    /// Waits until the run is to end here.
    pub(super) async fn halted(&self) {
        tokio::select! {
            () = self.executor.stop.cancelled() => {}
            () = self.enough[0].cancelled() => {}
            () = self.enough[1].cancelled() => {}
        }
    }

    /// The wish in the operation's row. While the operation is paused, an operator's run waits, and a worker's run ends.
    /// Any worker goes on with the operation later.
    pub(super) async fn wish(&self) -> Result<Wish, Failure> {
        let mut paused = false;
        loop {
            let (operations, id) = (self.executor.store.operations(), self.operation.id);
            let known = self
                .patience
                .outlast(async || operations.operation(id).await);
            match known.await?.map(|known| known.state) {
                Some(OperationState::Running) => {
                    if paused {
                        self.report.tell(News::GoingOn);
                    }
                    return Ok(Wish::GoOn);
                }
                Some(OperationState::Paused) if self.executor.runner == Runner::Operator => {
                    if !paused {
                        self.report.tell(News::Paused);
                    }
                    paused = true;
                }
                Some(OperationState::Paused | OperationState::Stopped | OperationState::Done)
                | None => {
                    return Ok(Wish::Stop);
                }
            }
            tokio::select! {
                () = self.halted() => return Ok(Wish::GoOn),
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }
}
