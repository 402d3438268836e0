use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anyhow::{Result, bail};
use tokio::sync::Notify;

/// A count that tasks raise and one waiter watches.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    count: AtomicU64,
    changed: Notify,
}

impl Progress {
    pub(crate) fn add(&self, n: u64) {
        self.count.fetch_add(n, Ordering::Release);
        self.changed.notify_one();
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// Waits until the count is at least `n`; gives up when it has not moved for `patience`.
    pub(crate) async fn wait(&self, n: u64, patience: Duration) -> Result<()> {
        loop {
            let seen = self.count();
            if seen >= n {
                return Ok(());
            }
            // A permit left by an `add` before this line makes the wait return at once, so no change is missed.
            if tokio::time::timeout(patience, self.changed.notified())
                .await
                .is_err()
                && self.count() == seen
            {
                bail!("stuck at {seen} of {n}: nothing finished for {patience:?}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Progress;

    #[tokio::test(start_paused = true)]
    async fn a_count_that_does_not_move_ends_the_wait_and_says_where_it_stood() {
        let progress = Progress::default();
        progress.add(3);
        let error = progress.wait(5, Duration::from_secs(30)).await.unwrap_err();
        assert!(error.to_string().contains("3 of 5"), "{error}");
    }
}
