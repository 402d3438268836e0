//! A lane: one queue, consumed until the end.
//!
//! The main lane batches and runs many calls at once. The lane of suspects takes one message at a
//! time and waits until nothing else runs in this process, so that if the worker dies over it, it
//! alone is to blame and it alone comes back with a higher count.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::Notify;
use tokio::time::sleep_until;
use tokio_util::task::TaskTracker;

use super::hold::Down;
use super::settle::Place;
use super::standing::Consuming;
use super::worker::Worker;
use super::{Claim, Received};
use crate::broker::{BrokerError, Delivery, Subscription, SubscriptionControl, Tag};
use crate::event::{carry_death, now};
use crate::outcome::{Failure, Outcome};
use crate::reason::ReasonCode;
use crate::retry::RetryPolicy;
use crate::topology::Names;

/// A message that workers died over this often, in the end alone, becomes a dead letter unhandled.
const CRASHED_AT: u32 = 5;

/// Maximum bytes of bodies in one call of a handler, give or take one: what is made of them is several times as
/// large.
const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;

/// A call beside another one begins with a full batch, or after this long: a transaction costs nearly the
/// same for many events as for few, and so does what follows from it.
const GATHER: Duration = Duration::from_millis(10);

/// A subscription that lasted this long resets the backoff.
const STEADY: Duration = Duration::from_secs(10);

/// Which lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LaneKind {
    Main,
    Suspects,
    /// One event of the main queue, to see whether a hold can end.
    Trial,
}

/// One queue, consumed until the end.
pub(super) struct Lane {
    pub(super) worker: Arc<Worker>,
    pub(super) kind: LaneKind,
    pub(super) queue: String,
    in_flight: AtomicUsize,
    /// A call has ended.
    pub(super) freed: Notify,
}

/// A message in hand.
pub(super) struct InHand {
    pub(super) tag: Tag,
    pub(super) returns: u32,
    pub(super) received: Received,
}

impl InHand {
    /// How often workers may have died over it: it came back, other than as a copy of ours.
    pub(super) fn crashes(&self) -> u32 {
        self.received.trail.crashes.saturating_add(self.returns)
    }
}

/// Why a subscription ended.
enum End {
    Stopped,
    Held,
    Lost(BrokerError),
}

impl Lane {
    pub(super) fn new(worker: &Arc<Worker>, kind: LaneKind, queue: String) -> Self {
        Self {
            worker: Arc::clone(worker),
            kind,
            queue,
            in_flight: AtomicUsize::new(0),
            freed: Notify::new(),
        }
    }

    /// Consumes until the worker is told to stop, across lost links and holds.
    pub(super) async fn run(self, consuming: Arc<Consuming>) {
        let lane = Arc::new(self);
        let worker = &lane.worker;
        let mut waits = worker.waits();
        while !worker.stop.is_cancelled() {
            tokio::select! {
                () = worker.hold.ended() => {}
                () = worker.stop.cancelled() => break,
            }
            let subscription = match worker.broker.subscribe(&lane.queue, lane.prefetch()).await {
                Ok(subscription) => subscription,
                Err(error) => {
                    consuming.end(&error);
                    tracing::warn!(queue.name = %lane.queue, %error, "cannot consume");
                    if let BrokerError::NoSuchQueue(_) = error {
                        // Somebody deleted it: the probe declares it again.
                        worker.begin_hold(Down::broker(error));
                    } else if !worker.pause(waits.next_wait()).await {
                        break;
                    }
                    continue;
                }
            };
            tracing::debug!(queue.name = %lane.queue, "consuming");
            consuming.begin(&subscription.control);
            let began = Instant::now();
            match lane.consume(subscription, &consuming).await {
                End::Stopped => break,
                End::Held => {}
                End::Lost(error) => {
                    tracing::warn!(queue.name = %lane.queue, %error, "lost the subscription");
                    if began.elapsed() > STEADY {
                        waits.reset();
                    }
                    if !worker.pause(waits.next_wait()).await {
                        break;
                    }
                }
            }
        }
        consuming.end("the program is stopping");
    }

    pub(super) fn place<'p>(&'p self, retry: &'p RetryPolicy) -> Place<'p> {
        Place {
            queue: &self.queue,
            parked: self.worker.spec.parked.as_deref(),
            retry,
        }
    }

