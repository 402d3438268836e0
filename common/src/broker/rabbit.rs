//! RabbitMQ over AMQP 0-9-1.
//!
//! Three connections, each opened when it is first needed and kept up from then on. One publishes: RabbitMQ stops
//! reading a publishing connection when it runs out of memory or disk, acks and all, so it must do nothing else. One
//! consumes. One runs errands: declaring and looking at queues, where an answer such as "no such queue" costs a
//! channel.

mod confirms;
mod connection;
mod consumer;
mod convert;
mod declare;
mod explain;
mod greeting;
mod history;
mod look;
mod publisher;
mod publishing;
mod settings;
mod settlements;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use lapin::options::ExchangeDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Channel, ExchangeKind};
use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::connection::Link;
use self::convert::short;
use self::publisher::{Pace, Publisher};
use self::settings::Settings;
use super::{
    Broker, BrokerError, Depth, Difference, HistoryEntry, HistoryStart, Publication, PublishError,
    Subscription, Waiting,
};
use crate::config;
use crate::dependency::EngineKind;
use crate::event::Limits;
use crate::topology::{Binding, Names, Stage, Topology};

/// An exchange that every RabbitMQ has, to ask for.
const ALWAYS_THERE: &str = "amq.topic";

/// Maximum bytes of bodies that one consumer gets before it settles any: its prefetch is lowered until as many bodies
/// of the largest size fit. With the default limits the prefetch stays nearly unchanged.
const MAX_IN_HAND: usize = 384 * 1024 * 1024;

/// A RabbitMQ broker.
pub struct RabbitBroker {
    settings: Arc<Settings>,
    names: Names,
    /// How many delay levels are declared.
    levels: AtomicUsize,
    limits: Limits,
    confirm_timeout: Duration,
    publishing: Arc<Link>,
    consuming: Arc<Link>,
    errands: Arc<Link>,
    publisher: Publisher,
    /// The channel that readiness is asked on.
    probe: Mutex<Option<Channel>>,
    /// The channel for questions that are asked all the time.
    kept: Mutex<Option<Channel>>,
    /// The missing rights of this user were logged.
    warned: AtomicBool,
    /// This user has turned out to have no right to declare anything: it is not tried again.
    declares_nothing: AtomicBool,
    /// The same of binding.
    binds_nothing: AtomicBool,
    /// Nothing new is published, running publishes are finished.
    draining: CancellationToken,
    /// Connections end.
    closing: CancellationToken,
    lanes: TaskTracker,
    links: TaskTracker,
    /// Something of the topology is missing.
    missed: Notify,
}

impl RabbitBroker {
    /// The broker of a configuration. Nothing is connected yet, so this works while the broker is
    /// down. The first use connects, and from then on the connection is kept up in the background.
    /// While the broker is down, everything fails at once.
    ///
    /// `names` are those of the namespace. `levels` is how many delay levels its topology declares
    /// (`topology::levels_for(plan.longest_delay)`). `name` is the operators' name for each connection. Must be called
    /// within a tokio runtime. Of bodies over `limits` only beginning, size and hash arrive.
    ///
    /// # Errors
    /// The URL is not an AMQP URL.
    pub fn new(
        config: &config::Broker,
        names: Names,
        levels: usize,
        limits: Limits,
        name: &str,
    ) -> Result<Self, BrokerError> {
        let settings = Arc::new(Settings::new(config, name, limits.canonical_bytes())?);
        let (draining, closing) = (CancellationToken::new(), CancellationToken::new());
        let (lanes, links) = (TaskTracker::new(), TaskTracker::new());
        let link = |purpose| {
            Link::new(
                Arc::clone(&settings),
                purpose,
                closing.clone(),
                links.clone(),
            )
        };
        let publishing = link("publishing");
        let pace = Pace {
            window: config.window,
            confirm_timeout: config.confirm_timeout,
        };
        let count = config.publish_channels;
        let publisher = Publisher::start(&publishing, count, pace, &draining, &lanes);
        Ok(Self {
            names,
            levels: AtomicUsize::new(levels),
            limits,
            confirm_timeout: config.confirm_timeout,
            consuming: link("consuming"),
            errands: link("errands"),
            publishing,
            publisher,
            probe: Mutex::new(None),
            kept: Mutex::new(None),
            warned: AtomicBool::new(false),
            declares_nothing: AtomicBool::new(false),
            binds_nothing: AtomicBool::new(false),
            settings,
            draining,
            closing,
            lanes,
            links,
            missed: Notify::new(),
        })
    }

