//! A broker in one SQLite file, for one machine: for newcomers and unit tests.
//!
//! Several programs may have the file open. A message is on the disk before it is confirmed. Publishes, settlements and
//! takes at the same time are written in one transaction. A message is held by one consumer at a time. The messages of
//! a program that has ended are given back by the next program that looks at the file. It needs no server and no
//! configuration. A second machine needs RabbitMQ, behind the same trait.

mod clock;
mod consumer;
mod declare;
mod engine;
mod history;
mod keeper;
mod look;
mod owner;
mod properties;
mod publish;
mod publisher;
mod queue;
mod routes;
mod rows;
#[cfg(test)]
mod tests;
mod wakes;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use tokio::sync::{Notify, OnceCell};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use self::clock::Clock;
use self::engine::{Engine, publish_error};
use self::publish::Outgoing;
use self::publisher::Publisher;
use self::wakes::Wakes;
use super::{
    Address, Broker, BrokerError, Depth, Difference, HistoryEntry, HistoryStart, Publication,
    PublishError, Subscription, Waiting, bounds,
};
use crate::config;
use crate::config::EMBEDDED_LOGIN;
use crate::dependency::EngineKind;
use crate::sqlite::{Database, Location};
use crate::tasks::supervised_until;
use crate::telemetry::metrics;
use crate::topology::{Binding, DelayRoute, LEVELS, Names, Target, Topology};

/// How far ids are ahead of the clock on the wall when that was set back; a burst of messages takes them some
/// milliseconds ahead.
const SET_BACK: Duration = Duration::from_secs(1);

/// A broker in one SQLite file.
pub struct EmbeddedBroker {
    location: Location,
    /// Whether we share connections with others in this process.
    shared: bool,
    names: Names,
    name: String,
    confirm_timeout: Duration,
    window: usize,
    clock: Clock,
    open: OnceCell<Open>,
    closing: CancellationToken,
    /// If dropped without `close`, the tasks give the held messages back, as far as they still run; otherwise our free
    /// lock tells the next program.
    _dropped: DropGuard,
    tasks: TaskTracker,
    /// Something of the topology is missing.
    missed: Notify,
}

/// The parts of an open file.
struct Open {
    engine: Arc<Engine>,
    publisher: Publisher,
}

impl EmbeddedBroker {
    /// The broker of a configuration whose URL is `sqlite:PATH`. Nothing is opened yet: the first use opens the file,
    /// and makes it if it is missing.
    ///
    /// `names` are those of the namespace, and `name` is the operators' name for this program's holdings. Must be used
    /// within a tokio runtime.
    ///
    /// # Errors
    /// The URL names no SQLite file.
    pub fn new(config: &config::Broker, names: Names, name: &str) -> Result<Self, BrokerError> {
        let location = Location::from_url(config.url.expose()).map_err(BrokerError::Refused)?;
        Ok(Self {
            confirm_timeout: config.confirm_timeout,
            window: config.window,
            ..Self::at(location, names, name)
        })
    }

    /// The broker of a file, or one in memory, with the settings that a configuration has by default.
    pub fn at(location: Location, names: Names, name: &str) -> Self {
        let defaults = config::Broker::default();
        let closing = CancellationToken::new();
        Self {
            location,
            shared: true,
            names,
            name: name.to_owned(),
            confirm_timeout: defaults.confirm_timeout,
            window: defaults.window,
            clock: Clock::of_this_machine(),
            open: OnceCell::new(),
            _dropped: closing.clone().drop_guard(),
            closing,
            tasks: TaskTracker::new(),
            missed: Notify::new(),
        }
    }

    /// The same, sharing nothing with others in this process: as another process would have it.
    #[must_use]
    pub fn apart(self) -> Self {
        Self {
            shared: false,
            ..self
        }
    }

    /// The open file.
    async fn open(&self) -> Result<&Open, BrokerError> {
        if self.closing.is_cancelled() {
            return Err(BrokerError::Unreachable {
                address: self.location.to_string(),
                detail: "this program has closed it".to_owned(),
            });
        }
        self.open.get_or_try_init(|| self.begin()).await
    }

