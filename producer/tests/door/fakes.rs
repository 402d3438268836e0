//! The door under test, on the embedded engines in memory. Each is behind a thin wrapper that watches it, and fails,
//! waits or changes on a test's demand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use common::broker::embedded::EmbeddedBroker;
use common::broker::{
    Address, Broker, BrokerError, Depth, Difference, HistoryEntry, HistoryStart, Publication,
    PublishError, Subscription,
};
use common::config::{Config, DoorMode};
use common::dependency::EngineKind;
use common::event::{Decoded, EventId, Types, decode, now};
use common::health::Health;
use common::namespace::Namespace;
use common::seal::Seal;
use common::sqlite::Location;
use common::store::sqlite::SqliteStore;
use common::store::{EventStatus, Schema, Standing, Statuses, StoreError};
use common::telemetry::metrics::MetricsPage;
use common::topology::{Binding, Fact, Names, Topology};
use futures_util::stream::BoxStream;
use producer::{Door, Lock, Rows, router};
use tokio::runtime::Handle;
use tokio::sync::{OnceCell, Semaphore};

use crate::changes::{Change, change};
use crate::contract::Contract;

type Fails = Box<dyn Fn(usize) -> Option<PublishError> + Send + Sync>;

/// The embedded broker. It checks every publication against the validate worker's verdict, and refuses it where a test
/// says so.
pub struct TestBroker {
    real: EmbeddedBroker,
    /// Declares everything, unless the test wants nothing declared.
    declared: OnceCell<()>,
    taken: Mutex<BTreeMap<usize, (Publication, Decoded)>>,
    /// Told the number of the publish (from 0), says how it fails.
    fails: Fails,
    published: AtomicUsize,
    /// A publish reaches the engine once there is a permit.
    pub confirms: Semaphore,
    config: Arc<Config>,
}

impl TestBroker {
    /// The confirmed publications, in the order of their arrival, each with the validate worker's reading.
    pub fn taken(&self) -> Vec<(Publication, Decoded)> {
        self.taken.lock().unwrap().values().cloned().collect()
    }

    /// The only message it has confirmed, decoded.
    pub fn only(&self) -> (Publication, Decoded) {
        let mut taken = self.taken();
        assert_eq!(taken.len(), 1, "{taken:?}");
        taken.remove(0)
    }

    /// The message that it has confirmed last, decoded.
    pub fn last(&self) -> (Publication, Decoded) {
        let taken = self.taken.lock().unwrap();
        taken.last_key_value().unwrap().1.clone()
    }

    /// How many publishes were begun.
    pub fn begun(&self) -> usize {
        self.published.load(Ordering::SeqCst)
    }

    /// The engine, with everything declared.
    pub async fn real(&self) -> &EmbeddedBroker {
        let declare = async || {
            let topology = Topology::new(&self.config.plan());
            self.real.apply(&topology).await.unwrap();
        };
        self.declared.get_or_init(declare).await;
        &self.real
    }

    /// The validate worker's reading of a publication: an event, with equal content.
    fn read(&self, publication: &Publication) -> Decoded {
        let Address::Fact { fact, routing_key } = &publication.to else {
            panic!("expected a fact, found {:?}", publication.to);
        };
        assert_eq!(*fact, Fact::Received);
        let mut message = publication.message.clone();
        message.user_id = self.user().map(str::to_owned);
        let limits = self.config.limits.events();
        let decoded = decode(
            &message,
            routing_key,
            &self.config.broker.logins(),
            limits,
            now(),
        )
        .unwrap_or_else(|error| panic!("the validate worker cannot read it: {error}"));
        assert_eq!(message.message_id, Some(decoded.id.to_string()));
        assert_eq!(message.body, decoded.body, "expected the canonical form");
        assert_eq!(message.kind.as_deref(), Some(&*decoded.event.kind));
        assert_eq!(routing_key, &decoded.event.kind);
        let types = Types::with(&self.config.types).unwrap();
        types.check(&decoded.event.kind, &decoded.data).unwrap();
        decoded
    }
}

