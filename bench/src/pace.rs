use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::Instant;

/// Spaces events evenly in time, or not at all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    start: Instant,
    gap: Option<Duration>,
}

impl Pace {
    /// A pace of `per_second` events from now on; `None` is as fast as it goes.
    pub(crate) fn new(per_second: Option<u32>) -> Result<Self> {
        let gap = per_second
            .map(|rate| {
                Duration::from_secs(1)
                    .checked_div(rate)
                    .context("a rate of 0 events a second never ends: expected 1 or more")
            })
            .transpose()?;
        Ok(Self {
            start: Instant::now(),
            gap,
        })
    }

    /// When event number `n` (from 0) is due; `None` is at once.
    pub(crate) fn due(&self, n: u64) -> Option<Instant> {
        let nanos = u64::try_from(self.gap?.as_nanos()).unwrap_or(u64::MAX);
        Some(self.start + Duration::from_nanos(nanos.saturating_mul(n)))
    }

    /// Waits until event number `n` is due.
    pub(crate) async fn wait(&self, n: u64) {
        if let Some(due) = self.due(n) {
            tokio::time::sleep_until(due).await;
        }
    }
}
