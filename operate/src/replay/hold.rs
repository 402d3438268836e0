//! The right to send what a replay sends: one process has it at a time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::bootstrap::Failure;
use common::store::{Lease, Store};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Replayer;

/// How long a run that tells nothing any more is believed to go on.
const KEPT: Duration = Duration::from_secs(4);

/// How often a run tells that it goes on.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// How often it is asked whether another run has ended.
const ASK: Duration = Duration::from_millis(250);

/// What is written beside the right to send: whether the last run knew, at its end, all that it had sent.
const IS_KNOWN: u64 = 1;
const IS_UNKNOWN: u64 = 0;

/// The right to send what a replay sends. It ends by itself soon after its process was killed.
pub(super) struct Hold {
    name: String,
    holder: Uuid,
    /// Whether the run before knew, at its end, all that it had sent.
    pub(super) was_known: bool,
    is_known: AtomicBool,
}

impl Hold {
    /// Takes the right to send; waits for the end of a run that was killed.
    ///
    /// # Errors
    /// The replay goes on elsewhere, or the database cannot say.
    pub(super) async fn take(replayer: &Replayer<'_>, replay: Uuid) -> Result<Self, Failure> {
        let mut hold = Self {
            name: format!("replay {replay}"),
            holder: Uuid::now_v7(),
            was_known: false,
            is_known: AtomicBool::new(false),
        };
        let waited_for = Instant::now() + KEPT + TOLD_EVERY;
        loop {
            if let Some(before) = hold.renew(replayer.store, None).await? {
                hold.was_known = before.position == Some(IS_KNOWN);
                break;
            }
            if Instant::now() >= waited_for || replayer.stop.is_cancelled() {
                return Err(elsewhere(replay));
            }
            tokio::time::sleep(ASK).await;
        }
        match hold.renew(replayer.store, Some(IS_UNKNOWN)).await? {
            Some(_) => Ok(hold),
            None => Err(elsewhere(replay)),
        }
    }

    /// The run has ended, and knows all that it has sent.
    pub(super) fn all_is_known(&self) {
        self.is_known.store(true, Ordering::Relaxed);
    }

    /// Keeps it until `over` is cancelled. Cancels `lost` where another run has it meanwhile: this one has stood
    /// still, or was cut off from the database.
    pub(super) async fn keep(
        &self,
        store: &dyn Store,
        lost: &CancellationToken,
        over: &CancellationToken,
    ) {
        loop {
            tokio::select! {
                () = over.cancelled() => break,
                () = tokio::time::sleep(TOLD_EVERY) => {}
            }
            // A database that cannot say now is asked again.
            if matches!(self.renew(store, None).await, Ok(None)) {
                lost.cancel();
                return;
            }
        }
        // Where the database cannot be told, it ends by itself.
        if self.is_known.load(Ordering::Relaxed) {
            let _ = self.renew(store, Some(IS_KNOWN)).await;
        }
        let _ = store
            .watching()
            .give_up_lease(&self.name, self.holder)
            .await;
    }

    async fn renew(
        &self,
        store: &dyn Store,
        is_known: Option<u64>,
    ) -> Result<Option<Lease>, Failure> {
        let lease = store
            .watching()
            .hold_lease(&self.name, self.holder, KEPT, is_known);
        Ok(lease.await?)
    }
}

/// Somebody else sends.
pub(super) fn elsewhere(replay: Uuid) -> Failure {
    Failure::Usage(format!(
        "expected a replay that nobody runs, found that {replay} goes on elsewhere; `longshore replay pause` or \
         `stop` is heard there"
    ))
}