#[async_trait]
impl Broker for TestBroker {
    async fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        let number = self.published.fetch_add(1, Ordering::SeqCst);
        let decoded = self.read(&publication);
        if let Some(error) = (self.fails)(number) {
            return Err(error);
        }
        self.confirms.acquire().await.unwrap().forget();
        self.real().await.publish(publication.clone()).await?;
        let mut taken = self.taken.lock().unwrap();
        taken.insert(number, (publication, decoded));
        Ok(())
    }

    async fn ready(&self) -> Result<(), BrokerError> {
        match (self.fails)(0) {
            None => self.real().await.ready().await,
            Some(error) => Err(BrokerError::Lost(error.to_string())),
        }
    }

    fn engine(&self) -> EngineKind {
        self.real.engine()
    }

    fn user(&self) -> Option<&str> {
        self.real.user()
    }

    async fn depth(&self, queue: &str) -> Result<Option<Depth>, BrokerError> {
        self.real().await.depth(queue).await
    }

    async fn bind(&self, bindings: &[Binding]) -> Result<bool, BrokerError> {
        self.real().await.bind(bindings).await
    }

    async fn history(
        &self,
        _: HistoryStart,
    ) -> Result<BoxStream<'static, Result<HistoryEntry, BrokerError>>, BrokerError> {
        Err(unasked())
    }

    async fn apply(&self, _: &Topology) -> Result<(), BrokerError> {
        Err(unasked())
    }

    async fn verify(&self, _: &Topology) -> Result<Vec<Difference>, BrokerError> {
        Err(unasked())
    }

    async fn delete(&self, _: &Topology) -> Result<(), BrokerError> {
        Err(unasked())
    }

    async fn subscribe(&self, _: &str, _: u16) -> Result<Subscription, BrokerError> {
        Err(unasked())
    }

    async fn close(&self) {
        self.real.close().await;
    }
}

fn unasked() -> BrokerError {
    BrokerError::Refused("the door has no business asking this".to_owned())
}

/// The embedded store, which changes before each look, fails or hangs as a test asks for. It has the roles that
/// the door asks, and no other.
pub struct TestStore {
    pub real: SqliteStore,
    changes: Mutex<Box<dyn Iterator<Item = Change> + Send>>,
    looks: AtomicUsize,
    said: Mutex<Vec<EventStatus>>,
}

impl TestStore {
    /// One that knows nothing.
    pub fn empty() -> Arc<Self> {
        Self::changing([])
    }

    /// One that is down: its file is where none can be.
    pub fn down() -> Arc<Self> {
        Self::at(&Location::file("/dev/null/db.internal"), [])
    }

    /// One with this change before each look, as long as there are any.
    pub fn changing<I>(changes: I) -> Arc<Self>
    where
        I: IntoIterator<Item = Change, IntoIter: Send + 'static>,
    {
        Self::at(&Location::memory(), changes)
    }

    fn at<I>(location: &Location, changes: I) -> Arc<Self>
    where
        I: IntoIterator<Item = Change, IntoIter: Send + 'static>,
    {
        Arc::new(Self {
            real: SqliteStore::at(location, &Namespace::default()),
            changes: Mutex::new(Box::new(changes.into_iter())),
            looks: AtomicUsize::new(0),
            said: Mutex::default(),
        })
    }

    /// How often it was asked for a status.
    pub fn looks(&self) -> usize {
        self.looks.load(Ordering::SeqCst)
    }

    /// Its answers, without repetitions in a row.
    pub fn said(&self) -> Vec<EventStatus> {
        self.said.lock().unwrap().clone()
    }

