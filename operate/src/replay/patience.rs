//! Waiting for what is down.

use std::time::{Duration, Instant};

use common::bootstrap::Failure;
use common::retry::Waits;
use tokio_util::sync::CancellationToken;

use super::outcome::News;
use super::report::Report;

/// The waits for something that is down.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Something that has been down for a while.
pub(super) struct Outage {
    since: Instant,
    waits: Waits,
}

impl Outage {
    /// One that begins now.
    pub(super) fn begins() -> Self {
        Self {
            since: Instant::now(),
            waits: Waits::between(FIRST_WAIT, LONGEST_WAIT),
        }
    }

    /// Waits before the next try. `false` once that would be longer than `patience`, or when `stop` is
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

/// How long a run waits for what is down.
pub(super) struct Patience<'a> {
    longest: Duration,
    stop: &'a CancellationToken,
    report: &'a Report<'a>,
}

impl<'a> Patience<'a> {
    /// At most so long for one outage, and not after `stop`.
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

    /// Whether nothing is waited for any more.
    pub(super) fn is_over(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Does something again for as long as what it needs is down.
    ///
    /// # Errors
    /// It has been down for too long, or it fails for another reason.
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
        self.report.tell(News::Waiting(&why));
        if outage.wait(self.longest, self.stop).await {
            Ok(())
        } else {
            Err(Failure::Unreachable(why))
        }
    }
}
