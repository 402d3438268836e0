//! Sending again what was given up, or a part of the history: in batches, at a set rate, and only what the
//! broker has confirmed is marked.
//!
//! A letter is claimed by one replay alone, so two replays never send the same one. When the program is
//! killed between a confirm and the mark, the resumed replay sends that letter once more under the same
//! generation, and the dedupe keys, which contain the generation, drop the second one.
//!
//! Others steer it through its row: whoever pauses or stops it is heard before the next batch is claimed, and
//! no batch takes much longer than a second. A broker or a database that is down is waited for.

mod courier;
mod follow;
mod generation;
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
use common::store::{Progress, Replay, ReplayOutcome, ReplayState, Store};
use common::topology::{Names, Topology};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::history::Judge;
use crate::output::count;

pub(crate) use courier::{Fate, Parcel, round};
pub(crate) use follow::follow;
use outcome::{Ended, Sent};
pub(crate) use outcome::{LeftOpen, News, Outcome};
pub(crate) use routes::configuration_problem;
pub(crate) use run::Outage;
use run::Run;

/// How many letters or events are in hand at once in one batch.
pub(crate) const BATCH: u32 = 500;

/// How long a replay waits for a broker or a database that is down before it gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);

/// How often a replay is looked at again that somebody else may be running.
const MOMENT: Duration = Duration::from_secs(2);

/// What replaying works on.
pub(crate) struct Replayer<'a> {
    /// Where letters go.
    pub(crate) broker: &'a dyn Broker,
    /// Where they are kept.
    pub(crate) store: &'a dyn Store,
    /// The queues there are.
    pub(crate) topology: &'a Topology,
    /// Their names.
    pub(crate) names: &'a Names,
    /// Reads events off the history.
    pub(crate) judge: &'a Judge,
    /// Ends the replay in good order.
    pub(crate) stop: &'a CancellationToken,
    /// How long it waits for what is down.
    pub(crate) patience: Duration,
}

impl Replayer<'_> {
    /// Begins a replay and sends everything that it matches.
    ///
    /// # Errors
    /// Broker or database were down for too long. What was confirmed is marked as far as the database
    /// took it; the replay can be resumed.
    pub(crate) async fn begin(
        &self,
        replay: &Replay,
        tell: impl Fn(News<'_>),
    ) -> Result<Outcome, Failure> {
        self.store.begin_replay(replay).await?;
        let progress = self.known(replay.id).await?;
        self.run(&progress, false, &tell).await
    }

    /// Goes on with a replay that was killed, paused or stopped.
    ///
    /// # Errors
    /// There is no such replay, it is done already or runs elsewhere, or as [`Replayer::begin`].
    pub(crate) async fn resume(
        &self,
        id: Uuid,
        tell: impl Fn(News<'_>),
    ) -> Result<Outcome, Failure> {
        let replay = self.known(id).await?;
        match replay.state {
            ReplayState::Running => {
                self.expect_nobody(&replay).await?;
                self.run(&replay, true, &tell).await
            }
            ReplayState::Paused => {
                self.store.steer_replay(id, ReplayState::Running).await?;
                self.expect_nobody(&replay).await?;
                self.run(&replay, true, &tell).await
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
                self.store.begin_replay(&next).await?;
                if let Some(position) = replay.position {
                    self.store.advance_replay(next.id, 0, position).await?;
                }
                let progress = self.known(next.id).await?;
                self.run(&progress, false, &tell).await
            }
            ReplayState::Done => Err(Failure::Usage(format!(
                "replay {id} is done already: it has sent {}",
                count(replay.replayed, "message")
            ))),
        }
    }

    async fn known(&self, id: Uuid) -> Result<Progress, Failure> {
        self.store.replay(id).await?.ok_or_else(|| {
            Failure::Usage(format!(
                "expected a replay that `longshore replay list` shows, found none with id {id}"
            ))
        })
    }

    /// Fails where the replay moves on by itself: somebody else runs it, and what they have in hand would
    /// be sent twice.
    async fn expect_nobody(&self, before: &Progress) -> Result<(), Failure> {
        tokio::select! {
            () = tokio::time::sleep(MOMENT) => {}
            () = self.stop.cancelled() => {}
        }
        let now = self.known(before.id).await?;
        if (now.replayed, now.position) == (before.replayed, before.position) {
            return Ok(());
        }
        Err(Failure::Usage(format!(
            "expected a replay that nobody runs, found that {} goes on elsewhere; `longshore replay pause` or \
             `stop` is heard there",
            before.id
        )))
    }

    /// Sends, while somebody watches how many die again; then ends the replay.
    async fn run(
        &self,
        replay: &Progress,
        resumed: bool,
        tell: &dyn Fn(News<'_>),
    ) -> Result<Outcome, Failure> {
        let enough = CancellationToken::new();
        let over = CancellationToken::new();
        let run = Run::new(self, replay, &enough, tell);
        let send = async {
            let sent = match &replay.slice {
                Some(slice) => slice::send(&run, slice).await,
                None => letters::send(&run, resumed).await,
            };
            over.cancel();
            sent
        };
        let (sent, died) = tokio::join!(send, watch::watch(self.store, replay, &enough, &over));
        match sent {
            Ok(sent) => self.end(&run, sent, died).await,
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

#[cfg(test)]
mod tests;
