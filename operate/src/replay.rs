//! Sending again what was given up, or a part of the history: in batches, at a set rate, and only what the
//! broker has confirmed is marked.
//!
//! A letter is claimed by one replay alone, so two replays never send the same one. When the program is
//! killed between a confirm and the mark, the resumed replay sends that letter once more under the same
//! generation, and the dedupe keys, which contain the generation, drop the second one.
//!
//! Others steer it through its row: whoever pauses or stops it is heard before the next batch is claimed, and
//! no batch takes much longer than a second. A broker or a database that is down is waited for.

mod calm;
mod courier;
mod follow;
mod generation;
mod hold;
mod lately;
mod letter;
mod letters;
mod outcome;
mod pace;
mod raw;
mod routes;
mod run;
mod slice;
mod watch;

use std::time::Duration;

use common::bootstrap::Failure;
use common::broker::Broker;
use common::config::Config;
use common::store::{Progress, Replay, ReplayOutcome, ReplayState, Store};
use common::topology::{Names, Topology};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::history::Judge;
use crate::words::count;

pub use follow::follow;
use hold::{Hold, elsewhere};
use outcome::{Ended, Sent};
pub use outcome::{LeftOpen, News, Outcome};
pub use routes::configuration_problem;
pub use run::Outage;
use run::Run;

/// How many letters or events are in hand at once in one batch.
pub const BATCH: u32 = 500;

/// How long a replay waits for a broker or a database that is down before it gives up.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// How long an attempt takes beside the receiver's own time, until it is recorded.
const BESIDE: Duration = Duration::from_secs(2);

/// What replaying works on.
pub struct Replayer<'a> {
    /// Where letters go.
    pub broker: &'a dyn Broker,
    /// Where they are kept.
    pub store: &'a dyn Store,
    /// The queues there are.
    pub topology: &'a Topology,
    /// Their names.
    pub names: &'a Names,
    /// Reads events off the history.
    pub judge: &'a Judge,
    /// Ends the replay in good order.
    pub stop: &'a CancellationToken,
    /// How long it waits for what is down.
    pub patience: Duration,
    /// How long a worker takes at most for one attempt.
    pub longest_attempt: Duration,
}

/// How long a worker takes at most for one attempt, until it is recorded.
pub fn longest_attempt(config: &Config) -> Duration {
    let timeouts = config.destinations.iter().map(|it| it.timeout);
    timeouts.max().unwrap_or_default() + BESIDE
}

