//! The particulars of the embedded engine: one file, several programs.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::broker::embedded::EmbeddedBroker;
use common::broker::{Address, Broker as _, Settlement};
use common::namespace::Namespace;
use common::sqlite::Location;
use common::topology::{Names, Plan, Topology};
use futures_util::StreamExt as _;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::world::{self, Engine, id, next, plan, publication, take};

/// A broker on the file in `folder`, sharing nothing with others: as another program has it.
fn broker(folder: &Path, namespace: &Namespace) -> EmbeddedBroker {
    let names = Names::new(namespace.clone());
    let location = Location::file(folder.join("broker.db"));
    EmbeddedBroker::at(location, names, "conformance").apart()
}

/// The engine that the suite runs against.
pub fn engine() -> Engine {
    let folder = tempfile::tempdir().expect("a folder");
    Box::new(move |plan| Arc::new(broker(folder.path(), &plan.namespace)))
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_share_the_work_and_no_message_is_given_out_twice() {
    const COUNT: usize = 3_000;
    world::run(engine(), |world| async move {
        let queue = world.names.store();
        let all = Arc::new(AtomicUsize::new(0));
        let end = CancellationToken::new();
        let mut programs = Vec::new();
        for _ in 0..3 {
            let program = world.client();
            let mut subscription = program.subscribe(&queue, 50).await.expect("subscribed");
            let (all, end) = (Arc::clone(&all), end.clone());
            programs.push(tokio::spawn(async move {
                let mut seen = Vec::new();
                loop {
                    let delivery = tokio::select! {
                        delivery = next(&mut subscription) => delivery,
                        () = end.cancelled() => break,
                    };
                    assert!(!delivery.redelivered);
                    subscription.control.settle(delivery.tag, Settlement::Ack);
                    seen.push(id(&delivery));
                    if all.fetch_add(1, Ordering::SeqCst) + 1 == COUNT {
                        end.cancel();
                    }
                }
                subscription.control.flush().await.expect("flushed");
                subscription.control.close().await;
                program.close().await;
                seen
            }));
        }
        world.fill(&queue, COUNT).await;
        let mut times = HashMap::new();
        for program in programs {
            let seen = program.await.expect("no panic");
            assert!(!seen.is_empty());
            for id in seen {
                *times.entry(id).or_insert(0) += 1;
            }
        }
        assert_eq!(times.len(), COUNT);
        assert!(times.values().all(|times| *times == 1));
        world.wait_for_depth(&queue, 0).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dropped_program_held_comes_again_at_once() {
    world::run(engine(), |world| async move {
        let queue = world.names.store();
        world.fill(&queue, 5).await;
        let mut waiting = world.broker.subscribe(&queue, 1).await.expect("subscribed");
        let first = next(&mut waiting).await;
        let other = world.client();
        let mut held = other.subscribe(&queue, 10).await.expect("subscribed");
        for _ in 0..4 {
            next(&mut held).await;
        }
        drop((held, other));
        waiting.control.settle(first.tag, Settlement::Ack);
        let again = tokio::time::timeout(Duration::from_secs(5), take(&mut waiting, 4));
        let again = again.await.expect("at once");
        assert!(again.iter().all(|delivery| delivery.returns == 1));
        waiting.control.close().await;
    })
    .await;
}

/// The mark of a program of its own.
const FOLDER: &str = "LONGSHORE_TEST_FOLDER";
const NAMESPACE: &str = "LONGSHORE_TEST_NAMESPACE";

/// A program of its own, to be killed: the same test once more, which then does its other half.
fn start(test: &str, folder: &Path, plan: &Plan) -> Child {
    Command::new(std::env::current_exe().expect("this very program"))
        .args(["--exact", "--nocapture", "--test-threads=1"])
        .arg(format!("embedded::{test}"))
        .env(FOLDER, folder)
        .env(NAMESPACE, plan.namespace.as_str())
        .stdout(Stdio::piped())
        .spawn()
        .expect("started")
}

/// The other end of [`start`]; `None` in the test that starts it.
fn told() -> Option<(EmbeddedBroker, Names)> {
    let folder = PathBuf::from(std::env::var_os(FOLDER)?);
    let namespace = std::env::var(NAMESPACE).expect("a namespace");
    let namespace: Namespace = namespace.parse().expect("a namespace");
    Some((broker(&folder, &namespace), Names::new(namespace)))
}

async fn declared() -> (TempDir, Plan, Names) {
    let folder = tempfile::tempdir().expect("a folder");
    let plan = plan();
    let broker = broker(folder.path(), &plan.namespace);
    broker.apply(&Topology::new(&plan)).await.expect("declared");
    broker.close().await;
    let names = Names::new(plan.namespace.clone());
    (folder, plan, names)
}

/// Takes ten messages and holds them.
async fn hold(broker: EmbeddedBroker, names: Names) {
    let subscription = broker.subscribe(&names.store(), 10).await;
    let mut subscription = subscription.expect("subscribed");
    for _ in 0..10 {
        next(&mut subscription).await;
    }
    println!("\nholding");
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_program_held_comes_again_at_once() {
    if let Some((broker, names)) = told() {
        return hold(broker, names).await;
    }
    let (folder, plan, names) = declared().await;
    let broker = broker(folder.path(), &plan.namespace);
    let queue = names.store();
    for number in 0..10 {
        let to = Address::Queue(queue.clone());
        let published = broker.publish(publication(to, &number.to_string()));
        published.await.expect("published");
    }
    let mut child = start(
        "what_a_killed_program_held_comes_again_at_once",
        folder.path(),
        &plan,
    );
    let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let holding = lines.map_while(Result::ok).any(|line| line == "holding");
    assert!(holding);
    let depth = broker.depth(&queue).await.expect("asked").expect("there");
    assert_eq!((depth.messages, depth.consumers), (0, 1));
    child.kill().expect("killed");
    child.wait().expect("gone");

    // One that is there notices, and so does one that comes.
    for returns in 1..3 {
        let other = self::broker(folder.path(), &plan.namespace);
        let mut subscription = other.subscribe(&queue, 10).await.expect("subscribed");
        for _ in 0..10 {
            let again = tokio::time::timeout(Duration::from_secs(5), next(&mut subscription));
            assert_eq!(again.await.expect("at once").returns, returns);
        }
        other.close().await;
    }
    broker.close().await;
}

/// Publishes without end, and tells the id of each message that was confirmed.
async fn publish_on(broker: EmbeddedBroker, names: Names) {
    let queue = names.store();
    let born = uuid::Uuid::now_v7();
    futures_util::stream::iter(0_u64..)
        .for_each_concurrent(50, |number| {
            let id = format!("{born}-{number}");
            let published = broker.publish(publication(Address::Queue(queue.clone()), &id));
            async move {
                published.await.expect("published");
                println!("\nconfirmed {id}");
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_confirmed_outlives_any_kill() {
    if let Some((broker, names)) = told() {
        return publish_on(broker, names).await;
    }
    let (folder, plan, names) = declared().await;
    let mut confirmed = Vec::new();
    for round in 0..12 {
        let mut child = start("what_was_confirmed_outlives_any_kill", folder.path(), &plan);
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let mut told = |line: &str| {
            let id = line.strip_prefix("confirmed ").map(str::to_owned);
            let is_one = id.is_some();
            confirmed.extend(id);
            is_one
        };
        // Somewhere in the middle, each time somewhere else.
        let heard = lines
            .by_ref()
            .map_while(Result::ok)
            .filter(|line| told(line));
        assert_eq!(heard.take(1 + 17 * round).count(), 1 + 17 * round);
        child.kill().expect("killed");
        child.wait().expect("gone");
        for line in lines.map_while(Result::ok) {
            told(&line);
        }
    }
    let broker = broker(folder.path(), &plan.namespace);
    let queue = names.store();
    let depth = broker.depth(&queue).await.expect("asked").expect("there");
    let mut subscription = broker.subscribe(&queue, 500).await.expect("subscribed");
    let count = usize::try_from(depth.messages).expect("few");
    let mut there = HashMap::new();
    for delivery in take(&mut subscription, count).await {
        *there.entry(id(&delivery)).or_insert(0) += 1;
    }
    assert!(there.values().all(|times| *times == 1));
    for id in &confirmed {
        assert!(there.contains_key(id), "{id} was confirmed and is lost");
    }
    assert!(confirmed.len() > 100, "{}", confirmed.len());
    subscription.control.close().await;
    broker.close().await;
}
