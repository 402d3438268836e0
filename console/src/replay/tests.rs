use std::sync::atomic::{AtomicU64, Ordering};

use common::namespace::Namespace;
use common::store::{DeadFilter, DeadState};
use common::topology::Plan;

use super::*;
use crate::fakes::{self, Answer, FakeBroker, FakeStore};

struct World {
    broker: FakeBroker,
    store: FakeStore,
    topology: Topology,
    stop: CancellationToken,
}

impl World {
    fn new(letters: usize) -> Self {
        let topology = Topology::new(&Plan {
            namespace: Namespace::default(),
            destinations: vec![("crm".to_owned(), vec!["#".to_owned()])],
            longest_delay: std::time::Duration::from_secs(1),
            history: std::time::Duration::from_secs(60),
        });
        let broker = FakeBroker::default();
        for queue in topology.work_queues() {
            broker.declare(&queue.name);
        }
        let store = FakeStore::default();
        for _ in 0..letters {
            store.add(fakes::letter("longshore.integrate.crm"));
        }
        Self {
            broker,
            store,
            topology,
            stop: CancellationToken::new(),
        }
    }

    fn replayer(&self) -> Replayer<'_> {
        Replayer {
            broker: &self.broker,
            store: &self.store,
            topology: &self.topology,
            stop: &self.stop,
        }
    }

    fn all() -> Replay {
        Replay {
            id: Uuid::now_v7(),
            filter: DeadFilter::default(),
            to_queue: None,
            who: "test".to_owned(),
            why: None,
        }
    }
}

#[tokio::test]
async fn an_unconfirmed_letter_is_never_marked() {
    for answer in [Answer::Nack, Answer::Disconnect] {
        let world = World::new(3);
        world.broker.answer(1, answer);
        let failed = world.replayer().begin(&World::all(), |_| {}).await;
        assert!(failed.is_err_and(|failure| failure.code() == 3));
        assert_eq!(world.store.count(DeadState::Replayed), 2);
        assert_eq!(
            world.store.count(DeadState::Open),
            1,
            "it is open for the next replay"
        );
    }
}

#[tokio::test]
async fn a_failed_replay_says_how_to_go_on_and_goes_on() {
    let world = World::new(3);
    world.broker.answer(0, Answer::Nack);
    let replay = World::all();
    let failure = world
        .replayer()
        .begin(&replay, |_| {})
        .await
        .map(|_| ())
        .unwrap_err();
    assert!(
        failure
            .to_string()
            .contains(&format!("--resume {}", replay.id)),
        "{failure}"
    );
    let outcome = world.replayer().resume(replay.id, |_| {}).await.unwrap();
    assert_eq!(
        (outcome.replayed, world.store.count(DeadState::Replayed)),
        (1, 3)
    );
}

#[tokio::test]
async fn killed_between_confirm_and_mark_it_sends_those_letters_again_and_no_others() {
    let world = World::new(5);
    world.store.fail_next_mark();
    let replay = World::all();
    let failed = world.replayer().begin(&replay, |_| {}).await;
    assert!(failed.is_err());
    assert_eq!(
        world.store.count(DeadState::Replaying),
        5,
        "still claimed by the killed run"
    );
    world.store.add(fakes::letter("longshore.integrate.crm"));

    let outcome = world.replayer().resume(replay.id, |_| {}).await.unwrap();
    assert_eq!(outcome.replayed, 6);
    assert_eq!(world.store.count(DeadState::Replayed), 6);
    let generations = world.broker.published().into_iter().map(|publication| {
        publication
            .message
            .headers
            .int(common::event::header::GENERATION)
    });
    let generations: Vec<_> = generations.collect();
    assert_eq!(
        generations,
        vec![Some(1); 11],
        "the second sending is no new generation"
    );
}

#[tokio::test]
async fn a_letter_to_a_queue_that_is_gone_is_left_open_and_named() {
    let world = World::new(1);
    let removed = fakes::letter("longshore.integrate.removed");
    world.broker.declare("longshore.integrate.removed");
    world.store.add(removed.clone());
    world.store.add(fakes::letter("longshore.store"));
    world.broker.delete_queue("longshore.store");
    world.store.add(fakes::letter("longshore.dead"));
    let outcome = world.replayer().begin(&World::all(), |_| {}).await.unwrap();
    assert_eq!((outcome.replayed, outcome.left_open.len()), (1, 3));
    let named = outcome
        .left_open
        .iter()
        .find(|open| open.letter == removed.id);
    assert!(named.is_some_and(|open| open.problem.contains("integrate.removed")));
    assert_eq!(world.store.count(DeadState::Open), 3);
}

#[tokio::test]
async fn a_letter_that_the_broker_returns_is_left_open() {
    let world = World::new(2);
    world.broker.answer(0, Answer::Return);
    let outcome = world.replayer().begin(&World::all(), |_| {}).await.unwrap();
    assert_eq!((outcome.replayed, outcome.left_open.len()), (1, 1));
    assert_eq!(world.store.count(DeadState::Open), 1);
}

#[tokio::test]
async fn a_stopped_replay_marks_what_was_sent_and_opens_the_rest() {
    let batches = 2 * BATCH as usize;
    let world = World::new(batches);
    let sent = AtomicU64::new(0);
    let stop_early = |_| {
        sent.fetch_add(1, Ordering::Relaxed);
        world.stop.cancel();
    };
    let replay = World::all();
    let outcome = world.replayer().begin(&replay, stop_early).await.unwrap();
    assert!(outcome.stopped);
    assert_eq!(outcome.replayed, sent.load(Ordering::Relaxed));
    assert!(outcome.replayed < batches as u64);
    let open = world.store.count(DeadState::Open) as u64;
    assert_eq!(open + outcome.replayed, batches as u64);
}

#[tokio::test]
async fn all_go_to_one_queue_where_that_is_asked_for() {
    let world = World::new(2);
    let replay = Replay {
        to_queue: Some("longshore.store".to_owned()),
        ..World::all()
    };
    world.replayer().begin(&replay, |_| {}).await.unwrap();
    let to = |publication: Publication| publication.to;
    let expected = vec![Address::Queue("longshore.store".to_owned()); 2];
    assert_eq!(
        world
            .broker
            .published()
            .into_iter()
            .map(to)
            .collect::<Vec<_>>(),
        expected
    );
}

#[tokio::test]
async fn what_died_beside_its_queue_goes_back_to_the_queue() {
    let world = World::new(0);
    world.store.add(fakes::letter("longshore.store.suspect"));
    world.replayer().begin(&World::all(), |_| {}).await.unwrap();
    let to = world
        .broker
        .published()
        .pop()
        .map(|publication| publication.to);
    assert_eq!(to, Some(Address::Queue("longshore.store".to_owned())));
}

#[tokio::test]
async fn a_replay_that_is_done_or_unknown_is_not_resumed() {
    let world = World::new(1);
    let replay = World::all();
    world.replayer().begin(&replay, |_| {}).await.unwrap();
    for id in [replay.id, Uuid::now_v7()] {
        let refused = world.replayer().resume(id, |_| {}).await;
        assert!(refused.is_err_and(|failure| failure.code() == 2));
    }
}