    pub(super) fn prefetch(&self) -> u16 {
        match self.kind {
            LaneKind::Main => self.worker.spec.settings.prefetch,
            LaneKind::Suspects | LaneKind::Trial => 1,
        }
    }

    fn batch(&self) -> usize {
        match self.kind {
            LaneKind::Main => self.worker.spec.settings.batch,
            LaneKind::Suspects | LaneKind::Trial => 1,
        }
    }

    /// How many of the worker's slots one call takes: a suspect takes all, so it runs alone.
    fn slots(&self) -> u32 {
        match self.kind {
            LaneKind::Main | LaneKind::Trial => 1,
            LaneKind::Suspects => {
                u32::try_from(self.worker.spec.settings.concurrency).unwrap_or(u32::MAX)
            }
        }
    }

    /// Whether a call may begin for `count` events, the first of which has waited since then.
    fn may_begin(&self, count: usize, since: Instant) -> bool {
        let free = self.worker.slots.available_permits();
        let alone = free >= self.worker.spec.settings.concurrency;
        begins(count, self.batch(), alone, since.elapsed())
    }

    /// One subscription from beginning to end. When it returns, nothing of it is running.
    async fn consume(self: &Arc<Self>, subscription: Subscription, consuming: &Consuming) -> End {
        let Subscription {
            mut deliveries,
            control,
        } = subscription;
        let worker = &self.worker;
        let tasks = TaskTracker::new();
        let mut waiting: Vec<InHand> = Vec::new();
        let mut since = Instant::now();
        let slot = Arc::clone(&worker.slots).acquire_many_owned(self.slots());
        let (stopped, held) = (worker.stop.cancelled(), worker.hold.begun());
        tokio::pin!(slot, stopped, held);
        let end = 'consuming: loop {
            tokio::select! {
                // In this order: what is there is taken first, so that batches grow under load and
                // nothing waits for company when there is none.
                biased;
                () = &mut stopped => break End::Stopped,
                _ = &mut held => break End::Held,
                next = deliveries.next(), if self.has_room(&waiting) => {
                    if waiting.is_empty() {
                        since = Instant::now();
                    }
                    let mut there = Some(next);
                    while let Some(next) = there {
                        match next {
                            Some(Ok(delivery)) => {
                                waiting.extend(self.admit(delivery, &control, &tasks));
                            }
                            Some(Err(error)) => break 'consuming End::Lost(error),
                            None => {
                                let error = BrokerError::Lost("the stream ended".to_owned());
                                break 'consuming End::Lost(error);
                            }
                        }
                        let room = self.has_room(&waiting);
                        there = room.then(|| deliveries.next().now_or_never()).flatten();
                    }
                }
                permit = &mut slot, if self.may_begin(waiting.len(), since) => {
                    slot.set(Arc::clone(&worker.slots).acquire_many_owned(self.slots()));
                    // Never closed.
                    let Ok(permit) = permit else { break End::Stopped };
                    let batch = std::mem::take(&mut waiting);
                    let handled = Arc::clone(self).handle(batch, permit, Arc::clone(&control));
                    tasks.spawn(crate::tasks::supervised("handle", handled));
                }
                () = self.freed.notified(), if !waiting.is_empty() => {}
                () = sleep_until((since + GATHER).into()),
                    if !waiting.is_empty() && since.elapsed() < GATHER => {}
            }
        };
        match &end {
            End::Lost(error) => {
                consuming.end(error);
                self.gone(waiting.len());
            }
            End::Stopped | End::Held => {
                // First stop what comes, then give back what nobody has begun.
                if control.cancel().await.is_ok() {
                    while let Some(Ok(delivery)) = deliveries.next().await {
                        waiting.push(self.in_hand(delivery, &control));
                    }
                }
                consuming.end("the worker holds or stops");
                self.give_back(waiting, &control).await;
            }
        }
        tasks.close();
        tasks.wait().await;
        if !matches!(end, End::Lost(_)) {
            if let Err(error) = control.flush().await {
                tracing::debug!(queue.name = %self.queue, %error, "some of it will come again");
            }
            control.close().await;
        }
        end
    }

    /// Whether one more message may join those that wait for a call.
    fn has_room(&self, waiting: &[InHand]) -> bool {
        let bodies = waiting.iter().map(|one| one.received.message.body.len());
        waiting.len() < self.batch() && bodies.sum::<usize>() < MAX_BATCH_BYTES
    }

    pub(super) fn in_hand(
        &self,
        delivery: Delivery,
        control: &Arc<dyn SubscriptionControl>,
    ) -> InHand {
        let Delivery { tag, returns, .. } = delivery;
        self.came(1);
        let spec = &self.worker.spec;
        let claim = Claim::new(Arc::clone(control), self.worker.stop.clone());
        let mut received = Received::new(delivery, &self.worker.logins, now(), claim);
        if spec.parked.is_some() {
            // A dead letter: whoever gets a copy of it must know as well how it died.
            carry_death(
                &mut received.message.headers,
                Names::without_suspect(&self.queue),
            );
        }
        InHand {
            tag,
            returns,
            received,
        }
    }

    /// Takes a delivery in hand. `None` if it is not to be handled: it is put aside or given up.
    fn admit(
        self: &Arc<Self>,
        delivery: Delivery,
        control: &Arc<dyn SubscriptionControl>,
        tasks: &TaskTracker,
    ) -> Option<InHand> {
        let in_hand = self.in_hand(delivery, control);
        let crashes = in_hand.crashes();
        if let Some(failure) = self.damage(&in_hand.received) {
            let lane = Arc::clone(self);
            let control = Arc::clone(control);
            let outcome = Outcome::Dead(failure);
            let buried = async move { lane.settle(vec![(in_hand, outcome)], &control).await };
            tasks.spawn(crate::tasks::supervised("bury", buried));
            return None;
        }
        match self.kind {
            LaneKind::Main if self.is_suspect(&in_hand) => {
                let lane = Arc::clone(self);
                let control = Arc::clone(control);
                let aside = async move { lane.put_aside(in_hand, &control).await };
                tasks.spawn(crate::tasks::supervised("put aside", aside));
                None
            }
            LaneKind::Suspects if crashes >= CRASHED_AT => {
                let error = format!("workers died {crashes} times while they handled it");
                let outcome = Outcome::Dead(Failure::new(ReasonCode::Crashed, error));
                let lane = Arc::clone(self);
                let control = Arc::clone(control);
                let settled = async move { lane.settle(vec![(in_hand, outcome)], &control).await };
                tasks.spawn(crate::tasks::supervised("settle", settled));
                None
            }
            _ => Some(in_hand),
        }
    }

    /// Why a message is given up before it is handled: it is not the one that was published. The archive keeps
    /// it all the same.
    fn damage(&self, received: &Received) -> Option<Failure> {
        if self.worker.spec.parked.is_some() {
            return None;
        }
        received.damage()
    }

    fn came(&self, count: usize) {
        let held = self.in_flight.fetch_add(count, Ordering::Relaxed) + count;
        if self.kind == LaneKind::Main {
            self.worker.metrics.in_flight(held);
        }
    }

    pub(super) fn gone(&self, count: usize) {
        let held = self
            .in_flight
            .fetch_sub(count, Ordering::Relaxed)
            .saturating_sub(count);
        if self.kind == LaneKind::Main {
            self.worker.metrics.in_flight(held);
        }
    }
}

/// Whether a call begins for `count` events of at most `batch`, when it would run `alone` and the first of
/// them has `waited` so long.
fn begins(count: usize, batch: usize, alone: bool, waited: Duration) -> bool {
    count > 0 && (alone || count >= batch || waited >= GATHER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_waits_for_company_only_beside_another_and_not_for_long() {
        let soon = Duration::from_millis(1);
        assert!(begins(1, 256, true, Duration::ZERO), "alone");
        assert!(!begins(255, 256, false, soon), "beside another");
        assert!(begins(256, 256, false, soon), "a full batch");
        assert!(begins(1, 256, false, GATHER), "long enough");
        assert!(begins(1, 1, false, Duration::ZERO), "handled one by one");
        assert!(!begins(0, 256, true, GATHER), "nothing to handle");
    }
}
