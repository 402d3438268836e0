//! A rate that is kept to.

use std::num::NonZeroU32;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::Mutex;

/// Timers are no finer than some milliseconds: so many parts of a second may go at once.
const PARTS: u32 = 20;

/// Gives turns at a rate, or at once. Whoever asks first has the first one: so what has had no turn when a
/// replay is stopped is what comes last.
pub(super) struct Pace(Option<Mutex<DefaultDirectRateLimiter>>);

impl Pace {
    /// At most `rate` turns a second.
    pub(super) fn new(rate: Option<u32>) -> Self {
        let rate = rate.and_then(NonZeroU32::new);
        Self(rate.map(|rate| {
            let burst = NonZeroU32::new(rate.get() / PARTS).unwrap_or(NonZeroU32::MIN);
            let quota = Quota::per_second(rate).allow_burst(burst);
            Mutex::new(RateLimiter::direct(quota))
        }))
    }

    /// Waits for the next turn.
    pub(super) async fn turn(&self) {
        if let Some(limiter) = &self.0 {
            limiter.lock().await.until_ready().await;
        }
    }
}
