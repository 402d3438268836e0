//! Follows the pauses of destinations: a paused one's gate is shut in every process, within a second.
//!
//! The workers ask for pauses, as doors do for keys, rather than being told: it is one small question for all destinations of
//! a process, the same for every engine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::runtime::{Gate, GateState};
use common::store::{PausedDestination, Store};
use common::telemetry::metrics;
use tokio_util::sync::CancellationToken;

/// How often the pauses are read.
const PAUSE_POLL: Duration = Duration::from_millis(500);

/// The gates of the destinations of one process.
pub(super) struct Pauses {
    store: Arc<dyn Store>,
    gates: BTreeMap<String, Gate>,
}

impl Pauses {
    /// Gates that are shut until the pauses are known.
    pub(super) fn new<'n>(
        store: Arc<dyn Store>,
        destinations: impl IntoIterator<Item = &'n str>,
    ) -> Self {
        let gate = |name: &str| (name.to_owned(), Gate::new(GateState::Unknown));
        Self {
            store,
            gates: destinations.into_iter().map(gate).collect(),
        }
    }

    /// The gate of a destination.
    pub(super) fn gate(&self, destination: &str) -> Gate {
        self.gates.get(destination).cloned().unwrap_or_default()
    }

    /// Sets the gates as the database says, until `stop`. While it does not answer, they stay as they are.
    pub(super) async fn follow(self, stop: CancellationToken) {
        let mut is_told = false;
        loop {
            match self.store.destinations().paused_destinations().await {
                Ok(paused) => {
                    is_told = false;
                    self.set(&paused);
                }
                Err(error) if !std::mem::replace(&mut is_told, true) => {
                    tracing::warn!(%error, "pauses of destinations cannot be read: those that are known hold");
                }
                Err(_) => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PAUSE_POLL) => {}
            }
        }
    }

    fn set(&self, paused: &[PausedDestination]) {
        for (name, gate) in &self.gates {
            let pause = paused.iter().find(|pause| pause.name == *name);
            let was_shut = matches!(gate.state(), GateState::Shut(_));
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
                None if was_shut => {
                    tracing::info!(destination.name = %name, "resumed: deliveries go on");
                }
                None => {}
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
    async fn a_gate_follows_the_database_and_stays_while_that_is_down() {
        let (store, stop) = (testbed::store().await, CancellationToken::new());
        let pauses = Pauses::new(Arc::clone(&store), ["crm", "mail"]);
        let (crm, mail) = (pauses.gate("crm"), pauses.gate("mail"));
        assert_eq!(crm.state(), GateState::Unknown);
        let following = tokio::spawn(pauses.follow(stop.clone()));
        crm.opened().await;
        let pause = NewPause {
            destination: "crm".to_owned(),
            by: "cli:ada".to_owned(),
            why: "their deploy".to_owned(),
        };
        store
            .destinations()
            .pause_destination(&pause, None)
            .await
            .unwrap();
        crm.shut().await;
        let state = GateState::Shut("paused by cli:ada: their deploy".to_owned());
        assert_eq!((crm.state(), mail.is_open()), (state, true));
        let mut act = testbed::act("cli:ada");
        act.action = AuditAction::DestinationResume;
        store
            .destinations()
            .resume_destination("crm", &act)
            .await
            .unwrap();
        crm.opened().await;
        stop.cancel();
        following.await.unwrap();

        let pauses = Pauses::new(testbed::down(), ["crm"]);
        let (crm, stop) = (pauses.gate("crm"), CancellationToken::new());
        let following = tokio::spawn(pauses.follow(stop.clone()));
        let opened = tokio::time::timeout(PAUSE_POLL * 2, crm.opened()).await;
        assert!(opened.is_err() && crm.state() == GateState::Unknown);
        stop.cancel();
        following.await.unwrap();
    }
}
