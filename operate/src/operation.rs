//! Runs operations: replays of dead letters and of the history, and discards and restores in bulk.
//!
//! An operation is a row, and belongs to the system. Workers run the operations that are handed over to them
//! (`Executor::take_up`). One worker at a time runs an operation, under a lease. When that worker dies, another goes on
//! with it. Operators begin, steer and watch an operation through its row, or run it in their own process where there is
//! no worker.
//!
//! A request to pause or to stop is heard before the next batch is claimed, and no batch takes much longer than a second.
//! An operation waits for a broker or a database that is down.

mod changes;
mod follow;
mod handover;
mod lease;
mod outcome;
mod pace;
mod patience;
mod progress;
mod replay;
mod report;
mod routes;
mod run;
mod steering;
mod watch;

use std::time::Duration;

use common::bootstrap::Failure;
use common::broker::Broker;
use common::config::{Config, Destination};
use common::store::{Operation, OperationState, Progress, ReplayOutcome, Store};
use common::topology::{Names, Topology};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::dead::Change;
use crate::history::Judge;
use crate::roles::{Requester, permit};
use crate::words::count;

pub use follow::follow;
pub use handover::hand_over;
pub use lease::is_leased;
use lease::{RunLease, elsewhere};
use outcome::{Ended, STOPPED_ELSEWHERE, Sent};
pub use outcome::{News, Outcome};
pub use progress::{Watched, watch_progress};
use report::Report;
pub use routes::configuration_problem;
use run::Run;
pub use steering::{begin, beginning, steer};

/// Maximum of letters or events in one batch.
pub const BATCH: u32 = 500;

/// Maximum wait for a broker or a database that is down, before the operation gives up.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// Maximum time that an attempt takes beside the receiver's own time, until it is recorded.
const BESIDE: Duration = Duration::from_secs(2);

/// The surroundings of an operation: broker, store and configuration.
pub struct Executor<'a> {
    /// The broker that letters go to.
    pub broker: &'a dyn Broker,
    /// The store that keeps letters and operations.
    pub store: &'a dyn Store,
    /// The queues of the configuration.
    pub topology: &'a Topology,
    /// The names of the queues.
    pub names: &'a Names,
    /// Reads events off the history.
    pub judge: &'a Judge,
    /// The configured destinations.
    pub destinations: &'a [Destination],
    /// Ends the operation in good order.
    pub stop: &'a CancellationToken,
    /// Maximum wait for a broker or a database that is down.
    pub patience: Duration,
    /// Maximum time that a worker takes for one attempt.
    pub longest_attempt: Duration,
    /// The kind of this process.
    pub runner: Runner,
}

/// The kind of process that runs an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runner {
    /// The process of an operator who waits for the operation. Told to stop, it stops the operation.
    Operator,
    /// A worker. Told to stop, it leaves the operation to another worker.
    Worker,
}

/// Maximum time that a worker takes for one attempt, until it is recorded.
pub fn longest_attempt(config: &Config) -> Duration {
    let timeouts = config.destinations.iter().map(|it| it.timeout);
    timeouts.max().unwrap_or_default() + BESIDE
}