    /// Asks the broker something on a channel that is kept for such questions: opening one takes longer than
    /// they do.
    async fn on_kept_channel<T>(
        &self,
        ask: impl AsyncFnOnce(&Channel) -> Result<T, BrokerError>,
    ) -> Result<T, BrokerError> {
        let mut kept = self.kept.lock().await;
        // Taken out: a caller that goes away in the middle leaves no channel with an answer still to come.
        let channel = match kept.take() {
            Some(channel) if channel.status().connected() => channel,
            _ => self.errands.channel().await?,
        };
        let answer = ask(&channel).await?;
        *kept = Some(channel);
        Ok(answer)
    }

    /// Maximum size of a body that `queue` hands out. Outsiders publish to the validate worker's queue, and their
    /// messages may be no larger than an event.
    fn body_limit(&self, queue: &str) -> usize {
        match self.names.stage_of(Names::without_suspect(queue)) {
            Some((Stage::Validate, _)) => self.limits.event_bytes,
            _ => self.limits.canonical_bytes(),
        }
    }

    /// Asks the broker something small on the publishing connection.
    async fn probe(&self) -> Result<(), BrokerError> {
        let mut probe = self.probe.lock().await;
        let channel = match probe.take() {
            Some(channel) if channel.status().connected() => channel,
            _ => self.publishing.channel().await?,
        };
        let options = ExchangeDeclareOptions {
            passive: true,
            ..ExchangeDeclareOptions::default()
        };
        let ask = channel.exchange_declare(
            ALWAYS_THERE.into(),
            ExchangeKind::Topic,
            options,
            FieldTable::default(),
        );
        explain::within(self.settings.patience, "a look at the broker", ask).await?;
        *probe = Some(channel);
        Ok(())
    }
}