    async fn look(&self, id: EventId) -> Result<Option<EventStatus>, StoreError> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        let next = self.changes.lock().unwrap().next();
        let next = match next {
            Some(Change::Fails) => return Err(StoreError::Unavailable("db.internal".to_owned())),
            Some(Change::Hangs) => std::future::pending().await,
            next => next,
        };
        let real = self.real.clone();
        let looking = async move {
            real.migrate().await?;
            if let Some(next) = next {
                change(&real, id, next).await?;
            }
            real.status(id).await
        };
        // A paused clock stands still for as long as something blocks: the database takes no time.
        let handle = Handle::current();
        let looked = tokio::task::spawn_blocking(move || handle.block_on(looking));
        let status = looked.await.unwrap()?;
        if let Some(status) = &status {
            let mut said = self.said.lock().unwrap();
            if said.last() != Some(status) {
                said.push(status.clone());
            }
        }
        Ok(status)
    }
}

#[async_trait]
impl Statuses for TestStore {
    async fn status(&self, id: EventId) -> Result<Option<EventStatus>, StoreError> {
        self.look(id).await
    }

    async fn standings(&self, ids: &[EventId]) -> Result<Vec<Option<Standing>>, StoreError> {
        let mut standings = Vec::new();
        for &id in ids {
            standings.push(self.look(id).await?.map(|status| status.status));
        }
        Ok(standings)
    }
}

#[async_trait]
impl Schema for TestStore {
    async fn migrate(&self) -> Result<(), StoreError> {
        self.real.migrate().await
    }

    async fn remove_schema(&self) -> Result<(), StoreError> {
        self.real.remove_schema().await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.real.migrate().await?;
        self.real.ready().await
    }

    async fn product(&self) -> Result<String, StoreError> {
        self.real.product().await
    }

    async fn close(&self) {
        self.real.close().await;
    }
}

/// A producer under test.
pub struct Testbed {
    pub broker: Arc<TestBroker>,
    pub door: Door,
    pub router: axum::Router,
    /// The door's document, once it is asked for.
    pub contract: OnceCell<Contract>,
}

/// How to build one.
pub struct Setup {
    pub config: Config,
    pub mode: DoorMode,
    /// Whether anything is declared on the broker.
    pub declared: bool,
    pub fails: Fails,
    pub store: Arc<TestStore>,
    /// How many publishes reach the engine at all.
    pub confirms: usize,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            config: Config::default(),
            mode: DoorMode::Open,
            declared: true,
            fails: Box::new(|_| None),
            // So that nothing on the accept path can depend on it unnoticed.
            store: TestStore::down(),
            confirms: Semaphore::MAX_PERMITS,
        }
    }
}

impl Setup {
    pub fn build(self) -> Testbed {
        let config = Arc::new(self.config);
        let names = Names::new(config.namespace.clone());
        let broker = Arc::new(TestBroker {
            real: EmbeddedBroker::at(Location::memory(), names, "door"),
            declared: OnceCell::new_with((!self.declared).then_some(())),
            taken: Mutex::default(),
            fails: self.fails,
            published: AtomicUsize::new(0),
            confirms: Semaphore::new(self.confirms),
            config: Arc::clone(&config),
        });
        let health = Health {
            broker: Arc::clone(&broker) as Arc<dyn Broker>,
            declared: Arc::new(true.into()),
            queues: vec!["longshore.validate".to_owned()],
            workers: Vec::new(),
            store: Some(Arc::clone(&self.store) as _),
            store_needed: false,
            metrics: MetricsPage::start(),
        };
        let lock = Lock {
            mode: self.mode,
            keys: Arc::new(self.store.real.clone()),
        };
        let schedule = Arc::new(self.store.real.clone());
        let rows = Rows {
            statuses: self.store,
            schedule,
        };
        let door = Door::new(config, lock, health, rows, seal()).unwrap();
        Testbed {
            broker,
            router: router(door.clone()),
            door,
            contract: OnceCell::new(),
        }
    }
}

/// The door's seal.
pub fn seal() -> Seal {
    Seal::new(["a secret of the tests"])
}

/// A producer whose broker takes everything, with the database down.
pub fn testbed() -> Testbed {
    Setup::default().build()
}
