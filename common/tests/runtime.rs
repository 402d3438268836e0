//! Workers on a real queue: the effects of a hold, a stop and a refused publish on the events in hand.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "runtime/panics.rs"]
mod panics;
#[path = "runtime/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use common::dependency::Dependency;
use common::event::Trail;
use common::outcome::Outcome;
use common::runtime::{Batch, Handler, Outcomes, Received};
use common::topology::Names;
use futures_util::StreamExt as _;

use self::world::{Fails, Fault, PATIENCE, PREFETCH, World, until};

/// The dependency of the handler: it answers when it is asked, and refuses to work.
#[derive(Default)]
struct Needed {
    refuses: AtomicBool,
    asked: AtomicUsize,
    refused: AtomicUsize,
    /// Each event as it was received, once for each time it was handled to its end.
    done: Mutex<BTreeMap<String, Vec<Received>>>,
}

struct Works(Arc<Needed>);

#[async_trait]
impl Handler for Works {
    async fn handle(&self, batch: Batch<'_>) -> Result<Outcomes, Outcome> {
        if self.0.refuses.load(Ordering::SeqCst) {
            self.0.refused.fetch_add(batch.len(), Ordering::SeqCst);
            return Err(Outcome::Hold {
                dependency: Dependency::Database,
                error: "read only".to_owned(),
            });
        }
        let mut done = self.0.done.lock().expect("no panic");
        for event in batch.iter() {
            let id = event.message.message_id.clone().unwrap_or_default();
            done.entry(id).or_default().push(event.clone());
        }
        Ok(batch.answer(|_| Outcome::Done))
    }

    async fn probe(&self) -> Result<(), String> {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

/// Begins nothing before the program stops.
struct Slow;

#[async_trait]
impl Handler for Slow {
    async fn handle(&self, batch: Batch<'_>) -> Result<Outcomes, Outcome> {
        for event in batch.iter() {
            event.claim.called_back().await;
        }
        Ok(batch.answer(|_| Outcome::GiveBack))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dependency_that_answers_and_refuses_costs_one_hold_and_no_returns() {
    const EVENTS: usize = 400;
    let world = World::with(EVENTS).await;
    let dependency = Arc::new(Needed::default());
    dependency.refuses.store(true, Ordering::SeqCst);
    let (standing, running) = world.start(Works(Arc::clone(&dependency)));
    until("many trials", async || {
        dependency.asked.load(Ordering::SeqCst) >= 8
    })
    .await;
    let problem = standing.problem().await.expect("it holds");
    assert!(
        problem.contains("holding for sqlite_database") && problem.contains("read only"),
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
    let labels = format!(
        "{{queue=\"{}\",dependency=\"sqlite_database\"}}",
        world.queue
    );
    let holds = world.metric(&format!("longshore_holds_total{labels}"));
    assert_eq!(holds.as_deref(), Some("1"));
    world.end(running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_with_nothing_waiting_ends_by_itself() {
    let world = World::with(1).await;
    let dependency = Arc::new(Needed::default());
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
    let dependency = Arc::new(Needed::default());
    dependency.refuses.store(true, Ordering::SeqCst);
    // An event that came back once already, before an earlier hold gave it back as a copy.
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
    let published = world.is_odd(Fault::TakesBack);
    let handled = Arc::new(AtomicUsize::new(0));
    let (_, running) = world.start(Fails(Arc::clone(&handled)));
    until("all are handled", async || {
        handled.load(Ordering::SeqCst) >= 40
    })
    .await;
    world.end(running).await;
    assert_eq!(published.load(Ordering::SeqCst), 0);
    // The events went back by themselves, with the subscription.
    assert_eq!(world.depth(&world.queue).await, 40);
}
