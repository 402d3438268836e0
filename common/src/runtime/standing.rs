//! How a worker stands, for `/readyz`: whether it takes from its queues, or why not.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Gate;
use super::hold::Hold;
use crate::broker::SubscriptionControl;
use crate::telemetry::metrics;

/// How the worker of one queue stands. Clones look at the same worker.
#[derive(Clone)]
pub struct Standing(Arc<Inner>);

struct Inner {
    queue: String,
    hold: Arc<Hold>,
    gate: Gate,
    lanes: [Arc<Consuming>; 2],
}

/// Whether a lane consumes its queue.
pub(super) struct Consuming {
    queue: String,
    state: Mutex<State>,
}

enum State {
    /// The lane consumes, over this subscription.
    Yes(Arc<dyn SubscriptionControl>),
    /// The lane does not consume, for this reason.
    No(String),
}

impl Standing {
    pub(super) fn new(
        queue: &str,
        hold: Arc<Hold>,
        gate: Gate,
        lanes: [Arc<Consuming>; 2],
    ) -> Self {
        Self(Arc::new(Inner {
            queue: queue.to_owned(),
            hold,
            gate,
            lanes,
        }))
    }

    /// The worker's queue.
    pub fn queue(&self) -> &str {
        &self.0.queue
    }

    /// Why the worker does not work; `None` while it does, and while its gate is shut on purpose. Asks the broker if it was silent for a while.
    pub async fn problem(&self) -> Option<String> {
        if let Some(problem) = self.0.hold.problem() {
            return Some(problem);
        }
        if !self.0.gate.is_open() {
            return None;
        }
        for lane in &self.0.lanes {
            if let Some(problem) = lane.problem().await {
                return Some(problem);
            }
        }
        None
    }
}

impl Consuming {
    pub(super) fn new(queue: &str) -> Arc<Self> {
        let consuming = Self {
            queue: queue.to_owned(),
            state: Mutex::new(State::No("it has not begun yet".to_owned())),
        };
        metrics::may_consume(queue);
        Arc::new(consuming)
    }

    /// The lane consumes.
    pub(super) fn begin(&self, control: &Arc<dyn SubscriptionControl>) {
        *self.state() = State::Yes(Arc::clone(control));
        metrics::consuming(&self.queue, true);
    }

    /// The lane does not consume, for this reason.
    pub(super) fn end(&self, reason: impl ToString) {
        *self.state() = State::No(reason.to_string());
        metrics::consuming(&self.queue, false);
    }

    async fn problem(&self) -> Option<String> {
        let control = match &*self.state() {
            State::Yes(control) => Arc::clone(control),
            State::No(reason) => return Some(format!("{} is not consumed: {reason}", self.queue)),
        };
        let lost = !control.owns().await;
        lost.then(|| format!("{} is not consumed: the link is lost", self.queue))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
