//! Percentiles of times that were measured one by one.

use std::time::Duration;

use serde::Serialize;

/// Durations measured one by one, kept as they are: exact percentiles at eight bytes each.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<Duration>);

impl Samples {
    /// Adds one measurement.
    pub fn push(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    /// Adds all measurements of another set.
    pub fn merge(&mut self, other: Samples) {
        self.0.extend(other.0);
    }

    /// How many measurements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no measurements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The percentiles, or `None` when nothing was measured.
    #[must_use]
    pub fn percentiles(mut self) -> Option<Percentiles> {
        self.0.sort_unstable();
        let last = self.0.len().checked_sub(1)?;
        // Nearest rank: the smallest sample that at least q percent of all samples do not exceed.
        let at = |q: usize| {
            let rank = (self.0.len() * q).div_ceil(100).max(1);
            millis(self.0[(rank - 1).min(last)])
        };
        Some(Percentiles {
            p50_ms: at(50),
            p95_ms: at(95),
            p99_ms: at(99),
            max_ms: millis(self.0[last]),
        })
    }
}

impl FromIterator<Duration> for Samples {
    fn from_iter<I: IntoIterator<Item = Duration>>(samples: I) -> Self {
        Self(samples.into_iter().collect())
    }
}

/// Percentiles of durations, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Percentiles {
    /// Half of the samples took no longer.
    pub p50_ms: f64,
    /// 95 of 100 samples took no longer.
    pub p95_ms: f64,
    /// 99 of 100 samples took no longer.
    pub p99_ms: f64,
    /// The longest sample.
    pub max_ms: f64,
}

/// A duration in milliseconds, to the microsecond: more digits would claim more than was measured.
fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Percentiles, Samples};

    #[test]
    fn nothing_measured_has_no_percentiles() {
        assert_eq!(Samples::default().percentiles(), None);
    }

    #[test]
    fn percentiles_are_samples_by_nearest_rank() {
        let samples: Samples = (1..=200).rev().map(Duration::from_millis).collect();
        assert_eq!(
            samples.percentiles(),
            Some(Percentiles {
                p50_ms: 100.0,
                p95_ms: 190.0,
                p99_ms: 198.0,
                max_ms: 200.0
            })
        );
    }

    #[test]
    fn one_sample_is_every_percentile() {
        let one: Samples = [Duration::from_micros(1500)].into_iter().collect();
        assert_eq!(
            one.percentiles().map(|p| (p.p50_ms, p.p99_ms)),
            Some((1.5, 1.5))
        );
    }
}
