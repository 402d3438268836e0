//! The gates of destinations: shut while a destination is paused, or while its breaker is open.
//!
//! ```text
//! closed ──(too many attempts failed)──> open ──(its time is over)──> a probe ──(delivered)──> closed, and the rate rises
//!                                         ^                             │
//!                                         └──────────(failed)───────────┘
//! ```
//!
//! The database has both for all copies of the worker. It is read right before deliveries, at most twice a second for all
//! destinations of a process. A process without work asks nothing, and keeps no connection from others. While something is shut,
//! it is read now and then.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::config::{Breaker, Destination};
use common::outcome::Failure;
use common::runtime::{Gate, GateState};
use common::store::{DestinationState, Store, StoreError};
use common::telemetry::metrics;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::breaker::{Window, ramp};
use super::copies::Copies;
use super::lately::Lately;

/// How often a process with a paused destination looks whether it is resumed. Longer than an unused connection of the
/// database is kept: others may wait for it.
const RESUME_POLL: Duration = Duration::from_secs(4);

/// How often a process looks how an open breaker stands, and lets a rate rise.
const BREAKER_POLL: Duration = Duration::from_secs(1);

/// How long a probe is nobody else's, beside the time that the delivery may take.
const PROBE_LEASE: Duration = Duration::from_secs(5);

/// The gates of one process.
pub(super) struct Gates {
    store: Arc<dyn Store>,
    copies: Arc<Copies>,
    held: BTreeMap<String, Held>,
    known: Lately,
    /// Something was shut, or begins to rise.
    changed: Notify,
}

/// A destination and what may hold its deliveries.
struct Held {
    gate: Gate,
    breaker: Option<Breaker>,
    timeout: Duration,
    facts: Mutex<Facts>,
}

/// What this process knows of a destination.
#[derive(Default)]
struct Facts {
    /// Why it is paused, while it is.
    paused: Option<String>,
    circuit: Circuit,
    window: Option<Window>,
}

/// A breaker.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Circuit {
    /// Deliveries are made.
    #[default]
    Closed,
    /// As [`Circuit::Closed`], and a rate rises since this moment.
    Rising(Instant),
    /// None are made before the probe.
    Open { why: String, probe_at: Instant },
}

/// Whether a delivery may be made now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// As any other.
    Usual,
    /// As the probe: what becomes of it closes the breaker, or keeps it open.
    Probe,
    /// Not now.
    Held,
}

