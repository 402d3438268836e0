//! `[validate]`, `[store]`, `[integrate]` and `[archive]`: how hard a stage works.

use std::time::Duration;

use serde::Deserialize;

use crate::retry::RetryPolicy;
use crate::topology::Stage;

/// The settings of a stage as configured; missing ones have the stage's own defaults.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StageConfig {
    /// See [`StageSettings::prefetch`].
    pub prefetch: Option<u16>,
    /// See [`StageSettings::batch`].
    pub batch: Option<usize>,
    /// See [`StageSettings::concurrency`].
    pub concurrency: Option<usize>,
    /// See [`StageSettings::timeout`].
    #[serde(deserialize_with = "some_duration")]
    pub timeout: Option<Duration>,
    /// See [`StageSettings::retry`].
    pub retry: Option<RetryPolicy>,
}

/// The settings of a stage.
#[derive(Debug, Clone, PartialEq)]
pub struct StageSettings {
    /// How many events one process holds at once, waiting or running.
    pub prefetch: u16,
    /// How many events one call of the handler takes at most.
    pub batch: usize,
    /// How many calls of the handler run at once.
    pub concurrency: usize,
    /// How long one call may take.
    pub timeout: Duration,
    /// The waits after failed attempts.
    pub retry: RetryPolicy,
}

impl StageConfig {
    /// The settings with the stage's defaults filled in.
    pub(super) fn settings(&self, stage: Stage) -> StageSettings {
        let (prefetch, batch, concurrency, timeout) = match stage {
            Stage::Validate => (1000, 64, 4, 10),
            Stage::Store => (1000, 256, 2, 30),
            // A destination's own concurrency and timeout take the place of these two.
            Stage::Integrate => (1000, 1, 32, 10),
            Stage::Archive => (500, 256, 2, 30),
        };
        StageSettings {
            prefetch: self.prefetch.unwrap_or(prefetch),
            batch: self.batch.unwrap_or(batch),
            concurrency: self.concurrency.unwrap_or(concurrency),
            timeout: self.timeout.unwrap_or(Duration::from_secs(timeout)),
            retry: self.retry.clone().unwrap_or_default(),
        }
    }
}

impl StageSettings {
    /// An error, if any: the key, and the expected value.
    pub(super) fn problem(&self) -> Option<(&'static str, String)> {
        let least = |key, value| (value == 0).then(|| (key, "expected at least 1, found 0".into()));
        least("prefetch", usize::from(self.prefetch))
            .or_else(|| least("batch", self.batch))
            .or_else(|| least("concurrency", self.concurrency))
            .or_else(|| {
                self.timeout
                    .is_zero()
                    .then(|| ("timeout", "expected a time above 0s".to_owned()))
            })
            .or_else(|| self.retry.problem())
    }
}

pub(super) fn some_duration<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    super::duration::deserialize(deserializer).map(Some)
}
