//! Keeps the sending to a rate.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

/// How many bursts a second is divided into: timers are not finer than some milliseconds.
const BURSTS: u32 = 20;

/// Gives turns at a rate, or at once. The first to ask has the first turn. So when an operation is stopped, the
/// messages without a turn are the last ones.
pub(super) struct Pace(Option<Rate>);

struct Rate {
    /// Time between two turns.
    interval: Duration,
    /// Maximum time by which a turn may be early.
    lead: Duration,
    /// The time of the next turn.
    next: Mutex<Instant>,
}

impl Pace {
    /// Gives at most `rate` turns a second.
    pub(super) fn new(rate: Option<u32>) -> Self {
        Self(rate.filter(|rate| *rate > 0).map(|rate| {
            let interval = Duration::from_secs(1) / rate;
            Rate {
                interval,
                lead: interval * (rate / BURSTS).saturating_sub(1),
                next: Mutex::new(Instant::now()),
            }
        }))
    }

    /// Waits for the next turn.
    pub(super) async fn turn(&self) {
        let Some(rate) = &self.0 else {
            return;
        };
        let mut next = rate.next.lock().await;
        // Unused turns are not kept.
        let time = (*next).max(Instant::now());
        sleep_until(time.checked_sub(rate.lead).unwrap_or(time)).await;
        *next = time + rate.interval;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn seconds_for(pace: &Pace, turns: u32) -> f64 {
        let begun = Instant::now();
        for _ in 0..turns {
            pace.turn().await;
        }
        begun.elapsed().as_secs_f64()
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_kept_to_also_after_a_pause() {
        for rate in [1, 7, 1000, 40_000] {
            let pace = Pace::new(Some(rate));
            let took = seconds_for(&pace, 3 * rate).await;
            assert!((1.9..=3.0).contains(&took), "{rate}/s: {took}");
            tokio::time::sleep(Duration::from_secs(10)).await;
            let took = seconds_for(&pace, 3 * rate).await;
            assert!(
                (1.9..=3.0).contains(&took),
                "{rate}/s, after a pause: {took}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_rate_nobody_waits() {
        for rate in [None, Some(0)] {
            assert_eq!(seconds_for(&Pace::new(rate), 1000).await, 0.0);
        }
    }
}
