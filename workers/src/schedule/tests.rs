//! The schedule on the embedded engines, look by look.

use common::broker::embedded::EmbeddedBroker;
use common::config::Config;
use common::event::Trail;
use common::message::Message;
use common::sqlite::Location;
use common::topology::Topology;

use super::*;
use crate::store::StoreEvents;
use crate::testbed::{self, handle, signup};

/// A releaser, and the broker that it sends to.
async fn releaser(store: &Arc<dyn Store>, is_declared: bool) -> (Releaser, Arc<dyn Broker>) {
    let config = Config::default();
    let names = Names::new(config.namespace.clone());
    let broker = EmbeddedBroker::at(Location::memory(), names.clone(), "test");
    if is_declared {
        let topology = Topology::new(&config.plan());
        broker.apply(&topology).await.unwrap();
    }
    let broker: Arc<dyn Broker> = Arc::new(broker);
    let releaser = Releaser {
        broker: Arc::clone(&broker),
        store: Arc::clone(store),
        queue: names.store(),
        stop: CancellationToken::new(),
        holder: Uuid::now_v7(),
        renewed_at: None,
        looked_for_lost_at: None,
    };
    (releaser, broker)
}

/// Stores an event whose moment comes in so many milliseconds, or has just come: it waits all the same, as clocks differ.
async fn scheduled(store: &Arc<dyn Store>, email: &str, wait: i64) -> EventId {
    let id = EventId::born();
    let mut received = signup(id, email);
    let mut event: serde_json::Value = serde_json::from_slice(&received.message.body).unwrap();
    let moment = OffsetDateTime::now_utc() + time::Duration::milliseconds(wait);
    event["notbefore"] = common::event::to_rfc3339(moment).into();
    received.message.body = event.to_string().into();
    let worker = StoreEvents::new(Arc::clone(store), Vec::new(), testbed::seal());
    handle(&worker, &[received]).await;
    id
}

async fn sent(broker: &Arc<dyn Broker>) -> Vec<Message> {
    let mut messages = Vec::new();
    let mut note = |it: common::broker::Waiting| messages.push(it.message);
    let queue = Names::new(Config::default().namespace).store();
    broker.look(&queue, 100, &mut note).await.unwrap();
    messages
}

#[tokio::test]
async fn each_event_is_sent_once_when_its_moment_has_come() {
    let store = testbed::store().await;
    let (mut releaser, broker) = releaser(&store, true).await;
    let later = scheduled(&store, "later@example.com", -1_000).await;
    let soon = scheduled(&store, "soon@example.com", -2_000).await;
    scheduled(&store, "tomorrow@example.com", 86_400_000).await;
    for _ in 0..3 {
        assert_eq!(releaser.look().await.unwrap(), LOOK);
    }
    let sent = sent(&broker).await;
    let ids: Vec<_> = sent.iter().filter_map(|it| it.message_id.clone()).collect();
    assert_eq!(ids, [soon.to_string(), later.to_string()]);
    for message in &sent {
        let trail = Trail::read(&message.headers);
        assert!(trail.release && !trail.again && trail.received_at.is_some());
    }
}

#[tokio::test]
async fn one_of_all_sends_and_another_takes_over() {
    let store = testbed::store().await;
    let (mut first, to_first) = releaser(&store, true).await;
    let (mut second, to_second) = releaser(&store, true).await;
    assert_eq!(first.look().await.unwrap(), LOOK);
    assert_eq!(second.look().await.unwrap(), LOOK_OF_OTHERS);
    scheduled(&store, "ada@example.com", -1_000).await;
    second.look().await.unwrap();
    assert!(sent(&to_second).await.is_empty());
    first.stop.cancel();
    first.run().await;
    assert!(sent(&to_first).await.is_empty(), "told to stop before");
    assert_eq!(second.look().await.unwrap(), LOOK);
    assert_eq!(sent(&to_second).await.len(), 1);
}

#[tokio::test]
async fn what_the_broker_has_not_taken_is_sent_when_it_takes_it() {
    let store = testbed::store().await;
    let (mut releaser, broker) = releaser(&store, false).await;
    scheduled(&store, "ada@example.com", -1_000).await;
    let failed = releaser.look().await.unwrap_err();
    assert!(failed.to_string().contains("store"), "{failed}");
    broker
        .apply(&Topology::new(&Config::default().plan()))
        .await
        .unwrap();
    releaser.look().await.unwrap();
    assert_eq!(sent(&broker).await.len(), 1);
}

#[tokio::test]
async fn a_database_that_is_down_is_waited_for() {
    let store = testbed::down();
    let (mut releaser, _broker) = releaser(&store, true).await;
    assert!(releaser.look().await.is_err());
    releaser.stop.cancel();
    releaser.run().await;
}
