//! A worker's surroundings: a real queue, handlers, and brokers with something wrong with them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use common::bootstrap::Program;
use common::broker::embedded::EmbeddedBroker;
use common::broker::{
    Address, Broker, BrokerError, Depth, Difference, HistoryEntry, HistoryStart, Publication,
    PublishError, Settlement, Subscription, SubscriptionControl, Tag,
};
use common::config::{Config, StageSettings};
use common::dependency::EngineKind;
use common::event::{Trail, header};
use common::message::Message;
use common::outcome::{Failure, Outcome};
use common::reason::ReasonCode;
use common::runtime::{Batch, Handler, Outcomes, Spec, Standing, Unfinished};
use common::sqlite::Location;
use common::telemetry::metrics::MetricsPage;
use common::topology::{Names, Topology};
use futures_util::future::join_all;
use futures_util::stream::BoxStream;

/// Maximum time for anything that should happen.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub const PREFETCH: u16 = 50;

/// A broker with something wrong with it.
pub struct Odd {
    pub inner: Arc<dyn Broker>,
    pub published: Arc<AtomicUsize>,
    pub fault: Fault,
}

/// The fault of a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Its links break while a message is in hand: nothing is ours any more, but it can still be published.
    TakesBack,
    /// Its client panics when it is to publish.
    PanicsAtPublish,
    /// The broker panics when it is to subscribe to a queue, or to that of its suspects.
    PanicsAtSubscribe { suspects: bool },
    /// The broker publishes nothing, and panics when it is asked whether it publishes again.
    PanicsAtProbe,
}

struct NotOurs(Arc<dyn SubscriptionControl>);

#[async_trait]
impl SubscriptionControl for NotOurs {
    fn settle(&self, _: Tag, _: Settlement) {}

    async fn owns(&self) -> bool {
        false
    }

    async fn flush(&self) -> Result<(), BrokerError> {
        self.0.flush().await
    }

    async fn cancel(&self) -> Result<(), BrokerError> {
        self.0.cancel().await
    }

    async fn close(&self) {
        self.0.close().await;
    }
}

#[async_trait]
impl Broker for Odd {
    async fn apply(&self, topology: &Topology) -> Result<(), BrokerError> {
        self.inner.apply(topology).await
    }

    async fn verify(&self, topology: &Topology) -> Result<Vec<Difference>, BrokerError> {
        self.inner.verify(topology).await
    }

    async fn delete(&self, topology: &Topology) -> Result<(), BrokerError> {
        self.inner.delete(topology).await
    }

