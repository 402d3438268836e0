//! The queue that the door works for. A confirm says that *some* queue has an event, and the history alone
//! would do for that. So a 202 takes one more thing: a look at the work queue that began after the confirm.
//!
//! One look serves every event that was confirmed before it began, so looks cost next to nothing under
//! load. A queue that was made again between publish and look has not the event: where anybody's look found
//! it missing in between, a later one does not count.
//!
//! Bindings cannot be looked at over AMQP, but binding again changes nothing. So that is done about every
//! second. What was accepted while the binding was gone is in the history, where it can be found.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use common::broker::{Broker, BrokerError, PublishError};
use common::config::Config;
use common::topology::{Binding, Fact, Names, Topology};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often it is bound again.
const BIND_EVERY: Duration = Duration::from_millis(1000);

/// How long it may be missing before that is told.
const MEND_AFTER: Duration = Duration::from_millis(500);

/// How long a queue that was found missing counts as missing without another look.
const MISSING_FOR: Duration = Duration::from_millis(100);

/// The work queue, as the door sees it.
pub(crate) struct WorkQueue {
    broker: Arc<dyn Broker>,
    name: String,
    exchange: String,
    /// What leads from the exchange to it, and to the history.
    bindings: Vec<Binding>,
    /// The last look. Held while one is under way: whoever waits for it may find that it serves them too.
    last: Mutex<Option<Look>>,
    /// Whether the last look found none.
    missing: AtomicBool,
    /// Counts the times that it was found missing.
    changes: AtomicU64,
}

#[derive(Clone)]
struct Look {
    began: Instant,
    found: Result<bool, BrokerError>,
}

/// Taken before an event is published.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticket {
    changes: u64,
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
            last: Mutex::new(None),
            missing: AtomicBool::new(false),
            changes: AtomicU64::new(0),
        }
    }

    /// Says that something is about to be published.
    ///
    /// # Errors
    /// The queue is known to be missing: nothing should be published that would only reach the history.
    pub(crate) async fn ticket(&self) -> Result<Ticket, PublishError> {
        if self.missing.load(Ordering::Acquire) {
            let recent = Instant::now().checked_sub(MISSING_FOR);
            self.look(recent.unwrap_or_else(Instant::now)).await?;
        }
        Ok(Ticket {
            changes: self.changes.load(Ordering::Acquire),
        })
    }

    /// Says whether the queue has what was published after `ticket` and is confirmed by now.
    ///
    /// # Errors
    /// It has not, or nobody can tell.
    pub(crate) async fn has_taken(&self, ticket: Ticket) -> Result<(), PublishError> {
        self.look(Instant::now()).await?;
        if self.changes.load(Ordering::Acquire) == ticket.changes {
            return Ok(());
        }
        Err(self.no_queue())
    }

    /// Looks whether the queue is there, unless somebody did who began after `since`.
    async fn look(&self, since: Instant) -> Result<(), PublishError> {
        let mut last = self.last.lock().await;
        let look = match &*last {
            Some(look) if look.began > since => look.clone(),
            _ => {
                let began = Instant::now();
                let found = self.broker.has_queue(&self.name).await;
                if let Ok(found) = found {
                    self.note(found);
                }
                let look = Look { began, found };
                last.insert(look).clone()
            }
        };
        drop(last);
        match look.found {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.no_queue()),
            Err(BrokerError::Blocked(reason)) => Err(PublishError::Blocked(reason)),
            Err(error) => Err(PublishError::Disconnected(error.to_string())),
        }
    }

    fn note(&self, found: bool) {
        let was_missing = self.missing.swap(!found, Ordering::AcqRel);
        if found {
            return;
        }
        self.changes.fetch_add(1, Ordering::AcqRel);
        if !was_missing {
            tracing::error!(
                broker.queue = self.name,
                "the work queue is missing: nothing is accepted"
            );
        }
    }

    fn no_queue(&self) -> PublishError {
        PublishError::Unroutable {
            exchange: self.exchange.clone(),
            routing_key: "#".to_owned(),
            reason: BrokerError::NoSuchQueue(self.name.clone()).to_string(),
        }
    }

    /// Keeps the queue bound until `stop`. Begins once everything is `declared`; what is missing later is
    /// declared again by whoever keeps the topology, and told here so that nobody is accepted meanwhile.
    pub(crate) async fn keep(&self, declared: &AtomicBool, stop: &CancellationToken) {
        let mut reported = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(BIND_EVERY) => {}
            }
            if !declared.load(Ordering::Relaxed) {
                continue;
            }
            match self.broker.bind(&self.bindings).await {
                Ok(true) => reported = false,
                // Whoever deletes it and makes it anew by hand is not raced.
                Ok(false) => {
                    tokio::time::sleep(MEND_AFTER).await;
                    let looked = self.look(Instant::now()).await;
                    tracing::debug!(
                        broker.queue = self.name,
                        missing = looked.is_err(),
                        "cannot be bound"
                    );
                }
                Err(error) => {
                    if !reported {
                        tracing::warn!(broker.queue = self.name, %error, "the work queue cannot be bound again");
                    }
                    reported = true;
                }
            }
        }
    }
}
