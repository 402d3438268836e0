//! The facts about a destination that decide how its gate stands.

use std::time::{Duration, Instant};

use common::config::Breaker;
use common::runtime::GateState;
use common::store::DestinationState;

use super::super::breaker::Window;

/// How often a process with a paused destination looks whether it is resumed. Longer than an unused connection of the
/// database is kept: others may wait for it.
const RESUME_POLL: Duration = Duration::from_secs(4);

/// How often a process looks how an open breaker stands, and lets a rate rise.
const BREAKER_POLL: Duration = Duration::from_secs(1);

/// The facts about a destination that this process knows.
#[derive(Default)]
pub(super) struct Facts {
    /// Why it is paused, while it is.
    pub(super) paused: Option<String>,
    pub(super) circuit: Circuit,
    pub(super) window: Option<Window>,
    /// How often the breaker has opened or closed. An attempt counts in the state that it began in.
    pub(super) epoch: u64,
    /// How often this process has changed the facts by itself: a read that began before says nothing about them.
    pub(super) changes: u64,
    /// How many of those changes are on their way to the database.
    pub(super) writing: u32,
}

/// A breaker.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Circuit {
    /// Deliveries are made.
    #[default]
    Closed,
    /// Deliveries are made, and their rate rises since this moment.
    Rising(Instant),
    /// No delivery is made before the probe.
    Open { why: String, probe_at: Instant },
}

impl Facts {
    /// The breaker stands so.
    pub(super) fn turn(&mut self, circuit: Circuit) {
        let was_open = self.circuit.is_open();
        self.circuit = circuit;
        let is_open = self.circuit.is_open();
        if was_open == is_open {
            return;
        }
        self.epoch += 1;
        if let Some(window) = &mut self.window {
            window.clear();
        }
    }

    pub(super) fn gate(&self) -> GateState {
        match (&self.paused, &self.circuit) {
            (Some(why), _) => GateState::Shut(why.clone()),
            (None, Circuit::Open { probe_at, .. }) if *probe_at <= Instant::now() => {
                GateState::OneByOne
            }
            (None, Circuit::Open { why, .. }) => {
                GateState::Shut(format!("its breaker is open: {why}"))
            }
            (None, Circuit::Closed | Circuit::Rising(_)) => GateState::Open,
        }
    }

    /// Why the breaker is open.
    pub(super) fn why(&self) -> String {
        match &self.circuit {
            Circuit::Open { why, .. } => why.clone(),
            Circuit::Closed | Circuit::Rising(_) => String::new(),
        }
    }

    /// Whether it is paused, or its breaker is open.
    pub(super) fn is_shut(&self) -> bool {
        self.paused.is_some() || self.circuit.is_open()
    }

    /// When to look at it again; `None` while all is well.
    pub(super) fn next_look(&self) -> Option<Duration> {
        let of_breaker = match &self.circuit {
            Circuit::Closed => None,
            Circuit::Rising(_) => Some(BREAKER_POLL),
            Circuit::Open { probe_at, .. } => {
                let until = probe_at.saturating_duration_since(Instant::now());
                let is_due = until.is_zero();
                Some(if is_due {
                    BREAKER_POLL
                } else {
                    until.min(BREAKER_POLL)
                })
            }
        };
        let of_pause = self.paused.as_ref().map(|_| RESUME_POLL);
        of_breaker.into_iter().chain(of_pause).min()
    }
}

impl Circuit {
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Open { .. })
    }
}

/// A breaker as the database has it. No probe lies further ahead than both times, unless a clock was set back.
pub(super) fn circuit(
    state: Option<&DestinationState>,
    breaker: &Breaker,
    lease: Duration,
) -> Circuit {
    let now = Instant::now();
    if let Some(open) = state.and_then(|state| state.breaker.as_ref()) {
        let is_far = open.probe_in > breaker.open.max(lease);
        let probe_in = if is_far {
            Duration::ZERO
        } else {
            open.probe_in
        };
        return Circuit::Open {
            why: open.why.clone(),
            probe_at: now + probe_in,
        };
    }
    let closed_for = state.and_then(|state| state.closed_for);
    closed_for
        .filter(|closed_for| *closed_for < breaker.open)
        .and_then(|closed_for| now.checked_sub(closed_for))
        .map_or(Circuit::Closed, Circuit::Rising)
}

/// A pause in words.
pub(super) fn paused(by: &str, why: &str) -> String {
    format!("paused by {by}: {why}")
}
