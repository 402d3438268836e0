use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};

use common::config::Config;
use common::namespace::Namespace;
use common::store::sqlite::SqliteStore;
use common::store::{
    AuditAction, DeadFilter, DeadLetters as _, DeadState, Deliveries as _, OperationKind,
};
use futures_util::FutureExt as _;

use super::*;
use crate::testbed::{self, Failing, FailingBroker};

const CRM: &str = "longshore.integrate.crm";

struct World {
    broker: FailingBroker,
    store: SqliteStore,
    topology: Topology,
    names: Names,
    judge: Judge,
    stop: CancellationToken,
    patience: Duration,
}

impl World {
    /// A world with this number of letters that died on their way to the CRM.
    async fn new(letters: usize) -> Self {
        let topology = testbed::topology(&["crm"]);
        let world = Self {
            broker: FailingBroker::with(&topology).await,
            store: testbed::store().await,
            topology,
            names: Names::new(Namespace::default()),
            judge: Judge::new(&Config::default()).unwrap(),
            stop: CancellationToken::new(),
            patience: Duration::ZERO,
        };
        let letters: Vec<_> = (0..letters).map(|_| testbed::letter(CRM)).collect();
        world.store.keep_dead(&letters).await.unwrap();
        world
    }

    /// Adds a letter that died in `queue`.
    async fn add(&self, queue: &str) -> Uuid {
        let letter = testbed::letter(queue);
        let id = letter.id;
        self.store.keep_dead(&[letter]).await.unwrap();
        id
    }

    async fn count(&self, state: DeadState) -> u64 {
        let filter = DeadFilter {
            state: Some(state),
            ..DeadFilter::default()
        };
        self.store.dead_count(&filter).await.unwrap()
    }

    fn executor(&self) -> Executor<'_> {
        Executor {
            broker: &self.broker,
            store: &self.store,
            topology: &self.topology,
            names: &self.names,
            judge: &self.judge,
            destinations: &[],
            stop: &self.stop,
            patience: self.patience,
            longest_attempt: Duration::ZERO,
            runner: Runner::Operator,
        }
    }

    fn all() -> Operation {
        let id = Uuid::now_v7();
        Operation {
            id,
            kind: OperationKind::Replay,
            filter: DeadFilter::default(),
            to_queue: None,
            act: beginning(id, &testbed::requester()),
            rate: None,
            stop_when: None,
            slice: None,
            new_ids: false,
            resumes: None,
        }
    }
}

#[tokio::test]
async fn an_unconfirmed_letter_is_never_marked() {
    // A message whose confirm was cut off may have arrived all the same.
    for (failing, arrived) in [(Failing::Nack, 2), (Failing::Cut, 3)] {
        let world = World::new(3).await;
        world.broker.fail(1, failing);
        let failed = world.executor().begin(&World::all(), |_| {}).await;
        assert!(failed.is_err_and(|failure| failure.code() == 3));
        assert_eq!(world.count(DeadState::Replayed).await, 2);
        assert_eq!(
            world.count(DeadState::Open).await,
            1,
            "it is open for the next replay"
        );
        assert_eq!(world.broker.waiting(CRM).await.len(), arrived);
    }
}

#[tokio::test]
async fn a_failed_replay_says_how_to_go_on_and_goes_on() {
    let world = World::new(3).await;
    world.broker.fail(0, Failing::Nack);
    let replay = World::all();
    let failure = world
        .executor()
        .begin(&replay, |_| {})
        .await
        .map(|_| ())
        .unwrap_err();
    assert!(
        failure
            .to_string()
            .contains(&format!("replay resume {}", replay.id)),
        "{failure}"
    );
    let outcome = world
        .executor()
        .resume(replay.id, None, &testbed::requester(), |_| {})
        .await
        .unwrap();
    assert_eq!(
        (outcome.replayed, world.count(DeadState::Replayed).await),
        (1, 3)
    );
    assert_eq!(world.broker.waiting(CRM).await.len(), 3);
}

