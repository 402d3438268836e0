//! What the programs say of themselves: logs, metrics, traces.

mod log;
pub mod metrics;
pub mod stderr;
pub mod trace;

use std::time::Duration;

pub use log::{InvalidFilter, Telemetry};

/// A duration in whole milliseconds, for log fields.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
