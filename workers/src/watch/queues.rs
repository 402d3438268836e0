//! How full the queues are, and since when they are empty.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use common::bootstrap::Failure;
use common::broker::Depth;
use common::store::{DestinationState, WatchFinding};
use common::topology::{Names, Queue, QueueKind};
use operate::finding;
use tokio::time::Instant;

use super::{Post, found};

/// The state of all queues, look by look.
#[derive(Debug, Default)]
pub(super) struct Queues {
    depths: HashMap<String, Option<Depth>>,
    /// Since when each was seen empty at every look.
    empty_since: HashMap<String, Instant>,
    /// Since when each was seen without a consumer.
    unconsumed_since: HashMap<String, Instant>,
}

impl Queues {
    /// Asks how full every queue is.
    pub(super) async fn look(&mut self, post: &Post) -> Result<(), Failure> {
        for queue in &post.topology.queues {
            let depth = post.broker.depth(&queue.name).await?;
            let now = Instant::now();
            let (messages, consumers) =
                depth.map_or((0, 0), |depth| (depth.messages, depth.consumers));
            note(&mut self.empty_since, &queue.name, messages == 0, now);
            let is_unconsumed = consumers == 0;
            note(&mut self.unconsumed_since, &queue.name, is_unconsumed, now);
            self.depths.insert(queue.name.clone(), depth);
        }
        Ok(())
    }

    /// Whether there is such a queue.
    pub(super) fn exists(&self, queue: &str) -> bool {
        self.depths.get(queue).is_some_and(Option::is_some)
    }

    /// Messages that wait in a queue.
    pub(super) fn messages(&self, queue: &str) -> u64 {
        let depth = self.depths.get(queue).copied().flatten();
        depth.map_or(0, |depth| depth.messages)
    }

    /// Whether anybody consumes a queue.
    pub(super) fn is_consumed(&self, queue: &str) -> bool {
        let depth = self.depths.get(queue).copied().flatten();
        depth.is_some_and(|depth| depth.consumers > 0)
    }

    /// For how long all of these, and their suspects, were seen empty at every look.
    pub(super) fn empty_for(&self, queues: &[String]) -> Option<Duration> {
        let suspects = queues.iter().map(|queue| Names::suspect(queue));
        let each = queues.iter().cloned().chain(suspects);
        each.map(|queue| self.empty_since.get(&queue).map(Instant::elapsed))
            .min()
            .flatten()
    }

    /// Whether anything waits out a delay or is parked.
    pub(super) fn any_aside(&self, post: &Post) -> bool {
        let freely = post.broker.looks_leave_no_trace();
        post.topology.queues.iter().any(|queue| match queue.kind {
            QueueKind::Delay { .. } | QueueKind::Parked => self.messages(&queue.name) > 0,
            // Looked into without harm, in-hand messages included.
            QueueKind::Work { .. } => freely,
            QueueKind::Stream { .. } => false,
        })
    }

    /// The problems of the queues. Nobody consumes the queue of a destination that is paused or whose breaker is open, on
    /// purpose.
    pub(super) fn findings(&self, post: &Post, states: &[DestinationState]) -> Vec<WatchFinding> {
        let held = states.iter().filter(|state| {
            let configured = post.config.destinations.iter();
            let mut open = configured.filter_map(|it| state.breaker_of(it));
            state.pause.is_some() || open.any(|it| it.is_waited_for(post.lag()))
        });
        let held: HashSet<String> = held.map(|it| post.names.integrate(&it.name)).collect();
        let each = post.topology.queues.iter();
        each.filter_map(|queue| self.finding(queue, post.lag()))
            .filter(|finding| {
                finding.finding != finding::UNCONSUMED_QUEUE || !held.contains(&finding.subject)
            })
            .collect()
    }

    fn finding(&self, queue: &Queue, lag: Duration) -> Option<WatchFinding> {
        let name = queue.name.as_str();
        if !self.exists(name) {
            let detail = "the queue is missing: messages published to it are refused or lost";
            return Some(found(finding::MISSING_QUEUE, name, 1, detail));
        }
        let messages = self.messages(name);
        match queue.kind {
            QueueKind::Parked if messages > 0 => {
                let detail =
                    "not even the archive could take these; they come back to it by themselves";
                Some(found(finding::PARKED, name, messages, detail))
            }
            QueueKind::Work { .. } if Names::is_suspect(name) => {
                let detail = "messages that came back twice wait to be handled alone";
                (messages > 0).then(|| found(finding::SUSPECTS, name, messages, detail))
            }
            QueueKind::Work { .. } => {
                let since = self.unconsumed_since.get(name)?;
                let detail = match messages {
                    0 => "nobody consumes it: start the worker",
                    _ => "messages wait and nobody consumes them: start the worker",
                };
                // One queue, where nothing waits yet.
                let number = messages.max(1);
                (since.elapsed() >= lag)
                    .then(|| found(finding::UNCONSUMED_QUEUE, name, number, detail))
            }
            _ => None,
        }
    }
}

fn note(since: &mut HashMap<String, Instant>, queue: &str, is_so: bool, now: Instant) {
    if is_so {
        since.entry(queue.to_owned()).or_insert(now);
    } else {
        since.remove(queue);
    }
}
