//! A lane: one queue, consumed until the end.
//!
//! The main lane batches and runs many calls at once. The lane of suspects takes one message at a
//! time and waits until nothing else runs in this process, so that if the worker dies over it, it
//! alone is to blame and it alone comes back with a higher count.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::sleep_until;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use super::call::call;
use super::settle::{Place, Settlement, settlement};
use super::worker::{BROKER, Worker};
use super::{Claim, Received};
use crate::broker::{
    Address, BrokerError, Delivery, Publication, PublishError, Settlement as Settle, Subscription,
    SubscriptionControl, Tag,
};
use crate::event::{Trail, now};
use crate::outcome::{Failure, Outcome};
use crate::reason::ReasonCode;
use crate::retry::RetryPolicy;
use crate::telemetry::trace;
use crate::topology::Names;

/// A message that came back so often is put aside.
const SUSPECT_AT: u32 = 2;
/// A message that workers died over so often, in the end alone, is given up unhandled.
const CRASHED_AT: u32 = 5;

/// A call beside another one begins with a full batch, or after so long: a transaction costs nearly the
/// same for many events as for few, and so does what follows from it.
const GATHER: Duration = Duration::from_millis(10);

/// A subscription that lasted so long was no flutter: the next wait is a short one again.
const STEADY: Duration = Duration::from_secs(10);

/// Which lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LaneKind {
    Main,
    Suspects,
}

/// One queue, consumed until the end.
pub(super) struct Lane {
    worker: Arc<Worker>,
    kind: LaneKind,
    queue: String,
    in_flight: Arc<AtomicUsize>,
    /// A call has ended.
    freed: Notify,
}

/// A message in hand.
struct InHand {
    tag: Tag,
    returns: u32,
    received: Received,
}

/// Why a subscription ended.
enum End {
    Stopped,
    Held,
    Lost(BrokerError),
}

impl Lane {
    pub(super) fn new(worker: &Arc<Worker>, kind: LaneKind, queue: String) -> Self {
        let in_flight = Arc::new(AtomicUsize::new(0));
        Self {
            worker: Arc::clone(worker),
            kind,
            queue,
            in_flight,
            freed: Notify::new(),
        }
    }

    /// Consumes until the worker is told to stop, across lost links and holds.
    pub(super) async fn run(self) {
        let lane = Arc::new(self);
        let worker = &lane.worker;
        let mut waits = worker.waits();
        while !worker.stop.is_cancelled() {
            tokio::select! {
                () = worker.hold.ended() => {}
                () = worker.stop.cancelled() => return,
            }
            let subscription = match worker.broker.subscribe(&lane.queue, lane.prefetch()).await {
                Ok(subscription) => subscription,
                Err(error) => {
                    tracing::warn!(queue.name = %lane.queue, %error, "cannot consume");
                    if let BrokerError::NoSuchQueue(_) = error {
                        // Somebody deleted it: the probe declares it again.
                        worker.begin_hold(BROKER, &error.to_string());
                    } else if !worker.pause(waits.next_wait()).await {
                        return;
                    }
                    continue;
                }
            };
            tracing::debug!(queue.name = %lane.queue, "consuming");
            let began = Instant::now();
            match lane.consume(subscription).await {
                End::Stopped => return,
                End::Held => {}
                End::Lost(error) => {
                    tracing::warn!(queue.name = %lane.queue, %error, "lost the subscription");
                    if began.elapsed() > STEADY {
                        waits.reset();
                    }
                    if !worker.pause(waits.next_wait()).await {
                        return;
                    }
                }
            }
        }
    }

    fn place<'p>(&'p self, retry: &'p RetryPolicy) -> Place<'p> {
        Place {
            queue: &self.queue,
            parked: self.worker.spec.parked.as_deref(),
            retry,
        }
    }

    fn prefetch(&self) -> u16 {
        match self.kind {
            LaneKind::Main => self.worker.spec.settings.prefetch,
            LaneKind::Suspects => 1,
        }
    }

    fn batch(&self) -> usize {
        match self.kind {
            LaneKind::Main => self.worker.spec.settings.batch,
            LaneKind::Suspects => 1,
        }
    }

