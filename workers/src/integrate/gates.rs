//! The gates of destinations: shut while a destination is paused, or while its breaker is open.
//!
//! ```text
//! closed ──(too many attempts failed)──> open ──(its time is over)──> a probe ──(answered)──> closed, and the rate rises
//!                                         ^                             │
//!                                         └──────────(failed)───────────┘
//! ```
//!
//! An operator who resumes a destination closes its breaker without a probe.
//!
//! The database has both for all copies of the worker. It is read right before deliveries, at most twice a second for all
//! destinations of a process. A process without work asks nothing, and keeps no connection from others. While something is shut,
//! it is read now and then.

mod facts;

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

use self::facts::{Circuit, Facts, circuit, paused};
use super::breaker::{Window, ramp};
use super::copies::Copies;
use super::lately::Lately;

/// How long a probe is nobody else's, beside the time that the delivery may take.
const PROBE_LEASE: Duration = Duration::from_secs(5);

/// The gates of one process.
pub(super) struct Gates {
    store: Arc<dyn Store>,
    copies: Arc<Copies>,
    destinations: BTreeMap<String, Guarded>,
    known: Lately,
    /// A gate was set.
    set: Notify,
}

/// A destination and its gate.
struct Guarded {
    gate: Gate,
    breaker: Option<Breaker>,
    timeout: Duration,
    facts: Mutex<Facts>,
}

/// Whether a delivery may be made now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// It may.
    Usual {
        /// The state of the breaker that it counts in.
        epoch: u64,
    },
    /// It may, as the probe: its end closes the breaker or keeps it open.
    Probe,
    /// Not now.
    Held,
}

/// The end of a delivery, for the breaker.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ending<'f> {
    /// The receiver took it or refused it: it works.
    Answered,
    /// The receiver does not work now.
    Failed(&'f Failure),
    /// No attempt was made.
    NotMade,
}

