//! `[log]`

use serde::Deserialize;

/// `[log]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// What is logged (`LONGSHORE_LOG`): a filter such as `info` or `info,common=debug`.
    pub filter: String,
    /// How it is written (`LONGSHORE_LOG_FORMAT`).
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            filter: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For one person who watches: no date, no module. What `longshore dev` writes.
    Short,
    /// For machines: one JSON object a line.
    Json,
}
