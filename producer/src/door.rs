//! The dependencies of every handler.

use std::sync::Arc;

use common::config::{Config, DoorMode};
use common::confirmation::ConfirmationLinks;
use common::event::{InvalidType, Types};
use common::health::Health;
use common::seal::Seal;
use common::store::{Keys, Schedule, Statuses};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::auth::{Auth, NoKeys};
use crate::password::Hasher;
use crate::work_queue::WorkQueue;

/// How many of the largest bodies fit into memory at once; further requests get 503.
const BODIES: usize = 64;

/// How many requests may ask the database at once. They are bounded apart from all others, so that
/// a database that hangs takes no place from an event that could be accepted.
const LOOKUPS: usize = 64;

/// How many callers may watch events live at once.
const LIVE_STREAMS: usize = 512;

/// How many of them may ask the database at the same moment; the others wait for their turn.
const LIVE_LOOKS: usize = 16;

/// The producer's state, shared by all requests.
#[derive(Clone)]
pub struct Door(Arc<Inner>);

/// Whether a door asks for keys, and which open it.
pub struct Lock {
    /// Whether it asks for keys.
    pub mode: DoorMode,
    /// The keys beside those of the configuration.
    pub keys: Arc<dyn Keys>,
}

/// What a door asks of the database about events.
pub struct Rows {
    /// Says where they stand.
    pub statuses: Arc<dyn Statuses>,
    /// Cancels those that wait for their moment.
    pub schedule: Arc<dyn Schedule>,
}

/// The content of a [`Door`].
pub struct Inner {
    /// The queue that every published event has to reach.
    pub(crate) queue: Arc<WorkQueue>,
    pub(crate) statuses: Arc<dyn Statuses>,
    /// Cancels events that wait for their moment.
    pub(crate) schedule: Arc<dyn Schedule>,
    /// Who may come in; none if everyone may.
    pub(crate) auth: Option<Auth>,
    keys: Arc<dyn Keys>,
    /// The links that confirm signups, if they are configured.
    pub(crate) confirmations: Option<ConfirmationLinks>,
    pub(crate) config: Arc<Config>,
    pub(crate) health: Health,
    pub(crate) types: Types,
    pub(crate) hasher: Arc<Hasher>,
    /// Seals password hashes before they leave the door.
    pub(crate) seal: Seal,
    /// Requests that may still begin.
    pub(crate) requests: Arc<Semaphore>,
    /// Bytes of bodies that may still be read.
    pub(crate) memory: Arc<Semaphore>,
    /// Questions that the database may still be asked.
    pub(crate) lookups: Arc<Semaphore>,
    /// Callers that may still begin to watch an event live.
    pub(crate) live_streams: Arc<Semaphore>,
    /// Questions of theirs that the database may still be asked.
    pub(crate) live_looks: Arc<Semaphore>,
}

impl Door {
    /// A door to the broker that `health` looks at. `rows` says where events stand and cancels them, `lock` who may come in. Hashes
    /// of passwords leave the door in `seal`.
    ///
    /// # Errors
    /// A configured event type cannot be used.
    pub fn new(
        config: Arc<Config>,
        lock: Lock,
        health: Health,
        rows: Rows,
        seal: Seal,
    ) -> Result<Self, InvalidType> {
        let memory = config.limits.request_bytes.saturating_mul(BODIES);
        Ok(Self(Arc::new(Inner {
            types: Types::with(&config.types)?,
            hasher: Arc::new(Hasher::new(config.producer.concurrent_hashes)),
            seal,
            requests: semaphore(config.producer.concurrent_requests),
            memory: semaphore(memory),
            lookups: semaphore(LOOKUPS),
            live_streams: semaphore(LIVE_STREAMS),
            live_looks: semaphore(LIVE_LOOKS),
            queue: Arc::new(WorkQueue::new(Arc::clone(&health.broker), &config)),
            statuses: rows.statuses,
            schedule: rows.schedule,
            auth: Auth::new(lock.mode, &config, None),
            confirmations: ConfirmationLinks::of(&config),
            keys: lock.keys,
            config,
            health,
        })))
    }

    /// The door with another configuration. Requests count against the bounds of this one, and the keys that it knows of the
    /// database and of unchanged issuers stay known.
    ///
    /// # Errors
    /// A configured event type cannot be used.
    pub(crate) fn with(
        &self,
        config: Arc<Config>,
        mode: DoorMode,
        health: Health,
        seal: Seal,
    ) -> Result<Self, InvalidType> {
        Ok(Self(Arc::new(Inner {
            types: Types::with(&config.types)?,
            hasher: Arc::clone(&self.hasher),
            seal,
            requests: Arc::clone(&self.requests),
            memory: Arc::clone(&self.memory),
            lookups: Arc::clone(&self.lookups),
            live_streams: Arc::clone(&self.live_streams),
            live_looks: Arc::clone(&self.live_looks),
            queue: Arc::clone(&self.queue),
            statuses: Arc::clone(&self.statuses),
            schedule: Arc::clone(&self.schedule),
            auth: Auth::new(mode, &config, self.auth.as_ref()),
            confirmations: ConfirmationLinks::of(&config),
            keys: Arc::clone(&self.keys),
            config,
            health,
        })))
    }

    /// Keeps the queue that the door publishes to, and its binding, until `stop`. Runs beside the server.
    pub async fn keep_queue(&self, stop: &CancellationToken) {
        self.queue.keep(&self.health.declared, stop).await;
    }

    /// Expects a key at a door that asks for keys because it can be reached from other machines. A database that does
    /// not answer may have one.
    ///
    /// # Errors
    /// There is none.
    pub async fn expect_keys(&self) -> Result<(), NoKeys> {
        match &self.auth {
            Some(auth) if self.config.auth.door.is_none() && !self.opens_without_keys() => {
                auth.expect_some(&*self.keys).await
            }
            _ => Ok(()),
        }
    }

    /// Whether somebody can come in without a key: a visitor of the public form, a provider, or the caller of an issuer.
    fn opens_without_keys(&self) -> bool {
        self.has_form() || !self.config.sources.is_empty() || !self.config.issuers.is_empty()
    }

    /// Follows the changes of keys, and of the keys of issuers, until `stop`. Runs beside the server.
    pub async fn follow_keys(&self, stop: &CancellationToken) {
        match &self.auth {
            Some(auth) => auth.follow(&*self.keys, stop).await,
            None => stop.cancelled().await,
        }
    }

    /// Whether the signup form works, and so is shown.
    pub(crate) fn has_form(&self) -> bool {
        self.auth.as_ref().is_none_or(Auth::form_is_public)
    }

    /// The parts that the health routes check.
    pub(crate) fn health(&self) -> Health {
        self.health.clone()
    }
}

fn semaphore(permits: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)))
}

impl std::ops::Deref for Door {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door")
            .field("types", &self.types)
            .finish_non_exhaustive()
    }
}