impl Gates {
    /// The gates of these destinations, all open.
    pub(super) fn new<'d>(
        store: Arc<dyn Store>,
        copies: Arc<Copies>,
        destinations: impl IntoIterator<Item = &'d Destination>,
    ) -> Self {
        let guarded = |destination: &Destination| {
            let breaker = destination.breaker.clone();
            let facts = Facts {
                window: breaker.clone().map(Window::new),
                ..Facts::default()
            };
            let guarded = Guarded {
                gate: Gate::default(),
                breaker,
                timeout: destination.timeout,
                facts: Mutex::new(facts),
            };
            (destination.name.clone(), guarded)
        };
        Self {
            store,
            copies,
            destinations: destinations.into_iter().map(guarded).collect(),
            known: Lately::default(),
            set: Notify::new(),
        }
    }

    /// The gate of a destination.
    pub(super) fn gate(&self, destination: &str) -> Gate {
        let guarded = self.destinations.get(destination);
        guarded.map(|it| it.gate.clone()).unwrap_or_default()
    }

    /// Makes sure that the gates stand as the database says, or said lately. While it does not answer, they stay as they are.
    ///
    /// # Errors
    /// The database has never said.
    pub(super) async fn check(&self) -> Result<(), StoreError> {
        self.known.check(async || self.read().await).await
    }

    /// Whether a delivery to `destination` may be made now. Nobody else may make the probe until its end is told by
    /// [`Gates::ended`], or its time is over.
    ///
    /// # Errors
    /// The database cannot say who makes the probe.
    pub(super) async fn admit(&self, destination: &str) -> Result<Admission, StoreError> {
        let Some((guarded, breaker)) = self.with_breaker(destination) else {
            return Ok(Admission::Usual { epoch: 0 });
        };
        if let Some(admission) = guarded.admission() {
            return Ok(admission);
        }
        let lease = guarded.lease();
        let destinations = self.store.destinations();
        let farthest = lease.max(breaker.open);
        if destinations
            .take_probe(destination, lease, farthest)
            .await?
        {
            tracing::info!(
                destination.name = destination,
                "the breaker is tried by a probe"
            );
            self.change(destination, guarded, |facts| {
                if let Circuit::Open { probe_at, .. } = &mut facts.circuit {
                    *probe_at = Instant::now() + lease;
                }
            });
            return Ok(Admission::Probe);
        }
        // Another copy makes the probe, or has made it.
        self.known.read(async || self.read().await).await?;
        Ok(guarded.admission().unwrap_or(Admission::Held))
    }

    /// A delivery that was admitted so has ended so. A change that cannot be written down holds for this process until the
    /// database says otherwise.
    pub(super) async fn ended(&self, destination: &str, admission: Admission, ending: Ending<'_>) {
        let Some((guarded, breaker)) = self.with_breaker(destination) else {
            return;
        };
        let (why, open) = match (admission, ending) {
            (Admission::Held, _) => return,
            (Admission::Probe, Ending::Answered) => return self.close(destination, guarded).await,
            (Admission::Probe, Ending::Failed(failure)) => (failure.error.clone(), breaker.open),
            // The next delivery may be the probe.
            (Admission::Probe, Ending::NotMade) => (guarded.facts().why(), Duration::ZERO),
            (Admission::Usual { .. }, Ending::NotMade) => return,
            (Admission::Usual { epoch }, Ending::Answered | Ending::Failed(_)) => {
                let failure = match ending {
                    Ending::Failed(failure) => Some(failure),
                    _ => None,
                };
                if !guarded.opens(epoch, failure.is_some()) {
                    return;
                }
                let why = failure.map_or_else(String::new, |failure| failure.error.clone());
                (why, breaker.open)
            }
        };
        let circuit = Circuit::Open {
            why: why.clone(),
            probe_at: Instant::now() + open,
        };
        self.write(destination, guarded, circuit, async || {
            let destinations = self.store.destinations();
            destinations.open_breaker(destination, &why, open).await
        })
        .await;
    }

    async fn close(&self, destination: &str, guarded: &Guarded) {
        // While it is not written down, all copies would find it open again.
        match self.store.destinations().close_breaker(destination).await {
            Ok(()) => self.change(destination, guarded, |facts| {
                facts.turn(Circuit::Rising(Instant::now()));
            }),
            Err(error) => not_written(destination, &error),
        }
    }

    /// Sets the breaker here, and writes that down.
    async fn write(
        &self,
        destination: &str,
        guarded: &Guarded,
        circuit: Circuit,
        write: impl AsyncFnOnce() -> Result<(), StoreError>,
    ) {
        self.change(destination, guarded, |facts| {
            facts.turn(circuit);
            facts.writing += 1;
        });
        let written = write().await;
        self.change(destination, guarded, |facts| facts.writing -= 1);
        if let Err(error) = written {
            not_written(destination, &error);
        }
    }

    /// The destination is paused: this process keeps that until `written` has written it down, or failed to.
    ///
    /// # Errors
    /// That of `written`.
    pub(super) async fn pause<T>(
        &self,
        destination: &str,
        (by, why): (&str, &str),
        written: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let Some(guarded) = self.destinations.get(destination) else {
            return written.await;
        };
        self.change(destination, guarded, |facts| {
            facts.paused = Some(paused(by, why));
            facts.writing += 1;
        });
        let written = written.await;
        self.change(destination, guarded, |facts| facts.writing -= 1);
        written
    }

    /// Looks how shut destinations stand, and lets rates rise, until `stop`.
    pub(super) async fn follow(&self, stop: CancellationToken) {
        loop {
            let each = self.destinations.values();
            let wait = each.filter_map(|it| it.facts().next_look()).min();
            tokio::select! {
                () = stop.cancelled() => return,
                // The next look may be due sooner than that.
                () = self.set.notified() => continue,
                () = tokio::time::sleep(wait.unwrap_or(Duration::MAX)) => {}
            }
            if self.destinations.values().any(|it| it.facts().is_shut())
                && let Err(error) = self.known.read(async || self.read().await).await
            {
                tracing::debug!(%error, "how destinations stand cannot be read");
            }
            for (name, guarded) in &self.destinations {
                self.apply(name, guarded, &mut guarded.facts());
            }
        }
    }

    async fn read(&self) -> Result<(), StoreError> {
        let before: Vec<Option<u64>> = self.destinations.values().map(Guarded::settled).collect();
        let states = self.store.destinations().destination_states().await?;
        for ((name, guarded), before) in self.destinations.iter().zip(before) {
            // This process has changed it meanwhile: the next read says whether that was written down.
            if before.is_some() && before == guarded.settled() {
                let state = states.iter().find(|state| state.name == *name);
                self.set_as_read(name, guarded, state);
            }
        }
        Ok(())
    }

    fn set_as_read(&self, name: &str, guarded: &Guarded, state: Option<&DestinationState>) {
        let mut facts = guarded.facts();
        let pause = state.and_then(|state| state.pause.as_ref());
        facts.paused = pause.map(|it| paused(&it.paused_by, &it.paused_why));
        if let Some(breaker) = &guarded.breaker {
            facts.turn(circuit(state, breaker, guarded.lease()));
        }
        self.apply(name, guarded, &mut facts);
    }

    /// Changes the facts by what this process has found out itself.
    fn change(&self, name: &str, guarded: &Guarded, change: impl FnOnce(&mut Facts)) {
        let mut facts = guarded.facts();
        facts.changes += 1;
        change(&mut facts);
        self.apply(name, guarded, &mut facts);
    }

    /// Sets the gate and the rate of a destination by the facts.
    fn apply(&self, name: &str, guarded: &Guarded, facts: &mut Facts) {
        let percent = match (&facts.circuit, &guarded.breaker) {
            (Circuit::Rising(since), Some(breaker)) => ramp(since.elapsed(), breaker.open),
            _ => 100,
        };
        if percent == 100 && matches!(facts.circuit, Circuit::Rising(_)) {
            facts.circuit = Circuit::Closed;
        }
        self.copies.ramp(name, percent);
        let state = facts.gate();
        // Also where nothing changes: the gates of a former configuration may have said otherwise.
        metrics::paused(name, facts.paused.is_some());
        if guarded.breaker.is_some() {
            metrics::breaker(name, facts.circuit.is_open());
        }
        if !guarded.gate.set(state.clone()) {
            return;
        }
        match state {
            GateState::Shut(why) => {
                tracing::info!(destination.name = name, why, "deliveries wait");
            }
            GateState::OneByOne => {
                tracing::debug!(destination.name = name, "the next delivery may be a probe");
            }
            GateState::Open => tracing::info!(destination.name = name, "deliveries go on"),
        }
        self.set.notify_one();
    }

    fn with_breaker(&self, destination: &str) -> Option<(&Guarded, &Breaker)> {
        let guarded = self.destinations.get(destination)?;
        Some((guarded, guarded.breaker.as_ref()?))
    }
}

