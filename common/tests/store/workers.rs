//! The copies that deliver.

use std::time::Duration;

use common::store::{DestinationWorker, LiveWorker, WorkerCard};
use uuid::Uuid;

use crate::engine::Stores;

fn card(destinations: &[&str]) -> WorkerCard {
    WorkerCard {
        id: Uuid::now_v7(),
        program: "longshore-integrate".to_owned(),
        host: "a host".to_owned(),
        version: "0.1.0".to_owned(),
        destinations: destinations.iter().map(|&name| name.to_owned()).collect(),
    }
}

fn ids(live: &[LiveWorker]) -> Vec<Uuid> {
    live.iter().map(|worker| worker.id).collect()
}

pub async fn copies_know_of_each_other_until_they_leave(Stores { store, other }: Stores) {
    let (first, second) = (card(&["crm", "mail"]), card(&["crm"]));
    let alone = store.workers().beat(&first).await.unwrap();
    assert_eq!(ids(&alone), [first.id]);
    assert_eq!(alone[0].destinations, first.destinations);
    let both = other.workers().beat(&second).await.unwrap();
    assert_eq!(ids(&both), [first.id, second.id]);
    assert_eq!(both[1].destinations, ["crm"]);
    let again = store.workers().beat(&first).await.unwrap();
    assert_eq!(ids(&again), [first.id, second.id]);
    assert!(
        again[0].live_for >= both[0].live_for,
        "{again:?} after {both:?}"
    );
    other.workers().leave(second.id).await.unwrap();
    other.workers().leave(second.id).await.unwrap();
    let left = store.workers().beat(&first).await.unwrap();
    assert_eq!(ids(&left), [first.id]);
}

pub async fn who_was_silent_for_long_is_not_live_and_joins_anew(Stores { store, other }: Stores) {
    let (silent, loud) = (card(&["crm"]), card(&["crm"]));
    store.workers().beat(&silent).await.unwrap();
    // Real time: the clock is the database's.
    let mut live = Vec::new();
    for _ in 0..100 {
        live = other.workers().beat(&loud).await.unwrap();
        if live.len() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(ids(&live), [loud.id]);
    assert!(live[0].live_for >= Duration::from_secs(2), "{live:?}");
    let both = store.workers().beat(&silent).await.unwrap();
    assert_eq!(ids(&both), [silent.id, loud.id]);
    assert!(both[0].live_for < Duration::from_secs(1), "{both:?}");
}

pub async fn a_process_that_tells_its_configuration_takes_no_share(
    Stores { store, other }: Stores,
) {
    let (quiet, loud) = (card(&[]), card(&["crm"]));
    let (workers, others) = (store.workers(), other.workers());
    workers.tell(&quiet, "0123456789ab").await.unwrap();
    let live = others.beat(&loud).await.unwrap();
    assert_eq!(ids(&live), [loud.id]);
    let told = others.configured_workers().await.unwrap();
    assert_eq!(told.len(), 1);
    let (first, since) = (&told[0], told[0].since);
    assert_eq!(
        (
            first.id,
            &*first.program,
            &*first.host,
            &*first.configuration
        ),
        (quiet.id, "longshore-integrate", "a host", "0123456789ab")
    );
    // The same again, and another one.
    workers.tell(&quiet, "0123456789ab").await.unwrap();
    let again = others.configured_workers().await.unwrap();
    assert_eq!(again[0].since, since);
    workers.tell(&quiet, "ba9876543210").await.unwrap();
    let changed = others.configured_workers().await.unwrap();
    assert_eq!(changed[0].configuration, "ba9876543210");
    assert!(changed[0].since.0 > since.0, "{changed:?}");
}

pub async fn a_process_that_tells_and_delivers_is_one(Stores { store, .. }: Stores) {
    let (one, workers) = (card(&["crm"]), store.workers());
    workers.tell(&card(&[]), "0123456789ab").await.unwrap();
    workers.tell(&one, "0123456789ab").await.unwrap();
    let live = workers.beat(&one).await.unwrap();
    assert_eq!(
        (ids(&live), &*live[0].destinations),
        (vec![one.id], &one.destinations[..])
    );
    let more = WorkerCard {
        destinations: vec!["crm".to_owned(), "mail".to_owned()],
        ..one.clone()
    };
    let live = workers.beat(&more).await.unwrap();
    assert_eq!(live[0].destinations, more.destinations);
    assert_eq!(workers.configured_workers().await.unwrap().len(), 2);
    workers.leave(one.id).await.unwrap();
    let told = workers.configured_workers().await.unwrap();
    assert!(told.len() == 1 && told[0].id != one.id, "{told:?}");
}

pub async fn the_live_workers_of_a_destination_are_listed(Stores { store, other }: Stores) {
    let (workers, others) = (store.workers(), other.workers());
    let named = |host: &str, destinations: &[&str]| WorkerCard {
        host: host.to_owned(),
        ..card(destinations)
    };
    let (first, second) = (named("b", &["crm", "mail"]), named("a", &["crm"]));
    // It tells its configuration alone, and delivers nothing.
    workers.tell(&card(&["crm"]), "0123456789ab").await.unwrap();
    assert_eq!(others.destination_workers("crm").await, Ok(vec![]));
    workers.beat(&first).await.unwrap();
    workers.beat(&second).await.unwrap();
    let hosts = async |destination| {
        let listed = others.destination_workers(destination).await.unwrap();
        let host = |worker: DestinationWorker| worker.host;
        listed.into_iter().map(host).collect::<Vec<_>>()
    };
    assert_eq!(hosts("crm").await, ["a", "b"]);
    assert_eq!(hosts("mail").await, ["b"]);
    // A name is not a part of another, and no pattern.
    for none in ["cr", "%", "", "crm\""] {
        assert!(hosts(none).await.is_empty(), "{none}");
    }
    let listed = others.destination_workers("mail").await.unwrap();
    assert_eq!(
        (&*listed[0].program, &*listed[0].version),
        ("longshore-integrate", "0.1.0")
    );
    // It stays the same with further signs of life.
    workers.beat(&first).await.unwrap();
    assert_eq!(others.destination_workers("mail").await, Ok(listed));
    workers.leave(first.id).await.unwrap();
    assert_eq!(hosts("crm").await, ["a"]);
    // Real time: the clock is the database's.
    let mut live = hosts("crm").await;
    for _ in 0..100 {
        if live.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        live = hosts("crm").await;
    }
    assert_eq!(live, Vec::<String>::new(), "silent for long");
}
