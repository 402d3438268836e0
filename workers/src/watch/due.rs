//! Deliveries that are due: one that is in no queue is sent to its queue again.

use std::collections::HashMap;
use std::time::Duration;

use common::bootstrap::Failure;
use common::broker::{Address, Publication, PublishError};
use common::config::Destination;
use common::message::Message;
use common::store::{DueDelivery, Repair, RepairKey, WatchFinding};
use common::telemetry::metrics;
use operate::finding;
use operate::survey::{Look, look_into_delays};
use time::OffsetDateTime;
use uuid::Uuid;

use super::lost::{Delays, DeliverySigns, may_send_again};
use super::queues::Queues;

use super::{Post, found};
use crate::stored::messages;

/// How many due deliveries one round looks at.
const PAGE: u32 = 2_000;

/// How many are sent again in one round.
const MAX_SENT: usize = 500;

/// How long an attempt takes beside the receiver's own time, until it is recorded.
const BESIDE: Duration = Duration::from_secs(5);

/// The watch's position in the due deliveries.
#[derive(Debug)]
pub(super) struct DueWatch {
    /// Nothing that became due before is due still.
    oldest: OffsetDateTime,
    /// Where the next page begins.
    next: OffsetDateTime,
}

impl Default for DueWatch {
    fn default() -> Self {
        Self {
            oldest: OffsetDateTime::UNIX_EPOCH,
            next: OffsetDateTime::UNIX_EPOCH,
        }
    }
}

impl DueWatch {
    /// Looks at the next page of due deliveries, and sends the lost ones again.
    pub(super) async fn look(
        &mut self,
        post: &Post,
        queues: &Queues,
    ) -> Result<Vec<WatchFinding>, Failure> {
        let now = OffsetDateTime::now_utc();
        let before = now - post.lag();
        let watching = post.store.watching();
        let due = watching.due_deliveries(self.next, before, PAGE).await?;
        self.turn_page(&due, before);
        let suspected = self.suspected(post, queues, &due, now).await?;
        let mut findings = Vec::new();
        for (destination, lost) in suspected {
            let sent_before = send_again(post, queues, destination, &lost).await?;
            if sent_before > 0 {
                let detail =
                    "due, and in no queue although they were sent again: see the worker's log";
                let subject = destination.name.as_str();
                findings.push(found(
                    finding::OVERDUE_DELIVERY,
                    subject,
                    sent_before as u64,
                    detail,
                ));
            }
        }
        Ok(findings)
    }

    fn turn_page(&mut self, due: &[DueDelivery], before: OffsetDateTime) {
        // Two clocks may differ, and rows are written a little later than they say.
        let margin = time::Duration::MINUTE;
        let is_first = self.next <= self.oldest;
        if is_first {
            let oldest = due.first().map_or(before, |first| first.due_at);
            self.oldest = self.oldest.max(oldest - margin);
        }
        let is_last = due.len() < usize::try_from(PAGE).unwrap_or(usize::MAX);
        self.next = match due.last() {
            Some(last) if !is_last && last.due_at > self.next => last.due_at,
            _ => self.oldest,
        };
    }

    /// The deliveries of each configured destination whose messages are lost.
    async fn suspected<'p>(
        &self,
        post: &'p Post,
        queues: &Queues,
        due: &[DueDelivery],
        now: OffsetDateTime,
    ) -> Result<Vec<(&'p Destination, Vec<DueDelivery>)>, Failure> {
        // First by the facts that cost nothing to know.
        let mut suspected = Vec::new();
        let mut last_attempts = None;
        for destination in &post.config.destinations {
            let mine: Vec<&DueDelivery> = due
                .iter()
                // One behind another has no message, and needs none yet.
                .filter(|it| it.key.destination == destination.name && !it.is_behind)
                .collect();
            if mine.is_empty() {
                continue;
            }
            let attempts = match &last_attempts {
                Some(attempts) => attempts,
                None => {
                    let attempts = post.store.watching().last_attempts(self.oldest).await?;
                    last_attempts.insert(attempts.into_iter().collect::<HashMap<_, _>>())
                }
            };
            let last = attempts.get(&destination.name).copied();
            let signs =
                |it: &DueDelivery, delays| signs(post, queues, destination, last, it, delays, now);
            let lost = |it: &DueDelivery, delays| {
                signs(it, delays).are_of_a_loss(post.lag(), &destination.retry)
            };
            let mut lost_if_seen = mine
                .into_iter()
                .filter(|it| lost(it, Delays::Seen))
                .peekable();
            if lost_if_seen.peek().is_some() {
                suspected.push((destination, lost_if_seen.cloned().collect::<Vec<_>>(), last));
            }
        }
        if suspected.is_empty() {
            return Ok(Vec::new());
        }
        let look = match queues.any_aside(post) {
            true => {
                look_into_delays(&*post.broker, &post.topology, &post.names, &post.judge).await?
            }
            false => Look::default(),
        };
        let each = suspected.into_iter().map(|(destination, mut lost, last)| {
            lost.retain(|it| {
                let delays = delays(&look, it);
                signs(post, queues, destination, last, it, delays, now)
                    .are_of_a_loss(post.lag(), &destination.retry)
            });
            (destination, lost)
        });
        Ok(each.filter(|(_, lost)| !lost.is_empty()).collect())
    }
}

