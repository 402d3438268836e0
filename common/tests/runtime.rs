//! Workers on a real queue: what a hold, a stop and a refused publish do to the events in hand.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use common::bootstrap::{Failure, Program};
use common::broker::embedded::EmbeddedBroker;
use common::broker::{
    Address, Broker, BrokerError, Depth, Difference, HistoryEntry, HistoryStart, Publication,
    PublishError, Settlement, Subscription, SubscriptionControl, Tag,
};
use common::config::{Config, StageSettings};
use common::event::{Trail, header};
use common::message::Message;
use common::outcome::{Failure as OutcomeFailure, Outcome};
use common::reason::ReasonCode;
use common::runtime::{Handler, Received, Spec, Standing, Worker};
use common::sqlite::Location;
use common::telemetry::metrics::MetricsPage;
use common::topology::{Names, Topology};
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::BoxStream;
use tokio_util::sync::CancellationToken;

/// How long anything may take that should happen.
const PATIENCE: Duration = Duration::from_secs(30);

const PREFETCH: u16 = 50;

/// The dependency of the handler: it answers when it is asked, and refuses to work.
#[derive(Default)]
struct Dependency {
    refuses: AtomicBool,
    asked: AtomicUsize,
    refused: AtomicUsize,
    /// How often each event was handled to its end, and as which.
    done: Mutex<BTreeMap<String, Vec<Received>>>,
}

struct Works(Arc<Dependency>);

#[async_trait]
impl Handler for Works {
    async fn handle(&self, batch: &[Received]) -> Vec<Outcome> {
        if self.0.refuses.load(Ordering::SeqCst) {
            self.0.refused.fetch_add(batch.len(), Ordering::SeqCst);
            let hold = || Outcome::Hold {
                dependency: "postgres",
                error: "read only".to_owned(),
            };
            return batch.iter().map(|_| hold()).collect();
        }
        let mut done = self.0.done.lock().expect("no panic");
        for event in batch {
            let id = event.message.message_id.clone().unwrap_or_default();
            done.entry(id).or_default().push(event.clone());
        }
        vec![Outcome::Done; batch.len()]
    }

