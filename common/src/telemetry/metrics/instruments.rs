//! Metrics that belong to one thing: a queue, a destination, a caller that watches, the run of an operation.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use super::{
    AGE_SECONDS, BATCH, DELIVERIES, DELIVERY_SECONDS, HANDLE_SECONDS, HOLDING, HOLDS, IN_FLIGHT,
    LIVE, NOT_TAKEN, OPERATION_MESSAGES, OPERATION_RUNS, OPERATIONS, OUTCOMES, RESENT, SUSPECTS,
};
use crate::dependency::EngineKind;
use crate::outcome::OutcomeKind;
use crate::reason::ReasonCode;

/// A caller that watches an event live; counted until it is dropped.
#[derive(Debug)]
pub struct LiveStream(());

impl LiveStream {
    /// One more.
    pub fn begin() -> Self {
        gauge!(LIVE).increment(1.0);
        Self(())
    }
}

impl Drop for LiveStream {
    fn drop(&mut self) {
        gauge!(LIVE).decrement(1.0);
    }
}

/// The metrics of one queue's worker. Metrics of every event are looked up once.
#[derive(Clone)]
pub struct QueueMetrics {
    queue: String,
    outcomes: [(OutcomeKind, Counter); OutcomeKind::ALL.len()],
    in_flight: Gauge,
    age: Histogram,
    handle: Histogram,
    batch: Histogram,
}

impl QueueMetrics {
    /// The metrics of `queue`, all of them there from the start.
    pub fn new(queue: &str) -> Self {
        let queue = queue.to_owned();
        let counter = |outcome| (outcome, outcome_counter(&queue, outcome, None));
        let metrics = Self {
            outcomes: OutcomeKind::ALL.map(counter),
            in_flight: gauge!(IN_FLIGHT, "queue" => queue.clone()),
            age: histogram!(AGE_SECONDS, "queue" => queue.clone()),
            handle: histogram!(HANDLE_SECONDS, "queue" => queue.clone()),
            batch: histogram!(BATCH, "queue" => queue.clone()),
            queue,
        };
        // Another worker on the queue may still be at work.
        gauge!(HOLDING, "queue" => metrics.queue.clone()).increment(0.0);
        metrics.in_flight.increment(0.0);
        for (_, counter) in &metrics.outcomes {
            counter.increment(0);
        }
        metrics
    }

    /// The worker begins.
    pub fn begin(&self) {
        self.holding(false);
        self.in_flight(0);
    }

    /// An event was handled.
    pub fn outcome(&self, outcome: OutcomeKind, reason: Option<ReasonCode>) {
        let known = self
            .outcomes
            .iter()
            .find(|(known, _)| *known == outcome && reason.is_none());
        match known {
            Some((_, counter)) => counter.increment(1),
            None => outcome_counter(&self.queue, outcome, reason).increment(1),
        }
    }

    /// A call of the handler ended.
    pub fn handled(&self, events: usize, took: Duration) {
        self.handle.record(took);
        self.batch.record(number(events));
    }

    /// How many events the process holds unsettled.
    pub fn in_flight(&self, events: usize) {
        self.in_flight.set(number(events));
    }

    /// The worker waits, or goes on.
    pub fn holding(&self, holding: bool) {
        gauge!(HOLDING, "queue" => self.queue.clone()).set(f64::from(u8::from(holding)));
    }

    /// The worker begins to wait for an engine.
    pub fn hold(&self, engine: EngineKind) {
        counter!(HOLDS, "queue" => self.queue.clone(), "dependency" => engine.as_str())
            .increment(1);
    }

    /// A message was put aside.
    pub fn suspect(&self) {
        counter!(SUSPECTS, "queue" => self.queue.clone()).increment(1);
    }

    /// The stage is done with an event that came through a door `age` ago.
    pub fn age(&self, age: Duration) {
        self.age.record(age);
    }
}

fn outcome_counter(queue: &str, outcome: OutcomeKind, reason: Option<ReasonCode>) -> Counter {
    let reason = reason.map_or("", |reason| reason.as_str());
    counter!(OUTCOMES, "queue" => queue.to_owned(), "outcome" => outcome.as_str(), "reason" => reason)
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// The metrics of one destination. Metrics of nearly every attempt are looked up once.
pub struct DestinationMetrics {
    destination: String,
    delivered: Counter,
    took: Histogram,
}

impl DestinationMetrics {
    /// The metrics of `destination`.
    pub fn new(destination: &str) -> Self {
        let destination = destination.to_owned();
        Self {
            delivered: attempt_counter(&destination, DELIVERED),
            took: histogram!(DELIVERY_SECONDS, "destination" => destination.clone()),
            destination,
        }
    }

    /// An event came that the destination does not take.
    pub fn not_taken(&self) {
        counter!(NOT_TAKEN, "destination" => self.destination.clone()).increment(1);
    }

    /// A request was sent again within its attempt.
    pub fn resent(&self) {
        counter!(RESENT, "destination" => self.destination.clone()).increment(1);
    }

    /// An attempt ended: delivered, or failed for this reason.
    pub fn attempt(&self, failed: Option<ReasonCode>, took: Duration) {
        match failed {
            None => self.delivered.increment(1),
            Some(reason) => attempt_counter(&self.destination, reason.as_str()).increment(1),
        }
        self.took.record(took);
    }
}

/// The result of an attempt that did not fail.
const DELIVERED: &str = "delivered";

fn attempt_counter(destination: &str, result: &'static str) -> Counter {
    counter!(DELIVERIES, "destination" => destination.to_owned(), "result" => result)
}

/// A run of an operation; it ends when this is dropped.
#[derive(Debug)]
pub struct OperationRun {
    /// How it ended, in the words of the metric; `None` where another process runs the operation.
    result: Option<&'static str>,
}

impl OperationRun {
    /// One more.
    pub fn begin() -> Self {
        gauge!(OPERATIONS).increment(1.0);
        Self {
            result: Some("failed"),
        }
    }

    /// Counts further messages that are sent, or letters that are changed.
    pub fn went_on(&self, messages: u64) {
        counter!(OPERATION_MESSAGES).increment(messages);
    }

    /// It did not fail: it is done, or was stopped.
    pub fn ended(&mut self, stopped: bool) {
        self.result = Some(if stopped { "stopped" } else { "done" });
    }

    /// There was nothing to run: another process has the operation.
    pub fn is_elsewhere(&mut self) {
        self.result = None;
    }
}

impl Drop for OperationRun {
    fn drop(&mut self) {
        gauge!(OPERATIONS).decrement(1.0);
        if let Some(result) = self.result {
            counter!(OPERATION_RUNS, "result" => result).increment(1);
        }
    }
}
