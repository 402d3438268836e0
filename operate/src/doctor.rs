//! The checks of `longshore doctor`: problems, and what to do about each.

pub mod checks;
pub mod clock;
pub mod files;
pub mod settings;

use serde::Serialize;

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The name of the check.
    pub check: String,
    /// How bad it is.
    pub verdict: Verdict,
    /// The result in words.
    pub detail: String,
    /// What to do, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Worth a look; nothing is broken.
    Look,
    /// Broken.
    Problem,
    /// A dependency cannot be reached, so little else can be said.
    Unreachable,
}

impl Finding {
    /// A thing that is as it should be.
    pub fn ok(check: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            check: check.into(),
            verdict: Verdict::Ok,
            detail: detail.into(),
            advice: None,
        }
    }

    /// A finding that needs attention, and what to do about it.
    pub fn bad(
        verdict: Verdict,
        check: impl Into<String>,
        detail: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        let advice = Some(advice.into());
        Self {
            check: check.into(),
            verdict,
            detail: detail.into(),
            advice,
        }
    }
}