    async fn probe(&self, _: &'static str) -> Result<(), String> {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

/// Begins nothing before the program stops.
struct Slow;

#[async_trait]
impl Handler for Slow {
    async fn handle(&self, batch: &[Received]) -> Vec<Outcome> {
        for event in batch {
            event.claim.called_back().await;
        }
        vec![Outcome::GiveBack; batch.len()]
    }

    async fn probe(&self, _: &'static str) -> Result<(), String> {
        Ok(())
    }
}

/// A broker whose links break while a message is in hand: nothing is ours any more, but it can still be
/// published.
struct Flapping {
    inner: Arc<dyn Broker>,
    published: Arc<AtomicUsize>,
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
impl Broker for Flapping {
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
        self.inner.publish(publication).await
    }

    async fn subscribe(&self, queue: &str, prefetch: u16) -> Result<Subscription, BrokerError> {
        let mut subscription = self.inner.subscribe(queue, prefetch).await?;
        subscription.control = Arc::new(NotOurs(subscription.control));
        Ok(subscription)
    }

    async fn depth(&self, queue: &str) -> Result<Option<Depth>, BrokerError> {
        self.inner.depth(queue).await
    }

    async fn ready(&self) -> Result<(), BrokerError> {
        self.inner.ready().await
    }

    async fn history(
        &self,
        from: HistoryStart,
    ) -> Result<BoxStream<'static, Result<HistoryEntry, BrokerError>>, BrokerError> {
        self.inner.history(from).await
    }

    fn user(&self) -> Option<&str> {
        self.inner.user()
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

/// Fails each event in another way; all of them would publish something.
struct Fails(Arc<AtomicUsize>);

#[async_trait]
impl Handler for Fails {
    async fn handle(&self, batch: &[Received]) -> Vec<Outcome> {
        let failure = || OutcomeFailure::new(ReasonCode::HandlerFailed, "no");
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
        batch.iter().map(|_| outcome(number())).collect()
    }

    async fn probe(&self, _: &'static str) -> Result<(), String> {
        Ok(())
    }
}

struct World {
    broker: Arc<dyn Broker>,
    program: Program,
    queue: String,
}

impl World {
    async fn with(events: usize) -> Self {
        let mut config = Config::default();
        config.worker.probe_first = Duration::from_millis(10);
        config.worker.probe_max = Duration::from_millis(100);
        let names = Names::new(config.namespace.clone());
        let queue = names.store();
        let broker = EmbeddedBroker::at(Location::memory(), names, "test");
        let program = Program {
            name: "test",
            config: Arc::new(config),
            stop: CancellationToken::new(),
            metrics: MetricsPage::start(),
            declared: Arc::default(),
        };
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

    async fn publish(&self, queue: &str, number: usize, trail: &Trail) {
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

    fn start(&self, handler: impl Handler) -> (Standing, Running) {
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
        let worker = Worker::new(
            &self.program,
            Arc::clone(&self.broker),
            Arc::new(handler),
            spec,
        );
        (worker.standing(), tokio::spawn(worker.run()))
    }

    async fn depth(&self, queue: &str) -> u64 {
        let depth = self.broker.depth(queue).await.expect("asked");
        depth.map_or(0, |depth| depth.messages)
    }

    fn metric(&self, line: &str) -> Option<String> {
        let page = self.program.metrics.render();
        let value = page.lines().find_map(|found| found.strip_prefix(line))?;
        Some(value.trim().to_owned())
    }

    async fn end(&self, running: Running) {
        self.program.stop.cancel();
        let ended = tokio::time::timeout(PATIENCE, running).await;
        ended.expect("in time").expect("no panic").expect("drained");
    }
}

type Running = tokio::task::JoinHandle<Result<(), Failure>>;

async fn until<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let reached = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, reached).await.is_err() {
        panic!("{what}: not in time");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dependency_that_answers_and_refuses_costs_one_hold_and_no_returns() {
    const EVENTS: usize = 400;
    let world = World::with(EVENTS).await;
    let dependency = Arc::new(Dependency::default());
    dependency.refuses.store(true, Ordering::SeqCst);
    let (standing, running) = world.start(Works(Arc::clone(&dependency)));
    until("many trials", async || {
        dependency.asked.load(Ordering::SeqCst) >= 8
    })
    .await;
    let problem = standing.problem().await.expect("it holds");
    assert!(
        problem.contains("holding for postgres") && problem.contains("read only"),
        "{problem}"
    );
    let refused = dependency.refused.load(Ordering::SeqCst);
    let asked = dependency.asked.load(Ordering::SeqCst);
    assert!(
        refused <= usize::from(PREFETCH) + asked,
        "{refused} events were tried for {asked} trials"
    );
    dependency.refuses.store(false, Ordering::SeqCst);
    until("everything is handled", async || {
        dependency.done.lock().expect("no panic").len() == EVENTS
    })
    .await;
    assert_eq!(standing.problem().await, None);
    let done = std::mem::take(&mut *dependency.done.lock().expect("no panic"));
    for (id, times) in done {
        assert_eq!(times.len(), 1, "{id}");
        let Received {
            redelivered,
            trail,
            routing_key,
            ..
        } = &times[0];
        assert!(!redelivered, "{id} counts as returned");
        assert_eq!((trail.crashes, trail.attempt), (0, 0), "{id}");
        assert_eq!(routing_key, "signup.requested");
    }
    assert_eq!(world.depth(&Names::suspect(&world.queue)).await, 0);
    let labels = format!("{{queue=\"{}\",dependency=\"postgres\"}}", world.queue);
    let holds = world.metric(&format!("longshore_holds_total{labels}"));
    assert_eq!(holds.as_deref(), Some("1"));
    world.end(running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_with_nothing_waiting_ends_by_itself() {
    let world = World::with(1).await;
    let dependency = Arc::new(Dependency::default());
    dependency.refuses.store(true, Ordering::SeqCst);
    let (standing, running) = world.start(Works(Arc::clone(&dependency)));
    until("it holds", async || {
        standing
            .problem()
            .await
            .is_some_and(|it| it.contains("holding"))
    })
    .await;
    dependency.refuses.store(false, Ordering::SeqCst);
    until("it works", async || standing.problem().await.is_none()).await;
    world.end(running).await;
    let problem = standing.problem().await.expect("it has ended");
    assert!(problem.contains("stopping"), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_begun_is_given_back_uncounted_at_the_end() {
    let world = World::with(usize::from(PREFETCH)).await;
    let (_, running) = world.start(Slow);
    until("all is in hand", async || {
        world.depth(&world.queue).await == 0
    })
    .await;
    world.end(running).await;
    assert_eq!(world.depth(&world.queue).await, u64::from(PREFETCH));
    let mut left = world
        .broker
        .subscribe(&world.queue, PREFETCH)
        .await
        .expect("subscribed");
    for _ in 0..PREFETCH {
        let next = tokio::time::timeout(PATIENCE, left.deliveries.next()).await;
        let delivery = next.expect("in time").expect("there").expect("whole");
        assert_eq!((delivery.redelivered, delivery.returns), (false, 0));
    }
    left.control.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn real_returns_go_on_counting_through_a_hold() {
    let world = World::with(0).await;
    let dependency = Arc::new(Dependency::default());
    dependency.refuses.store(true, Ordering::SeqCst);
    // One that came back once already, before an earlier hold gave it back as a copy.
    let trail = Trail {
        crashes: 1,
        ..Trail::default()
    };
    world.publish(&world.queue, 0, &trail).await;
    let (_, running) = world.start(Works(Arc::clone(&dependency)));
    until("some trials", async || {
        dependency.asked.load(Ordering::SeqCst) >= 3
    })
    .await;
    dependency.refuses.store(false, Ordering::SeqCst);
    until("it is handled", async || {
        !dependency.done.lock().expect("no panic").is_empty()
    })
    .await;
    let done = dependency.done.lock().expect("no panic")["0"][0].clone();
    assert_eq!(done.trail.crashes, 1);
    assert!(!done.is_fresh());
    world.end(running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_has_taken_back_is_not_multiplied() {
    let mut world = World::with(40).await;
    let published = Arc::new(AtomicUsize::new(0));
    world.broker = Arc::new(Flapping {
        inner: Arc::clone(&world.broker),
        published: Arc::clone(&published),
    });
    let handled = Arc::new(AtomicUsize::new(0));
    let (_, running) = world.start(Fails(Arc::clone(&handled)));
    until("all are handled", async || {
        handled.load(Ordering::SeqCst) >= 40
    })
    .await;
    world.end(running).await;
    assert_eq!(published.load(Ordering::SeqCst), 0);
    // They went back by themselves, with the subscription.
    assert_eq!(world.depth(&world.queue).await, 40);
}
