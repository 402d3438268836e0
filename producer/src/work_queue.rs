//! The queue that the door works for. A confirm says that *some* queue has an event, and the history alone
//! would do for that. So a 202 takes one more thing: a look at the work queue that began after the confirm.
//!
//! One look serves every event that was confirmed before it began, so looks cost next to nothing under
//! load. A queue that was made again between publish and look has not the event: where anybody's look found
//! it missing in between, a later one does not count.
//!
//! Bindings cannot be looked at over AMQP, but binding again changes nothing. So that is done about every
//! second. What was accepted while the binding was gone is in the history, where it can be found.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::broker::{Broker, BrokerError, PublishError};
use common::config::Config;
use common::topology::{Binding, Fact, Names, Topology};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
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
    state: Arc<Mutex<State>>,
}

/// What the looks have shown, and those under way.
#[derive(Default)]
struct State {
    /// The look that has begun last.
    begun: Option<Look>,
    /// The one that begins when that has ended: it serves whoever asks meanwhile.
    next: Option<Look>,
    /// When the queue was found missing, until it is found again.
    missing: Option<Instant>,
    /// Counts the times that it was found missing.
    changes: u64,
}

/// One look, for all who wait for it. They are woken together.
type Look = Shared<BoxFuture<'static, Result<bool, BrokerError>>>;

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
            state: Arc::default(),
        }
    }

    /// Says that something is about to be published.
    ///
    /// # Errors
    /// The queue is known to be missing: nothing should be published that would only reach the history.
    pub(crate) async fn ticket(&self) -> Result<Ticket, PublishError> {
        let missing = lock(&self.state).missing;
        match missing {
            Some(since) if since.elapsed() < MISSING_FOR => return Err(self.no_queue()),
            Some(_) => self.look().await?,
            None => {}
        }
        Ok(Ticket {
            changes: lock(&self.state).changes,
        })
    }

    /// Says whether the queue has what was published after `ticket` and is confirmed by now.
    ///
    /// # Errors
    /// It has not, or nobody can tell.
    pub(crate) async fn has_taken(&self, ticket: Ticket) -> Result<(), PublishError> {
        self.look().await?;
        if lock(&self.state).changes == ticket.changes {
            return Ok(());
        }
        Err(self.no_queue())
    }

    /// Waits for a look that begins from now on.
    async fn look(&self) -> Result<(), PublishError> {
        let look = {
            let mut state = lock(&self.state);
            match &state.next {
                Some(next) => next.clone(),
                None => {
                    let before = state.begun.clone();
                    state.next.insert(self.after(before)).clone()
                }
            }
        };
        match look.await {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.no_queue()),
            Err(BrokerError::Blocked(reason)) => Err(PublishError::Blocked(reason)),
            Err(error) => Err(PublishError::Disconnected(error.to_string())),
        }
    }

    /// A look that begins once `before` has ended. From then on whoever asks gets another one.
    fn after(&self, before: Option<Look>) -> Look {
        let (broker, name) = (Arc::clone(&self.broker), self.name.clone());
        let state = Arc::clone(&self.state);
        let look = async move {
            if let Some(before) = before {
                let _ = before.await;
            }
            {
                let mut state = lock(&state);
                state.begun = state.next.take();
            }
            let found = broker.has_queue(&name).await;
            if let Ok(found) = found {
                note(&state, found, &name);
            }
            found
        };
        look.boxed().shared()
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
                    let looked = self.look().await;
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

/// Keeps what a look has shown.
fn note(state: &Mutex<State>, found: bool, name: &str) {
    let mut state = lock(state);
    if found {
        state.missing = None;
        return;
    }
    state.changes += 1;
    if state.missing.replace(Instant::now()).is_none() {
        tracing::error!(
            broker.queue = name,
            "the work queue is missing: nothing is accepted"
        );
    }
}

/// What is behind a lock. Nothing that holds one of these can leave it half-changed.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