    async fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        self.published.fetch_add(1, Ordering::SeqCst);
        match self.fault {
            Fault::PanicsAtPublish => panic!("on purpose"),
            Fault::PanicsAtProbe => Err(PublishError::Nacked),
            _ => self.inner.publish(publication).await,
        }
    }

    async fn subscribe(&self, queue: &str, prefetch: u16) -> Result<Subscription, BrokerError> {
        if let Fault::PanicsAtSubscribe { suspects } = self.fault {
            assert!(queue.ends_with(".suspect") != suspects, "on purpose");
        }
        let mut subscription = self.inner.subscribe(queue, prefetch).await?;
        if self.fault == Fault::TakesBack {
            subscription.control = Arc::new(NotOurs(subscription.control));
        }
        Ok(subscription)
    }

    async fn depth(&self, queue: &str) -> Result<Option<Depth>, BrokerError> {
        self.inner.depth(queue).await
    }

    async fn ready(&self) -> Result<(), BrokerError> {
        assert!(self.fault != Fault::PanicsAtProbe, "on purpose");
        self.inner.ready().await
    }

    async fn history(
        &self,
        from: HistoryStart,
    ) -> Result<BoxStream<'static, Result<HistoryEntry, BrokerError>>, BrokerError> {
        self.inner.history(from).await
    }

    fn engine(&self) -> EngineKind {
        self.inner.engine()
    }

    fn user(&self) -> Option<&str> {
        self.inner.user()
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

/// Fails each event in another way; all of them would publish something.
pub struct Fails(pub Arc<AtomicUsize>);

#[async_trait]
impl Handler for Fails {
    async fn handle(&self, batch: Batch<'_>) -> Result<Outcomes, Outcome> {
        let failure = || Failure::new(ReasonCode::HandlerFailed, "no");
        let outcome = |number: usize| match number % 4 {
            0 => Outcome::GiveBack,
            1 => Outcome::Dead(failure()),
            2 => Outcome::Snooze(Duration::from_secs(1)),
            _ => Outcome::Retry {
                after: None,
                failure: failure(),
            },
        };
        let number = || self.0.fetch_add(1, Ordering::SeqCst);
        Ok(batch.answer(|_| outcome(number())))
    }
}

pub struct World {
    pub broker: Arc<dyn Broker>,
    pub program: Program,
    pub queue: String,
}

impl World {
    pub async fn with(events: usize) -> Self {
        let mut config = Config::default();
        config.worker.probe_first = Duration::from_millis(10);
        config.worker.probe_max = Duration::from_millis(100);
        let names = Names::new(config.namespace.clone());
        let queue = names.store();
        let broker = EmbeddedBroker::at(Location::memory(), names, "test");
        let program = Program::new("test", config, MetricsPage::start());
        let topology = Topology::new(&program.config.plan());
        broker.apply(&topology).await.expect("applied");
        let world = Self {
            broker: Arc::new(broker),
            program,
            queue,
        };
        let trail = Trail::default();
        join_all((0..events).map(|number| world.publish(&world.queue, number, &trail))).await;
        world
    }

    pub async fn publish(&self, queue: &str, number: usize, trail: &Trail) {
        let mut message = Message {
            message_id: Some(number.to_string()),
            body: "{}".into(),
            ..Message::default()
        };
        trail.write(&mut message.headers);
        message.headers.set(header::ROUTING_KEY, "signup.requested");
        let to = Address::Queue(queue.to_owned());
        let published = self.broker.publish(Publication { to, message }).await;
        published.expect("published");
    }

    pub fn start(&self, handler: impl Handler) -> (Standing, Running) {
        let settings = StageSettings {
            prefetch: PREFETCH,
            batch: 8,
            concurrency: 4,
            timeout: PATIENCE,
            retry: self
                .program
                .config
                .stage(common::topology::Stage::Store)
                .retry,
        };
        let spec = Spec::new(self.queue.clone(), settings);
        let worker = self.program.worker(&self.broker, Arc::new(handler), spec);
        (worker.standing(), tokio::spawn(worker.run()))
    }

    pub async fn depth(&self, queue: &str) -> u64 {
        let depth = self.broker.depth(queue).await.expect("asked");
        depth.map_or(0, |depth| depth.messages)
    }

    pub fn metric(&self, line: &str) -> Option<String> {
        let page = self.program.metrics.render();
        let value = page.lines().find_map(|found| found.strip_prefix(line))?;
        Some(value.trim().to_owned())
    }

    /// Puts something wrong with the broker.
    pub fn is_odd(&mut self, fault: Fault) -> Arc<AtomicUsize> {
        let published = Arc::new(AtomicUsize::new(0));
        self.broker = Arc::new(Odd {
            inner: Arc::clone(&self.broker),
            published: Arc::clone(&published),
            fault,
        });
        published
    }

    pub async fn end(&self, running: Running) {
        self.program.end.cancel();
        let ended = tokio::time::timeout(PATIENCE, running).await;
        ended.expect("in time").expect("no panic").expect("drained");
    }
}

pub type Running = tokio::task::JoinHandle<Result<(), Unfinished>>;

/// Waits until the condition holds.
pub async fn until<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let reached = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, reached).await.is_err() {
        panic!("{what}: not in time");
    }
}
