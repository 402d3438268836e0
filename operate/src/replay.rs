//! Sends dead letters, or a part of the history, again. It works in batches and at a set rate. Only messages that
//! the broker has confirmed are marked.
//!
//! A replay is a row, and belongs to the system. Workers run the replays that are handed over to them
//! (`Replayer::take_up`). One worker at a time runs a replay, under a lease. When that worker dies, another goes
//! on with the replay. Operators begin, steer and watch a replay through its row, or run it in their own process
//! where there is no worker.
//!
//! A letter is claimed by one replay alone, so two replays never send the same letter. A program may be killed
//! between a confirm and the mark. The next run then sends that letter once more under the same generation. The
//! dedupe keys contain the generation, so they drop the second message.
//!
//! Discards and restores in bulk are operations too, and run in the same way: under a lease, steered through their rows.
//!
//! Others steer a replay through its row. A request to pause or to stop is heard before the next batch is claimed,
//! and no batch takes much longer than a second. The replay waits for a broker or a database that is down.

mod calm;
mod changes;
mod courier;
mod dispatch;
mod follow;
mod generation;
mod handover;
mod lately;
mod lease;
mod letter;
mod letters;
mod outcome;
mod pace;
mod patience;
mod progress;
mod raw;
mod report;
mod routes;
mod run;
mod slice;
mod watch;

use std::time::Duration;

use common::bootstrap::Failure;
use common::broker::Broker;
use common::config::Config;
use common::store::{Operation, OperationState, Progress, ReplayOutcome, Store};
use common::topology::{Names, Topology};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::dead::Change;
use crate::history::Judge;
use crate::words::count;

pub use follow::follow;
pub use handover::hand_over;
pub use lease::is_leased;
use lease::{Before, RunLease, elsewhere};
use outcome::{Ended, STOPPED_ELSEWHERE, Sent};
pub use outcome::{News, Outcome};
pub use progress::{Watched, watch_progress};
use report::Report;
pub use routes::configuration_problem;
use run::Run;

/// Maximum of letters or events in one batch.
pub const BATCH: u32 = 500;

/// Maximum wait for a broker or a database that is down, before the replay gives up.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// Maximum time that an attempt takes beside the receiver's own time, until it is recorded.
const BESIDE: Duration = Duration::from_secs(2);

/// The surroundings of a replay: broker, store and configuration.
pub struct Replayer<'a> {
    /// The broker that letters go to.
    pub broker: &'a dyn Broker,
    /// The store that keeps letters and replays.
    pub store: &'a dyn Store,
    /// The queues of the configuration.
    pub topology: &'a Topology,
    /// The names of the queues.
    pub names: &'a Names,
    /// Reads events off the history.
    pub judge: &'a Judge,
    /// Ends the replay in good order.
    pub stop: &'a CancellationToken,
    /// Maximum wait for a broker or a database that is down.
    pub patience: Duration,
    /// Maximum time that a worker takes for one attempt.
    pub longest_attempt: Duration,
    /// The kind of this process.
    pub runner: Runner,
}

/// The kind of process that runs a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runner {
    /// The process of an operator who waits for the replay. Told to stop, it stops the replay.
    Operator,
    /// A worker. Told to stop, it leaves the replay to another worker.
    Worker,
}

/// Maximum time that a worker takes for one attempt, until it is recorded.
pub fn longest_attempt(config: &Config) -> Duration {
    let timeouts = config.destinations.iter().map(|it| it.timeout);
    timeouts.max().unwrap_or_default() + BESIDE
}