#[async_trait]
impl Broker for RabbitBroker {
    async fn apply(&self, topology: &Topology) -> Result<(), BrokerError> {
        let levels = topology.delay_levels();
        if self.declares_nothing.load(Ordering::Relaxed) {
            declare::find(&self.errands, topology).await?;
            self.levels.fetch_max(levels, Ordering::Relaxed);
            return Ok(());
        }
        let given = declare::apply(&self.errands, topology).await?;
        // A reloaded configuration may ask for longer delays.
        self.levels.fetch_max(levels, Ordering::Relaxed);
        let Some(given) = given else {
            return Ok(());
        };
        self.declares_nothing
            .store(given.declares_nothing, Ordering::Relaxed);
        self.binds_nothing
            .store(given.binds_nothing, Ordering::Relaxed);
        if !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!("{}", given.words);
        }
        Ok(())
    }

    async fn verify(&self, topology: &Topology) -> Result<Vec<Difference>, BrokerError> {
        declare::verify(&self.errands, topology).await
    }

    async fn expect_same_logins(&self, topology: &Topology) -> Result<(), BrokerError> {
        declare::expect_same_logins(&self.errands, topology).await
    }

    async fn delete(&self, topology: &Topology) -> Result<(), BrokerError> {
        declare::delete(&self.errands, topology).await
    }

    async fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        let mut answers = self.publish_all(vec![publication]).await;
        answers
            .pop()
            .unwrap_or_else(|| Err(PublishError::unanswered()))
    }

    async fn publish_all(&self, publications: Vec<Publication>) -> Vec<Result<(), PublishError>> {
        self.publish_while(None, publications).await
    }

    async fn publish_reaching(
        &self,
        queue: &str,
        publications: Vec<Publication>,
    ) -> Vec<Result<(), PublishError>> {
        match short("queue name", queue) {
            Ok(queue) => self.publish_while(Some(queue), publications).await,
            // No queue can be called so.
            Err(_) => {
                let missing = PublishError::no_queue(queue);
                publications.iter().map(|_| Err(missing.clone())).collect()
            }
        }
    }

    async fn subscribe(&self, queue: &str, prefetch: u16) -> Result<Subscription, BrokerError> {
        let limit = self.body_limit(queue);
        let in_hand = u16::try_from(MAX_IN_HAND / limit.max(1)).unwrap_or(u16::MAX);
        let prefetch = prefetch.min(in_hand.max(1));
        let subscribed = consumer::subscribe(&self.consuming, queue, prefetch, limit).await;
        if let Err(BrokerError::NoSuchQueue(_)) = subscribed {
            self.missed.notify_one();
        }
        subscribed
    }

    async fn depth(&self, queue: &str) -> Result<Option<Depth>, BrokerError> {
        declare::depth(&self.errands, queue).await
    }

    async fn has_queue(&self, queue: &str) -> Result<bool, BrokerError> {
        let found = self.on_kept_channel(async |channel| {
            declare::look(channel, queue, self.settings.patience).await
        });
        let found = found.await?;
        if !found {
            self.missed.notify_one();
        }
        Ok(found)
    }

    async fn bind(&self, bindings: &[Binding]) -> Result<bool, BrokerError> {
        if self.binds_nothing.load(Ordering::Relaxed) {
            let problem = "the broker's user may not bind";
            return Err(BrokerError::Refused(problem.to_owned()));
        }
        let bound = self.on_kept_channel(async |channel| {
            declare::bind_all(channel, bindings, self.settings.patience).await
        });
        let bound = bound.await?;
        if !bound {
            self.missed.notify_one();
        }
        Ok(bound)
    }

    async fn ready(&self) -> Result<(), BrokerError> {
        self.publishing.usable().await?;
        let answer = self.probe().await;
        // A broker that has just blocked the connection does not answer on it.
        match self.publishing.blocked() {
            Some(reason) => Err(BrokerError::Blocked(reason)),
            None => answer,
        }
    }

    async fn missed(&self) {
        self.missed.notified().await;
    }

    async fn product(&self) -> Result<Option<String>, BrokerError> {
        greeting::product(&self.settings).await
    }

    async fn history(
        &self,
        from: HistoryStart,
    ) -> Result<BoxStream<'static, Result<HistoryEntry, BrokerError>>, BrokerError> {
        let limit = self.limits.event_bytes;
        history::read(&self.consuming, self.names.history(), from, limit).await
    }

    async fn look(
        &self,
        queue: &str,
        most: usize,
        seen: &mut (dyn FnMut(Waiting) + Send),
    ) -> Result<bool, BrokerError> {
        look::look(&self.errands, queue, most, seen).await
    }

    fn engine(&self) -> EngineKind {
        EngineKind::RabbitMq
    }

    fn user(&self) -> Option<&str> {
        self.settings.user.as_deref()
    }

    async fn close(&self) {
        self.draining.cancel();
        self.lanes.close();
        let patience = self.settings.patience;
        let enough = self.confirm_timeout + patience * 2;
        if tokio::time::timeout(enough, self.lanes.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                broker.address = self.settings.address,
                "closing although some messages are not confirmed"
            );
        }
        self.closing.cancel();
        self.links.close();
        if tokio::time::timeout(patience * 2, self.links.wait())
            .await
            .is_err()
        {
            tracing::debug!("the broker connections did not close in time");
        }
    }
}

impl Drop for RabbitBroker {
    fn drop(&mut self) {
        // Their tasks would keep connections up for ever. A lane ends when nobody can use it.
        self.closing.cancel();
    }
}
