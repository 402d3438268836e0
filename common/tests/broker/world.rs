//! One engine, one namespace, one test.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use common::broker::{Address, Broker, Delivery, Publication, Settlement, Subscription};
use common::event::Logins;
use common::message::Message;
use common::namespace::Namespace;
use common::topology::{Names, Plan, Topology};
use futures_util::{FutureExt as _, StreamExt as _};

/// How long anything may take that should happen.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How long to look for an event that must not happen.
pub const MOMENT: Duration = Duration::from_millis(300);

/// Makes brokers of one engine, all on the same messages.
pub type Engine = Box<dyn Fn(&Plan) -> Arc<dyn Broker> + Send + Sync>;

/// The equipment of a test.
pub struct World {
    engine: Engine,
    plan: Plan,
    pub broker: Arc<dyn Broker>,
    pub names: Names,
    pub topology: Topology,
}

/// A namespace nobody else has.
pub fn namespace() -> Namespace {
    format!("t-{}", uuid::Uuid::now_v7().simple())
        .chars()
        .take(32)
        .collect::<String>()
        .parse()
        .expect("a namespace")
}

/// A small topology: one destination and delays up to four seconds.
pub fn plan() -> Plan {
    Plan {
        namespace: namespace(),
        destinations: vec![("crm".to_owned(), vec!["signup.*".to_owned()])],
        known_types: vec!["signup.requested".to_owned()],
        longest_delay: Duration::from_secs(4),
        history: Duration::from_secs(60),
        logins: Logins::new(["guest"]),
    }
}

/// Declares a topology, runs `test` on it and deletes it, after success and failure.
pub async fn run<T, F>(engine: Engine, test: T)
where
    T: FnOnce(Arc<World>) -> F,
    F: Future<Output = ()>,
{
    let plan = plan();
    let broker = engine(&plan);
    let world = Arc::new(World {
        broker,
        names: Names::new(plan.namespace.clone()),
        topology: Topology::new(&plan),
        engine,
        plan,
    });
    let janitor = world.client();
    janitor.apply(&world.topology).await.expect("applied");
    let outcome = AssertUnwindSafe(test(Arc::clone(&world)))
        .catch_unwind()
        .await;
    world.broker.close().await;
    janitor.delete(&world.topology).await.expect("deleted");
    janitor.close().await;
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
}

impl World {
    /// Another program's broker on the same messages.
    pub fn client(&self) -> Arc<dyn Broker> {
        (self.engine)(&self.plan)
    }

    /// The topology with other types for its destination.
    pub fn topology_with(&self, types: &[&str]) -> Topology {
        let types = types.iter().map(|&pattern| pattern.to_owned()).collect();
        Topology::new(&Plan {
            destinations: vec![("crm".to_owned(), types)],
            ..self.plan.clone()
        })
    }

    /// Publishes `count` messages straight into a queue; their ids are 0, 1, 2 and so on.
    pub async fn fill(&self, queue: &str, count: usize) {
        let publications = (0..count).map(|number| {
            let to = Address::Queue(queue.to_owned());
            publication(to, &number.to_string())
        });
        // At once, so in order: those that are published one by one may overtake each other.
        for result in self.broker.publish_all(publications.collect()).await {
            result.expect("published");
        }
    }

    /// Waits until a queue holds this many messages that nobody has taken.
    pub async fn wait_for_depth(&self, queue: &str, messages: u64) {
        let reached = async {
            loop {
                let depth = self.broker.depth(queue).await.expect("asked");
                if depth.is_some_and(|depth| depth.messages == messages) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, reached)
            .await
            .expect("the queue fills or empties in time");
    }
}

/// A message with this id.
pub fn publication(to: Address, id: &str) -> Publication {
    Publication {
        to,
        message: Message {
            body: format!("body of {id}").into(),
            message_id: Some(id.to_owned()),
            kind: Some("signup.requested".to_owned()),
            ..Message::default()
        },
    }
}

/// The next delivery, which must come.
pub async fn next(subscription: &mut Subscription) -> Delivery {
    tokio::time::timeout(PATIENCE, subscription.deliveries.next())
        .await
        .expect("a delivery in time")
        .expect("the subscription goes on")
        .expect("the link holds")
}

/// The next `count` deliveries, acked.
pub async fn take(subscription: &mut Subscription, count: usize) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    for _ in 0..count {
        let delivery = next(subscription).await;
        subscription.control.settle(delivery.tag, Settlement::Ack);
        deliveries.push(delivery);
    }
    deliveries
}

/// The id of a delivered message.
pub fn id(delivery: &Delivery) -> String {
    delivery.message.message_id.clone().unwrap_or_default()
}