impl Gates {
    /// The gates of these destinations, all open.
    pub(super) fn new<'d>(
        store: Arc<dyn Store>,
        copies: Arc<Copies>,
        destinations: impl IntoIterator<Item = &'d Destination>,
    ) -> Self {
        let held = |destination: &Destination| {
            let breaker = destination.breaker.clone();
            let facts = Facts {
                window: breaker.clone().map(Window::new),
                ..Facts::default()
            };
            let held = Held {
                gate: Gate::default(),
                breaker,
                timeout: destination.timeout,
                facts: Mutex::new(facts),
            };
            (destination.name.clone(), held)
        };
        Self {
            store,
            copies,
            held: destinations.into_iter().map(held).collect(),
            known: Lately::default(),
            changed: Notify::new(),
        }
    }

    /// The gate of a destination.
    pub(super) fn gate(&self, destination: &str) -> Gate {
        let held = self.held.get(destination);
        held.map(|held| held.gate.clone()).unwrap_or_default()
    }

    /// Makes sure that the gates stand as the database says, or said lately. While it does not answer, they stay as they are.
    ///
    /// # Errors
    /// The database has never said.
    pub(super) async fn check(&self) -> Result<(), StoreError> {
        self.known.check(async || self.read().await).await
    }

    /// Whether a delivery to `destination` may be made now. Nobody else may make the probe until it is told as
    /// [`Gates::made`], or its time is over.
    ///
    /// # Errors
    /// The database cannot say who makes the probe.
    pub(super) async fn admit(&self, destination: &str) -> Result<Admission, StoreError> {
        let Some(held) = self.held.get(destination) else {
            return Ok(Admission::Usual);
        };
        if let Some(admission) = held.admission() {
            return Ok(admission);
        }
        let lease = held.timeout + PROBE_LEASE;
        if self
            .store
            .destinations()
            .take_probe(destination, lease)
            .await?
        {
            tracing::info!(
                destination.name = destination,
                "the breaker is tried with a probe"
            );
            if let Circuit::Open { probe_at, .. } = &mut held.facts().circuit {
                *probe_at = Instant::now() + lease;
            }
            self.apply(destination, held);
            return Ok(Admission::Probe);
        }
        // Another copy makes the probe, or has made it.
        self.known.read(async || self.read().await).await?;
        Ok(held.admission().unwrap_or(Admission::Held))
    }

    /// An attempt was made, with this failure. What cannot be written down holds for this process until the database says
    /// otherwise.
    pub(super) async fn made(
        &self,
        destination: &str,
        admission: Admission,
        failure: Option<&Failure>,
    ) {
        let Some((held, breaker)) = self
            .held
            .get(destination)
            .and_then(|held| Some((held, held.breaker.as_ref()?)))
        else {
            return;
        };
        let destinations = self.store.destinations();
        let told = match (admission, failure) {
            (Admission::Probe, None) => {
                let closed = destinations.close_breaker(destination).await;
                if closed.is_ok() {
                    self.turn(destination, held, Circuit::Rising(Instant::now()));
                }
                closed
            }
            (_, failure) if admission == Admission::Probe || held.opens(failure.is_some()) => {
                let why = failure.map_or("", |failure| &failure.error).to_owned();
                let probe_at = Instant::now() + breaker.open;
                let open = Circuit::Open {
                    why: why.clone(),
                    probe_at,
                };
                self.turn(destination, held, open);
                destinations
                    .open_breaker(destination, &why, breaker.open)
                    .await
            }
            _ => Ok(()),
        };
        if let Err(error) = told {
            tracing::warn!(
                destination.name = destination, %error,
                "how the breaker of the destination stands could not be written down"
            );
        }
    }

    /// The destination is paused, for this process until the database says otherwise.
    pub(super) fn pause(&self, destination: &str, by: &str, why: &str) {
        if let Some(held) = self.held.get(destination) {
            held.facts().paused = Some(paused(by, why));
            self.apply(destination, held);
        }
    }

    /// Looks how what is shut stands, and lets rates rise, until `stop`.
    pub(super) async fn follow(&self, stop: CancellationToken) {
        loop {
            let wait = self.held.values().filter_map(Held::next_look).min();
            tokio::select! {
                () = stop.cancelled() => return,
                // It may have to look sooner than that. What has just changed here may not be in the database yet.
                () = self.changed.notified() => continue,
                () = tokio::time::sleep(wait.unwrap_or(Duration::MAX)) => {}
            }
            if self.held.values().any(Held::is_held)
                && let Err(error) = self.known.read(async || self.read().await).await
            {
                tracing::debug!(%error, "how destinations stand cannot be read");
            }
            for (name, held) in &self.held {
                self.apply(name, held);
            }
        }
    }

    async fn read(&self) -> Result<(), StoreError> {
        let states = self.store.destinations().destination_states().await?;
        self.set(&states);
        Ok(())
    }

    fn set(&self, states: &[DestinationState]) {
        for (name, held) in &self.held {
            let state = states.iter().find(|state| state.name == *name);
            let pause = state.and_then(|state| state.pause.as_ref());
            held.facts().paused = pause.map(|it| paused(&it.paused_by, &it.paused_why));
            if let Some(breaker) = &held.breaker {
                self.turn(name, held, circuit(state, breaker));
            } else {
                self.apply(name, held);
            }
        }
    }

    /// The breaker of a destination stands so.
    fn turn(&self, name: &str, held: &Held, circuit: Circuit) {
        let (was_open, is_open) = {
            let mut facts = held.facts();
            let was_open = facts.circuit.is_open();
            facts.circuit = circuit;
            let is_open = facts.circuit.is_open();
            if was_open != is_open
                && let Some(window) = &mut facts.window
            {
                window.clear();
            }
            (was_open, is_open)
        };
        if was_open != is_open {
            metrics::breaker(name, is_open);
        }
        self.apply(name, held);
    }

    /// Sets the gate of a destination as what is known says.
    fn apply(&self, name: &str, held: &Held) {
        let (state, is_paused, percent) = {
            let facts = held.facts();
            let percent = match (&facts.circuit, &held.breaker) {
                (Circuit::Rising(since), Some(breaker)) => ramp(since.elapsed(), breaker.open),
                _ => 100,
            };
            (facts.gate(), facts.paused.is_some(), percent)
        };
        if percent == 100 {
            let mut facts = held.facts();
            if let Circuit::Rising(_) = facts.circuit {
                facts.circuit = Circuit::Closed;
            }
        }
        self.copies.ramp(name, percent);
        if !held.gate.set(state.clone()) {
            return;
        }
        metrics::paused(name, is_paused);
        match state {
            GateState::Shut(why) => {
                tracing::info!(destination.name = name, why, "deliveries wait");
            }
            GateState::OneByOne => {
                tracing::debug!(destination.name = name, "the next delivery may be a probe");
            }
            GateState::Open => tracing::info!(destination.name = name, "deliveries go on"),
        }
        self.changed.notify_one();
    }
}

