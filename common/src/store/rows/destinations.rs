//! Destinations that are paused.

use serde::Serialize;

use super::Moment;

/// A pause to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPause {
    /// The destination's name.
    pub destination: String,
    /// Who pauses it.
    pub by: String,
    /// Why.
    pub why: String,
}

/// A destination whose deliveries wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PausedDestination {
    /// Its name.
    pub name: String,
    /// Since when it is paused.
    pub paused_at: Moment,
    /// Who paused it.
    pub paused_by: String,
    /// Why.
    pub paused_why: String,
}