    async fn begin(&self) -> Result<Open, BrokerError> {
        let (database, wakes) = if self.shared {
            let database = Database::shared(&self.location);
            let wakes = Wakes::shared(database.location());
            (database, wakes)
        } else {
            (Database::separate(&self.location), Arc::default())
        };
        let (name, clock) = (self.name.clone(), self.clock.clone());
        let engine = Arc::new(Engine::open(database, wakes, name, clock).await?);
        let publisher = Publisher::start(&engine, self.window, &self.tasks, &self.closing);
        let closing = || self.closing.clone();
        let keep = keeper::keep(Arc::clone(&engine), closing());
        self.tasks
            .spawn(supervised_until("keeper of the file", closing(), keep));
        let trim = keeper::keep_history_short(Arc::clone(&engine), closing());
        self.tasks
            .spawn(supervised_until("keeper of the history", closing(), trim));
        Ok(Open { engine, publisher })
    }

    fn outgoing(&self, publication: Publication) -> Result<Outgoing, String> {
        let Publication { to, mut message } = publication;
        let (exchange, routing_key, delay) = match to {
            Address::Fact { fact, routing_key } => {
                (self.names.exchange(fact), routing_key, Duration::ZERO)
            }
            Address::Queue(queue) => (String::new(), queue, Duration::ZERO),
            Address::Later { queue, delay } => {
                let wait = DelayRoute::new(&self.names, &queue, delay, LEVELS).wait;
                (String::new(), queue, wait)
            }
        };
        bounds::name("exchange name", &exchange)?;
        bounds::name("routing key", &routing_key)?;
        bounds::fit(&mut message, bounds::MAX_BYTES)?;
        Ok(Outgoing {
            exchange,
            routing_key,
            delay: clock::micros(delay),
            properties: properties::published(&message, EMBEDDED_LOGIN)?,
            body: message.body,
        })
    }

    async fn publish_one(&self, publication: Publication) -> Result<(), PublishError> {
        let mandatory = publication.to.must_route();
        let outgoing = self.outgoing(publication).map_err(PublishError::Invalid)?;
        let open = self.open().await.map_err(publish_error)?;
        let published = open.publisher.publish(outgoing, mandatory);
        tokio::time::timeout(self.confirm_timeout, published)
            .await
            .unwrap_or(Err(PublishError::TimedOut(self.confirm_timeout)))
    }
}

#[async_trait]
impl Broker for EmbeddedBroker {
    async fn apply(&self, topology: &Topology) -> Result<(), BrokerError> {
        declare::check(topology).map_err(BrokerError::Refused)?;
        let engine = &self.open().await?.engine;
        let topology = topology.clone();
        let applied = engine.write(move |connection| {
            Box::pin(async move { declare::apply(connection, &topology).await })
        });
        match applied.await?.into_iter().next() {
            Some(problem) => Err(BrokerError::Mismatch(problem)),
            None => Ok(()),
        }
    }

    async fn verify(&self, topology: &Topology) -> Result<Vec<Difference>, BrokerError> {
        let routes = self.open().await?.engine.current_routes().await?;
        Ok(declare::compare(&routes, topology))
    }

    async fn delete(&self, topology: &Topology) -> Result<(), BrokerError> {
        let engine = &self.open().await?.engine;
        let topology = topology.clone();
        let deleted = engine.write(move |connection| {
            Box::pin(async move { declare::delete(connection, &topology).await })
        });
        deleted.await?;
        // The consumers of a deleted queue must notice.
        engine.wakes.wake_all();
        Ok(())
    }

