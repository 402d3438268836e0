//! Runs the operations that operators have started, such as replays of dead letters and of the history.
//!
//! Each operation is a row. All archive workers look for rows that run without a runner. One of them takes such a
//! row up, under a lease. When that worker dies, another goes on with the operation once the lease has ended. Told
//! to stop, a worker gives the lease back at once. The outcome of an operation is in its row.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::bootstrap::{Failure, Program};
use common::broker::Broker;
use common::config::{Config, Destination};
use common::store::{OperationReport, OperationState, Store};
use common::telemetry::metrics::OperationRun;
use common::topology::{Names, Topology};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use operate::history::Judge;
use operate::operation::{Executor, News, Outcome, PATIENCE, Runner, is_leased, longest_attempt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Time between two looks for operations without a runner.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Maximum of operations that one process runs side by side.
const MAX_SIDE_BY_SIDE: usize = 8;

/// Maximum of operations in one look: those that others run are among them.
const MAX_LOOKED_AT: u32 = 1000;

/// The runner of operations.
pub struct Operations {
    broker: Arc<dyn Broker>,
    store: Arc<dyn Store>,
    topology: Topology,
    names: Names,
    judge: Judge,
    destinations: Vec<Destination>,
    longest_attempt: Duration,
    stop: CancellationToken,
    /// The operations that this process runs.
    in_hand: Mutex<HashSet<Uuid>>,
}

impl Operations {
    /// Creates the runner of operations. It runs them until the program is told to stop.
    ///
    /// # Errors
    /// A configured event type cannot be used.
    pub fn new(
        program: &Program,
        broker: &Arc<dyn Broker>,
        store: &Arc<dyn Store>,
    ) -> Result<Self, Failure> {
        let stop = program.stop.clone();
        Self::with(&program.config, broker, store, stop)
    }

    fn with(
        config: &Config,
        broker: &Arc<dyn Broker>,
        store: &Arc<dyn Store>,
        stop: CancellationToken,
    ) -> Result<Self, Failure> {
        Ok(Self {
            broker: Arc::clone(broker),
            store: Arc::clone(store),
            topology: Topology::new(&config.plan()),
            names: Names::new(config.namespace.clone()),
            judge: Judge::new(config)?,
            destinations: config.destinations.clone(),
            longest_attempt: longest_attempt(config),
            stop,
            in_hand: Mutex::default(),
        })
    }

    /// Runs operations until the program is told to stop. Unfinished ones are then left to other workers.
    pub async fn run(&self) {
        let (found, mut to_run) = mpsc::channel(MAX_SIDE_BY_SIDE);
        let running = async {
            let mut under_way = FuturesUnordered::new();
            loop {
                tokio::select! {
                    Some(replay) = to_run.recv() => under_way.push(self.take_up(replay)),
                    Some(()) = under_way.next() => {}
                    else => break,
                }
            }
        };
        tokio::join!(self.look(found), running);
    }

    /// Looks for operations without a runner, again and again.
    async fn look(&self, found: mpsc::Sender<Uuid>) {
        let mut is_failing = false;
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
            match self.unclaimed().await {
                Ok(unclaimed) => {
                    is_failing = false;
                    for replay in unclaimed {
                        self.in_hand().insert(replay);
                        // Cannot fail: the other end lives as long as this one.
                        let _ = found.send(replay).await;
                    }
                }
                Err(failure) => {
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::warn!(error = %failure, "operations cannot be looked for");
                    }
                }
            }
        }
    }

    /// The operations without a runner, as far as there is room for them.
    async fn unclaimed(&self) -> Result<Vec<Uuid>, Failure> {
        let mut room = MAX_SIDE_BY_SIDE.saturating_sub(self.in_hand().len());
        let mut unclaimed = Vec::new();
        if room == 0 {
            return Ok(unclaimed);
        }
        for replay in self
            .store
            .operations()
            .running_operations(MAX_LOOKED_AT)
            .await?
        {
            let is_ours = self.in_hand().contains(&replay);
            if is_ours || is_leased(self.store.as_ref(), replay).await? {
                continue;
            }
            unclaimed.push(replay);
            room -= 1;
            if room == 0 {
                break;
            }
        }
        Ok(unclaimed)
    }

    /// Runs one operation, unless another process does. An operation that panics is stopped, since it would panic
    /// in every worker.
    async fn take_up(&self, replay: Uuid) {
        match AssertUnwindSafe(self.replay(replay)).catch_unwind().await {
            Ok(Ok(None)) => {}
            Ok(Ok(Some(outcome))) => tell(&outcome),
            Ok(Err(failure)) => {
                tracing::warn!(operation = %replay, error = %failure, "an operation failed");
            }
            Err(_) => {
                tracing::error!(operation = %replay, "an operation is stopped: it panicked");
                self.give_up(replay).await;
            }
        }
        self.in_hand().remove(&replay);
    }

    async fn replay(&self, replay: Uuid) -> Result<Option<Outcome>, Failure> {
        let executor = Executor {
            broker: self.broker.as_ref(),
            store: self.store.as_ref(),
            topology: &self.topology,
            names: &self.names,
            judge: &self.judge,
            destinations: &self.destinations,
            stop: &self.stop,
            patience: PATIENCE,
            longest_attempt: self.longest_attempt,
            runner: Runner::Worker,
        };
        let mut run = OperationRun::begin();
        let count = |news: News<'_>| {
            if let News::Sent(messages) = news {
                run.went_on(messages);
            }
        };
        let outcome = executor.take_up(replay, count).await;
        match &outcome {
            Ok(Some(outcome)) => run.ended(outcome.stopped),
            Ok(None) => run.is_elsewhere(),
            Err(_) => {}
        }
        outcome
    }

    /// Stops an operation that panicked.
    async fn give_up(&self, replay: Uuid) {
        let report = OperationReport {
            why_stopped: Some("it failed in a way that is a bug in the worker".to_owned()),
            ..OperationReport::default()
        };
        let operations = self.store.operations();
        let given_up = async {
            operations.report_operation(replay, &report).await?;
            operations
                .end_operation(replay, OperationState::Stopped)
                .await
        };
        if let Err(error) = given_up.await {
            tracing::warn!(operation = %replay, %error, "an operation that panicked is not stopped");
        }
    }

    fn in_hand(&self) -> MutexGuard<'_, HashSet<Uuid>> {
        self.in_hand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Logs how the run of an operation ended.
fn tell(outcome: &Outcome) {
    let (operation, kind, sent) = (outcome.replay, outcome.kind, outcome.replayed);
    let left_open = outcome.left_open_count;
    match &outcome.why_stopped {
        Some(why) => {
            tracing::info!(%operation, %kind, sent, left_open, why, "an operation ends here");
        }
        None => tracing::info!(%operation, %kind, sent, left_open, "an operation is done"),
    }
}

#[cfg(test)]
mod tests;
