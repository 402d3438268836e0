//! Delayed messages when the clock of the machine is set.

use std::sync::atomic::{AtomicI64, Ordering};

use time::OffsetDateTime;

use super::super::clock::Clock;
use super::*;

const DAY: i64 = 24 * 60 * 60 * 1_000_000;

/// A broker whose clock can be set, and how far it is off.
async fn with_clock(folder: &TempDir) -> (EmbeddedBroker, Arc<AtomicI64>) {
    let off = Arc::new(AtomicI64::new(0));
    let (wall, theirs) = (Clock::of_this_machine(), Arc::clone(&off));
    let broker = EmbeddedBroker {
        clock: Clock::new(move || wall.now() + theirs.load(Ordering::Relaxed)),
        ..at(folder)
    };
    broker
        .apply(&Topology::new(&plan()))
        .await
        .expect("declared");
    (broker, off)
}

async fn publish_later(broker: &EmbeddedBroker, body: &'static str, delay: Duration) {
    let queue = names().store();
    let published = broker.publish(publication(Address::Later { queue, delay }, body));
    published.await.expect("published");
}

/// The bodies of the next messages.
async fn bodies(subscription: &mut Subscription, count: usize) -> Vec<String> {
    let mut bodies = Vec::new();
    for _ in 0..count {
        let delivery = next(subscription).await.expect("given out");
        bodies.push(String::from_utf8_lossy(&delivery.message.body).into_owned());
        subscription.control.settle(delivery.tag, Settlement::Ack);
    }
    bodies
}

#[tokio::test]
async fn a_clock_that_was_ahead_for_a_while_delays_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (broker, off) = with_clock(&folder).await;
    let mut subscription = broker
        .subscribe(&names().store(), 10)
        .await
        .expect("subscribed");
    publish(&broker, "before").await;
    off.store(DAY, Ordering::Relaxed);
    publish(&broker, "meanwhile").await;
    publish_later(&broker, "a retry of meanwhile", Duration::from_millis(250)).await;
    let first = bodies(&mut subscription, 2).await;
    assert_eq!(first, ["before", "meanwhile"]);
    off.store(0, Ordering::Relaxed);
    publish(&broker, "after").await;
    publish_later(&broker, "a retry of after", Duration::from_millis(1000)).await;
    // Within the patience of this test, and not in a day.
    let rest = bodies(&mut subscription, 3).await;
    assert_eq!(rest[0], "after");
    assert!(
        rest.contains(&"a retry of meanwhile".to_owned()),
        "{rest:?}"
    );
    assert!(rest.contains(&"a retry of after".to_owned()), "{rest:?}");
    // Ids are unique and never go back, so they are ahead still: a look shows it.
    let ahead = broker.clock_ahead().await.expect("asked").expect("ahead");
    assert!(ahead > Duration::from_secs(23 * 60 * 60), "{ahead:?}");
    broker.close().await;
}

#[tokio::test]
async fn a_clock_that_is_set_back_delays_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (broker, off) = with_clock(&folder).await;
    assert_eq!(broker.clock_ahead().await.expect("asked"), None);
    let mut subscription = broker
        .subscribe(&names().store(), 10)
        .await
        .expect("subscribed");
    publish_later(&broker, "retry", Duration::from_millis(500)).await;
    let queue = names().store();
    let waiting = broker.depth(&queue).await.expect("asked").expect("there");
    assert_eq!(waiting.messages, 0, "it waits for its time");
    off.store(-DAY, Ordering::Relaxed);
    assert_eq!(bodies(&mut subscription, 1).await, ["retry"]);
    publish(&broker, "new").await;
    assert_eq!(bodies(&mut subscription, 1).await, ["new"]);
    broker.close().await;
}

#[tokio::test]
async fn history_tells_the_time_of_the_wall_and_not_of_ids() {
    let folder = tempfile::tempdir().expect("a folder");
    let (broker, off) = with_clock(&folder).await;
    let receive = async |body: &'static str| {
        let fact = Fact::Received;
        let routing_key = "signup.requested".to_owned();
        let published = broker.publish(publication(Address::Fact { fact, routing_key }, body));
        published.await.expect("published");
    };
    off.store(DAY, Ordering::Relaxed);
    receive("ahead").await;
    off.store(0, Ordering::Relaxed);
    let began = OffsetDateTime::now_utc();
    receive("now").await;
    let found = async |from| {
        let entries = broker.history(from).await.expect("read");
        let entries = entries.map(|entry| entry.expect("an entry"));
        entries.collect::<Vec<HistoryEntry>>().await
    };
    let all = found(HistoryStart::First).await;
    assert_eq!(all.len(), 2);
    assert!(all[0].offset < all[1].offset);
    let time = all[1].time.expect("a time");
    let error = (time - began).abs();
    assert!(error < time::Duration::minutes(1), "{error}");
    let since = found(HistoryStart::Time(began + time::Duration::hours(1))).await;
    assert_eq!(since.len(), 1, "what is from tomorrow, as it seems");
    broker.close().await;
}

#[tokio::test]
async fn a_file_of_the_version_before_is_taken_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = declared(&folder).await;
    publish(&broker, "ready").await;
    publish_later(&broker, "delayed", Duration::from_millis(1000)).await;
    let fact = Fact::Received;
    let routing_key = "signup.requested".to_owned();
    let published = broker.publish(publication(Address::Fact { fact, routing_key }, "kept"));
    published.await.expect("published");
    run(
        &broker,
        "UPDATE waiting SET place = message + delay WHERE due > 0;
        DROP INDEX waiting_due; DROP INDEX waiting_since;
        ALTER TABLE waiting DROP COLUMN due; ALTER TABLE waiting DROP COLUMN delay;
        ALTER TABLE history RENAME TO newer;
        CREATE TABLE history (id INTEGER PRIMARY KEY, queue INTEGER NOT NULL, routing_key TEXT NOT NULL,
            properties TEXT NOT NULL, body BLOB NOT NULL);
        INSERT INTO history SELECT id, queue, routing_key, properties, body FROM newer;
        DROP TABLE newer; CREATE INDEX history_of_queue ON history (queue);
        UPDATE state SET version = 1",
    )
    .await;
    broker.close().await;
    let broker = at(&folder);
    let mut subscription = broker
        .subscribe(&names().store(), 10)
        .await
        .expect("subscribed");
    assert_eq!(bodies(&mut subscription, 2).await, ["ready", "delayed"]);
    let mut history = broker.history(HistoryStart::First).await.expect("read");
    let kept = history.next().await.expect("one").expect("an entry");
    assert_eq!(&kept.message.body[..], b"kept");
    assert!(kept.time.is_some());
    assert_eq!(count(&broker, "SELECT version FROM state").await, 2);
    broker.close().await;
}
