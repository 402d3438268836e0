//! A broker that holds everything it takes to what the validate worker would say of it, and a store
//! that answers what it is told to.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use common::broker::{
    Address, Broker, BrokerError, Depth, Difference, Publication, PublishError, Subscription,
};
use common::config::Config;
use common::event::{Decoded, EventId, Types, decode, now};
use common::store::{
    Attempt, DeadFilter, DeadLetter, DeadPage, DeadSummary, DeliveryKey, DeliveryState,
    EventRecord, EventStatus, NewEvent, NewRejection, Progress, RejectionRecord, Replay,
    ReplayState, Store, StoreError, Stored,
};
use common::telemetry::health::Health;
use common::telemetry::metrics::MetricsPage;
use common::topology::{Fact, Topology};
use producer::{Door, router};
use tokio::sync::Semaphore;
use uuid::Uuid;

/// The user that the fake broker vouches for.
const USER: &str = "ours";

type Fails = Box<dyn Fn(usize) -> Option<PublishError> + Send + Sync>;

/// What publishing does.
pub struct FakeBroker {
    taken: Mutex<Vec<(Publication, Decoded)>>,
    /// Told the number of the publish (from 0), says how it fails.
    fails: Fails,
    published: AtomicUsize,
    /// A publish is confirmed once there is a permit.
    pub confirms: Semaphore,
    config: Arc<Config>,
}

impl FakeBroker {
    /// What it has confirmed, with what the validate worker reads in it.
    pub fn taken(&self) -> Vec<(Publication, Decoded)> {
        self.taken.lock().unwrap().clone()
    }

    /// The only message it has confirmed, decoded.
    pub fn only(&self) -> (Publication, Decoded) {
        let mut taken = self.taken();
        assert_eq!(taken.len(), 1, "{taken:?}");
        taken.remove(0)
    }

    /// How many publishes were begun.
    pub fn begun(&self) -> usize {
        self.published.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Broker for FakeBroker {
    async fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        let number = self.published.fetch_add(1, Ordering::SeqCst);
        // Whatever gets this far must be an event to the validate worker, and the same one.
        let Address::Fact { fact, routing_key } = &publication.to else {
            panic!("expected a fact, found {:?}", publication.to);
        };
        assert_eq!(*fact, Fact::Received);
        let mut message = publication.message.clone();
        message.user_id = Some(USER.to_owned());
        let limits = self.config.limits.events();
        let decoded = decode(&message, routing_key, Some(USER), limits, now())
            .unwrap_or_else(|error| panic!("the validate worker cannot read it: {error}"));
        assert_eq!(message.message_id, Some(decoded.id.to_string()));
        assert_eq!(message.body, decoded.body, "expected the canonical form");
        assert_eq!(message.kind.as_deref(), Some(&*decoded.event.kind));
        assert_eq!(routing_key, &decoded.event.kind);
        let types = Types::with(&self.config.types).unwrap();
        types.check(&decoded.event.kind, &decoded.data).unwrap();

        if let Some(error) = (self.fails)(number) {
            return Err(error);
        }
        self.confirms.acquire().await.unwrap().forget();
        self.taken.lock().unwrap().push((publication, decoded));
        Ok(())
    }

    async fn ready(&self) -> Result<(), BrokerError> {
        match (self.fails)(0) {
            None => Ok(()),
            Some(error) => Err(BrokerError::Lost(error.to_string())),
        }
    }

    fn user(&self) -> Option<&str> {
        Some(USER)
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

    async fn depth(&self, _: &str) -> Result<Option<Depth>, BrokerError> {
        Ok(Some(Depth {
            messages: 0,
            consumers: 1,
        }))
    }

    async fn close(&self) {}
}

fn unasked() -> BrokerError {
    BrokerError::Refused("the door has no business asking this".to_owned())
}

/// What the store answers.
pub enum FakeStore {
    Knows(EventStatus),
    Empty,
    Down,
    Hangs,
}

macro_rules! never_asked {
    ($(fn $name:ident($($type:ty),*) -> $ok:ty;)+) => {
        #[async_trait]
        impl Store for FakeStore {
            async fn status(&self, id: EventId) -> Result<Option<EventStatus>, StoreError> {
                match self {
                    Self::Knows(status) if status.id == id => Ok(Some(status.clone())),
                    Self::Knows(_) | Self::Empty => Ok(None),
                    Self::Down => Err(StoreError::Unavailable("db.internal:5432 refused".into())),
                    Self::Hangs => std::future::pending().await,
                }
            }

            async fn ready(&self) -> Result<(), StoreError> {
                self.status(EventId::born()).await.map(|_| ())
            }

            async fn close(&self) {}

            $(async fn $name(&self, $(_: $type),*) -> Result<$ok, StoreError> {
                panic!("the door has no business asking {}", stringify!($name))
            })+
        }
    };
}

never_asked! {
    fn migrate() -> ();
    fn store(&[NewEvent]) -> Vec<Stored>;
    fn rejections(EventId) -> Vec<RejectionRecord>;
    fn deliveries(&[DeliveryKey]) -> Vec<Option<DeliveryState>>;
    fn record_attempts(&[Attempt]) -> ();
    fn keep_dead(&[DeadLetter]) -> ();
    fn keep_rejections(&[NewRejection]) -> ();
    fn event(EventId) -> Option<EventRecord>;
    fn dead_page(&DeadFilter, DeadPage) -> Vec<DeadSummary>;
    fn dead_count(&DeadFilter) -> u64;
    fn dead_letter(Uuid) -> Option<DeadLetter>;
    fn begin_replay(&Replay) -> ();
    fn replay(Uuid) -> Option<Progress>;
    fn claim_dead(Uuid, u32, bool) -> Vec<DeadLetter>;
    fn mark_replayed(Uuid, &[Uuid]) -> ();
    fn end_replay(Uuid, ReplayState) -> ();
}

/// A producer under test.
pub struct Testbed {
    pub broker: Arc<FakeBroker>,
    pub router: axum::Router,
}

/// How to build one.
pub struct Setup {
    pub config: Config,
    pub fails: Fails,
    pub store: FakeStore,
    /// How many publishes are confirmed at all.
    pub confirms: usize,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            config: Config::default(),
            fails: Box::new(|_| None),
            // So that nothing on the accept path can depend on it unnoticed.
            store: FakeStore::Down,
            confirms: Semaphore::MAX_PERMITS,
        }
    }
}

impl Setup {
    pub fn build(self) -> Testbed {
        let config = Arc::new(self.config);
        let broker = Arc::new(FakeBroker {
            taken: Mutex::default(),
            fails: self.fails,
            published: AtomicUsize::new(0),
            confirms: Semaphore::new(self.confirms),
            config: Arc::clone(&config),
        });
        let health = Health {
            broker: Arc::clone(&broker) as Arc<dyn Broker>,
            declared: Arc::new(true.into()),
            queue: Some("longshore.validate".to_owned()),
            store: Some(Arc::new(self.store)),
            store_needed: false,
            metrics: MetricsPage::start(),
        };
        let door = Door::new(config, health).unwrap();
        Testbed {
            broker,
            router: router(door),
        }
    }
}

/// A producer whose broker takes everything, with the database down.
pub fn testbed() -> Testbed {
    Setup::default().build()
}
