//! The queue that the door works for. A confirm says that *some* queue has an event, and the history alone
//! would do for that. So a 202 takes one more thing: a look at the work queue behind the event, which finds it.
//!
//! A queue that was made again between event and look does not have the event. So one look that finds no queue counts
//! for every event under way, until the queue is found and bound again. A program that declares a deleted queue leaves
//! it missing for a second (`common::broker::declare_missing`), in which every door notices.
//!
//! Bindings cannot be listed over AMQP, but binding again changes nothing, so the door binds twice a second. Events
//! accepted while only the binding was gone are in the history, where the standing watch finds them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use common::broker::{Broker, BrokerError, Publication, PublishError, publish_traced_reaching};
use common::config::Config;
use common::topology::{Binding, Fact, Names, Topology};
use tokio_util::sync::CancellationToken;

/// How often it is bound again: within the second for which it stays missing, at least once.
const BIND_EVERY: Duration = Duration::from_millis(500);

/// How often the door looks for a missing queue.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The work queue, as the door sees it.
pub(crate) struct WorkQueue {
    broker: Arc<dyn Broker>,
    name: String,
    exchange: String,
    /// The bindings from the exchange to the queue, and to the history.
    bindings: Vec<Binding>,
    /// It was found missing, and not found since.
    missing: AtomicBool,
    /// Counts the times that it was found missing.
    changes: AtomicU64,
}

impl WorkQueue {
    pub(crate) fn new(broker: Arc<dyn Broker>, config: &Config) -> Self {
        let names = Names::new(config.namespace.clone());
        let exchange = names.exchange(Fact::Received);
        Self {
            broker,
            name: names.validate(),
            bindings: Topology::new(&config.plan()).around(&exchange).bindings,
            exchange,
            missing: AtomicBool::new(false),
            changes: AtomicU64::new(0),
        }
    }

    /// Publishes events. One answer for each, in order: whether the queue has the event.
    pub(crate) async fn publish(&self, events: Vec<Publication>) -> Vec<Result<(), PublishError>> {
        let count = events.len();
        // In this order, and `note_missing` in the other one: a publish that misses the flag sees the count change.
        let before = self.changes.load(Ordering::SeqCst);
        if self.missing.load(Ordering::SeqCst) {
            return self.refuse(count);
        }
        let answers = publish_traced_reaching(&*self.broker, &self.name, events).await;
        let is_missing = |answer| matches!(answer, &Err(PublishError::Unroutable { .. }));
        if answers.iter().any(is_missing) {
            self.note_missing();
        }
        if self.changes.load(Ordering::SeqCst) != before {
            return self.refuse(count);
        }
        answers
    }

    fn refuse(&self, count: usize) -> Vec<Result<(), PublishError>> {
        let no_queue = PublishError::Unroutable {
            exchange: self.exchange.clone(),
            routing_key: "#".to_owned(),
            reason: BrokerError::NoSuchQueue(self.name.clone()).to_string(),
        };
        vec![Err(no_queue); count]
    }

    fn note_missing(&self) {
        let known = self.missing.swap(true, Ordering::SeqCst);
        self.changes.fetch_add(1, Ordering::SeqCst);
        if !known {
            tracing::error!(
                broker.queue = self.name,
                "the work queue is missing: nothing is accepted"
            );
        }
    }

    /// Keeps the queue bound until `stop`, and the door open while the queue exists. Begins once everything is
    /// `declared`; the keeper of the topology declares missing parts later.
    pub(crate) async fn keep(&self, declared: &AtomicBool, stop: &CancellationToken) {
        let mut reported = false;
        loop {
            let missing = self.missing.load(Ordering::SeqCst);
            let pause = if missing { LOOK_EVERY } else { BIND_EVERY };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            if !declared.load(Ordering::Relaxed) {
                continue;
            }
            match self.bind().await {
                Ok(true) => {
                    reported = false;
                    self.missing.store(false, Ordering::SeqCst);
                }
                Ok(false) => self.note_missing(),
                Err(error) => {
                    if !reported {
                        tracing::warn!(broker.queue = self.name, %error, "the work queue cannot be bound again");
                    }
                    reported = true;
                }
            }
        }
    }

    /// Binds it; `false` where it is missing.
    async fn bind(&self) -> Result<bool, BrokerError> {
        let bound = self.broker.bind(&self.bindings).await;
        // Who may not bind takes for given that others do.
        if matches!(bound, Err(BrokerError::Refused(_))) && self.missing.load(Ordering::SeqCst) {
            return self.broker.has_queue(&self.name).await;
        }
        bound
    }
}