    async fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        let began = Instant::now();
        let published = self.publish_one(publication).await;
        let failed = published.as_ref().err().map(PublishError::name);
        metrics::published(failed, began.elapsed());
        if let Err(PublishError::Unroutable { .. }) = published {
            self.missed.notify_one();
        }
        published
    }

    async fn subscribe(&self, queue: &str, prefetch: u16) -> Result<Subscription, BrokerError> {
        let engine = &self.open().await?.engine;
        let subscribed =
            consumer::subscribe(engine, queue, prefetch, &self.tasks, &self.closing).await;
        if let Err(BrokerError::NoSuchQueue(_)) = subscribed {
            self.missed.notify_one();
        }
        subscribed
    }

    async fn depth(&self, queue: &str) -> Result<Option<Depth>, BrokerError> {
        let engine = &self.open().await?.engine;
        let routes = engine.current_routes().await?;
        let (queue, now) = (queue.to_owned(), engine.clock.now());
        let depth = engine.read(move |connection| {
            Box::pin(async move { queue::depth(connection, &routes, &queue, now).await })
        });
        Ok(depth.await?.map(|(messages, consumers)| Depth {
            messages: messages.unsigned_abs(),
            consumers: consumers.unsigned_abs(),
        }))
    }

    async fn has_queue(&self, queue: &str) -> Result<bool, BrokerError> {
        let routes = self.open().await?.engine.current_routes().await?;
        let found = routes.queue(queue).is_some();
        if !found {
            self.missed.notify_one();
        }
        Ok(found)
    }

    async fn bind(&self, bindings: &[Binding]) -> Result<bool, BrokerError> {
        let routes = self.open().await?.engine.current_routes().await?;
        let is_there = |binding: &Binding| {
            let to = match &binding.to {
                Target::Queue(name) => routes.queue(name).is_some(),
                Target::Exchange(name) => routes.has_exchange(name),
            };
            to && routes.has_exchange(&binding.exchange)
        };
        if !bindings.iter().all(is_there) {
            return Ok(false);
        }
        let missing = |it: &&Binding| !routes.is_bound(&it.exchange, &it.pattern, &it.to);
        let missing: Vec<Binding> = bindings.iter().filter(missing).cloned().collect();
        if !missing.is_empty() {
            let engine = &self.open().await?.engine;
            let bound = engine.write(move |connection| {
                Box::pin(async move { declare::bind(connection, &missing).await })
            });
            bound.await?;
        }
        Ok(true)
    }

    async fn ready(&self) -> Result<(), BrokerError> {
        let engine = &self.open().await?.engine;
        // Only writing shows whether there is room to write.
        let now = engine.clock.now();
        engine
            .write(move |connection| {
                Box::pin(async move { publish::advance(connection, 0, now).await })
            })
            .await?;
        Ok(())
    }

    async fn clock_ahead(&self) -> Result<Option<Duration>, BrokerError> {
        let ahead = self.open().await?.engine.ahead().await?;
        let ahead = Duration::from_micros(u64::try_from(ahead).unwrap_or(0));
        Ok((ahead > SET_BACK).then_some(ahead))
    }

    async fn missed(&self) {
        self.missed.notified().await;
    }

    async fn product(&self) -> Result<Option<String>, BrokerError> {
        const VERSION: &str = "SELECT 'SQLite ' || sqlite_version()";
        let engine = &self.open().await?.engine;
        let version = engine.read(|connection| {
            Box::pin(async move { Ok(sqlx::query_scalar(VERSION).fetch_one(connection).await?) })
        });
        version.await
    }

    async fn history(
        &self,
        from: HistoryStart,
    ) -> Result<BoxStream<'static, Result<HistoryEntry, BrokerError>>, BrokerError> {
        let engine = Arc::clone(&self.open().await?.engine);
        history::read(engine, self.names.history(), from).await
    }

    async fn look(
        &self,
        queue: &str,
        most: usize,
        seen: &mut (dyn FnMut(Waiting) + Send),
    ) -> Result<bool, BrokerError> {
        look::look(&self.open().await?.engine, queue, most, seen).await
    }

    fn looks_leave_no_trace(&self) -> bool {
        true
    }

    fn engine(&self) -> EngineKind {
        EngineKind::SqliteBroker
    }

    fn user(&self) -> Option<&str> {
        Some(EMBEDDED_LOGIN)
    }

    async fn close(&self) {
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        if let Some(open) = self.open.get() {
            open.engine.close().await;
        }
    }
}

/// The content of a lock. No holder of our locks can leave it half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
