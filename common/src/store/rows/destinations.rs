//! Destinations as operators and breakers have them.

use std::time::Duration;

use serde::Serialize;

use super::Moment;
use crate::config::Destination;

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
    /// Its breaker, while that is open and the configuration has one: any other holds nothing.
    pub fn breaker_of(&self, destination: &Destination) -> Option<&OpenBreaker> {
        let has_one = destination.name == self.name && destination.breaker.is_some();
        self.breaker.as_ref().filter(|_| has_one)
    }
}

impl OpenBreaker {
    /// Whether nobody takes deliveries on purpose: the moment of the probe has not come, or not for longer than `patience`.
    pub fn is_waited_for(&self, patience: Duration) -> bool {
        self.due_for < patience
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
    /// How long it has been so, if so.
    #[serde(skip)]
    pub due_for: Duration,
}
