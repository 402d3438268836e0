//! The programs' reports on themselves: logs, metrics, traces, health.

pub mod health;
mod log;
pub mod metrics;
pub mod stderr;
pub mod trace;

pub use log::{InvalidFilter, Telemetry};