#[tokio::test]
async fn killed_between_confirm_and_mark_it_sends_those_letters_again_and_no_others() {
    let world = World::new(5).await;
    let replay = World::all();
    let confirmed = AtomicU64::new(0);
    let until_killed = |news: News<'_>| {
        let News::Sent(more) = news else { return };
        let confirmed = confirmed.fetch_add(more, Ordering::Relaxed) + more;
        assert!(confirmed < 5, "killed");
    };
    let executor = world.executor();
    let killed = AssertUnwindSafe(executor.begin(&replay, until_killed)).catch_unwind();
    assert!(killed.await.is_err());
    assert_eq!(
        world.count(DeadState::Replaying).await,
        5,
        "still claimed by the killed run"
    );
    world.add(CRM).await;

    let outcome = world
        .executor()
        .resume(replay.id, None, &testbed::requester(), |_| {})
        .await
        .unwrap();
    assert_eq!(outcome.replayed, 5);
    assert_eq!(world.count(DeadState::Replayed).await, 5);
    assert_eq!(
        world.count(DeadState::Open).await,
        1,
        "what died after a replay began may have died of it"
    );
    let messages = world.broker.waiting(CRM).await.into_iter();
    let generations =
        messages.map(|message| message.headers.int(common::event::header::GENERATION));
    assert_eq!(
        generations.collect::<Vec<_>>(),
        vec![Some(1); 10],
        "the second sending is no new generation"
    );
}

#[tokio::test]
async fn a_letter_to_a_queue_that_is_gone_is_left_open_and_named() {
    let world = World::new(1).await;
    // The first queue is still on the broker, though no longer configured; the second one is the other way round.
    let earlier = testbed::topology(&["removed"]);
    world.broker.apply(&earlier).await.unwrap();
    let mut missing = world.topology.clone();
    missing.exchanges.clear();
    missing
        .queues
        .retain(|queue| queue.name == "longshore.store");
    world.broker.delete(&missing).await.unwrap();
    let removed = world.add("longshore.integrate.removed").await;
    let missing = world.add("longshore.store").await;
    world.add("longshore.dead").await;
    let outcome = world.executor().begin(&World::all(), |_| {}).await.unwrap();
    assert_eq!((outcome.replayed, outcome.left_open.len()), (1, 3));
    for (letter, problem) in [(removed, "integrate.removed"), (missing, "topology apply")] {
        let named = outcome.left_open.iter().find(|open| open.letter == letter);
        assert!(named.is_some_and(|open| open.problem.contains(problem)));
    }
    assert_eq!(world.count(DeadState::Open).await, 3);
}

#[tokio::test]
async fn a_letter_that_the_broker_returns_is_left_open() {
    let world = World::new(2).await;
    world.broker.fail(0, Failing::Return);
    let outcome = world.executor().begin(&World::all(), |_| {}).await.unwrap();
    assert_eq!((outcome.replayed, outcome.left_open.len()), (1, 1));
    assert_eq!(world.count(DeadState::Open).await, 1);
    assert_eq!(world.broker.waiting(CRM).await.len(), 1);
}

#[tokio::test]
async fn a_stopped_replay_marks_what_was_sent_and_opens_the_rest() {
    let batches = 10 * BATCH as usize;
    let world = World::new(batches).await;
    let sent = AtomicU64::new(0);
    let stop_early = |_: News<'_>| {
        sent.fetch_add(1, Ordering::Relaxed);
        world.stop.cancel();
    };
    let replay = World::all();
    let outcome = world.executor().begin(&replay, stop_early).await.unwrap();
    assert!(outcome.stopped);
    assert_eq!(outcome.replayed, sent.load(Ordering::Relaxed));
    assert!(outcome.replayed < batches as u64);
    let open = world.count(DeadState::Open).await;
    assert_eq!(open + outcome.replayed, batches as u64);
    let arrived = world.broker.waiting(CRM).await.len();
    assert_eq!(arrived as u64, outcome.replayed);
}

