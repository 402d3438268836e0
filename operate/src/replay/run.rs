//! One run of a replay: what it needs on its way, and how it is steered.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::bootstrap::Failure;
use common::retry::Waits;
use common::store::{Progress, ReplayState};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::outcome::News;
use super::pace::Pace;
use super::routes::Routes;
use super::{BATCH, Replayer};

/// How often a paused replay looks whether it may go on.
const LOOK: Duration = Duration::from_millis(500);

/// The waits for something that is down.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// One run of a replay.
pub(super) struct Run<'a> {
    pub(super) replayer: &'a Replayer<'a>,
    pub(super) replay: &'a Progress,
    pub(super) pace: Pace,
    pub(super) routes: Routes,
    /// Where the next letters come from. One claim at a time: two of one replay would only wait for each
    /// other's letters.
    pub(super) supply: Mutex<Supply>,
    /// Cancelled when too many have died again, and when it goes on elsewhere.
    enough: [&'a CancellationToken; 2],
    tell: &'a dyn Fn(News<'_>),
    /// Whether something may have been sent of which the broker did not tell.
    unsure: AtomicBool,
}

/// Where the next letters come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Supply {
    /// What a killed run had claimed and not marked, behind this one.
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

/// Something that has been down for a while.
pub struct Outage {
    since: Instant,
    waits: Waits,
}

impl Outage {
    /// One that begins now.
    pub fn begins() -> Self {
        Self {
            since: Instant::now(),
            waits: Waits::between(FIRST_WAIT, LONGEST_WAIT),
        }
    }

    /// Waits before the next try. `false` once that would be longer than `patience`, or when `stop` is
    /// cancelled.
    pub async fn wait(&mut self, patience: Duration, stop: &CancellationToken) -> bool {
        if self.since.elapsed() >= patience {
            return false;
        }
        tokio::select! {
            () = stop.cancelled() => false,
            () = tokio::time::sleep(self.waits.next_wait()) => true,
        }
    }
}

impl<'a> Run<'a> {
    pub(super) fn new(
        replayer: &'a Replayer<'a>,
        replay: &'a Progress,
        enough: [&'a CancellationToken; 2],
        tell: &'a dyn Fn(News<'_>),
    ) -> Self {
        Self {
            replayer,
            replay,
            pace: Pace::new(replay.rate),
            routes: Routes::default(),
            supply: Mutex::new(Supply::Open),
            enough,
            tell,
            unsure: AtomicBool::new(false),
        }
    }

    /// How many are taken at once: no more than a second's worth, so that whoever steers is heard in time.
    pub(super) fn most(&self) -> u32 {
        self.replay.rate.map_or(BATCH, |rate| rate.clamp(1, BATCH))
    }

    /// Whether it shall end here.
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

    /// Waits until it shall end here.
    pub(super) async fn halted(&self) {
        tokio::select! {
            () = self.replayer.stop.cancelled() => {}
            () = self.enough[0].cancelled() => {}
            () = self.enough[1].cancelled() => {}
        }
    }

    pub(super) fn tell(&self, news: News<'_>) {
        (self.tell)(news);
    }

    /// What the replay's row says; waits while it is paused.
    pub(super) async fn wish(&self) -> Result<Wish, Failure> {
        let mut paused = false;
        loop {
            let (store, id) = (self.replayer.store, self.replay.id);
            let known = self.patiently(async || store.replay(id).await).await?;
            match known.map(|known| known.state) {
                Some(ReplayState::Running) => {
                    if paused {
                        self.tell(News::GoingOn);
                    }
                    return Ok(Wish::GoOn);
                }
                Some(ReplayState::Paused) => {
                    if !paused {
                        self.tell(News::Paused);
                    }
                    paused = true;
                }
                Some(ReplayState::Stopped | ReplayState::Done) | None => return Ok(Wish::Stop),
            }
            tokio::select! {
                () = self.halted() => return Ok(Wish::GoOn),
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Does something again for as long as what it needs is down, up to the patience there is.
    pub(super) async fn patiently<T, E: Into<Failure>>(
        &self,
        call: impl AsyncFn() -> Result<T, E>,
    ) -> Result<T, Failure> {
        let mut outage: Option<Outage> = None;
        loop {
            match call().await.map_err(Into::into) {
                Err(Failure::Unreachable(why)) => self.wait_out(&mut outage, why).await?,
                done => {
                    if outage.is_some() {
                        self.tell(News::GoingOn);
                    }
                    return done;
                }
            }
        }
    }

    /// Waits a little for what is down.
    ///
    /// # Errors
    /// It has been down for too long, or nobody wants to wait any more.
    pub(super) async fn wait_out(
        &self,
        outage: &mut Option<Outage>,
        why: String,
    ) -> Result<(), Failure> {
        let outage = outage.get_or_insert_with(Outage::begins);
        self.tell(News::Waiting(&why));
        if outage
            .wait(self.replayer.patience, self.replayer.stop)
            .await
        {
            Ok(())
        } else {
            Err(Failure::Unreachable(why))
        }
    }
}
