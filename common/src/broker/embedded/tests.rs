//! States that only show from inside: a full disk, a program that stands still, old history.

use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt as _;
use tempfile::TempDir;

use super::*;
use crate::broker::{Delivery, Settlement};
use crate::message::Message;
use crate::namespace::Namespace;
use crate::topology::{Fact, Plan, Target};

mod clock;

const PATIENCE: Duration = Duration::from_secs(20);

fn plan() -> Plan {
    Plan {
        namespace: Namespace::default(),
        destinations: vec![("crm".to_owned(), vec!["signup.*".to_owned()])],
        known_types: vec!["signup.requested".to_owned()],
        longest_delay: Duration::from_secs(4),
        history: Duration::from_secs(60),
        logins: crate::event::Logins::new(["longshore"]),
    }
}

fn names() -> Names {
    Names::new(Namespace::default())
}

fn at(folder: &TempDir) -> EmbeddedBroker {
    let location = Location::file(folder.path().join("broker.db"));
    EmbeddedBroker::at(location, names(), "test").apart()
}

async fn declared(folder: &TempDir) -> EmbeddedBroker {
    let broker = at(folder);
    let topology = Topology::new(&plan());
    broker.apply(&topology).await.expect("declared");
    broker
}

fn publication(to: Address, body: impl Into<bytes::Bytes>) -> Publication {
    let body = body.into();
    let message = Message {
        body,
        ..Message::default()
    };
    Publication { to, message }
}

async fn publish(broker: &EmbeddedBroker, body: &'static str) {
    let to = Address::Queue(names().store());
    let published = broker.publish(publication(to, body));
    published.await.expect("published");
}

async fn next(subscription: &mut Subscription) -> Result<Delivery, BrokerError> {
    let next = tokio::time::timeout(PATIENCE, subscription.deliveries.next());
    next.await
        .expect("something in time")
        .expect("it has not ended")
}

/// Runs statements that the broker itself never would.
async fn run(broker: &EmbeddedBroker, sql: &'static str) {
    let engine = &broker.open().await.expect("open").engine;
    let ran = engine.write(move |connection| {
        Box::pin(async move {
            sqlx::raw_sql(sql).execute(connection).await?;
            Ok(())
        })
    });
    ran.await.expect("ran");
}

async fn count(broker: &EmbeddedBroker, sql: &'static str) -> i64 {
    let engine = &broker.open().await.expect("open").engine;
    let counted = engine.read(move |connection| {
        Box::pin(async move { Ok(sqlx::query_scalar(sql).fetch_one(connection).await?) })
    });
    counted.await.expect("counted")
}

#[tokio::test]
async fn a_full_disk_blocks_until_there_is_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = declared(&folder).await;
    publish(&broker, "before").await;
    run(&broker, "PRAGMA max_page_count = 60").await;
    let large = || {
        let to = Address::Queue(names().store());
        broker.publish(publication(to, vec![7; 500_000]))
    };
    let full = large().await.expect_err("no room");
    assert!(
        matches!(&full, PublishError::Blocked(why) if why.contains("disk is full") && why.contains("broker.db")),
        "{full:?}"
    );
    // Nothing is half done.
    assert_eq!(count(&broker, "SELECT count(*) FROM messages").await, 1);
    assert_eq!(count(&broker, "SELECT count(*) FROM waiting").await, 1);
    run(&broker, "PRAGMA max_page_count = 100000").await;
    broker.ready().await.expect("ready again");
    large().await.expect("published");
    broker.close().await;
}

#[tokio::test]
async fn a_program_that_stands_still_loses_what_it_held_and_can_begin_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let (frozen, other) = (declared(&folder).await, at(&folder));
    publish(&frozen, "held").await;
    let queue = names().store();
    let mut held = frozen.subscribe(&queue, 10).await.expect("subscribed");
    let delivery = next(&mut held).await.expect("given out");

    let mut waiting = other.subscribe(&queue, 10).await.expect("subscribed");
    let engine = &other.open().await.expect("open").engine;
    // It is not frozen in truth: it may say that it lives between our look and our hand.
    loop {
        let owners = engine.owners().await.expect("known");
        let owner = owners.iter().find(|owner| owner.id != engine.owner.id);
        let owner = owner.expect("there are two").clone();
        // A program with a sign of life in the meantime keeps its messages.
        let stale = engine.take_over(&owner, Some(owner.beat - 1)).await;
        assert!(!stale.expect("looked at"));
        assert_eq!(count(&other, "SELECT count(*) FROM held").await, 1);
        let taken = engine.take_over(&owner, Some(owner.beat)).await;
        if taken.expect("looked at") {
            break;
        }
    }
    let again = next(&mut waiting).await.expect("given out again");
    assert!(again.redelivered);
    assert_eq!(again.returns, 1);

    // It wakes up: its settlements fail, and it learns so.
    held.control.settle(delivery.tag, Settlement::Ack);
    assert!(held.control.flush().await.is_err());
    let lost = next(&mut held).await.expect_err("lost");
    assert!(lost.to_string().contains("stood still"), "{lost}");
    held.control.close().await;
    assert_eq!(count(&other, "SELECT count(*) FROM held").await, 1);
    waiting.control.settle(again.tag, Settlement::Ack);
    waiting.control.close().await;

    publish(&other, "new").await;
    let mut again = frozen.subscribe(&queue, 10).await.expect("subscribed");
    assert_eq!(
        &next(&mut again).await.expect("given out").message.body[..],
        b"new"
    );
    frozen.close().await;
    other.close().await;
}

