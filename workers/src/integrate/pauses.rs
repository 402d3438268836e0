//! The pauses of destinations: no process begins a delivery to a paused one.
//!
//! The pauses are read right before deliveries, at most twice a second for all destinations of a process. A process without
//! work asks nothing, and keeps no connection from others. While a destination is paused, they are read every few seconds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use common::runtime::{Gate, GateState};
use common::store::{PausedDestination, Store, StoreError};
use common::telemetry::metrics;
use tokio_util::sync::CancellationToken;

/// How long the pauses count as known.
const KNOWN_FOR: Duration = Duration::from_millis(500);

/// How often a process with a paused destination looks whether it is resumed. Longer than an unused connection of the
/// database is kept: others may wait for it.
const RESUME_POLL: Duration = Duration::from_secs(4);

/// The pauses that one process knows, and the gates of its destinations.
pub(super) struct Pauses {
    store: Arc<dyn Store>,
    gates: BTreeMap<String, Gate>,
    /// When they were last read.
    read_at: Mutex<Option<Instant>>,
    /// Held while they are read.
    reading: tokio::sync::Mutex<()>,
}

impl Pauses {
    /// Open gates for these destinations.
    pub(super) fn new<'n>(
        store: Arc<dyn Store>,
        destinations: impl IntoIterator<Item = &'n str>,
    ) -> Self {
        let gate = |name: &str| (name.to_owned(), Gate::default());
        Self {
            store,
            gates: destinations.into_iter().map(gate).collect(),
            read_at: Mutex::default(),
            reading: tokio::sync::Mutex::default(),
        }
    }

    /// The gate of a destination.
    pub(super) fn gate(&self, destination: &str) -> Gate {
        self.gates.get(destination).cloned().unwrap_or_default()
    }

    /// Makes sure that the gates stand as the database says, or said lately. While it does not answer, they stay as they are.
    ///
    /// # Errors
    /// The database has never said.
    pub(super) async fn check(&self) -> Result<(), StoreError> {
        if self.is_known() {
            return Ok(());
        }
        let _reading = self.reading.lock().await;
        if self.is_known() {
            return Ok(());
        }
        match self.read().await {
            Err(error) if self.read_at().is_some() => {
                tracing::debug!(%error, "pauses of destinations cannot be read: those that are known hold");
                Ok(())
            }
            read => read,
        }
    }

    /// Looks whether paused destinations are resumed, until `stop`.
    pub(super) async fn follow(&self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RESUME_POLL) => {}
            }
            if self.gates.values().all(Gate::is_open) {
                continue;
            }
            let _reading = self.reading.lock().await;
            if let Err(error) = self.read().await {
                tracing::debug!(%error, "whether destinations are resumed cannot be read");
            }
        }
    }

    async fn read(&self) -> Result<(), StoreError> {
        let paused = self.store.destinations().paused_destinations().await?;
        self.set(&paused);
        *self.read_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        Ok(())
    }

    fn is_known(&self) -> bool {
        self.read_at().is_some_and(|at| at.elapsed() < KNOWN_FOR)
    }

    fn read_at(&self) -> Option<Instant> {
        *self.read_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, paused: &[PausedDestination]) {
        for (name, gate) in &self.gates {
            let pause = paused.iter().find(|pause| pause.name == *name);
            let state = pause.map_or(GateState::Open, |pause| {
                GateState::Shut(format!(
                    "paused by {}: {}",
                    pause.paused_by, pause.paused_why
                ))
            });
            if !gate.set(state) {
                continue;
            }
            metrics::paused(name, pause.is_some());
            match pause {
                Some(pause) => tracing::info!(
                    destination.name = %name, by = pause.paused_by, why = pause.paused_why,
                    "paused: deliveries wait"
                ),
                None => tracing::info!(destination.name = %name, "resumed: deliveries go on"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use common::store::{AuditAction, NewPause};

    use super::*;
    use crate::testbed;

    #[tokio::test]
    async fn a_gate_stands_as_the_database_says() {
        let (store, stop) = (testbed::store().await, CancellationToken::new());
        let pauses = Arc::new(Pauses::new(Arc::clone(&store), ["crm", "mail"]));
        let (crm, mail) = (pauses.gate("crm"), pauses.gate("mail"));
        let pause = NewPause {
            destination: "crm".to_owned(),
            by: "cli:ada".to_owned(),
            why: "their deploy".to_owned(),
        };
        let destinations = store.destinations();
        destinations.pause_destination(&pause, None).await.unwrap();
        pauses.check().await.unwrap();
        let state = GateState::Shut("paused by cli:ada: their deploy".to_owned());
        assert_eq!((crm.state(), mail.is_open()), (state, true));
        let followed = Arc::clone(&pauses);
        let ended = stop.clone();
        let following = tokio::spawn(async move { followed.follow(ended).await });
        let mut act = testbed::act("cli:ada");
        act.action = AuditAction::DestinationResume;
        destinations.resume_destination("crm", &act).await.unwrap();
        // Nobody checks, and it opens all the same.
        crm.opened().await;
        stop.cancel();
        following.await.unwrap();
    }

    #[tokio::test]
    async fn pauses_that_were_never_read_are_an_error_and_those_that_were_hold() {
        let pauses = Pauses::new(testbed::down(), ["crm"]);
        assert!(pauses.check().await.is_err());
        let long_ago = Instant::now().checked_sub(KNOWN_FOR);
        *pauses.read_at.lock().unwrap() = long_ago;
        let shut = GateState::Shut("paused by cli:ada: their deploy".to_owned());
        pauses.gate("crm").set(shut.clone());
        pauses.check().await.unwrap();
        assert_eq!(pauses.gate("crm").state(), shut);
    }
}
