//! Operations on the embedded engines: found, run, left to others and taken over.

use common::broker::embedded::EmbeddedBroker;
use common::sqlite::Location;
use common::store::{DeadFilter, DeadLetter, DeadState, Operation, OperationKind, Progress};
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::testbed::{self, foreign_letter};

const DOOR: &str = "longshore.validate";
const SOON: Duration = Duration::from_secs(20);

/// A system with dead letters, and the broker that they go to.
struct World {
    config: Config,
    broker: Arc<EmbeddedBroker>,
    store: Arc<dyn Store>,
}

impl World {
    async fn new(letters: usize) -> Self {
        let config = Config::default();
        let names = Names::new(config.namespace.clone());
        let broker = EmbeddedBroker::at(Location::memory(), names, "test");
        broker.apply(&Topology::new(&config.plan())).await.unwrap();
        let store = testbed::store().await;
        let letters: Vec<DeadLetter> = (0..letters)
            .map(|_| foreign_letter(DOOR, Uuid::now_v7()))
            .collect();
        store.keep_dead(&letters).await.unwrap();
        Self {
            config,
            broker: Arc::new(broker),
            store,
        }
    }

    fn operations(&self, stop: &CancellationToken) -> Operations {
        let broker = Arc::clone(&self.broker) as Arc<dyn Broker>;
        Operations::with(&self.config, &broker, &self.store, stop.clone()).unwrap()
    }

    async fn begin(&self, rate: Option<u32>) -> Uuid {
        let replay = Operation {
            id: Uuid::now_v7(),
            kind: OperationKind::Replay,
            filter: DeadFilter::default(),
            to_queue: None,
            act: crate::testbed::act("test"),
            rate,
            stop_when: None,
            slice: None,
            new_ids: false,
            resumes: None,
        };
        let begun = self.store.operations().begin_operation(&replay).await;
        begun.unwrap();
        replay.id
    }

    /// Waits until a replay is in the expected state.
    async fn until(&self, replay: Uuid, is_so: impl Fn(&Progress) -> bool) -> Progress {
        let waited = async {
            loop {
                let known = self.store.operations().operation(replay).await.unwrap();
                let known = known.unwrap();
                if is_so(&known) {
                    return known;
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(SOON, waited).await.expect("it is so in time")
    }

    async fn sent(&self) -> u64 {
        let depth = self.broker.depth(DOOR).await.unwrap();
        depth.expect("the queue is there").messages
    }
}

fn is_done(replay: &Progress) -> bool {
    replay.state == OperationState::Done
}

#[tokio::test]
async fn what_is_begun_is_run_at_once_and_several_side_by_side() {
    let world = World::new(20).await;
    let stop = CancellationToken::new();
    let operations = world.operations(&stop);
    let check = async {
        let first = world.begin(Some(10)).await;
        let began = Instant::now();
        world.until(first, |it| it.replayed > 0).await;
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "{:?}",
            began.elapsed()
        );
        // The first replay has claimed all letters, or some of them; both replays come to their end.
        let second = world.begin(Some(10)).await;
        let first = world.until(first, is_done).await;
        let second = world.until(second, is_done).await;
        assert_eq!(first.replayed + second.replayed, 20);
        stop.cancel();
    };
    tokio::join!(operations.run(), check);
    assert_eq!(world.sent().await, 20);
}

#[tokio::test]
async fn what_dies_with_its_worker_is_taken_over_by_another() {
    let world = World::new(60).await;
    let stop = CancellationToken::new();
    let replay = world.begin(Some(20)).await;
    let (one, other) = (world.operations(&stop), world.operations(&stop));
    let killed = async {
        tokio::select! {
            () = one.run() => panic!("it was not told to stop"),
            known = world.until(replay, |it| it.replayed > 0) => known,
        }
    };
    // Dropped in the middle, like a process that is killed.
    let known = killed.await;
    assert!(known.replayed < 60, "{known:?}");
    let check = async {
        let known = world.until(replay, is_done).await;
        assert_eq!(known.replayed, 60);
        stop.cancel();
    };
    tokio::join!(other.run(), check);
    let filter = DeadFilter {
        state: Some(DeadState::Replayed),
        ..DeadFilter::default()
    };
    assert_eq!(world.store.dead_count(&filter).await.unwrap(), 60);
    // Letters that the killed run had sent and not marked are there twice.
    assert!((60..=80).contains(&world.sent().await));
}

#[tokio::test]
async fn one_that_is_told_to_stop_gives_back_what_it_runs_and_nothing_is_sent_twice() {
    let world = World::new(60).await;
    let (first_stop, second_stop) = (CancellationToken::new(), CancellationToken::new());
    let replay = world.begin(Some(20)).await;
    let first = world.operations(&first_stop);
    let told = async {
        world.until(replay, |it| it.replayed > 0).await;
        first_stop.cancel();
    };
    tokio::join!(first.run(), told);
    let leased = is_leased(world.store.as_ref(), replay).await;
    assert!(!leased.unwrap(), "another one need not wait");
    let second = world.operations(&second_stop);
    let check = async {
        world.until(replay, is_done).await;
        second_stop.cancel();
    };
    tokio::join!(second.run(), check);
    assert_eq!(world.sent().await, 60);
}

#[tokio::test]
async fn an_operation_that_fails_is_stopped_and_says_why() {
    let world = World::new(0).await;
    let stop = CancellationToken::new();
    let replay = Operation {
        id: Uuid::now_v7(),
        kind: OperationKind::Replay,
        filter: DeadFilter::default(),
        to_queue: Some("longshore.integrate.removed".to_owned()),
        act: crate::testbed::act("test"),
        rate: None,
        stop_when: None,
        slice: Some(common::store::HistorySlice {
            from: common::store::Moment(common::event::now()),
            to: common::store::Moment(common::event::now()),
            kind: None,
        }),
        new_ids: false,
        resumes: None,
    };
    let begun = world.store.operations().begin_operation(&replay).await;
    begun.unwrap();
    let operations = world.operations(&stop);
    let check = async {
        let known = world
            .until(replay.id, |it| it.state == OperationState::Stopped)
            .await;
        let why = known.report.why_stopped.unwrap_or_default();
        assert!(why.contains("integrate.removed"), "{why}");
        stop.cancel();
    };
    tokio::join!(operations.run(), check);
}