impl Replayer<'_> {
    /// Begins a replay in this process and sends everything that it matches.
    ///
    /// # Errors
    /// Broker or database were down for too long. Confirmed messages are marked as far as the database took the
    /// marks. The replay can be resumed.
    pub async fn begin(
        &self,
        replay: &Operation,
        tell: impl Fn(News<'_>),
    ) -> Result<Outcome, Failure> {
        // The lease is taken before the row is there, so that no worker takes the replay up.
        let lease = RunLease::take(self.store, replay.id, self.stop).await?;
        self.store.operations().begin_operation(replay).await?;
        let progress = known(self.store, replay.id).await?;
        self.run(&progress, &lease, &tell).await
    }

    /// Goes on in this process with a replay that was killed, paused or stopped, from now on at most at `rate` where
    /// one is given.
    ///
    /// # Errors
    /// There is no such replay, it is done already or runs elsewhere, or as [`Replayer::begin`].
    pub async fn resume(
        &self,
        id: Uuid,
        rate: Option<u32>,
        tell: impl Fn(News<'_>),
    ) -> Result<Outcome, Failure> {
        let replay = unfinished(known(self.store, id).await?)?;
        if let Some(next) = handover::successor(&replay, rate) {
            return self.begin(&next, tell).await;
        }
        let lease = RunLease::take(self.store, id, self.stop).await?;
        let ready = async {
            // Read again: the row as the previous run has left it.
            let replay = unfinished(known(self.store, id).await?)?;
            handover::set_running(self.store, &replay, rate).await?;
            known(self.store, id).await
        };
        match ready.await {
            Ok(replay) => self.run(&replay, &lease, &tell).await,
            Err(failure) => {
                lease.give_up(self.store).await;
                Err(failure)
            }
        }
    }

    /// Runs a replay that was handed over. Returns `None` where another process runs it, or where it does not run.
    ///
    /// # Errors
    /// As [`Replayer::begin`]. If broker or database is down, the replay is left to the next worker that takes it
    /// up. Any other failure stops the replay.
    pub async fn take_up(
        &self,
        id: Uuid,
        tell: impl Fn(News<'_>),
    ) -> Result<Option<Outcome>, Failure> {
        let Some(lease) = RunLease::try_take(self.store, id).await? else {
            return Ok(None);
        };
        match known(self.store, id).await {
            Ok(replay) if replay.state == OperationState::Running => {
                let (kind, sent) = (replay.kind, replay.replayed);
                tracing::info!(operation = %id, %kind, sent, "running an operation");
                self.run(&replay, &lease, &tell).await.map(Some)
            }
            other => {
                lease.give_up(self.store).await;
                other.map(|_| None)
            }
        }
    }

    /// Sends, and watches meanwhile how many letters die again; then ends the replay.
    async fn run(
        &self,
        replay: &Progress,
        lease: &RunLease,
        tell: &dyn Fn(News<'_>),
    ) -> Result<Outcome, Failure> {
        let enough = CancellationToken::new();
        let lost = CancellationToken::new();
        let (sending_is_over, over) = (CancellationToken::new(), CancellationToken::new());
        let report = Report::begin(replay, tell);
        let run = Run::new(self, replay, &report, [&enough, &lost]);
        let done = async {
            let send = async {
                let sent = self.send(&run, lease.before).await;
                sending_is_over.cancel();
                sent
            };
            let (sent, died) = tokio::join!(
                send,
                watch::watch(self.store, replay, &enough, &sending_is_over)
            );
            if sent.is_ok() && !run.is_unsure() {
                lease.all_is_known();
            }
            let done = match lost.is_cancelled() {
                // The other run decides how the replay ends.
                true => Err(elsewhere(replay.id)),
                false => self.ended(&run, sent, died).await,
            };
            over.cancel();
            done
        };
        let (done, (), ()) = tokio::join!(
            done,
            lease.keep(self.store, &lost, &over),
            report.keep(self.store, replay.id, [&lost, &over])
        );
        done
    }

    async fn send(&self, run: &Run<'_>, before: Before) -> Result<Sent, Failure> {
        if let Some(change) = Change::of(run.replay) {
            return changes::make(run, &change).await;
        }
        if may_have_sent(run, before).await? {
            calm::wait(run).await?;
        }
        match &run.replay.slice {
            Some(slice) => slice::send(run, slice).await,
            None => letters::send(run).await,
        }
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

    /// A worker leaves the replay to the next worker where broker or database is down. Any other failure stops the
    /// replay.
    async fn fail(&self, run: &Run<'_>, failure: Failure) -> Failure {
        let (operations, id) = (self.store.operations(), run.replay.id);
        let is_left = self.runner == Runner::Worker && matches!(failure, Failure::Unreachable(_));
        if !is_left {
            run.report.stop(&failure.in_one_line());
        }
        // Where the database is out of reach as well, the replay stays as if its run had been killed.
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
        let (operations, id) = (self.store.operations(), run.replay.id);
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
        let mut outcome = Outcome::of_run(id, run.replay.kind, sent.replayed, report);
        if let Some(why) = why {
            outcome.stopped = true;
            outcome.why_stopped = Some(why.to_owned());
        }
        Ok(outcome)
    }
}

/// Whether a previous run may have sent messages that are not recorded.
async fn may_have_sent(run: &Run<'_>, before: Before) -> Result<bool, Failure> {
    let (store, replay) = (run.replayer.store, run.replay);
    match (before, replay.resumes) {
        (Before::Known, _) => Ok(false),
        (Before::Unknown, _) => Ok(true),
        (Before::NoRun, Some(stopped)) => {
            let left = lease::left_by(&run.patience, store, stopped).await?;
            Ok(left != Before::Known)
        }
        // An older version, which had no leases, may have run the replay.
        (Before::NoRun, None) => {
            let claimed = async || store.operations().claimed_dead(replay.id, None, 1).await;
            let is_new = replay.replayed == 0
                && replay.position.is_none()
                && run.patience.outlast(claimed).await?.is_empty();
            Ok(!is_new)
        }
    }
}

async fn known(store: &dyn Store, id: Uuid) -> Result<Progress, Failure> {
    store.operations().operation(id).await?.ok_or_else(|| {
        Failure::Usage(format!(
            "expected a replay that `longshore replay list` shows, found none with id {id}"
        ))
    })
}

/// The replay, unless it is done: it may have ended elsewhere meanwhile.
fn unfinished(replay: Progress) -> Result<Progress, Failure> {
    match replay.state {
        OperationState::Done => Err(Failure::Usage(format!(
            "{} {} is done already: it has dealt with {}",
            replay.kind,
            replay.id,
            count(replay.replayed, "message")
        ))),
        _ => Ok(replay),
    }
}

#[cfg(test)]
mod tests;
