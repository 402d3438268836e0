//! A lane: one queue, consumed until the end.
//!
//! The main lane batches and runs many calls at once. The lane of suspects takes one message at a time and waits
//! until nothing else runs in this process. So if the worker dies over a suspect, only that message is to blame,
//! and only its count rises.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::sleep_until;
use tokio_util::task::TaskTracker;

use super::GateState;
use super::Received;
use super::desk::Desk;
use super::hand::{Hand, InHand, LaneKind};
use super::hold::Down;
use super::standing::Consuming;
use crate::broker::{BrokerError, Delivery, Subscription, SubscriptionControl};
use crate::config::StageSettings;
use crate::outcome::{Failure, Outcome};
use crate::reason::ReasonCode;

/// How many deaths of workers over a message, in the end alone, make it a dead letter unhandled.
const CRASHED_AT: u32 = 5;

/// Maximum bytes of bodies in one call of a handler, give or take one body: the values made of them are several
/// times as large.
const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;

/// How long a call beside another waits for a full batch. A transaction costs nearly the same for many events as
/// for few, and so do the steps after it.
const GATHER: Duration = Duration::from_millis(10);

/// How long a subscription must last to reset the backoff.
const STEADY: Duration = Duration::from_secs(10);

/// One queue, consumed until the end.
pub(super) struct Lane {
    hand: Arc<Hand>,
}

/// Why a subscription ended.
enum End {
    Stopped,
    Held,
    Lost(BrokerError),
}

impl Lane {
    pub(super) fn new(desk: &Arc<Desk>, kind: LaneKind, queue: String) -> Self {
        let hand = Arc::new(Hand::new(desk, kind, queue));
        Self { hand }
    }

    /// Consumes until the worker is told to stop, across lost links and holds.
    pub(super) async fn run(self, consuming: Arc<Consuming>) {
        let (desk, queue) = (self.desk(), &self.hand.queue);
        let mut waits = desk.waits();
        while !desk.is_stopped() {
            tokio::select! {
                () = desk.may_take() => {}
                () = desk.stopped() => break,
            }
            let gate = desk.spec.gate.state();
            if gate.is_shut() {
                continue;
            }
            let subscription = match desk.broker.subscribe(queue, self.prefetch(&gate)).await {
                Ok(subscription) => subscription,
                Err(error) => {
                    consuming.end(&error);
                    tracing::warn!(queue.name = %queue, %error, "cannot consume");
                    if let BrokerError::NoSuchQueue(_) = error {
                        // The queue was deleted: the probe declares it again.
                        desk.begin_hold(Down::broker(error));
                    } else if !desk.pause(waits.next_wait()).await {
                        break;
                    }
                    continue;
                }
            };
            tracing::debug!(queue.name = %queue, "consuming");
            consuming.begin(&subscription.control);
            let began = Instant::now();
            match self.consume(subscription, &consuming, &gate).await {
                End::Stopped => break,
                End::Held => {}
                End::Lost(error) => {
                    tracing::warn!(queue.name = %queue, %error, "lost the subscription");
                    if began.elapsed() > STEADY {
                        waits.reset();
                    }
                    if !desk.pause(waits.next_wait()).await {
                        break;
                    }
                }
            }
        }
        consuming.end("the program is stopping");
    }

    fn desk(&self) -> &Desk {
        &self.hand.desk
    }

    fn settings(&self) -> &StageSettings {
        &self.desk().spec.settings
    }

    fn prefetch(&self, gate: &GateState) -> u16 {
        match (self.hand.kind, gate) {
            (LaneKind::Main, GateState::Open) => self.settings().prefetch,
            _ => 1,
        }
    }

    fn batch(&self) -> usize {
        match self.hand.kind {
            LaneKind::Main => self.settings().batch,
            LaneKind::Suspects | LaneKind::Trial => 1,
        }
    }

    /// How many of the worker's slots one call takes: a suspect takes all, so it runs alone.
    fn slots(&self) -> u32 {
        match self.hand.kind {
            LaneKind::Main | LaneKind::Trial => 1,
            LaneKind::Suspects => u32::try_from(self.settings().concurrency).unwrap_or(u32::MAX),
        }
    }

    /// Whether a call may begin for `count` events, the first of which has waited since `since`.
    fn may_begin(&self, count: usize, since: Instant) -> bool {
        let free = self.desk().slots.available_permits();
        let alone = free >= self.settings().concurrency;
        begins(count, self.batch(), alone, since.elapsed())
    }

    /// One subscription from beginning to end. When it returns, nothing of it is running.
    async fn consume(
        &self,
        mut subscription: Subscription,
        consuming: &Consuming,
        gate: &GateState,
    ) -> End {
        let hand = &self.hand;
        let tasks = TaskTracker::new();
        let mut waiting: Vec<InHand> = Vec::new();
        let end = self
            .work(&mut subscription, &tasks, &mut waiting, gate)
            .await;
        let Subscription {
            mut deliveries,
            control,
        } = subscription;
        match &end {
            End::Lost(error) => {
                consuming.end(error);
                hand.let_go(waiting.len());
            }
            End::Stopped | End::Held => {
                // First stop deliveries, then give back the messages that no call has begun with.
                if control.cancel().await.is_ok() {
                    while let Some(Ok(delivery)) = deliveries.next().await {
                        waiting.push(hand.take(delivery, &control));
                    }
                }
                consuming.end("the worker holds, stops, or has its gate set");
                hand.give_back(waiting, &control).await;
            }
        }
        tasks.close();
        tasks.wait().await;
        if !matches!(end, End::Lost(_)) {
            if let Err(error) = control.flush().await {
                tracing::debug!(queue.name = %hand.queue, %error, "some of it will come again");
            }
            control.close().await;
        }
        end
    }

