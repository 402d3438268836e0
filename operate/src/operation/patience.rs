//! Waits for a broker or a database that is down.

use std::time::{Duration, Instant};

use common::bootstrap::Failure;
use common::retry::Waits;
use tokio_util::sync::CancellationToken;

use super::outcome::News;
use super::report::Report;

/// The shortest and the longest wait between two tries.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// An outage of a broker or a database.
pub(super) struct Outage {
    since: Instant,
    waits: Waits,
}

impl Outage {
    /// An outage that begins now.
    pub(super) fn begins() -> Self {
        Self {
            since: Instant::now(),
            waits: Waits::between(FIRST_WAIT, LONGEST_WAIT),
        }
    }

    /// Waits before the next try. Returns `false` once the outage has lasted for `patience`, or when `stop` is
    /// cancelled.
    pub(super) async fn wait(&mut self, patience: Duration, stop: &CancellationToken) -> bool {
        if self.since.elapsed() >= patience {
            return false;
        }
        tokio::select! {
            () = stop.cancelled() => false,
            () = tokio::time::sleep(self.waits.next_wait()) => true,
        }
    }
}

/// Lets a run wait for a broker or a database that is down.
pub(super) struct Patience<'a> {
    longest: Duration,
    stop: &'a CancellationToken,
    report: &'a Report<'a>,
}

impl<'a> Patience<'a> {
    /// Waits at most `longest` for one outage, and not after `stop`.
    pub(super) fn new(
        longest: Duration,
        stop: &'a CancellationToken,
        report: &'a Report<'a>,
    ) -> Self {
        Self {
            longest,
            stop,
            report,
        }
    }

    /// Whether the run waits for nothing any more.
    pub(super) fn is_over(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Repeats a call for as long as broker or database is down.
    ///
    /// # Errors
    /// The outage has lasted too long, or the call fails for another reason.
    pub(super) async fn outlast<T, E: Into<Failure>>(
        &self,
        call: impl AsyncFn() -> Result<T, E>,
    ) -> Result<T, Failure> {
        let mut outage: Option<Outage> = None;
        loop {
            match call().await.map_err(Into::into) {
                Err(Failure::Unreachable(why)) => self.wait_out(&mut outage, why).await?,
                done => {
                    if outage.is_some() {
                        self.report.tell(News::GoingOn);
                    }
                    return done;
                }
            }
        }
    }

    /// Waits a little before the next try.
    ///
    /// # Errors
    /// The outage has lasted too long, or the run was told to stop.
    pub(super) async fn wait_out(
        &self,
        outage: &mut Option<Outage>,
        why: String,
    ) -> Result<(), Failure> {
        let outage = outage.get_or_insert_with(Outage::begins);
        self.report.tell(News::Waiting(&why));
        if outage.wait(self.longest, self.stop).await {
            Ok(())
        } else {
            Err(Failure::Unreachable(why))
        }
    }
}
