//! Sending dead letters again: claim, publish, and only what the broker has confirmed is marked.
//!
//! A letter is claimed by this replay alone, so two replays never send the same one. When the
//! program is killed between a confirm and the mark, the resumed replay sends that letter once more
//! under the same generation, and the dedupe keys, which contain the generation, drop the second one.

mod letter;

use std::collections::HashMap;

use common::bootstrap::Failure;
use common::broker::{Address, Broker, Publication, PublishError};
use common::message::Message;
use common::store::{DeadLetter, Replay, ReplayState, Store};
use common::topology::{Names, Queue, QueueKind, Topology};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How many letters are claimed at once. Each is held in memory with its body.
const BATCH: u32 = 200;

/// What replaying works on.
pub(crate) struct Replayer<'a> {
    /// Where letters go.
    pub(crate) broker: &'a dyn Broker,
    /// Where they are kept.
    pub(crate) store: &'a dyn Store,
    /// The queues there are.
    pub(crate) topology: &'a Topology,
    /// Ends the replay in good order.
    pub(crate) stop: &'a CancellationToken,
}

/// What a replay came to.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Outcome {
    /// The replay; `--resume` takes it.
    pub(crate) replay: Uuid,
    /// Letters that the broker has confirmed.
    pub(crate) replayed: u64,
    /// Letters that could not be sent and are open still.
    pub(crate) left_open: Vec<LeftOpen>,
    /// Whether it was stopped before its end.
    pub(crate) stopped: bool,
}

/// A letter that could not be sent.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct LeftOpen {
    /// Which.
    pub(crate) letter: Uuid,
    /// Where it should have gone.
    pub(crate) queue: String,
    /// Why it did not.
    pub(crate) problem: String,
}

/// How a batch ended.
#[derive(Default)]
struct Batch {
    confirmed: Vec<Uuid>,
    left_open: Vec<LeftOpen>,
    /// Why no more can be sent for now.
    failure: Option<PublishError>,
}