impl Held {
    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a delivery may be made; `None` where somebody must make the probe.
    fn admission(&self) -> Option<Admission> {
        match self.facts().gate() {
            GateState::Open => Some(Admission::Usual),
            GateState::OneByOne => None,
            GateState::Shut(_) => Some(Admission::Held),
        }
    }

    /// Whether the breaker opens with an attempt.
    fn opens(&self, is_failed: bool) -> bool {
        let mut facts = self.facts();
        // What was under way when it opened changes nothing.
        if facts.circuit.is_open() {
            return false;
        }
        let window = facts.window.as_mut();
        window.is_some_and(|window| window.record(is_failed, Instant::now()))
    }

    /// Whether it is paused, or its breaker is open.
    fn is_held(&self) -> bool {
        let facts = self.facts();
        facts.paused.is_some() || facts.circuit.is_open()
    }

    /// When to look at it again; `None` while all is well.
    fn next_look(&self) -> Option<Duration> {
        let facts = self.facts();
        let of_breaker = match &facts.circuit {
            Circuit::Closed => None,
            Circuit::Rising(_) => Some(BREAKER_POLL),
            Circuit::Open { probe_at, .. } => {
                let until = probe_at.saturating_duration_since(Instant::now());
                Some(if until.is_zero() {
                    BREAKER_POLL
                } else {
                    until.min(BREAKER_POLL)
                })
            }
        };
        let of_pause = facts.paused.as_ref().map(|_| RESUME_POLL);
        of_breaker.into_iter().chain(of_pause).min()
    }
}

impl Facts {
    fn gate(&self) -> GateState {
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
}

impl Circuit {
    fn is_open(&self) -> bool {
        matches!(self, Self::Open { .. })
    }
}

/// A breaker as the database has it.
fn circuit(state: Option<&DestinationState>, breaker: &Breaker) -> Circuit {
    let now = Instant::now();
    if let Some(open) = state.and_then(|state| state.breaker.as_ref()) {
        return Circuit::Open {
            why: open.why.clone(),
            probe_at: now + open.probe_in,
        };
    }
    let closed_for = state.and_then(|state| state.closed_for);
    closed_for
        .filter(|closed_for| *closed_for < breaker.open)
        .and_then(|closed_for| now.checked_sub(closed_for))
        .map_or(Circuit::Closed, Circuit::Rising)
}

/// A pause in words.
fn paused(by: &str, why: &str) -> String {
    format!("paused by {by}: {why}")
}

#[cfg(test)]
mod tests;
