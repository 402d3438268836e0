//! Destinations as operators and breakers have them.

use std::time::Duration;

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

/// How a destination stands. One that was never paused and whose breaker was never open has none of this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationState {
    /// Its name.
    pub name: String,
    /// Its pause, while it is paused.
    pub pause: Option<PausedDestination>,
    /// Its breaker, while that is open.
    pub breaker: Option<OpenBreaker>,
    /// How long ago its breaker closed last.
    pub closed_for: Option<Duration>,
}

impl DestinationState {
    /// Whether its deliveries wait.
    pub fn is_held(&self) -> bool {
        self.pause.is_some() || self.breaker.is_some()
    }
}

/// A breaker that holds a destination's queue: nothing is sent until a probe says that the receiver is back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OpenBreaker {
    /// When it opened.
    pub opened_at: Moment,
    /// The last failure.
    pub why: String,
    /// When the next delivery may be made, as a probe.
    pub probe_at: Moment,
    /// How long that is from now, by the clock of the database.
    #[serde(skip)]
    pub probe_in: Duration,
}