    /// How many of the worker's slots one call takes: a suspect takes all, so it runs alone.
    fn slots(&self) -> u32 {
        match self.kind {
            LaneKind::Main => 1,
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
    async fn consume(self: &Arc<Self>, subscription: Subscription) -> End {
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
                next = deliveries.next(), if waiting.len() < self.batch() => {
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
                        let room = waiting.len() < self.batch();
                        there = room.then(|| deliveries.next().now_or_never()).flatten();
                    }
                }
                permit = &mut slot, if self.may_begin(waiting.len(), since) => {
                    slot.set(Arc::clone(&worker.slots).acquire_many_owned(self.slots()));
                    // Never closed.
                    let Ok(permit) = permit else { break End::Stopped };
                    let batch = std::mem::take(&mut waiting);
                    tasks.spawn(Arc::clone(self).handle(batch, permit, Arc::clone(&control)));
                }
                () = self.freed.notified(), if !waiting.is_empty() => {}
                () = sleep_until((since + GATHER).into()),
                    if !waiting.is_empty() && since.elapsed() < GATHER => {}
            }
        };
        if !matches!(end, End::Lost(_)) {
            // First stop what comes, then give back what nobody has begun.
            if control.cancel().await.is_ok() {
                while let Some(Ok(delivery)) = deliveries.next().await {
                    waiting.push(self.in_hand(delivery, &control));
                }
            }
            join_all(
                waiting
                    .into_iter()
                    .map(|in_hand| self.give_back(in_hand, &control)),
            )
            .await;
        } else {
            self.gone(waiting.len());
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

    fn in_hand(&self, delivery: Delivery, control: &Arc<dyn SubscriptionControl>) -> InHand {
        let Delivery { tag, returns, .. } = delivery;
        self.came(1);
        let claim = Claim::new(Arc::clone(control), self.worker.stop.clone());
        InHand {
            tag,
            returns,
            received: Received::new(delivery, &self.worker.logins, now(), claim),
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
        let crashes = in_hand
            .received
            .trail
            .crashes
            .saturating_add(in_hand.returns);
        if let Some(failure) = self.damage(&in_hand.received) {
            let lane = Arc::clone(self);
            let control = Arc::clone(control);
            let outcome = Outcome::Dead(failure);
            tasks.spawn(async move { lane.settle(vec![(in_hand, outcome)], &control).await });
            return None;
        }
        match self.kind {
            LaneKind::Main if in_hand.returns >= SUSPECT_AT => {
                let lane = Arc::clone(self);
                let control = Arc::clone(control);
                tasks.spawn(async move { lane.put_aside(in_hand, &control).await });
                None
            }
            LaneKind::Suspects if crashes >= CRASHED_AT => {
                let error = format!("workers died {crashes} times while they handled it");
                let outcome = Outcome::Dead(Failure::new(ReasonCode::Crashed, error));
                let lane = Arc::clone(self);
                let control = Arc::clone(control);
                tasks.spawn(async move { lane.settle(vec![(in_hand, outcome)], &control).await });
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

    /// Handles a batch and settles each of it.
    async fn handle(
        self: Arc<Self>,
        batch: Vec<InHand>,
        permit: OwnedSemaphorePermit,
        control: Arc<dyn SubscriptionControl>,
    ) {
        let span = tracing::info_span!("handle", queue.name = %self.queue, events = batch.len());
        let work = async {
            let (received, tags): (Vec<Received>, Vec<(Tag, u32)>) = batch
                .into_iter()
                .map(|in_hand| (in_hand.received, (in_hand.tag, in_hand.returns)))
                .unzip();
            for event in &received {
                trace::link(&event.message.headers, &tracing::Span::current());
            }
            let began = Instant::now();
            let settings = &self.worker.spec.settings;
            let outcomes = call(&*self.worker.handler, &received, settings.timeout).await;
            self.worker.metrics.handled(received.len(), began.elapsed());
            // The next call may begin while the broker confirms what came of this one.
            drop(permit);
            self.freed.notify_one();
            let each = received.into_iter().zip(tags).zip(outcomes);
            let each = each.map(|((received, (tag, returns)), outcome)| {
                let in_hand = InHand {
                    tag,
                    returns,
                    received,
                };
                (in_hand, outcome)
            });
            self.settle(each.collect(), &control).await;
        };
        work.instrument(span).await;
    }

    /// Does what the outcomes ask for: publishes, confirmed, and only then settles.
    async fn settle(
        &self,
        handled: Vec<(InHand, Outcome)>,
        control: &Arc<dyn SubscriptionControl>,
    ) {
        let retry = &self.worker.spec.settings.retry;
        let mut publications = Vec::with_capacity(handled.len());
        let mut finished = Vec::with_capacity(handled.len());
        for (in_hand, outcome) in handled {
            match settlement(outcome, &in_hand.received, &self.place(retry), now()) {
                Settlement::Finish {
                    publish,
                    outcome,
                    failure,
                } => {
                    let count = publish.len();
                    publications.extend(publish.into_iter().map(|one| self.outgoing(one)));
                    finished.push((in_hand, count, outcome, failure));
                }
                Settlement::GiveBack => {
                    self.worker.metrics.outcome("give_back", "");
                    self.give_back(in_hand, control).await;
                }
                Settlement::Hold { dependency, error } => {
                    self.worker.metrics.outcome("hold", "");
                    self.worker.begin_hold(dependency, &error);
                    self.give_back(in_hand, control).await;
                }
            }
        }
        let mut answers = if publications.is_empty() {
            Vec::new().into_iter()
        } else {
            let answers = self.worker.broker.publish_all(publications).await;
            answers.into_iter()
        };
        for (in_hand, count, outcome, failure) in finished {
            match confirmed(&mut answers, count) {
                Ok(()) => {
                    control.settle(in_hand.tag, Settle::Ack);
                    self.gone(1);
                    self.report(&in_hand.received, outcome, failure.as_ref());
                }
                Err(error) => {
                    self.worker.begin_hold(BROKER, &error.to_string());
                    self.give_back(in_hand, control).await;
                }
            }
        }
    }

    /// A publication with the trace's context.
    fn outgoing(&self, mut publication: Publication) -> Publication {
        trace::inject(&mut publication.message.headers);
        publication
    }

    /// Puts a message aside to be handled alone. Its count starts over there, at the same number for
    /// all: most of them were merely in hand when a neighbour killed the worker.
    async fn put_aside(&self, in_hand: InHand, control: &Arc<dyn SubscriptionControl>) {
        let queue = Names::suspect(&self.queue);
        let trail = Trail {
            crashes: SUSPECT_AT,
            ..in_hand.received.trail.clone()
        };
        let message = in_hand.received.again(&trail);
        let aside = self.outgoing(Publication {
            to: Address::Queue(queue),
            message,
        });
        match self.worker.broker.publish(aside).await {
            Ok(()) => {
                tracing::warn!(
                    queue.name = %self.queue,
                    event.id = in_hand.received.message.message_id.as_deref().unwrap_or("-"),
                    returns = in_hand.returns,
                    "came back too often: put aside to be handled alone"
                );
                self.worker.metrics.suspect();
                control.settle(in_hand.tag, Settle::Ack);
                self.gone(1);
            }
            Err(error) => {
                self.worker.begin_hold(BROKER, &error.to_string());
                self.give_back(in_hand, control).await;
            }
        }
    }

    /// Gives a message back unharmed. A suspect goes back as a copy: giving it back would count
    /// against it, and here that count decides.
    async fn give_back(&self, in_hand: InHand, control: &Arc<dyn SubscriptionControl>) {
        let settle = match self.kind {
            LaneKind::Main => Settle::GiveBack,
            LaneKind::Suspects => {
                let trail = &in_hand.received.trail;
                let crashes = trail.crashes.saturating_add(in_hand.returns);
                let message = in_hand.received.again(&Trail {
                    crashes,
                    ..trail.clone()
                });
                let to = Address::Queue(self.queue.clone());
                match self
                    .worker
                    .broker
                    .publish(Publication { to, message })
                    .await
                {
                    Ok(()) => Settle::Ack,
                    Err(_) => Settle::GiveBack,
                }
            }
        };
        control.settle(in_hand.tag, settle);
        self.gone(1);
    }

    fn report(&self, received: &Received, outcome: &'static str, failure: Option<&Failure>) {
        let metrics = &self.worker.metrics;
        metrics.outcome(outcome, failure.map_or("", |failure| failure.code.as_str()));
        let id = received.message.message_id.as_deref().unwrap_or("-");
        match (outcome, failure) {
            ("retry", Some(Failure { code, error })) => tracing::warn!(
                queue.name = %self.queue, event.id = id, attempt = received.attempt(),
                reason = code.as_str(), error, "an attempt failed"
            ),
            ("dead", Some(Failure { code, error })) => tracing::error!(
                queue.name = %self.queue, event.id = id, attempt = received.attempt(),
                reason = code.as_str(), error, "given up: it is a dead letter now"
            ),
            _ => {
                if let Some(received_at) = received.trail.received_at
                    && let Ok(age) = (now() - received_at).try_into()
                {
                    metrics.age(age);
                }
                tracing::debug!(queue.name = %self.queue, event.id = id, outcome, "handled");
            }
        }
    }

    fn came(&self, count: usize) {
        let held = self.in_flight.fetch_add(count, Ordering::Relaxed) + count;
        if self.kind == LaneKind::Main {
            self.worker.metrics.in_flight(held);
        }
    }

    fn gone(&self, count: usize) {
        let held = self
            .in_flight
            .fetch_sub(count, Ordering::Relaxed)
            .saturating_sub(count);
        if self.kind == LaneKind::Main {
            self.worker.metrics.in_flight(held);
        }
    }
}

/// Whether the next `count` messages are all published. Takes the answers to all of them, also behind one that
/// failed: the next ones are about other messages.
fn confirmed(
    answers: &mut impl Iterator<Item = Result<(), PublishError>>,
    count: usize,
) -> Result<(), PublishError> {
    let own: Vec<_> = (0..count).map(|_| answers.next()).collect();
    own.into_iter()
        .try_for_each(|answer| answer.unwrap_or_else(|| Err(PublishError::unanswered())))
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
    fn each_event_gets_the_answers_to_its_own_messages() {
        let mut answers = [Ok(()), Err(PublishError::Nacked), Ok(()), Ok(())].into_iter();
        assert!(confirmed(&mut answers, 0).is_ok());
        let failed = confirmed(&mut answers, 3);
        assert!(matches!(failed, Err(PublishError::Nacked)), "{failed:?}");
        assert!(confirmed(&mut answers, 1).is_ok(), "its neighbour");
        assert!(confirmed(&mut answers, 1).is_err(), "nobody answered");
    }

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