impl Guarded {
    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a probe is nobody else's.
    fn lease(&self) -> Duration {
        self.timeout + PROBE_LEASE
    }

    /// Whether a delivery may be made; `None` where somebody must make the probe.
    fn admission(&self) -> Option<Admission> {
        let facts = self.facts();
        match facts.gate() {
            GateState::Open => Some(Admission::Usual { epoch: facts.epoch }),
            GateState::OneByOne => None,
            GateState::Shut(_) => Some(Admission::Held),
        }
    }

    /// Whether the breaker opens by the attempt of a delivery that was admitted in `epoch`.
    fn opens(&self, epoch: u64, is_failed: bool) -> bool {
        let mut facts = self.facts();
        if facts.epoch != epoch {
            return false;
        }
        let window = facts.window.as_mut();
        window.is_some_and(|window| window.record(is_failed, Instant::now()))
    }

    /// The number of changes so far; `None` while one is on its way to the database.
    fn settled(&self) -> Option<u64> {
        let facts = self.facts();
        (facts.writing == 0).then_some(facts.changes)
    }
}

fn not_written(destination: &str, error: &StoreError) {
    tracing::warn!(
        destination.name = destination, %error,
        "how the breaker of the destination stands could not be written down"
    );
}

#[cfg(test)]
mod tests;
