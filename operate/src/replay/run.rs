//! One run of a replay: what it needs on its way, and how it is steered.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::bootstrap::Failure;
use common::store::{Progress, ReplayState};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::outcome::News;
use super::pace::Pace;
use super::patience::Patience;
use super::report::Report;
use super::routes::Routes;
use super::{BATCH, Replayer, Runner};

/// How often a paused replay looks whether it may go on.
const LOOK: Duration = Duration::from_millis(500);

/// One run of a replay.
pub(super) struct Run<'a> {
    pub(super) replayer: &'a Replayer<'a>,
    pub(super) replay: &'a Progress,
    pub(super) report: &'a Report<'a>,
    pub(super) patience: Patience<'a>,
    pub(super) pace: Pace,
    pub(super) routes: Routes,
    /// Where the next letters come from. One claim at a time: two of one replay would only wait for each
    /// other's letters.
    pub(super) supply: Mutex<Supply>,
    /// Cancelled when too many have died again, and when it goes on elsewhere.
    enough: [&'a CancellationToken; 2],
    /// Whether something may have been sent of which the broker did not tell.
    unsure: AtomicBool,
}

/// Where the next letters come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Supply {
    /// What a run before had claimed and not marked, behind this one.
    LeftBehind(Option<Uuid>),
    /// What is open.
    Open,
}

/// What those who steer the replay want of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    GoOn,
    Stop,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        replayer: &'a Replayer<'a>,
        replay: &'a Progress,
        report: &'a Report<'a>,
        enough: [&'a CancellationToken; 2],
    ) -> Self {
        Self {
            replayer,
            replay,
            report,
            patience: Patience::new(replayer.patience, replayer.stop, report),
            pace: Pace::new(replay.rate),
            routes: Routes::default(),
            supply: Mutex::new(Supply::LeftBehind(None)),
            enough,
            unsure: AtomicBool::new(false),
        }
    }

    /// How many are taken at once: no more than a second's worth, so that whoever steers is heard in time.
    pub(super) fn most(&self) -> u32 {
        self.replay.rate.map_or(BATCH, |rate| rate.clamp(1, BATCH))
    }

    /// Whether it is to end here.
    pub(super) fn is_halted(&self) -> bool {
        self.replayer.stop.is_cancelled() || self.enough.iter().any(|it| it.is_cancelled())
    }

    /// The run ends, and the broker may have taken something of which it did not tell.
    pub(super) fn leave_unsure(&self) {
        self.unsure.store(true, Ordering::Relaxed);
    }

    /// Whether something may have been sent of which the broker did not tell.
    pub(super) fn is_unsure(&self) -> bool {
        self.unsure.load(Ordering::Relaxed)
    }

    /// Waits until it is to end here.
    pub(super) async fn halted(&self) {
        tokio::select! {
            () = self.replayer.stop.cancelled() => {}
            () = self.enough[0].cancelled() => {}
            () = self.enough[1].cancelled() => {}
        }
    }

    /// What the replay's row says. While it is paused, the run of an operator waits, and that of a worker ends:
    /// any worker goes on with it later.
    pub(super) async fn wish(&self) -> Result<Wish, Failure> {
        let mut paused = false;
        loop {
            let (operations, id) = (self.replayer.store.operations(), self.replay.id);
            let known = self.patience.outlast(async || operations.replay(id).await);
            match known.await?.map(|known| known.state) {
                Some(ReplayState::Running) => {
                    if paused {
                        self.report.tell(News::GoingOn);
                    }
                    return Ok(Wish::GoOn);
                }
                Some(ReplayState::Paused) if self.replayer.runner == Runner::Operator => {
                    if !paused {
                        self.report.tell(News::Paused);
                    }
                    paused = true;
                }
                Some(ReplayState::Paused | ReplayState::Stopped | ReplayState::Done) | None => {
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