impl Executor<'_> {
    /// Begins an operation in this process and runs it to its end.
    ///
    /// # Errors
    /// The role does not allow it. Or broker or database were down for too long: confirmed messages are marked as far as
    /// the database took the marks, and the operation can be resumed.
    pub async fn begin(
        &self,
        operation: &Operation,
        tell: impl Fn(News<'_>),
    ) -> Result<Outcome, Failure> {
        permit(self.store, &operation.act).await?;
        // The lease is taken before the row is there, so that no worker takes the operation up.
        let lease = RunLease::take(self.store, operation.id, self.stop).await?;
        self.store.operations().begin_operation(operation).await?;
        let progress = known(self.store, operation.id).await?;
        self.run(&progress, &lease, &tell).await
    }

    /// Goes on in this process with an operation that was killed, paused or stopped, from now on at most at `rate` where
    /// one is given.
    ///
    /// # Errors
    /// The operation is unknown, done, or runs elsewhere. Otherwise as [`Executor::begin`].
    pub async fn resume(
        &self,
        id: Uuid,
        rate: Option<u32>,
        by: &Requester,
        tell: impl Fn(News<'_>),
    ) -> Result<Outcome, Failure> {
        let operation = unfinished(known(self.store, id).await?)?;
        if let Some(next) = handover::successor(&operation, rate, by) {
            return self.begin(&next, tell).await;
        }
        let lease = RunLease::take(self.store, id, self.stop).await?;
        let ready = async {
            // Read again: the row as the previous run has left it.
            let operation = unfinished(known(self.store, id).await?)?;
            handover::set_running(self.store, &operation, rate, by).await?;
            known(self.store, id).await
        };
        match ready.await {
            Ok(operation) => self.run(&operation, &lease, &tell).await,
            Err(failure) => {
                lease.give_up(self.store).await;
                Err(failure)
            }
        }
    }

    /// Runs an operation that was handed over. Returns `None` where another process runs it, or where it does not run.
    ///
    /// # Errors
    /// As [`Executor::begin`]. If broker or database is down, the operation is left to the next worker that takes it
    /// up. Any other failure stops the operation.
    pub async fn take_up(
        &self,
        id: Uuid,
        tell: impl Fn(News<'_>),
    ) -> Result<Option<Outcome>, Failure> {
        let Some(lease) = RunLease::try_take(self.store, id).await? else {
            return Ok(None);
        };
        match known(self.store, id).await {
            Ok(operation) if operation.state == OperationState::Running => {
                let (kind, sent) = (operation.kind, operation.replayed);
                tracing::info!(operation = %id, %kind, sent, "running an operation");
                self.run(&operation, &lease, &tell).await.map(Some)
            }
            other => {
                lease.give_up(self.store).await;
                other.map(|_| None)
            }
        }
    }

    /// Sends, and watches meanwhile how many letters die again; then ends the operation.
    async fn run(
        &self,
        operation: &Progress,
        lease: &RunLease,
        tell: &dyn Fn(News<'_>),
    ) -> Result<Outcome, Failure> {
        let enough = CancellationToken::new();
        let lost = CancellationToken::new();
        let (sending_is_over, over) = (CancellationToken::new(), CancellationToken::new());
        let report = Report::begin(operation, tell);
        let run = Run::new(self, operation, &report, [&enough, &lost]);
        let done = async {
            let send = async {
                let sent = match Change::of(operation) {
                    Some(change) => changes::make(&run, &change).await,
                    None => replay::send(&run, lease.before).await,
                };
                sending_is_over.cancel();
                sent
            };
            let (sent, died) = tokio::join!(
                send,
                watch::watch(self.store, operation, &enough, &sending_is_over)
            );
            if sent.is_ok() && !run.is_unsure() {
                lease.all_is_known();
            }
            let done = match lost.is_cancelled() {
                // The other run decides how the operation ends.
                true => Err(elsewhere(operation.id)),
                false => self.ended(&run, sent, died).await,
            };
            over.cancel();
            done
        };
        let (done, (), ()) = tokio::join!(
            done,
            lease.keep(self.store, &lost, &over),
            report.keep(self.store, operation.id, [&lost, &over])
        );
        done
    }

    async fn ended(
        &self,
        run: &Run<'_>,
        sent: Result<Sent, Failure>,
        died: Option<ReplayOutcome>,
    ) -> Result<Outcome, Failure> {
        match sent {
            Ok(sent) => self.end(run, sent, died).await,
            Err(failure) => Err(self.fail(run, failure).await),
        }
    }

    /// A worker leaves the operation to the next worker where broker or database is down. Any other failure stops the
    /// replay.
    async fn fail(&self, run: &Run<'_>, failure: Failure) -> Failure {
        let (operations, id) = (self.store.operations(), run.operation.id);
        let is_left = self.runner == Runner::Worker && matches!(failure, Failure::Unreachable(_));
        if !is_left {
            run.report.stop(&failure.in_one_line());
        }
        // Where the database is out of reach as well, the operation stays as if its run had been killed.
        let _ = operations.report_operation(id, &run.report.so_far()).await;
        if is_left {
            return failure;
        }
        let _ = operations.end_operation(id, OperationState::Stopped).await;
        match failure {
            Failure::Unreachable(why) => {
                Failure::Unreachable(format!("{why}; go on with `longshore replay resume {id}`"))
            }
            other => other,
        }
    }

    async fn end(
        &self,
        run: &Run<'_>,
        sent: Sent,
        died: Option<ReplayOutcome>,
    ) -> Result<Outcome, Failure> {
        let (operations, id) = (self.store.operations(), run.operation.id);
        let (state, why) = match (sent.ended, died) {
            (Ended::All, _) => (Some(OperationState::Done), None),
            (Ended::Steered, _) => (None, Some(STOPPED_ELSEWHERE)),
            (Ended::Halted, Some(died)) => {
                run.report.stop(&format!(
                    "stopped by itself: {} of {} that were looked at died again",
                    died.died_again,
                    count(died.completed + died.died_again, "message")
                ));
                (Some(OperationState::Stopped), None)
            }
            (Ended::Halted, None) => match self.runner {
                Runner::Worker => (None, Some("left to another worker")),
                Runner::Operator => {
                    run.report.stop("stopped here");
                    (Some(OperationState::Stopped), None)
                }
            },
        };
        let report = run.report.so_far();
        let write = async || operations.report_operation(id, &report).await;
        run.patience.outlast(write).await?;
        if let Some(state) = state {
            let end = async || operations.end_operation(id, state).await;
            run.patience.outlast(end).await?;
        }
        let mut outcome = Outcome::of_run(id, run.operation.kind, sent.replayed, report);
        if let Some(why) = why {
            outcome.stopped = true;
            outcome.why_stopped = Some(why.to_owned());
        }
        Ok(outcome)
    }
}

async fn known(store: &dyn Store, id: Uuid) -> Result<Progress, Failure> {
    store.operations().operation(id).await?.ok_or_else(|| {
        Failure::Usage(format!(
            "expected a replay that `longshore replay list` shows, found none with id {id}"
        ))
    })
}

/// The operation, unless it is done: it may have ended elsewhere meanwhile.
fn unfinished(operation: Progress) -> Result<Progress, Failure> {
    match operation.state {
        OperationState::Done => Err(Failure::Usage(format!(
            "{} {} is done already: it has dealt with {}",
            operation.kind,
            operation.id,
            count(operation.replayed, "message")
        ))),
        _ => Ok(operation),
    }
}

#[cfg(test)]
mod tests;
