//! The topology: declared at the start, and kept so while the program runs.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Failure, Program};
use crate::broker::{Broker, BrokerError, declare_anew, declare_missing};
use crate::tasks;
use crate::telemetry::millis;
use crate::topology::Topology;

/// How often the topology is declared again, in case somebody deleted a part of it. Existing parts stay as they are,
/// and cost the broker a look.
const EVERY: Duration = Duration::from_secs(5);

/// The pause between two declarations that publishers or consumers asked for.
const PAUSE: Duration = Duration::from_millis(500);

impl Program {
    /// Declares the topology, waiting for the broker as long as it takes; `false` when the program was stopped before.
    /// From then on, deleted parts are declared again within seconds.
    ///
    /// # Errors
    /// Something is declared otherwise already: no waiting mends that.
    pub async fn declare(&self, broker: &Arc<dyn Broker>) -> Result<bool, Failure> {
        let topology = Topology::new(&self.config.plan());
        let mut waits = self.waits();
        loop {
            match declare_anew(&**broker, &topology).await {
                Ok(()) => {
                    self.declared.store(true, Ordering::Relaxed);
                    let keep = self.clone().keep_declared(Arc::clone(broker), topology);
                    tasks::spawn_until("keeper of the topology", self.stop.clone(), keep);
                    return Ok(true);
                }
                Err(
                    error @ (BrokerError::Mismatch(_)
                    | BrokerError::Refused(_)
                    | BrokerError::Distrust { .. }),
                ) => {
                    return Err(error.into());
                }
                Err(error) => {
                    let wait = waits.next_wait();
                    tracing::warn!(%error, wait_ms = millis(wait), "waiting for the broker");
                    if !self.pause(wait).await {
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// Declares the topology again and again, at once after a missing part was met, until the program must stop.
    async fn keep_declared(self, broker: Arc<dyn Broker>, topology: Topology) {
        // The problem that was logged last: once is enough.
        let mut told = None;
        while self.pause(PAUSE).await {
            let missed = tokio::select! {
                () = self.stop.cancelled() => return,
                () = broker.missed() => true,
                () = tokio::time::sleep(EVERY) => false,
            };
            if self.declaring.load(Ordering::Relaxed) {
                continue;
            }
            if missed {
                tracing::warn!("a part of the topology is missing: declaring it again");
            }
            match declare_missing(&*broker, &topology).await {
                Ok(queues) => {
                    told = None;
                    if !queues.is_empty() {
                        tracing::warn!(?queues, "missing queues are declared again");
                    }
                }
                // The others use another list now: they would not believe this program's messages.
                Err(error @ BrokerError::Distrust { .. }) => {
                    tracing::error!(%error, "stopping");
                    self.end.cancel();
                    return;
                }
                Err(error @ (BrokerError::Mismatch(_) | BrokerError::Refused(_))) => {
                    let problem = error.to_string();
                    if told.as_ref() != Some(&problem) {
                        tracing::warn!(%error, "the topology cannot be declared again");
                        told = Some(problem);
                    }
                }
                // Publishers and consumers report it louder.
                Err(error) => tracing::debug!(%error, "could not declare the topology again"),
            }
        }
    }
}
