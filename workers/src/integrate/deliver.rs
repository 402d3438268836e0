//! Making a delivery: check, wait for a turn, send, record, return the outcome.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use common::config::Destination;
use common::event::{Trail, header, now};
use common::outcome::{Failure, Outcome};
use common::reason::ReasonCode;
use common::retry;
use common::runtime::{Batch, Gate, Handler, Outcomes, Received};
use common::store::{Attempt, DeliveryKey, NewPause, Store, StoreError};
use common::telemetry::metrics::DestinationMetrics;

use super::LONGEST_TURN;
use super::chain::{Step, has_yet_to_go_on, step};
use super::copies::Copies;
use super::gates::{Admission, Gates};
use super::order::{Kept, Order};
use super::pace::Pace;
use super::places::{Place, Places};
use super::recorder::Recorder;
use super::transport::{Means, Parcel, Transport, UnusableDestination, Verdict};
use super::transports::transport;
use super::turns::{Turn, Turns};
use crate::database::refused;
use common::canonical::passed_on;

/// How long a delivery without a copy may wait for its turn before the database is asked. In a longer wait the link may
/// have been lost, or the process frozen, and another process may have made the delivery.
const KNOWN_FOR: Duration = Duration::from_secs(5);

/// How long a delivery that may have a copy may wait: the time to take a free place. After a longer wait the database
/// is asked again right before the request, since the process that has the copy may have recorded it.
const AT_ONCE: Duration = Duration::from_millis(5);

/// How long a delivery that found no place in time is put off.
const NO_PLACE: Duration = Duration::from_secs(1);

/// Delivers events to one destination.
pub(super) struct Deliver {
    destination: Destination,
    transport: Box<dyn Transport>,
    /// One for each delivery that may be under way.
    places: Places,
    pace: Option<Pace>,
    copies: Arc<Copies>,
    turns: Turns,
    gates: Arc<Gates>,
    /// Shut while the destination is paused, or its breaker is open.
    gate: Gate,
    recorder: Recorder,
    /// For a destination that keeps deliveries in order.
    order: Option<Order>,
    store: Arc<dyn Store>,
    metrics: DestinationMetrics,
}

/// A delivery before its request.
enum Prepared<'d> {
    /// It is its turn.
    Ready {
        /// No copy of it is under way.
        turn: Turn,
        /// One of the destination's places.
        place: Place<'d>,
    },
    /// There is nothing to send, or not now.
    Over(Outcome),
}

impl Deliver {
    /// Delivers to `destination` while its gate is open.
    ///
    /// # Errors
    /// The destination cannot be used as configured.
    pub(super) fn new(
        destination: Destination,
        means: Means,
        store: Arc<dyn Store>,
        (gates, copies): (Arc<Gates>, Arc<Copies>),
        order: Option<Order>,
    ) -> Result<Self, UnusableDestination> {
        let transport = transport(&destination, means)?;
        Ok(Self {
            transport,
            places: Places::new(destination.concurrency, copies.share(&destination.name)),
            pace: destination
                .rate
                .map(|rate| Pace::new(rate.interval(), copies.share(&destination.name))),
            copies,
            turns: Turns::default(),
            gate: gates.gate(&destination.name),
            gates,
            recorder: Recorder::start(Arc::clone(&store)),
            order,
            store,
            metrics: DestinationMetrics::new(&destination.name),
            destination,
        })
    }

    async fn deliver(&self, received: &Received) -> Result<Outcome, StoreError> {
        let (event, kind) = match passed_on(received) {
            Ok(known) => known,
            Err(failure) => return Ok(Outcome::Dead(failure)),
        };
        let key = DeliveryKey {
            event,
            destination: self.destination.name.clone(),
            generation: received.trail.generation,
        };
        let order = self.order.as_ref();
        let kept = order.and_then(|order| order.kept(&key, received));
        // Bindings of a former configuration may still lead here. A replay was sent here on purpose.
        let on_purpose =
            key.generation > 0 || received.message.headers.get(header::REPLAY).is_some();
        if !on_purpose && !self.destination.takes(&kind) {
            tracing::info!(
                event.id = %event,
                event.type = %kind,
                destination.name = %self.destination.name,
                "the destination does not take events of this type: not delivered"
            );
            self.recorder.discard(key).await?;
            self.metrics.not_taken();
            return go_on(kept).await;
        }
        // The store stage has decided, and its row says so too. Only a message that may have a copy could have a delivery.
        if received.is_fresh() && self.is_filtered(received) {
            return Ok(Outcome::Done);
        }
        let _in_hand = self.copies.in_hand();
        let prepared = tokio::select! {
            biased;
            // Another process makes the deliveries that have not begun when this program must stop.
            () = received.claim.called_back() => return Ok(Outcome::GiveBack),
            // Nor are those made that have not begun when the destination is paused or its breaker opens.
            () = self.gate.shut() => return Ok(Outcome::GiveBack),
            // Waiting is not an attempt, and the broker bounds how long a message may be in hand.
            prepared = tokio::time::timeout(LONGEST_TURN, self.prepare(&key, received, kept)) => {
                prepared.unwrap_or(Ok(Prepared::Over(Outcome::Snooze(NO_PLACE))))?
            }
        };
        match prepared {
            Prepared::Ready { turn, place } => self.make((key, kept), received, turn, place).await,
            Prepared::Over(outcome) => Ok(outcome),
        }
    }

