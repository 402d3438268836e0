//! The desk of a worker: what its lanes share with each other and with the keeper of holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::Handler;
use super::hold::{Down, Hold};
use super::spec::{Spec, Surroundings};
use crate::broker::Broker;
use crate::dependency::Engines;
use crate::retry::Waits;
use crate::telemetry::metrics::QueueMetrics;
use crate::telemetry::millis;

/// The state that the lanes of one worker share.
pub(super) struct Desk {
    pub(super) broker: Arc<dyn Broker>,
    pub(super) handler: Arc<dyn Handler>,
    pub(super) spec: Spec,
    pub(super) surroundings: Surroundings,
    /// The names of its dependencies.
    pub(super) engines: Engines,
    pub(super) hold: Arc<Hold>,
    /// Trials of held workers that are under way.
    pub(super) trials: TaskTracker,
    /// One permit for each call of the handler; a suspect takes them all.
    pub(super) slots: Arc<Semaphore>,
    pub(super) metrics: QueueMetrics,
    /// How many events went through so far.
    through: AtomicU64,
}

impl Desk {
    pub(super) fn new(
        surroundings: Surroundings,
        broker: Arc<dyn Broker>,
        handler: Arc<dyn Handler>,
        spec: Spec,
    ) -> Self {
        let engines = Engines {
            broker: broker.engine(),
            database: surroundings.database,
        };
        Self {
            broker,
            handler,
            surroundings,
            engines,
            hold: Arc::new(Hold::new(engines)),
            trials: TaskTracker::new(),
            slots: Arc::new(Semaphore::new(spec.settings.concurrency)),
            metrics: QueueMetrics::new(&spec.queue),
            through: AtomicU64::new(0),
            spec,
        }
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

    /// The waits between two looks at a dependency that is down.
    pub(super) fn waits(&self) -> Waits {
        Waits::between(self.surroundings.probe_first, self.surroundings.probe_max)
    }

    /// Waits until the worker neither holds nor has its gate shut.
    pub(super) async fn may_take(&self) {
        loop {
            self.hold.ended().await;
            if self.spec.gate.is_open() {
                return;
            }
            self.spec.gate.opened().await;
        }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.surroundings.stop.is_cancelled()
    }

    /// Waits until the worker is told to stop.
    pub(super) async fn stopped(&self) {
        self.surroundings.stop.cancelled().await;
    }

    /// Waits; `false` when the worker was told to stop in the meantime.
    pub(super) async fn pause(&self, wait: Duration) -> bool {
        tracing::debug!(queue.name = %self.spec.queue, wait_ms = millis(wait), "waiting");
        tokio::select! {
            () = tokio::time::sleep(wait) => true,
            () = self.stopped() => false,
        }
    }
}
