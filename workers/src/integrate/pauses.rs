//! The pauses of destinations: no process begins a delivery to a paused one.
//!
//! The pauses are read right before deliveries, at most twice a second for all destinations of a process. A process without
//! work asks nothing, and keeps no connection from others. While a destination is paused, they are read every few seconds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::runtime::{Gate, GateState};
use common::store::{PausedDestination, Store, StoreError};
use common::telemetry::metrics;
use tokio_util::sync::CancellationToken;

use super::lately::Lately;

/// How often a process with a paused destination looks whether it is resumed. Longer than an unused connection of the
/// database is kept: others may wait for it.
const RESUME_POLL: Duration = Duration::from_secs(4);

/// The pauses that one process knows, and the gates of its destinations.
pub(super) struct Pauses {
    store: Arc<dyn Store>,
    gates: BTreeMap<String, Gate>,
    known: Lately,
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
            known: Lately::default(),
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
        self.known.check(async || self.read().await).await
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
            if let Err(error) = self.known.read(async || self.read().await).await {
                tracing::debug!(%error, "whether destinations are resumed cannot be read");
            }
        }
    }

    async fn read(&self) -> Result<(), StoreError> {
        let paused = self.store.destinations().paused_destinations().await?;
        self.set(&paused);
        Ok(())
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
            metrics::paused(name, pause.is_some());
            if !gate.set(state) {
                continue;
            }
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
        pauses.known.read(async || Ok(())).await.unwrap();
        pauses.known.age();
        let shut = GateState::Shut("paused by cli:ada: their deploy".to_owned());
        pauses.gate("crm").set(shut.clone());
        pauses.check().await.unwrap();
        assert_eq!(pauses.gate("crm").state(), shut);
    }
}
