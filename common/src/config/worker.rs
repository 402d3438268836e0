//! What all workers share: `[worker]`.

use std::time::Duration;

use serde::Deserialize;

use super::duration;

/// `[worker]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Worker {
    /// How long a worker may take to finish what is running when it is told to stop.
    #[serde(with = "duration")]
    pub drain: Duration,
    /// The first and the longest wait between two looks at a dependency that is down.
    #[serde(with = "duration")]
    pub probe_first: Duration,
    /// See `probe_first`.
    #[serde(with = "duration")]
    pub probe_max: Duration,
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            drain: Duration::from_secs(25),
            probe_first: Duration::from_millis(200),
            probe_max: Duration::from_secs(2),
        }
    }
}