    /// Makes an attempt, unless a breaker has something against it, and records it.
    async fn make(
        &self,
        (key, kept): (DeliveryKey, Option<Kept<'_>>),
        received: &Received,
        turn: Turn,
        place: Place<'_>,
    ) -> Result<Outcome, StoreError> {
        let name = &self.destination.name;
        if let Some(kept) = kept
            && let Some(outcome) = kept.hold(self.look_up(&key, received, Some(kept))).await?
        {
            return Ok(outcome);
        }
        let admission = self.gates.admit(name).await;
        if !matches!(admission, Ok(Admission::Usual { .. } | Admission::Probe)) {
            let_go(kept).await;
        }
        let admission = admission?;
        if admission == Admission::Held {
            return Ok(Outcome::GiveBack);
        }
        turn.tried();
        let (attempt, verdict) = self.attempt(key, received).await;
        drop(place);
        let ended = self.gates.ended(name, admission, verdict.ending());
        let recorded = async {
            match attempt {
                Some(attempt) => self.recorder.record(attempt).await,
                None => Ok(()),
            }
        };
        // The attempt is kept from the first moment, whatever the breaker waits for.
        let (recorded, ()) = tokio::join!(recorded, ended);
        recorded?;
        drop(turn);
        if let Verdict::Never(failure) = &verdict
            && failure.code == ReasonCode::ReceiverGone
        {
            self.pause_for_gone(failure).await;
        }
        if verdict == Verdict::Delivered {
            return go_on(kept).await;
        }
        let_go(kept).await;
        // Its copy finds the recorded attempt, and goes on from there: two would make two chains of retries.
        if !received.claim.holds().await {
            return Ok(Outcome::GiveBack);
        }
        Ok(outcome_of(verdict))
    }

    /// Pauses the destination, as Standard Webhooks asks: its receiver wants no more requests. If the pause cannot be written
    /// down, this process keeps it until it can read the pauses again; the next such answer pauses the destination anew.
    async fn pause_for_gone(&self, failure: &Failure) {
        let pause = NewPause {
            destination: self.destination.name.clone(),
            by: "longshore-integrate".to_owned(),
            why: format!("the receiver is gone: {}", failure.error),
        };
        let destinations = self.store.destinations();
        let written = destinations.pause_destination(&pause, None);
        let (name, by) = (&pause.destination, (&*pause.by, &*pause.why));
        match self.gates.pause(name, by, written).await {
            Ok(pause) => tracing::warn!(
                destination.name = %pause.name, by = pause.paused_by, why = pause.paused_why,
                "paused, as its receiver is gone; `longshore destinations resume` lets deliveries go on"
            ),
            Err(error) => tracing::warn!(
                destination.name = %self.destination.name, %error,
                "the receiver is gone, and the pause of the destination could not be written down"
            ),
        }
    }

    /// Waits for the delivery's turn. Right before it, makes sure that the request is still due, that it is ours, and
    /// that it can be recorded.
    async fn prepare(
        &self,
        key: &DeliveryKey,
        received: &Received,
        kept: Option<Kept<'_>>,
    ) -> Result<Prepared<'_>, StoreError> {
        let over = |outcome| Ok(Prepared::Over(outcome));
        let turn = self.turns.take(key).await;
        // A fresh event cannot have a copy from before this process began to remember. The database knows the copies of
        // any other event. It is also asked while it may be down: an attempt that cannot be recorded is not made.
        // Of one that is kept in order, others may have sent a message.
        let is_first = received.is_fresh() && !turn.is_tried() && kept.is_none();
        if !(is_first && self.recorder.is_sure())
            && let Some(outcome) = self.look_up(key, received, kept).await?
        {
            return over(outcome);
        }
        if let Some(kept) = kept
            && let Some(outcome) = kept.look().await?
        {
            return over(outcome);
        }
        self.copies.check().await?;
        let since = Instant::now();
        let Some(place) = self.places.take(NO_PLACE).await else {
            return over(Outcome::Snooze(NO_PLACE));
        };
        if let Some(pace) = &self.pace
            && let Err(wait) = pace.turn(LONGEST_TURN).await
        {
            return over(Outcome::Snooze(wait.min(retry::LONGEST_WAIT)));
        }
        // While it waited, another copy may have been recorded.
        let known_for = if is_first { KNOWN_FOR } else { AT_ONCE };
        if !(since.elapsed() < known_for && self.recorder.is_sure())
            && let Some(outcome) = self.look_up(key, received, kept).await?
        {
            return over(outcome);
        }
        self.gates.check().await?;
        if !self.gate.is_open() || !received.claim.holds().await {
            return over(Outcome::GiveBack);
        }
        Ok(Prepared::Ready { turn, place })
    }