fn delays(look: &Look, due: &DueDelivery) -> Delays {
    if look.has_delivery(due.key.event.uuid(), &due.key.destination) {
        Delays::Found
    } else if look.unseen.is_empty() {
        Delays::Seen
    } else {
        Delays::Unseen
    }
}

fn signs(
    post: &Post,
    queues: &Queues,
    destination: &Destination,
    last_attempt: Option<OffsetDateTime>,
    due: &DueDelivery,
    delays: Delays,
    now: OffsetDateTime,
) -> DeliverySigns {
    let since = |at: OffsetDateTime| Duration::try_from(now - at).unwrap_or_default();
    let queue = post.names.integrate(&destination.name);
    DeliverySigns {
        due_for: since(
            [due.last_attempt_at, due.first_at]
                .into_iter()
                .flatten()
                .fold(due.due_at, OffsetDateTime::max),
        ),
        empty_for: queues.empty_for(&[queue.clone(), post.names.dead()]),
        is_consumed: queues.is_consumed(&queue),
        quiet_for: last_attempt.map(since),
        longest_pause: crate::integrate::longest_between(destination) + BESIDE,
        longest_in_hand: crate::integrate::longest_in_hand(destination),
        delays,
    }
}

/// Sends deliveries to their queue again, each now and then; says how many were sent before.
async fn send_again(
    post: &Post,
    queues: &Queues,
    destination: &Destination,
    lost: &[DueDelivery],
) -> Result<usize, Failure> {
    let queue = post.names.integrate(&destination.name);
    let watching = post.store.watching();
    let subjects: Vec<Uuid> = lost.iter().map(|it| it.key.event.uuid()).collect();
    let repairs: HashMap<RepairKey, Repair> = watching
        .repairs(&subjects)
        .await?
        .into_iter()
        .map(|repair| (repair.key.clone(), repair))
        .collect();
    let may_go = |it: &&DueDelivery| {
        repairs.get(&repair_key(it)).is_none_or(|repair| {
            let ago = OffsetDateTime::now_utc() - repair.last_at;
            may_send_again(repair.sent, ago.try_into().unwrap_or_default())
        })
    };
    let sent_before = lost
        .iter()
        .filter(|it| repairs.contains_key(&repair_key(it)))
        .count();
    if !queues.exists(&queue) {
        return Ok(sent_before);
    }
    let now = lost.iter().filter(may_go).take(MAX_SENT).cloned().collect();
    publish_again(post, &queue, destination, now).await?;
    Ok(sent_before)
}

/// Sends those of which the database still has the event.
async fn publish_again(
    post: &Post,
    queue: &str,
    destination: &Destination,
    now: Vec<DueDelivery>,
) -> Result<(), Failure> {
    let ready = messages(&*post.store, now).await?;
    if ready.is_empty() {
        return Ok(());
    }
    // Before they are sent: killed in between they wait a minute, and are never sent in a loop.
    let keys: Vec<RepairKey> = ready.iter().map(|(it, _)| repair_key(it)).collect();
    post.store.watching().record_repairs(&keys).await?;
    let messages = ready.into_iter().map(|(_, message)| message).collect();
    let to = Address::Queue(queue.to_owned());
    let sent = publish(post, &to, messages).await?;
    metrics::watch_repaired("delivery", sent);
    tracing::warn!(
        destination = destination.name,
        number = sent,
        "deliveries that were due and in no queue are on their way again"
    );
    Ok(())
}

/// Sends messages there, and says how many the broker has.
///
/// # Errors
/// The broker is not available.
pub(super) async fn publish(
    post: &Post,
    to: &Address,
    messages: Vec<Message>,
) -> Result<u64, Failure> {
    let publications = messages.into_iter().map(|message| Publication {
        to: to.clone(),
        message,
    });
    let answers = post.broker.publish_all(publications.collect()).await;
    let sent = answers.iter().filter(|answer| answer.is_ok()).count() as u64;
    match answers.into_iter().find_map(Result::err) {
        None | Some(PublishError::Unroutable { .. } | PublishError::Invalid(_)) => Ok(sent),
        Some(error) => Err(Failure::Unreachable(error.to_string())),
    }
}

/// What the repairs of a delivery are counted by.
fn repair_key(due: &DueDelivery) -> RepairKey {
    RepairKey {
        subject: due.key.event.uuid(),
        destination: Some(due.key.destination.clone()),
        generation: due.key.generation,
    }
}
