//! What the programs say of themselves: logs, metrics, traces.

mod log;
pub mod metrics;
pub mod stderr;
pub mod trace;

pub use log::{InvalidFilter, Telemetry};
