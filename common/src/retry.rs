//! When to try again. Every exponential wait in Longshore is computed here, by the `backoff` crate.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;
use serde::{Deserialize, Serialize};

use crate::duration;

/// How often and how patiently a failing step is tried again.
///
/// The wait before attempt `n + 1` is `first × factor^(n − 1)`, at most `max`, then spread by
/// `± jitter`. The defaults try for about 34
/// minutes:
///
/// | after attempt | wait | | after attempt | wait |
/// |--|--|--|--|--|
/// | 1 | 1 s | | 7 | 1 min 4 s |
/// | 2 | 2 s | | 8 | 2 min 8 s |
/// | 3 | 4 s | | 9 | 4 min 16 s |
/// | 4 | 8 s | | 10 | 8 min 32 s |
/// | 5 | 16 s | | 11 | 17 min 4 s |
/// | 6 | 32 s | | 12 | dead letter |
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetryPolicy {
    /// Attempts in all, the first one included; at least 1.
    pub attempts: u32,
    /// The wait after the first failed attempt.
    #[serde(with = "duration")]
    pub first: Duration,
    /// By how much each wait is longer than the one before; at least 1.
    pub factor: f64,
    /// No wait is longer than this (before jitter).
    #[serde(with = "duration")]
    pub max: Duration,
    /// The share by which a wait varies to both sides, 0 to 1, so that events that failed together
    /// do not come back together.
    pub jitter: f64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 12,
            first: Duration::from_secs(1),
            factor: 2.0,
            max: Duration::from_secs(6 * 3600),
            jitter: 0.2,
        }
    }
}

impl RetryPolicy {
    /// How long to wait after failed attempt number `attempt` (1 is the first); `None` when no
    /// attempts are left. A wait the other side asked for (`after`) is kept to, up to `max`.
    pub fn wait(&self, attempt: u32, after: Option<Duration>) -> Option<Duration> {
        if attempt >= self.attempts {
            return None;
        }
        let ours = self.spread(self.nominal(attempt));
        Some(ours.max(after.unwrap_or_default().min(self.max)))
    }

    /// The wait after failed attempt number `attempt`, before jitter.
    pub fn nominal(&self, attempt: u32) -> Duration {
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = self.first.as_secs_f64() * self.factor.powi(exponent);
        // Far attempts overflow to infinity, which is over any maximum.
        Duration::try_from_secs_f64(seconds)
            .unwrap_or(self.max)
            .min(self.max)
    }

    /// The longest wait the policy can give, jitter and waits asked for by receivers included.
    pub fn longest(&self) -> Duration {
        self.max.mul_f64(1.0 + self.jitter)
    }

    /// An error of the policy, if any: the key and the expected value.
    pub fn problem(&self) -> Option<(&'static str, String)> {
        if self.attempts == 0 {
            Some(("attempts", "expected at least 1, found 0".to_owned()))
        } else if !(self.factor >= 1.0 && self.factor.is_finite()) {
            Some((
                "factor",
                format!("expected a number of at least 1, found {}", self.factor),
            ))
        } else if !(0.0..=1.0).contains(&self.jitter) {
            Some((
                "jitter",
                format!("expected a number from 0 to 1, found {}", self.jitter),
            ))
        } else if self.first.is_zero() {
            Some(("first", "expected a wait above 0s".to_owned()))
        } else if self.max < self.first {
            Some(("max", "expected a wait of at least `first`".to_owned()))
        } else if self.max > LONGEST_WAIT {
            Some(("max", "expected at most 30days".to_owned()))
        } else {
            None
        }
    }

    fn spread(&self, wait: Duration) -> Duration {
        exponential(wait, 1.0, wait, self.jitter)
            .next_backoff()
            .unwrap_or(wait)
    }
}

/// The longest wait a policy may ask for: the delay levels on the broker reach a little further.
pub const LONGEST_WAIT: Duration = Duration::from_secs(30 * 24 * 3600);