    /// Asks the database for the rest of the delivery. `None` is a request to send.
    async fn look_up(
        &self,
        key: &DeliveryKey,
        received: &Received,
        kept: Option<Kept<'_>>,
    ) -> Result<Option<Outcome>, StoreError> {
        let record = self.recorder.look_up(key).await?;
        // A row counts, whatever the filter said: a replay, or another filter, made it.
        if record.is_none() && self.is_filtered(received) {
            return Ok(Some(Outcome::Done));
        }
        Ok(
            match step(received, record.as_ref(), &*self.transport, now()) {
                Step::Send => None,
                Step::GoOn(verdict) => Some(outcome_of(verdict)),
                Step::Drop if has_yet_to_go_on(received, record.as_ref()) => {
                    Some(go_on(kept).await?)
                }
                Step::Drop => Some(Outcome::Done),
            },
        )
    }

    /// Whether the destination's filter passed over the event when it was stored.
    fn is_filtered(&self, received: &Received) -> bool {
        let filtered = &received.trail.filtered;
        filtered.contains(&self.destination.name)
    }

    /// Makes the attempt. There is nothing to record of one that was not made.
    async fn attempt(&self, key: DeliveryKey, received: &Received) -> (Option<Attempt>, Verdict) {
        let started_at = now();
        let began = Instant::now();
        let id = webhook_id(&key, &received.trail);
        let parcel = Parcel {
            id: &id,
            event: key.event,
            at: started_at,
            received,
        };
        let sent = self.transport.send(parcel).await;
        let took = began.elapsed();
        let verdict = sent.verdict;
        if let Verdict::NotMade(_) = verdict {
            return (None, verdict);
        }
        let failure = verdict.failure();
        self.metrics
            .attempt(failure.map(|failure| failure.code), took);
        if sent.again {
            self.metrics.resent();
        }
        let attempt = Attempt {
            key,
            attempt: received.attempt(),
            started_at,
            duration_ms: u32::try_from(took.as_millis()).unwrap_or(u32::MAX),
            status_code: sent.status,
            error: failure.map(|failure| failure.error.clone()),
            // The words of a success are of no use to anybody.
            response_excerpt: sent.excerpt.filter(|_| failure.is_some()),
            delivered: failure.is_none(),
        };
        (Some(attempt), verdict)
    }
}

/// What follows the end of a delivery.
async fn go_on(kept: Option<Kept<'_>>) -> Result<Outcome, StoreError> {
    match kept {
        Some(kept) => kept.ended().await,
        None => Ok(Outcome::Done),
    }
}

/// Lets others make the next attempt.
async fn let_go(kept: Option<Kept<'_>>) {
    if let Some(kept) = kept {
        kept.let_go().await;
    }
}

/// The outcome of an attempt.
fn outcome_of(verdict: Verdict) -> Outcome {
    match verdict {
        Verdict::Delivered => Outcome::Done,
        Verdict::Later { after, failure } => Outcome::Retry { after, failure },
        Verdict::Never(failure) | Verdict::NotMade(failure) => Outcome::Dead(failure),
    }
}

/// The receiver's key for the delivery: equal in every attempt and every replay, so that a receiver can recognise an
/// earlier delivery. Only an operator's choice makes another one. It holds no dot, as Standard Webhooks asks.
fn webhook_id(key: &DeliveryKey, trail: &Trail) -> String {
    match trail.new_id {
        0 => key.event.to_string(),
        generation => format!("{}-r{generation}", key.event),
    }
}

#[async_trait]
impl Handler for Deliver {
    async fn handle(&self, batch: Batch<'_>) -> Result<Outcomes, Outcome> {
        let outcomes = batch.answer_one_by_one(|received| async move {
            let delivered = self.deliver(received).await;
            delivered.unwrap_or_else(refused)
        });
        Ok(outcomes.await)
    }

    async fn probe(&self) -> Result<(), String> {
        // What was sent is recorded before anything else is taken in hand.
        let caught_up = self.recorder.catch_up().await;
        caught_up.map_err(|error| error.to_string())?;
        self.store.ready().await.map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests;
