//! The queue that the door works for. A confirm says that *some* queue has an event, and the history alone
//! would do for that. So a 202 takes one more thing: a look at the work queue that began after the confirm.
//!
//! One look serves every event that was confirmed before it began, so looks cost next to nothing under
//! load. A queue that was made again between publish and look has not the event: whenever the queue was
//! found missing or was declared by us in between, the look does not count.
//!
//! Bindings cannot be looked at over AMQP, but binding again changes nothing. So that is done about every
//! second. What was accepted while the binding was gone is in the history, where it can be found.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use common::broker::{Broker, BrokerError, PublishError};
use common::config::Config;
use common::topology::{Fact, Names, Topology};
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often it is bound again.
const BIND_EVERY: Duration = Duration::from_millis(1000);

/// How long something is missing before it is declared again: who deletes it and makes it anew by hand is
/// not raced.
const MEND_AFTER: Duration = Duration::from_millis(500);

/// How long a queue that was found missing counts as missing without another look.
const MISSING_FOR: Duration = Duration::from_millis(100);

/// The work queue, as the door sees it.
pub(crate) struct WorkQueue {
    broker: Arc<dyn Broker>,
    name: String,
    exchange: String,
    /// The exchange, and all that is bound to it.
    around: Topology,
    /// The last look. Held while one is under way: whoever waits for it may find that it serves them too.
    last: Mutex<Option<Look>>,
    /// Whether the last look found none.
    missing: AtomicBool,
    /// Counts the times that it was found missing or was declared.
    changes: AtomicU64,
    /// It was found missing.
    found_missing: Notify,
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
            around: Topology::new(&config.plan()).around(&exchange),
            exchange,
            last: Mutex::new(None),
            missing: AtomicBool::new(false),
            changes: AtomicU64::new(0),
            found_missing: Notify::new(),
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
        self.found_missing.notify_one();
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

    /// Keeps the queue bound, and declares what is missing, until `stop`. Begins once `declared`: before
    /// that, somebody else is at it.
    pub(crate) async fn keep(&self, declared: &AtomicBool, stop: &CancellationToken) {
        let mut reported = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.found_missing.notified() => {}
                () = tokio::time::sleep(BIND_EVERY) => {}
            }
            if !declared.load(Ordering::Relaxed) {
                continue;
            }
            match self.mend().await {
                Ok(()) => reported = false,
                Err(error) => {
                    if !reported {
                        tracing::warn!(broker.queue = self.name, %error, "the work queue cannot be looked after");
                    }
                    reported = true;
                    // A login that may not declare would be asked again for each event.
                    tokio::time::sleep(BIND_EVERY).await;
                }
            }
        }
    }

    async fn mend(&self) -> Result<(), BrokerError> {
        if self.broker.bind(&self.around.bindings).await? {
            return Ok(());
        }
        // An end of a binding is missing.
        self.note(self.broker.has_queue(&self.name).await?);
        tokio::time::sleep(MEND_AFTER).await;
        self.changes.fetch_add(1, Ordering::AcqRel);
        self.broker.apply(&self.around).await?;
        self.changes.fetch_add(1, Ordering::AcqRel);
        tracing::warn!(
            broker.exchange = self.exchange,
            broker.queue = self.name,
            "declared again what was missing; what came meanwhile is in the history"
        );
        Ok(())
    }
}