#[tokio::test]
async fn a_deleted_queue_is_no_quiet_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = declared(&folder).await;
    let queue = names().store();
    let mut subscription = broker.subscribe(&queue, 10).await.expect("subscribed");
    let topology = Topology::new(&plan());
    broker.delete(&topology).await.expect("deleted");
    let lost = next(&mut subscription).await.expect_err("lost");
    assert!(lost.to_string().contains("deleted"), "{lost}");
    broker.close().await;
}

#[tokio::test]
async fn old_history_is_forgotten_and_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = declared(&folder).await;
    let receive = |_| {
        let fact = Fact::Received;
        let routing_key = "signup.requested".to_owned();
        broker.publish(publication(Address::Fact { fact, routing_key }, "body"))
    };
    let all = futures_util::future::join_all((0..700).map(receive)).await;
    assert!(all.iter().all(Result::is_ok));
    run(
        &broker,
        "UPDATE history SET id = id - 61000000 WHERE id IN (SELECT id FROM history ORDER BY id LIMIT 600)",
    )
    .await;
    let engine = &broker.open().await.expect("open").engine;
    let forgot = keeper::forget(engine, &broker.closing).await;
    forgot.expect("forgotten");
    assert_eq!(count(&broker, "SELECT count(*) FROM history").await, 100);
    let depth = broker.depth(&names().history()).await.expect("asked");
    assert_eq!(depth.expect("there").messages, 100);
    broker.close().await;
}

#[tokio::test]
async fn what_is_declared_otherwise_is_explained() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = declared(&folder).await;
    let longer = Topology::new(&Plan {
        history: Duration::from_secs(90),
        destinations: vec![("other".to_owned(), vec!["#".to_owned()])],
        ..plan()
    });
    let Err(BrokerError::Mismatch(problem)) = broker.apply(&longer).await else {
        panic!("expected a mismatch")
    };
    assert!(problem.contains("expected x-max-age = 90s"), "{problem}");
    assert!(problem.contains("x-max-age = 60s,"), "{problem}");
    assert!(problem.contains("topology apply"), "{problem}");
    // Nothing of it was declared.
    let other = broker.depth(&names().integrate("other")).await;
    assert_eq!(other.expect("asked"), None);
    let differences = broker.verify(&longer).await.expect("verified");
    let history = names().history();
    assert!(differences.iter().any(|found| found.name == history));
    broker.close().await;
}

#[tokio::test]
async fn a_missing_binding_is_named_and_restored() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = declared(&folder).await;
    let mut topology = Topology::new(&plan());
    let exchange = names().exchange(Fact::Accepted);
    topology.bindings.push(crate::topology::Binding {
        exchange: exchange.clone(),
        pattern: "more.*".to_owned(),
        to: Target::Queue(names().integrate("crm")),
    });
    let differences = broker.verify(&topology).await.expect("verified");
    assert_eq!(differences.len(), 1);
    assert_eq!(differences[0].name, exchange);
    assert!(differences[0].problem.contains("more.*"));
    broker.apply(&topology).await.expect("declared");
    assert_eq!(broker.verify(&topology).await.expect("verified"), []);
    broker.close().await;
}

#[tokio::test]
async fn brokers_in_memory_share_it_by_its_name() {
    let location = Location::memory();
    let one = EmbeddedBroker::at(location.clone(), names(), "one");
    let two = EmbeddedBroker::at(location, names(), "two");
    one.apply(&Topology::new(&plan())).await.expect("declared");
    let queue = names().store();
    let mut subscription = two.subscribe(&queue, 1).await.expect("subscribed");
    publish(&one, "hello").await;
    let delivery = next(&mut subscription).await.expect("given out");
    assert_eq!(&delivery.message.body[..], b"hello");
    subscription.control.settle(delivery.tag, Settlement::Ack);
    subscription.control.close().await;
    one.close().await;
    let depth = two.depth(&queue).await.expect("asked").expect("there");
    assert_eq!((depth.messages, depth.consumers), (0, 0));
    two.close().await;
}

#[tokio::test]
async fn a_stream_is_not_consumed() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = declared(&folder).await;
    let refused = broker.subscribe(&names().history(), 1).await.err();
    assert!(matches!(refused, Some(BrokerError::Refused(_))));
    broker.close().await;
}

#[tokio::test]
async fn what_is_no_file_of_ours_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("broker.db");
    let refused = async |path: &Path| {
        let broker = EmbeddedBroker::at(Location::file(path), names(), "test");
        let error = broker.ready().await.expect_err("refused");
        assert!(matches!(error, BrokerError::Refused(_)), "{error:?}");
        let published = broker.publish(publication(Address::Queue(names().store()), "x"));
        let published = published.await.expect_err("refused");
        assert!(matches!(published, PublishError::Disconnected(_)));
        error.to_string()
    };
    std::fs::write(&path, "no database at all, but a text that is long enough").expect("written");
    let text = refused(&path).await;
    assert!(text.contains("broker.db"), "{text}");
    assert!(text.contains("not a whole database"), "{text}");

    std::fs::remove_file(&path).expect("removed");
    let broker = declared(&folder).await;
    run(&broker, "UPDATE state SET version = 99").await;
    broker.close().await;
    let text = refused(&path).await;
    assert!(text.contains("found version 99"), "{text}");
}

#[tokio::test]
async fn a_closed_broker_leaves_no_lock_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = declared(&folder).await;
    let locks = || {
        std::fs::read_dir(folder.path())
            .expect("readable")
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().contains("-owner."))
            .count()
    };
    assert_eq!(locks(), 1);
    broker.close().await;
    drop(broker);
    assert_eq!(locks(), 0);
}