#[tokio::test]
async fn all_go_to_one_queue_where_that_is_asked_for() {
    let world = World::new(2).await;
    let replay = Operation {
        to_queue: Some("longshore.store".to_owned()),
        ..World::all()
    };
    world.executor().begin(&replay, |_| {}).await.unwrap();
    assert_eq!(world.broker.waiting("longshore.store").await.len(), 2);
    assert_eq!(world.broker.waiting(CRM).await, []);
}

#[tokio::test]
async fn what_died_beside_its_queue_goes_back_to_the_queue() {
    let world = World::new(0).await;
    world.add("longshore.store.suspect").await;
    world.executor().begin(&World::all(), |_| {}).await.unwrap();
    assert_eq!(world.broker.waiting("longshore.store").await.len(), 1);
    let suspects = world.broker.waiting("longshore.store.suspect").await;
    assert_eq!(suspects, []);
}

#[tokio::test]
async fn a_replay_that_is_done_or_unknown_is_not_resumed() {
    let world = World::new(1).await;
    let replay = World::all();
    world.executor().begin(&replay, |_| {}).await.unwrap();
    for id in [replay.id, Uuid::now_v7()] {
        let refused = world
            .executor()
            .resume(id, None, &testbed::requester(), |_| {})
            .await;
        assert!(refused.is_err_and(|failure| failure.code() == 2));
    }
}

