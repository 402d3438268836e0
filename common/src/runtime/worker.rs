//! A worker: two lanes, one for the queue and one for its suspects, and what they share.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::hold::Hold;
use super::lane::{Lane, LaneKind};
use super::{Received, call};
use crate::bootstrap::{Failure, Program, millis};
use crate::broker::Broker;
use crate::config::StageSettings;
use crate::event::Logins;
use crate::outcome::Outcome;
use crate::retry::Waits;
use crate::telemetry::metrics::QueueMetrics;
use crate::topology::{Names, Topology};

/// What a worker does with events.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Handles a batch: one outcome for each event, in order. May be called many times at once, and
    /// again for the same event, which must then change nothing. It may be dropped at any await,
    /// when its time is up.
    async fn handle(&self, batch: &[Received]) -> Vec<Outcome>;

    /// Asks whether a dependency that [`Outcome::Hold`] named answers again.
    ///
    /// # Errors
    /// It does not, and how that shows.
    async fn probe(&self, dependency: &'static str) -> Result<(), String>;
}

/// What a worker works on, and how hard.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The queue.
    pub queue: String,
    /// How hard.
    pub settings: StageSettings,
    /// The queue that takes what is given up here, where that is not the dead letters' own: the
    /// archive's dead letters must not come back to it.
    pub parked: Option<String>,
}

impl Spec {
    /// As it is for most queues: what is given up becomes a dead letter.
    pub fn new(queue: String, settings: StageSettings) -> Self {
        Self {
            queue,
            settings,
            parked: None,
        }
    }
}

/// A worker on one queue.
pub struct Worker {
    pub(super) broker: Arc<dyn Broker>,
    pub(super) handler: Arc<dyn Handler>,
    pub(super) spec: Spec,
    pub(super) stop: CancellationToken,
    pub(super) hold: Hold,
    /// One permit for each call of the handler; a suspect takes them all.
    pub(super) slots: Arc<Semaphore>,
    pub(super) metrics: QueueMetrics,
    /// Whose `longshore-*` headers count.
    pub(super) logins: Logins,
    topology: Topology,
    probe_first: Duration,
    probe_max: Duration,
    drain: Duration,
}

/// The dependency that the runtime itself needs.
pub(super) const BROKER: &str = "rabbitmq";

impl Worker {
    /// A worker of `program`. It starts to work in [`Worker::run`].
    pub fn new(
        program: &Program,
        broker: Arc<dyn Broker>,
        handler: Arc<dyn Handler>,
        spec: Spec,
    ) -> Self {
        let settings = &program.config.worker;
        Self {
            broker,
            handler,
            stop: program.stop.clone(),
            hold: Hold::new(),
            slots: Arc::new(Semaphore::new(spec.settings.concurrency)),
            metrics: QueueMetrics::new(&spec.queue),
            logins: program.config.broker.logins(),
            topology: Topology::new(&program.config.plan()),
            spec,
            probe_first: settings.probe_first,
            probe_max: settings.probe_max,
            drain: settings.drain,
        }
    }

    /// The queue it works on.
    pub fn queue(&self) -> &str {
        &self.spec.queue
    }

    /// Works until the program is told to stop, then finishes what is running and gives the rest
    /// back.
    ///
    /// # Errors
    /// What was running did not end within the drain deadline. Nothing is lost: the broker gives it
    /// out again.
    pub async fn run(self) -> Result<(), Failure> {
        let worker = Arc::new(self);
        let keeper = tokio::spawn(Arc::clone(&worker).keep());
        let suspects = Names::suspect(&worker.spec.queue);
        let lanes = [
            (LaneKind::Main, worker.spec.queue.clone()),
            (LaneKind::Suspects, suspects),
        ];
        // Tasks of their own: the runtime's threads take up what arrives, and no other has to be woken.
        let lanes = lanes.map(|(kind, queue)| {
            let lane = Lane::new(&worker, kind, queue);
            AbortOnDropHandle::new(tokio::spawn(lane.run()))
        });
        let lanes = async {
            for ended in join_all(lanes).await {
                // A lane that is called off is no longer waited for: what else ends it is its panic.
                if let Err(error) = ended
                    && let Ok(panic) = error.try_into_panic()
                {
                    std::panic::resume_unwind(panic);
                }
            }
        };
        tokio::pin!(lanes);
        let ended = tokio::select! {
            () = &mut lanes => true,
            () = async {
                worker.stop.cancelled().await;
                tokio::time::sleep(worker.drain).await;
            } => false,
        };
        keeper.abort();
        if ended {
            return Ok(());
        }
        Err(Failure::Failed(anyhow::anyhow!(
            "what was running on {} did not end within {:?}; the broker will give it out again",
            worker.spec.queue,
            worker.drain
        )))
    }

    /// Begins to hold, said once.
    pub(super) fn begin_hold(&self, dependency: &'static str, error: &str) {
        if self.hold.begin(dependency, error) {
            self.metrics.hold(dependency);
            self.metrics.holding(true);
            tracing::warn!(
                queue.name = %self.spec.queue, dependency, error,
                "holding: giving events back until it answers"
            );
        }
    }

    /// Ends each hold when its dependency answers again.
    async fn keep(self: Arc<Self>) {
        loop {
            let (dependency, _) = self.hold.begun().await;
            let mut waits = self.waits();
            loop {
                tokio::time::sleep(waits.next_wait()).await;
                match self.probe(dependency).await {
                    Ok(()) => break,
                    Err(error) => {
                        tracing::debug!(queue.name = %self.spec.queue, dependency, error, "still down");
                    }
                }
            }
            tracing::info!(queue.name = %self.spec.queue, dependency, "it answers: working again");
            self.metrics.holding(false);
            self.hold.end();
        }
    }

    async fn probe(&self, dependency: &'static str) -> Result<(), String> {
        if dependency != BROKER {
            return call::probe(&*self.handler, dependency, self.spec.settings.timeout).await;
        }
        self.broker
            .ready()
            .await
            .map_err(|error| error.to_string())?;
        // Somebody may have deleted what we publish to.
        self.broker
            .apply(&self.topology)
            .await
            .map_err(|error| error.to_string())
    }

    pub(super) fn waits(&self) -> Waits {
        Waits::between(self.probe_first, self.probe_max)
    }

    /// Waits; `false` when the worker was told to stop in the meantime.
    pub(super) async fn pause(&self, wait: Duration) -> bool {
        tracing::debug!(queue.name = %self.spec.queue, wait_ms = millis(wait), "waiting");
        tokio::select! {
            () = tokio::time::sleep(wait) => true,
            () = self.stop.cancelled() => false,
        }
    }
}