/// The waits of something that is tried until it works: a connection, a dependency that is down.
#[derive(Debug)]
pub struct Waits(ExponentialBackoff);

impl Waits {
    /// Waits from `first` up to `max`, doubling, each spread by half to both sides.
    pub fn between(first: Duration, max: Duration) -> Self {
        Self(exponential(first, 2.0, max, 0.5))
    }

    /// The next wait, longer than the last until `max` is reached.
    pub fn next_wait(&mut self) -> Duration {
        self.0.next_backoff().unwrap_or(self.0.max_interval)
    }

    /// It worked: the next wait is the first one again.
    pub fn reset(&mut self) {
        self.0.reset();
    }
}

fn exponential(first: Duration, factor: f64, max: Duration, jitter: f64) -> ExponentialBackoff {
    ExponentialBackoff {
        current_interval: first,
        initial_interval: first,
        randomization_factor: jitter,
        multiplier: factor,
        max_interval: max,
        max_elapsed_time: None,
        ..ExponentialBackoff::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_default_schedule_is_the_documented_one() {
        let policy = RetryPolicy::default();
        let waits: Vec<u64> = (1..12)
            .map(|attempt| policy.nominal(attempt).as_secs())
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]);
        assert_eq!(policy.wait(12, None), None);
    }

    #[test]
    fn a_wait_asked_for_is_kept_to_but_bounded() {
        let policy = RetryPolicy {
            max: Duration::from_secs(60),
            ..RetryPolicy::default()
        };
        assert_eq!(
            policy.wait(1, Some(Duration::from_secs(30))),
            Some(Duration::from_secs(30))
        );
        assert_eq!(
            policy.wait(1, Some(Duration::from_secs(3600))),
            Some(Duration::from_secs(60))
        );
    }

    #[test]
    fn unusable_policies_name_the_key() {
        let good = RetryPolicy::default();
        assert_eq!(good.problem(), None);
        for (bad, key) in [
            (
                RetryPolicy {
                    attempts: 0,
                    ..good.clone()
                },
                "attempts",
            ),
            (
                RetryPolicy {
                    factor: 0.5,
                    ..good.clone()
                },
                "factor",
            ),
            (
                RetryPolicy {
                    factor: f64::NAN,
                    ..good.clone()
                },
                "factor",
            ),
            (
                RetryPolicy {
                    jitter: 1.5,
                    ..good.clone()
                },
                "jitter",
            ),
            (
                RetryPolicy {
                    first: Duration::ZERO,
                    ..good.clone()
                },
                "first",
            ),
            (
                RetryPolicy {
                    max: Duration::from_millis(1),
                    ..good
                },
                "max",
            ),
        ] {
            assert_eq!(bad.problem().map(|(key, _)| key), Some(key));
        }
    }

    proptest! {
        #[test]
        fn jitter_stays_within_its_bounds(attempt in 1_u32..60, jitter in 0.0_f64..=1.0) {
            let policy = RetryPolicy { attempts: 100, jitter, ..RetryPolicy::default() };
            let nominal = policy.nominal(attempt).as_secs_f64();
            let wait = policy.wait(attempt, None).map_or(-1.0, |wait| wait.as_secs_f64());
            prop_assert!(wait >= nominal * (1.0 - jitter) - 1e-6);
            prop_assert!(wait <= nominal * (1.0 + jitter) + 1e-6);
            prop_assert!(wait <= policy.longest().as_secs_f64() + 1e-6);
        }
    }

    #[test]
    fn waits_grow_to_their_maximum_and_start_over() {
        let mut waits = Waits::between(Duration::from_millis(100), Duration::from_secs(5));
        let last = (0..20)
            .map(|_| waits.next_wait())
            .last()
            .unwrap_or_default();
        assert!(last >= Duration::from_millis(2500), "{last:?}");
        waits.reset();
        assert!(waits.next_wait() <= Duration::from_millis(150));
    }
}