#[tokio::test]
async fn a_rate_is_kept_to() {
    let world = World::new(40).await;
    let replay = Operation {
        rate: Some(100),
        ..World::all()
    };
    let began = std::time::Instant::now();
    let outcome = world.executor().begin(&replay, |_| {}).await.unwrap();
    assert_eq!(outcome.replayed, 40);
    // The first five letters may go at once.
    assert!(
        began.elapsed() >= Duration::from_millis(330),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn a_broker_that_is_down_for_a_while_is_waited_for() {
    let mut world = World::new(300).await;
    world.patience = Duration::from_secs(60);
    for (nth, failing) in [(3, Failing::Nack), (150, Failing::Cut), (301, Failing::Cut)] {
        world.broker.fail(nth, failing);
    }
    let waited = AtomicU64::new(0);
    let told = |news: News<'_>| {
        if matches!(news, News::Waiting(_)) {
            waited.fetch_add(1, Ordering::Relaxed);
        }
    };
    let outcome = world.executor().begin(&World::all(), told).await.unwrap();
    assert_eq!((outcome.replayed, outcome.stopped), (300, false));
    assert!(waited.into_inner() >= 1);
    assert_eq!(world.count(DeadState::Replayed).await, 300);
    // Messages whose confirm was cut off had arrived. Each is there twice, under one generation.
    assert_eq!(world.broker.waiting(CRM).await.len(), 302);
}

#[tokio::test]
async fn two_replays_at_once_send_each_letter_once() {
    let world = World::new(900).await;
    let (one, other) = (World::all(), World::all());
    let executor = world.executor();
    let (one, other) = tokio::join!(executor.begin(&one, |_| {}), executor.begin(&other, |_| {}));
    let (one, other) = (one.unwrap().replayed, other.unwrap().replayed);
    assert_eq!(one + other, 900, "{one} and {other}");
    assert!(one > 0 && other > 0, "{one} and {other}");
    assert_eq!(world.broker.waiting(CRM).await.len(), 900);
}

/// Waits until a replay has sent a message.
async fn sent_some(world: &World, replay: Uuid) -> u64 {
    loop {
        let known = world.store.operations().operation(replay).await.unwrap();
        match known.map(|known| known.replayed) {
            Some(sent @ 1..) => return sent,
            _ => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

#[tokio::test]
async fn a_replay_pauses_and_goes_on_as_somebody_else_says() {
    let world = World::new(60).await;
    let replay = Operation {
        rate: Some(25),
        ..World::all()
    };
    let executor = world.executor();
    let paused = tokio::sync::Notify::new();
    let tell = |news: News<'_>| {
        if news == News::Paused {
            paused.notify_one();
        }
    };
    let steer = async {
        sent_some(&world, replay.id).await;
        let state = steered(&world, replay.id, OperationState::Paused).await;
        assert_eq!(state, Some(OperationState::Paused));
        paused.notified().await;
        assert_eq!(
            world.count(DeadState::Replaying).await,
            0,
            "it holds nothing"
        );
        let open = world.count(DeadState::Open).await;
        assert!(open > 0);
        let state = steered(&world, replay.id, OperationState::Running).await;
        assert_eq!(state, Some(OperationState::Running));
    };
    let (outcome, ()) = tokio::join!(executor.begin(&replay, tell), steer);
    let outcome = outcome.unwrap();
    assert_eq!((outcome.replayed, outcome.stopped), (60, false));
}

#[tokio::test]
async fn a_replay_stops_as_somebody_else_says() {
    let world = World::new(60).await;
    let replay = Operation {
        rate: Some(25),
        ..World::all()
    };
    let executor = world.executor();
    let steer = async {
        sent_some(&world, replay.id).await;
        let stopped = steered(&world, replay.id, OperationState::Stopped).await;
        assert_eq!(stopped, Some(OperationState::Stopped));
    };
    let (outcome, ()) = tokio::join!(executor.begin(&replay, |_| {}), steer);
    let outcome = outcome.unwrap();
    assert!(outcome.stopped && outcome.replayed < 60, "{outcome:?}");
    assert_eq!(world.count(DeadState::Open).await + outcome.replayed, 60);

    // A new replay of the rest goes on with it.
    let next = executor
        .resume(replay.id, None, &testbed::requester(), |_| {})
        .await
        .unwrap();
    assert_ne!(next.replay, replay.id);
    assert_eq!(next.replayed + outcome.replayed, 60);
}

#[tokio::test]
async fn a_replay_that_runs_elsewhere_is_not_resumed() {
    let world = World::new(60).await;
    let replay = Operation {
        rate: Some(10),
        ..World::all()
    };
    let executor = world.executor();
    let second = async {
        sent_some(&world, replay.id).await;
        let refused = executor
            .resume(replay.id, None, &testbed::requester(), |_| {})
            .await;
        assert!(refused.is_err_and(|failure| failure.code() == 2));
    };
    let (outcome, ()) = tokio::join!(executor.begin(&replay, |_| {}), second);
    assert_eq!(outcome.unwrap().replayed, 60);
    assert_eq!(world.broker.waiting(CRM).await.len(), 60);
}

/// A receiver that takes nothing: replayed letters die again.
async fn die_again(world: &World, replay: Uuid, over: &CancellationToken) {
    let mut dead = std::collections::HashSet::new();
    while !over.is_cancelled() {
        let filter = DeadFilter {
            state: Some(DeadState::Replayed),
            ..DeadFilter::default()
        };
        let page = common::store::DeadPage {
            after: None,
            limit: 1000,
        };
        for letter in world.store.dead_page(&filter, page).await.unwrap() {
            if letter.generation == 0 && dead.insert(letter.id) {
                let again = common::store::DeadLetter {
                    event: letter.event,
                    generation: 1,
                    ..testbed::letter(CRM)
                };
                world.store.keep_dead(&[again]).await.unwrap();
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(
        world
            .store
            .operations()
            .operation(replay)
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn a_replay_whose_letters_die_again_stops_by_itself() {
    let world = World::new(400).await;
    let replay = Operation {
        rate: Some(50),
        stop_when: Some(20),
        ..World::all()
    };
    let executor = world.executor();
    let over = CancellationToken::new();
    let send = async {
        let outcome = executor.begin(&replay, |_| {}).await;
        over.cancel();
        outcome.unwrap()
    };
    let (outcome, ()) = tokio::join!(send, die_again(&world, replay.id, &over));
    assert!(outcome.replayed < 400, "{outcome:?}");
    let why = outcome.why_stopped.unwrap_or_default();
    assert!(
        why.contains("by itself") && why.contains("died again"),
        "{why}"
    );
    let state = world
        .store
        .operations()
        .operation(replay.id)
        .await
        .unwrap()
        .map(|known| known.state);
    assert_eq!(state, Some(OperationState::Stopped));
}

#[tokio::test]
async fn what_was_sent_is_followed_until_it_is_at_rest() {
    let world = World::new(3).await;
    let replay = World::all();
    world.executor().begin(&replay, |_| {}).await.unwrap();
    let sent = world.broker.waiting(CRM).await;
    assert_eq!(sent.len(), 3);
    let filter = DeadFilter::default();
    let page = common::store::DeadPage {
        after: None,
        limit: 10,
    };
    let letters = world.store.dead_page(&filter, page).await.unwrap();
    let end = async {
        for letter in &letters[..2] {
            let attempt = common::store::Attempt {
                key: common::store::DeliveryKey {
                    event: letter.event.unwrap(),
                    destination: "crm".to_owned(),
                    generation: 1,
                },
                attempt: 1,
                started_at: common::event::now(),
                duration_ms: 1,
                status_code: Some(200),
                error: None,
                response_excerpt: None,
                delivered: true,
            };
            world.store.record_attempts(&[attempt]).await.unwrap();
        }
        let again = common::store::DeadLetter {
            event: letters[2].event,
            generation: 1,
            ..testbed::letter(CRM)
        };
        world.store.keep_dead(&[again]).await.unwrap();
    };
    let followed = follow(&world.store, replay.id, Duration::ZERO, &world.stop, |_| {});
    let (outcome, ()) = tokio::join!(followed, end);
    let outcome = outcome.unwrap();
    assert_eq!(
        (outcome.completed, outcome.died_again, outcome.under_way),
        (2, 1, 0)
    );
}

/// Runs a replay as the workers run it.
fn worker<'a>(world: &'a World, stop: &'a CancellationToken) -> Executor<'a> {
    Executor {
        stop,
        runner: Runner::Worker,
        ..world.executor()
    }
}

async fn state(world: &World, replay: Uuid) -> OperationState {
    let known = world.store.operations().operation(replay).await.unwrap();
    known.unwrap().state
}

#[tokio::test]
async fn a_worker_that_is_told_to_stop_leaves_the_rest_to_the_next_one_at_once() {
    let world = World::new(60).await;
    let replay = Operation {
        rate: Some(25),
        ..World::all()
    };
    world
        .store
        .operations()
        .begin_operation(&replay)
        .await
        .unwrap();
    let stop = CancellationToken::new();
    let first = worker(&world, &stop);
    let end = async {
        sent_some(&world, replay.id).await;
        stop.cancel();
    };
    let (left, ()) = tokio::join!(first.take_up(replay.id, |_| {}), end);
    let left = left.unwrap().expect("nobody else runs it");
    assert!(left.replayed < 60, "{left:?}");
    assert_eq!(state(&world, replay.id).await, OperationState::Running);
    assert!(!is_leased(&world.store, replay.id).await.unwrap());

    let go_on = CancellationToken::new();
    let second = worker(&world, &go_on);
    let rest = second.take_up(replay.id, |_| {}).await.unwrap().unwrap();
    assert_eq!((left.replayed + rest.replayed, rest.stopped), (60, false));
    assert_eq!(world.broker.waiting(CRM).await.len(), 60, "none twice");
    assert_eq!(world.count(DeadState::Replayed).await, 60);
    assert_eq!(state(&world, replay.id).await, OperationState::Done);
    let over = second.take_up(replay.id, |_| {}).await.unwrap();
    assert!(over.is_none(), "{over:?}");
}

/// Steers an operation, as an operator does.
async fn steered(world: &World, id: Uuid, to: OperationState) -> Option<OperationState> {
    let by = testbed::requester();
    steer(&world.store, id, to, &by).await.unwrap()
}

fn discard_all() -> Operation {
    let by = testbed::requester();
    let discard = Change::discard(DeadFilter::default(), "a test".to_owned(), &by);
    discard.unwrap().operation(&by)
}

#[tokio::test]
async fn a_worker_discards_and_restores_in_bulk() {
    let world = World::new(1_200).await;
    let worker = worker(&world, &world.stop);
    let by = testbed::requester();
    let restore = Change::restore(DeadFilter::default(), &by).operation(&by);
    for (operation, becomes) in [
        (discard_all(), DeadState::Discarded),
        (restore, DeadState::Open),
    ] {
        let operations = world.store.operations();
        operations.begin_operation(&operation).await.unwrap();
        let outcome = worker.take_up(operation.id, |_| {}).await.unwrap().unwrap();
        assert_eq!((outcome.kind, outcome.replayed), (operation.kind, 1_200));
        assert_eq!(world.count(becomes).await, 1_200);
        let known = known(&world.store, operation.id).await.unwrap();
        assert_eq!((known.state, known.replayed), (OperationState::Done, 1_200));
        assert_eq!(known.who, operation.act.actor.who);
    }
    assert!(
        world.broker.waiting(CRM).await.is_empty(),
        "nothing is sent"
    );
}

#[tokio::test]
async fn a_discard_that_is_stopped_goes_on_as_one() {
    let world = World::new(1_200).await;
    let (discard, worker) = (discard_all(), worker(&world, &world.stop));
    let operations = world.store.operations();
    operations.begin_operation(&discard).await.unwrap();
    // It is heard after the batch that is in hand.
    let stop = async {
        sent_some(&world, discard.id).await;
        steered(&world, discard.id, OperationState::Stopped).await;
    };
    let (stopped, ()) = tokio::join!(worker.take_up(discard.id, |_| {}), stop);
    let stopped = stopped.unwrap().unwrap();
    let discarded = world.count(DeadState::Discarded).await;
    assert_eq!(stopped.replayed, discarded);
    if stopped.stopped {
        let next = hand_over(&world.store, discard.id, None, &testbed::requester())
            .await
            .unwrap();
        let rest = worker.take_up(next, |_| {}).await.unwrap().unwrap();
        assert_eq!(rest.kind, OperationKind::Discard);
        assert_eq!(stopped.replayed + rest.replayed, 1_200);
    }
    assert_eq!(world.count(DeadState::Discarded).await, 1_200);
    assert_eq!(world.count(DeadState::Open).await, 0);
}

#[tokio::test]
async fn one_worker_at_a_time_runs_a_replay() {
    let world = World::new(30).await;
    // It cannot end before the others have tried.
    let replay = Operation {
        rate: Some(1),
        ..World::all()
    };
    let operations = world.store.operations();
    operations.begin_operation(&replay).await.unwrap();
    let worker = worker(&world, &world.stop);
    let others = async {
        sent_some(&world, replay.id).await;
        let other = worker.take_up(replay.id, |_| {}).await.unwrap();
        assert!(other.is_none(), "{other:?}");
        let operator = world
            .executor()
            .resume(replay.id, None, &testbed::requester(), |_| {})
            .await;
        assert!(operator.is_err_and(|failure| failure.code() == 2));
        let again = hand_over(&world.store, replay.id, None, &testbed::requester()).await;
        assert!(again.is_err_and(|failure| failure.code() == 2));
        let faster = testbed::requester().act(AuditAction::OperationRate, "operation");
        let faster = operations.set_operation_rate(replay.id, 1_000, &faster);
        faster.await.unwrap();
    };
    let (outcome, ()) = tokio::join!(worker.take_up(replay.id, |_| {}), others);
    assert_eq!(outcome.unwrap().unwrap().replayed, 30);
    assert_eq!(world.broker.waiting(CRM).await.len(), 30);
}

#[tokio::test]
async fn a_worker_lets_go_of_a_replay_that_is_paused() {
    let world = World::new(60).await;
    let replay = Operation {
        rate: Some(25),
        ..World::all()
    };
    let operations = world.store.operations();
    operations.begin_operation(&replay).await.unwrap();
    let worker = worker(&world, &world.stop);
    let pause = async {
        sent_some(&world, replay.id).await;
        steered(&world, replay.id, OperationState::Paused).await;
    };
    let (before, ()) = tokio::join!(worker.take_up(replay.id, |_| {}), pause);
    let before = before.unwrap().unwrap();
    assert!(before.replayed < 60, "{before:?}");
    assert!(worker.take_up(replay.id, |_| {}).await.unwrap().is_none());
    assert_eq!(world.count(DeadState::Replaying).await, 0);
    assert_eq!(
        hand_over(&world.store, replay.id, Some(1000), &testbed::requester())
            .await
            .unwrap(),
        replay.id
    );
    let known = known(&world.store, replay.id).await.unwrap();
    assert_eq!(
        (known.state, known.rate),
        (OperationState::Running, Some(1000))
    );
    let rest = worker.take_up(replay.id, |_| {}).await.unwrap().unwrap();
    assert_eq!(before.replayed + rest.replayed, 60);
    assert_eq!(world.broker.waiting(CRM).await.len(), 60);
}

#[tokio::test]
async fn a_worker_leaves_what_is_down_to_the_next_one_and_says_so_in_the_row() {
    let world = World::new(3).await;
    world.broker.fail(1, Failing::Nack);
    let replay = World::all();
    let operations = world.store.operations();
    operations.begin_operation(&replay).await.unwrap();
    let worker = worker(&world, &world.stop);
    let failed = worker.take_up(replay.id, |_| {}).await;
    assert!(failed.is_err_and(|failure| failure.code() == 3));
    let known = operations.operation(replay.id).await.unwrap().unwrap();
    assert_eq!((known.state, known.replayed), (OperationState::Running, 2));
    assert!(known.report.waiting_for.is_some(), "{known:?}");
    let rest = worker.take_up(replay.id, |_| {}).await.unwrap().unwrap();
    assert_eq!((rest.replayed, rest.stopped), (1, false));
    let known = operations.operation(replay.id).await.unwrap().unwrap();
    assert_eq!(known.state, OperationState::Done);
    assert_eq!(known.report.waiting_for, None);
}

#[tokio::test]
async fn who_watches_sees_what_the_worker_came_to() {
    let world = World::new(2).await;
    let removed = world.add("longshore.integrate.removed").await;
    let replay = World::all();
    let operations = world.store.operations();
    operations.begin_operation(&replay).await.unwrap();
    let watched = watch_progress(&world.store, replay.id, 0, &world.stop, |_| {});
    let worker = worker(&world, &world.stop);
    let (watched, run) = tokio::join!(watched, worker.take_up(replay.id, |_| {}));
    let run = run.unwrap().unwrap();
    let Watched::Ended(seen) = watched.unwrap() else {
        panic!("it has ended");
    };
    assert_eq!((seen.replayed, seen.left_open_count), (2, 1));
    assert_eq!(seen.left_open[0].letter, removed);
    assert_eq!(format!("{seen:?}"), format!("{run:?}"));

    // Stopped before any worker has taken it up.
    let replay = World::all();
    operations.begin_operation(&replay).await.unwrap();
    steered(&world, replay.id, OperationState::Stopped).await;
    let watched = watch_progress(&world.store, replay.id, 0, &world.stop, |_| {}).await;
    let Watched::Ended(seen) = watched.unwrap() else {
        panic!("it has ended");
    };
    assert_eq!(seen.why_stopped.as_deref(), Some("stopped from elsewhere"));
}

#[tokio::test]
async fn who_watches_may_leave_and_is_told_where_nobody_runs_it() {
    let world = World::new(1).await;
    let replay = World::all();
    let operations = world.store.operations();
    operations.begin_operation(&replay).await.unwrap();
    let watched = watch_progress(&world.store, replay.id, 0, &world.stop, |_| {}).await;
    assert!(matches!(watched, Ok(Watched::Unclaimed)), "{watched:?}");
    world.stop.cancel();
    let watched = watch_progress(&world.store, replay.id, 0, &world.stop, |_| {}).await;
    assert!(matches!(watched, Ok(Watched::Left)), "{watched:?}");
    assert_eq!(state(&world, replay.id).await, OperationState::Running);
}