    /// Takes deliveries in hand and begins calls with them as `tasks`, until the worker stops or holds, its gate is no
    /// longer as it was, or the link is lost. Leaves the messages without a call in `waiting`.
    async fn work(
        &self,
        subscription: &mut Subscription,
        tasks: &TaskTracker,
        waiting: &mut Vec<InHand>,
        gate: &GateState,
    ) -> End {
        let Subscription {
            deliveries,
            control,
        } = subscription;
        let (hand, desk) = (&self.hand, self.desk());
        let mut since = Instant::now();
        let slot = Arc::clone(&desk.slots).acquire_many_owned(self.slots());
        let (stopped, held, set) = (desk.stopped(), desk.hold.begun(), desk.spec.gate.left(gate));
        tokio::pin!(slot, stopped, held, set);
        loop {
            tokio::select! {
                // In this order: waiting deliveries are taken first. So batches grow under load, and a single delivery
                // does not wait for others.
                biased;
                () = &mut stopped => return End::Stopped,
                _ = &mut held => return End::Held,
                () = &mut set => return End::Held,
                next = deliveries.next(), if self.has_room(waiting) => {
                    if waiting.is_empty() {
                        since = Instant::now();
                    }
                    let mut there = Some(next);
                    while let Some(next) = there {
                        match next {
                            Some(Ok(delivery)) => {
                                waiting.extend(self.admit(delivery, control, tasks));
                            }
                            Some(Err(error)) => return End::Lost(error),
                            None => {
                                let error = BrokerError::Lost("the stream ended".to_owned());
                                return End::Lost(error);
                            }
                        }
                        let room = self.has_room(waiting);
                        there = room.then(|| deliveries.next().now_or_never()).flatten();
                    }
                }
                permit = &mut slot, if self.may_begin(waiting.len(), since) => {
                    slot.set(Arc::clone(&desk.slots).acquire_many_owned(self.slots()));
                    // Never closed.
                    let Ok(permit) = permit else { return End::Stopped };
                    let batch = std::mem::take(waiting);
                    let handled = Arc::clone(hand).handle(batch, permit, Arc::clone(control));
                    tasks.spawn(crate::tasks::supervised("handle", handled));
                }
                () = hand.freed.notified(), if !waiting.is_empty() => {}
                () = sleep_until((since + GATHER).into()),
                    if !waiting.is_empty() && since.elapsed() < GATHER => {}
            }
        }
    }

    /// Whether one more message may join those that wait for a call.
    fn has_room(&self, waiting: &[InHand]) -> bool {
        let bodies = waiting.iter().map(|one| one.received.message.body.len());
        waiting.len() < self.batch() && bodies.sum::<usize>() < MAX_BATCH_BYTES
    }

    /// Takes a delivery in hand. `None` if it must not be handled: it is put aside or given up.
    fn admit(
        &self,
        delivery: Delivery,
        control: &Arc<dyn SubscriptionControl>,
        tasks: &TaskTracker,
    ) -> Option<InHand> {
        let in_hand = self.hand.take(delivery, control);
        let crashes = in_hand.crashes();
        let (hand, control) = (Arc::clone(&self.hand), Arc::clone(control));
        if let Some(failure) = self.damage(&in_hand.received) {
            let outcome = Outcome::Dead(failure);
            let buried = async move { hand.settle(vec![(in_hand, outcome)], &control).await };
            tasks.spawn(crate::tasks::supervised("bury", buried));
            return None;
        }
        match hand.kind {
            LaneKind::Main if in_hand.is_suspect() => {
                let aside = async move { hand.put_aside(in_hand, &control).await };
                tasks.spawn(crate::tasks::supervised("put aside", aside));
                None
            }
            LaneKind::Suspects if crashes >= CRASHED_AT => {
                let error = format!("workers died {crashes} times while they handled it");
                let outcome = Outcome::Dead(Failure::new(ReasonCode::Crashed, error));
                let settled = async move { hand.settle(vec![(in_hand, outcome)], &control).await };
                tasks.spawn(crate::tasks::supervised("settle", settled));
                None
            }
            _ => Some(in_hand),
        }
    }

    /// Why a message is given up before it is handled: it is not as it was published. The archive keeps it all the
    /// same.
    fn damage(&self, received: &Received) -> Option<Failure> {
        if self.desk().spec.parked.is_some() {
            return None;
        }
        received.damage()
    }
}

/// Whether a call begins for `count` events of at most `batch`, when it would run `alone` and the first of them
/// has waited for `waited`.
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
