//! The report of a run: at once to its own process, and through the row to all others.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::store::{LeftOpen, OperationReport, Progress, Store};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::outcome::News;

/// Maximum of letters that are named, of those that could not be sent.
const MAX_NAMED: usize = 100;

/// Time between two writes of the report into the row.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);

/// The report of a run.
pub(super) struct Report<'a> {
    tell: &'a dyn Fn(News<'_>),
    so_far: Mutex<OperationReport>,
}

impl<'a> Report<'a> {
    /// The report of a run that begins. Events that previous runs have skipped stay skipped. Letters that previous
    /// runs left open are tried again.
    pub(super) fn begin(replay: &Progress, tell: &'a dyn Fn(News<'_>)) -> Self {
        let so_far = OperationReport {
            skipped: replay.report.skipped.clone(),
            ..OperationReport::default()
        };
        Self {
            tell,
            so_far: Mutex::new(so_far),
        }
    }

    /// Tells news to this process, and notes an outage for the row.
    pub(super) fn tell(&self, news: News<'_>) {
        match news {
            News::Waiting(why) => self.lock().waiting_for = Some(why.to_owned()),
            News::GoingOn => self.lock().waiting_for = None,
            News::Sent(_) | News::Paused => {}
        }
        (self.tell)(news);
    }

    /// Records that a letter stays open.
    pub(super) fn leave(&self, left: LeftOpen) {
        let mut so_far = self.lock();
        so_far.left_open_count += 1;
        if so_far.left_open.len() < MAX_NAMED {
            so_far.left_open.push(left);
        }
    }

    /// Counts an event that is not sent.
    pub(super) fn skip(&self, why: &str) {
        *self.lock().skipped.entry(why.to_owned()).or_default() += 1;
    }

    /// Records why the operation stops.
    pub(super) fn stop(&self, why: &str) {
        self.lock().why_stopped = Some(why.to_owned());
    }

    /// The report so far.
    pub(super) fn so_far(&self) -> OperationReport {
        self.lock().clone()
    }

    /// Writes changes of the report into the row of `replay`, until one of `ends` is cancelled.
    pub(super) async fn keep(
        &self,
        store: &dyn Store,
        replay: Uuid,
        ends: [&CancellationToken; 2],
    ) {
        let mut written = self.so_far();
        loop {
            tokio::select! {
                () = ends[0].cancelled() => return,
                () = ends[1].cancelled() => return,
                () = tokio::time::sleep(WRITE_INTERVAL) => {}
            }
            let so_far = self.so_far();
            // A database that cannot be reached now is told later.
            if so_far != written
                && let Ok(()) = store.operations().report_operation(replay, &so_far).await
            {
                written = so_far;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, OperationReport> {
        self.so_far.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
