//! A worker: two lanes, one for the queue and one for its suspects, and what they share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::Received;
use super::hold::{Down, Hold};
use super::lane::{Lane, LaneKind};
use super::standing::{Consuming, Standing};
use crate::bootstrap::{Failure, Program, millis};
use crate::broker::Broker;
use crate::config::StageSettings;
use crate::event::Logins;
use crate::outcome::Outcome;
use crate::retry::Waits;
use crate::tasks;
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
    pub(super) hold: Arc<Hold>,
    /// Trials of held workers that are under way.
    pub(super) trials: TaskTracker,
    /// How many events went through so far.
    through: AtomicU64,
    main: Arc<Consuming>,
    suspects: Arc<Consuming>,
    /// One permit for each call of the handler; a suspect takes them all.
    pub(super) slots: Arc<Semaphore>,
    pub(super) metrics: QueueMetrics,
    /// Whose `longshore-*` headers count.
    pub(super) logins: Logins,
    pub(super) topology: Topology,
    probe_first: Duration,
    probe_max: Duration,
    drain: Duration,
}

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
            hold: Arc::new(Hold::new()),
            trials: TaskTracker::new(),
            through: AtomicU64::new(0),
            main: Consuming::new(&spec.queue),
            suspects: Consuming::new(&Names::suspect(&spec.queue)),
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

    /// How it stands, also while it runs.
    pub fn standing(&self) -> Standing {
        let lanes = [&self.main, &self.suspects].map(Arc::clone);
        Standing::new(&self.spec.queue, Arc::clone(&self.hold), lanes)
    }

    /// Works until the program is told to stop, then finishes what is running and gives the rest
    /// back.
    ///
    /// # Errors
    /// What was running did not end within the drain deadline. Nothing is lost: the broker gives it
    /// out again.
    pub async fn run(self) -> Result<(), Failure> {
        let worker = Arc::new(self);
        let queue = &worker.spec.queue;
        let lane = |kind, queue| Lane::new(&worker, kind, queue);
        let main = lane(LaneKind::Main, queue.clone()).run(Arc::clone(&worker.main));
        let suspects = lane(LaneKind::Suspects, Names::suspect(queue));
        let suspects = suspects.run(Arc::clone(&worker.suspects));
        // Tasks of their own: the runtime's threads take up what arrives, and no other has to be woken.
        let stop = || worker.stop.clone();
        let all = [
            tasks::spawn_until("keeper of holds", stop(), Arc::clone(&worker).keep()),
            tasks::spawn_until("lane", stop(), main),
            tasks::spawn_until("lane of suspects", stop(), suspects),
        ];
        let all = join_all(all.map(AbortOnDropHandle::new));
        tokio::pin!(all);
        let ended = tokio::select! {
            ended = &mut all => ended,
            () = async {
                worker.stop.cancelled().await;
                tokio::time::sleep(worker.drain).await;
            } => {
                return Err(Failure::Failed(anyhow::anyhow!(
                    "what was running on {queue} did not end within {:?}; the broker will give it out again",
                    worker.drain
                )));
            }
        };
        for task in ended {
            task.map_err(|error| anyhow::anyhow!("a task of {queue} failed: {error}"))?;
        }
        Ok(())
    }

    /// Begins to hold, if it does not already.
    pub(super) fn begin_hold(&self, down: Down) {
        if self.hold.begin(down) {
            self.metrics.holding(true);
        }
    }

    /// An event went through.
    pub(super) fn went_through(&self) {
        self.through.fetch_add(1, Ordering::Relaxed);
    }

    /// How many events went through so far.
    pub(super) fn through(&self) -> u64 {
        self.through.load(Ordering::Relaxed)
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
