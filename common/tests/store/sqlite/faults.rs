//! Files that cannot be opened, are not databases or were left in the middle of something.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{io, thread};

use common::config::{Database, ServiceUrl};
use common::event::EventId;
use common::sqlite::Location;
use common::store::sqlite::SqliteStore;
use common::store::{
    DeliveryState, Events as _, NewEvent, Schema as _, Statuses as _, StoreError, Stored,
};
use futures_util::future::join_all;

use super::{Place, namespace};
use crate::samples::{event, key, signup, state_of};

#[tokio::test]
async fn a_url_says_where_the_file_is() {
    let place = Place::new();
    let store = |url: String| {
        let config = Database {
            url: ServiceUrl::parse(&url).unwrap(),
            ..Database::default()
        };
        SqliteStore::new(&config, &namespace())
    };
    let opened = store(format!("sqlite:{}", place.path().display())).unwrap();
    opened.migrate().await.unwrap();
    assert!(place.path().exists());
    let refused = store("postgres://ada:hunter2@localhost/x".to_owned()).err();
    let refused = refused.expect("no file").to_string();
    assert!(
        refused.contains("sqlite:PATH") && !refused.contains("hunter2"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_unavailable_until_it_can() {
    let place = Place::new();
    let folder = place.path().parent().unwrap().to_owned();
    std::fs::write(&folder, "in the way").unwrap();
    let store = place.store();
    for error in [
        store.ready().await.unwrap_err(),
        store.migrate().await.unwrap_err(),
        store.store([event()].into()).await.unwrap_err(),
        store.status(EventId::born()).await.unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
        assert!(error.to_string().contains("folder"), "{error}");
    }
    std::fs::remove_file(&folder).unwrap();
    store.migrate().await.unwrap();
    store.ready().await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_database_is_waited_for_and_says_what_to_do() {
    let place = Place::new();
    std::fs::create_dir_all(place.path().parent().unwrap()).unwrap();
    let text = "a letter, not a database\n".repeat(200);
    std::fs::write(place.path(), &text).unwrap();
    let store = place.store();
    for error in [
        store.ready().await.unwrap_err(),
        store.store([event()].into()).await.unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
        let told = error.to_string();
        assert!(
            told.contains("long shore.db") && told.contains("backup"),
            "{told}"
        );
    }
    assert_eq!(std::fs::read_to_string(place.path()).unwrap(), text);
}

#[tokio::test]
async fn somebody_who_holds_the_file_is_waited_for() {
    let place = Place::new();
    let store = place.migrated().await;
    let mut holder = place.connection().await;
    sqlx::query("BEGIN IMMEDIATE")
        .execute(&mut holder)
        .await
        .unwrap();
    let event = event();
    let waiting = tokio::spawn({
        let (store, event) = (store.clone(), event.clone());
        async move { store.store([event].into()).await }
    });
    // Reading goes on meanwhile.
    assert_eq!(store.status(event.id).await.unwrap(), None);
    sqlx::query("COMMIT").execute(&mut holder).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), [Stored::New]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_go_away_leave_nothing_half_done() {
    let place = Place::new();
    let store = place.migrated().await;
    let mut pairs = Vec::new();
    for round in 0..100_u64 {
        let pair = [event(), signup(&format!("{round}@example.com"))];
        // From before the first byte to after the last.
        let patience = Duration::from_micros(round * 40);
        let _ = tokio::time::timeout(patience, store.store(pair.clone().into())).await;
        pairs.push(pair);
    }
    store.close().await;
    let store = place.store();
    for pair in &pairs {
        let outcomes = store.store(pair.clone().into()).await.unwrap();
        assert_eq!(outcomes[0], outcomes[1], "both or neither");
    }
}

/// The variable that tells a process of its own the place of the file.
const FILE: &str = "LONGSHORE_TEST_SQLITE_FILE";

/// How a process of its own is started: it runs the same test once more, which does its other half
/// there. `wrapped` is a command that starts it, with its arguments.
fn process(wrapped: &[&str], test: &str, place: &Place) -> Command {
    let this = std::env::current_exe().unwrap();
    let (program, arguments) = wrapped.split_first().unzip();
    let mut command = program.map_or_else(|| Command::new(&this), Command::new);
    if let Some(arguments) = arguments {
        command.args(arguments).arg(&this);
    }
    command
        .args(["--exact", "--nocapture", "--test-threads=1"])
        .arg(format!("sqlite::faults::{test}"))
        .env(FILE, place.path());
    command
}

/// The other end of [`process`]; `None` in the test that starts it.
fn told() -> Option<SqliteStore> {
    let path = std::env::var_os(FILE)?;
    Some(SqliteStore::at(&Location::file(path), &namespace()))
}

/// Stores without end, and prints the id of each event that is stored.
async fn store_on(store: SqliteStore) {
    let stores = (0..4).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            loop {
                let batch: Vec<_> = (0..8).map(|_| event()).collect();
                store
                    .store(batch.clone().into())
                    .await
                    .expect("it is stored");
                for event in batch {
                    println!("stored {}", event.id);
                }
            }
        })
    });
    join_all(stores).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_stored_survives_a_kill_and_the_neighbours_go_on() {
    if let Some(store) = told() {
        return store_on(store).await;
    }
    let place = Place::new();
    let store = place.migrated().await;
    for round in 0..3_u64 {
        let test = "what_was_stored_survives_a_kill_and_the_neighbours_go_on";
        let mut child = process(&[], test, &place)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Read while it writes: nobody may wait for a full pipe while others wait for the file.
        let output = child.stdout.take().unwrap();
        let told = thread::spawn(move || io::read_to_string(output).unwrap());
        // Both write meanwhile, each in a process of its own.
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(300 + 70 * round) {
            assert_eq!(store.store([event()].into()).await.unwrap(), [Stored::New]);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let told = told.join().unwrap();
        let ids: Vec<EventId> = told
            .lines()
            .filter_map(|line| line.split_once("stored ")?.1.parse().ok())
            .collect();
        assert!(!ids.is_empty(), "{told}");
        for id in ids {
            let state = state_of(&store, &key(id, "crm", 0)).await;
            assert_eq!(state, Some(DeliveryState::Due), "{id} was stored");
        }
        let whole: String = sqlx::query_scalar("PRAGMA integrity_check")
            .fetch_one(&mut place.connection().await)
            .await
            .unwrap();
        assert_eq!(whole, "ok");
    }
}

/// Stores more than there is room for.
async fn overfill(store: SqliteStore) {
    let batch: Vec<_> = (0..20).map(|_| large()).collect();
    for _ in 0..2 {
        let full = store.store(batch.clone().into()).await.unwrap_err();
        assert!(matches!(full, StoreError::Unavailable(_)), "{full:?}");
        assert!(full.to_string().contains("disk"), "{full}");
    }
    store.ready().await.expect("reading goes on");
    println!("refused twice");
}

/// An event of 100 kB.
fn large() -> NewEvent {
    NewEvent {
        body: format!("{{\"a\":\"{}\"}}", "x".repeat(100_000)),
        ..event()
    }
}

#[tokio::test]
async fn a_full_disk_holds_the_work_back_and_loses_none() {
    if let Some(store) = told() {
        return overfill(store).await;
    }
    let place = Place::new();
    let store = place.migrated().await;
    store.store([event()].into()).await.unwrap();
    // No more than 450 KiB for each file.
    let limited = "ulimit -f 900; trap '' XFSZ; exec \"$0\" \"$@\"";
    let test = "a_full_disk_holds_the_work_back_and_loses_none";
    let limited = process(&["sh", "-c", limited], test, &place).output();
    let limited = limited.unwrap();
    let told = String::from_utf8_lossy(&limited.stdout);
    assert!(limited.status.success(), "{told}");
    assert!(told.contains("refused twice"), "{told}");
    // Nothing of the failed work is there, and there is room again.
    let count: i64 = sqlx::query_scalar(r#"SELECT count(*) FROM "store-test.events""#)
        .fetch_one(&mut place.connection().await)
        .await
        .unwrap();
    assert_eq!(count, 1);
    assert_eq!(store.store([large()].into()).await.unwrap(), [Stored::New]);
}