impl Replayer<'_> {
    /// Begins a replay and sends everything that it matches.
    ///
    /// # Errors
    /// Broker or database failed on the way. What was confirmed is marked as far as the database
    /// took it; the replay can be resumed.
    pub(crate) async fn begin(
        &self,
        replay: &Replay,
        sent: impl Fn(u64),
    ) -> Result<Outcome, Failure> {
        self.store.begin_replay(replay).await?;
        self.send_all(replay.id, replay.to_queue.as_deref(), false, sent)
            .await
    }

    /// Goes on with a replay that was killed or stopped.
    ///
    /// # Errors
    /// There is no such replay, it is done already, or as [`Replayer::begin`].
    pub(crate) async fn resume(&self, id: Uuid, sent: impl Fn(u64)) -> Result<Outcome, Failure> {
        let Some(replay) = self.store.replay(id).await? else {
            return Err(Failure::Usage(format!(
                "expected a replay to resume, found none with id {id}"
            )));
        };
        match replay.state {
            ReplayState::Running => {
                let to_queue = replay.to_queue.as_deref();
                self.send_all(id, to_queue, true, sent).await
            }
            // Its claims are given back, so going on with it is a new one of the same.
            ReplayState::Stopped => {
                let next = Replay {
                    id: Uuid::now_v7(),
                    filter: replay.filter,
                    to_queue: replay.to_queue,
                    who: replay.who,
                    why: replay.why,
                };
                self.begin(&next, sent).await
            }
            ReplayState::Done => Err(Failure::Usage(format!(
                "replay {id} is done already: it has sent {}",
                crate::output::count(replay.replayed, "letter")
            ))),
        }
    }

    async fn send_all(
        &self,
        id: Uuid,
        to_queue: Option<&str>,
        resumed: bool,
        sent: impl Fn(u64),
    ) -> Result<Outcome, Failure> {
        let mut outcome = Outcome {
            replay: id,
            ..Outcome::default()
        };
        let mut routes = Routes {
            replayer: self,
            known: HashMap::new(),
        };
        // What a killed run had claimed comes once, with the first batch.
        let mut first = resumed;
        while !self.stop.is_cancelled() {
            let letters = self.store.claim_dead(id, BATCH, first).await?;
            first = false;
            if letters.is_empty() {
                self.store.end_replay(id, ReplayState::Done).await?;
                return Ok(outcome);
            }
            let batch = self.send(&mut routes, letters, to_queue, &sent).await?;
            if !batch.confirmed.is_empty() {
                self.store.mark_replayed(id, &batch.confirmed).await?;
            }
            outcome.replayed += batch.confirmed.len() as u64;
            outcome.left_open.extend(batch.left_open);
            if let Some(error) = batch.failure {
                // Where the database is out of reach as well, it stays as if it had been killed.
                let _ = self.store.end_replay(id, ReplayState::Stopped).await;
                return Err(Failure::Unreachable(format!(
                    "{error}; {} sent, go on with `longshore dead replay --resume {id}`",
                    crate::output::count(outcome.replayed, "letter")
                )));
            }
        }
        self.store.end_replay(id, ReplayState::Stopped).await?;
        outcome.stopped = true;
        Ok(outcome)
    }

    /// Publishes a batch, all of it at once: the engine bounds what is under way. Returns when the
    /// broker has answered for every letter, so that what is confirmed is known even when the
    /// replay has to stop.
    async fn send(
        &self,
        routes: &mut Routes<'_>,
        letters: Vec<DeadLetter>,
        to_queue: Option<&str>,
        sent: &impl Fn(u64),
    ) -> Result<Batch, Failure> {
        let mut batch = Batch::default();
        let mut under_way = FuturesUnordered::new();
        for dead in letters {
            let queue = to_queue
                .unwrap_or_else(|| Names::without_suspect(&dead.queue))
                .to_owned();
            if let Some(problem) = routes.problem(&queue).await? {
                batch.left_open.push(LeftOpen {
                    letter: dead.id,
                    queue,
                    problem,
                });
            } else if !self.stop.is_cancelled() {
                let message = letter::again(&dead, self.broker.user());
                under_way.push(self.publish(dead.id, queue, message));
            }
        }
        while let Some((letter, queue, published)) = under_way.next().await {
            match published {
                Ok(()) => {
                    batch.confirmed.push(letter);
                    sent(1);
                }
                Err(error @ (PublishError::Unroutable { .. } | PublishError::Invalid(_))) => {
                    let problem = error.to_string();
                    batch.left_open.push(LeftOpen {
                        letter,
                        queue,
                        problem,
                    });
                }
                Err(error) => batch.failure = Some(error),
            }
        }
        Ok(batch)
    }

    async fn publish(
        &self,
        letter: Uuid,
        queue: String,
        message: Message,
    ) -> (Uuid, String, Result<(), PublishError>) {
        let to = Address::Queue(queue.clone());
        let published = self.broker.publish(Publication { to, message }).await;
        (letter, queue, published)
    }
}

/// Which queues letters may go to; each is asked for once.
struct Routes<'a> {
    replayer: &'a Replayer<'a>,
    known: HashMap<String, Option<String>>,
}

impl Routes<'_> {
    /// Why nothing may be sent to `queue`, if so: where no worker will ever take it, it would be lost
    /// from sight.
    async fn problem(&mut self, queue: &str) -> Result<Option<String>, Failure> {
        if let Some(known) = self.known.get(queue) {
            return Ok(known.clone());
        }
        let Replayer {
            broker, topology, ..
        } = self.replayer;
        let known = topology.work_queues().find(|known| known.name == queue);
        let problem = if known.is_some_and(is_archives) {
            Some(format!(
                "{queue:?} is the archive's own, and where it died before is not known; name the \
                 queue it belongs in with --to"
            ))
        } else if known.is_none() {
            Some(format!(
                "no worker consumes {queue:?} in the configuration in force; configure its \
                 destination again, or name another queue with --to"
            ))
        } else if broker.depth(queue).await?.is_none() {
            Some(format!(
                "the broker has no queue {queue:?}; `longshore topology apply` declares it"
            ))
        } else {
            None
        };
        self.known.insert(queue.to_owned(), problem.clone());
        Ok(problem)
    }
}

/// Whether the archive takes dead letters from this queue: what goes there is only archived again.
fn is_archives(queue: &Queue) -> bool {
    matches!(&queue.kind, QueueKind::Work { dead_letter_exchange, .. } if dead_letter_exchange.is_empty())
}

#[cfg(test)]
mod tests;