impl Replayer<'_> {
    /// Begins a replay and sends everything that it matches.
    ///
    /// # Errors
    /// Broker or database were down for too long. What was confirmed is marked as far as the database
    /// took it; the replay can be resumed.
    pub async fn begin(
        &self,
        replay: &Replay,
        tell: impl Fn(News<'_>),
    ) -> Result<Outcome, Failure> {
        self.store.begin_replay(replay).await?;
        let progress = self.known(replay.id).await?;
        let hold = Hold::take(self, replay.id).await?;
        self.run(&progress, false, &hold, &tell).await
    }

    /// Goes on with a replay that was killed, paused or stopped.
    ///
    /// # Errors
    /// There is no such replay, it is done already or runs elsewhere, or as [`Replayer::begin`].
    pub async fn resume(&self, id: Uuid, tell: impl Fn(News<'_>)) -> Result<Outcome, Failure> {
        let replay = self.known(id).await?;
        match replay.state {
            ReplayState::Running => self.go_on(id, &tell).await,
            ReplayState::Paused => {
                self.store.steer_replay(id, ReplayState::Running).await?;
                self.go_on(id, &tell).await
            }
            // It has claimed nothing. When it began tells what it has sent itself.
            ReplayState::Stopped if replay.slice.is_some() => {
                let hold = Hold::take(self, id).await?;
                self.store.reopen_replay(id).await?;
                let replay = unfinished(self.known(id).await?)?;
                self.run(&replay, true, &hold, &tell).await
            }
            // Its claims are given back, so going on with it is a new one of the same.
            ReplayState::Stopped => {
                let next = Replay {
                    id: Uuid::now_v7(),
                    filter: replay.filter,
                    to_queue: replay.to_queue,
                    who: replay.who,
                    why: replay.why,
                    rate: replay.rate,
                    stop_when: replay.stop_when,
                    slice: replay.slice,
                    new_ids: replay.new_ids,
                };
                let before = Hold::take(self, id).await?;
                self.store.begin_replay(&next).await?;
                let mut hold = Hold::take(self, next.id).await?;
                hold.was_known = before.was_known;
                let replay = self.known(next.id).await?;
                self.run(&replay, true, &hold, &tell).await
            }
            ReplayState::Done => unfinished(replay).map(|_| Outcome::default()),
        }
    }

    async fn known(&self, id: Uuid) -> Result<Progress, Failure> {
        self.store.replay(id).await?.ok_or_else(|| {
            Failure::Usage(format!(
                "expected a replay that `longshore replay list` shows, found none with id {id}"
            ))
        })
    }

    /// Goes on with a replay that is under way, where nobody else runs it.
    async fn go_on(&self, id: Uuid, tell: &dyn Fn(News<'_>)) -> Result<Outcome, Failure> {
        let hold = Hold::take(self, id).await?;
        // As the run before has left it.
        let replay = unfinished(self.known(id).await?)?;
        self.run(&replay, true, &hold, tell).await
    }

    /// Sends, while somebody watches how many die again; then ends the replay.
    async fn run(
        &self,
        replay: &Progress,
        resumed: bool,
        hold: &Hold,
        tell: &dyn Fn(News<'_>),
    ) -> Result<Outcome, Failure> {
        let enough = CancellationToken::new();
        let lost = CancellationToken::new();
        let (sending_is_over, over) = (CancellationToken::new(), CancellationToken::new());
        let run = Run::new(self, replay, [&enough, &lost], tell);
        let done = async {
            let send = async {
                let sent = self.send(&run, resumed, hold.was_known).await;
                sending_is_over.cancel();
                sent
            };
            let (sent, died) = tokio::join!(
                send,
                watch::watch(self.store, replay, &enough, &sending_is_over)
            );
            if sent.is_ok() && !run.is_unsure() {
                hold.all_is_known();
            }
            let done = match lost.is_cancelled() {
                // What becomes of it is the other run's.
                true => Err(elsewhere(replay.id)),
                false => self.ended(&run, sent, died).await,
            };
            over.cancel();
            done
        };
        let (done, ()) = tokio::join!(done, hold.keep(self.store, &lost, &over));
        done
    }

    async fn send(&self, run: &Run<'_>, resumed: bool, was_known: bool) -> Result<Sent, Failure> {
        if resumed && !was_known {
            calm::wait(run).await?;
        }
        match &run.replay.slice {
            Some(slice) => slice::send(run, slice).await,
            None => letters::send(run, resumed).await,
        }
    }

    async fn ended(
        &self,
        run: &Run<'_>,
        sent: Result<Sent, Failure>,
        died: Option<ReplayOutcome>,
    ) -> Result<Outcome, Failure> {
        let replay = run.replay;
        match sent {
            Ok(sent) => self.end(run, sent, died).await,
            Err(failure) => {
                // Where the database is out of reach as well, it stays as if it had been killed.
                let _ = self.store.end_replay(replay.id, ReplayState::Stopped).await;
                Err(match failure {
                    Failure::Unreachable(why) => Failure::Unreachable(format!(
                        "{why}; go on with `longshore replay resume {}`",
                        replay.id
                    )),
                    other => other,
                })
            }
        }
    }

    async fn end(
        &self,
        run: &Run<'_>,
        sent: Sent,
        died: Option<ReplayOutcome>,
    ) -> Result<Outcome, Failure> {
        let id = run.replay.id;
        let (state, why) = match sent.ended {
            Ended::All => (Some(ReplayState::Done), None),
            Ended::Steered => (None, Some("stopped from elsewhere".to_owned())),
            Ended::Halted => {
                let why = match died {
                    Some(died) => format!(
                        "stopped by itself: {} of {} that were looked at died again",
                        died.died_again,
                        count(died.completed + died.died_again, "message")
                    ),
                    None => "stopped here".to_owned(),
                };
                (Some(ReplayState::Stopped), Some(why))
            }
        };
        if let Some(state) = state {
            run.patiently(async || self.store.end_replay(id, state).await)
                .await?;
        }
        Ok(Outcome {
            replay: id,
            replayed: sent.replayed,
            left_open_count: sent.left_open_count,
            left_open: sent.left_open,
            skipped: sent.skipped,
            stopped: why.is_some(),
            why_stopped: why,
            became: None,
        })
    }
}

/// A replay that is to go on. It may have come to its end meanwhile, elsewhere.
fn unfinished(replay: Progress) -> Result<Progress, Failure> {
    match replay.state {
        ReplayState::Done => Err(Failure::Usage(format!(
            "replay {} is done already: it has sent {}",
            replay.id,
            count(replay.replayed, "message")
        ))),
        _ => Ok(replay),
    }
}

#[cfg(test)]
mod tests;
