//! The tables: missing, old, new, made by many at once, and of two namespaces in one file.

use common::event::EventId;
use common::store::sqlite::SqliteStore;
use common::store::{
    DeadFilter, DeadLetters as _, Events as _, OperationState, Schema as _, Statuses as _,
    Store as _, StoreError, Stored,
};
use sqlx::AssertSqlSafe;
use sqlx::migrate::Migrator;

use super::Place;
use crate::samples::{letter, replay, signup, steering};
use crate::unmigrated::every_call_says_what_to_do;

#[tokio::test]
async fn without_the_tables_every_call_says_what_to_do() {
    let place = Place::new();
    let store = place.store();
    every_call_says_what_to_do(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_can_migrate_at_once() {
    let place = Place::new();
    let tasks: Vec<_> = (0..6)
        .map(|_| {
            let store = place.another();
            tokio::spawn(async move { store.migrate().await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().expect("everybody succeeds");
    }
    let store = place.store();
    store.ready().await.expect("the tables are complete");
    let product = store.product().await.unwrap();
    assert!(product.starts_with("SQLite 3."), "{product}");
    store.remove_schema().await.unwrap();
    let gone = store.ready().await;
    assert!(matches!(gone, Err(StoreError::Schema(_))), "{gone:?}");
}

#[tokio::test]
async fn older_tables_are_not_ready_and_newer_ones_are() {
    let place = Place::new();
    let store = place.migrated().await;
    let mut connection = place.connection().await;
    sqlx::query(
        r#"INSERT INTO "store-test._migrations" (version, description, checksum, applied_at)
        VALUES (99991231000000, 'of the next release', x'', '')"#,
    )
    .execute(&mut connection)
    .await
    .unwrap();
    store.ready().await.expect("newer tables will do");
    store.migrate().await.expect("there is nothing to do");
    sqlx::query(r#"DELETE FROM "store-test._migrations" WHERE version = 20261122000003"#)
        .execute(&mut connection)
        .await
        .unwrap();
    let older = store.ready().await.unwrap_err();
    assert!(matches!(older, StoreError::Schema(_)), "{older:?}");
    assert!(older.to_string().contains("longshore migrate"), "{older}");
}

/// One table is made anew while others refer to it.
#[tokio::test]
async fn letters_and_their_replays_outlive_the_migrations() {
    static MIGRATIONS: Migrator = sqlx_macros::migrate!("../migrations/sqlite");
    let place = Place::new();
    // Makes the file.
    let store = place.migrated().await;
    store.remove_schema().await.unwrap();
    let mut connection = place.connection().await;
    let in_namespace = |text: &str| AssertSqlSafe(text.replace("NAMESPACE.", "store-test."));
    let made = r#"CREATE TABLE "NAMESPACE._migrations" (
        version INTEGER NOT NULL PRIMARY KEY, description TEXT NOT NULL, checksum BLOB NOT NULL,
        applied_at TEXT NOT NULL) STRICT"#;
    sqlx::raw_sql(in_namespace(made))
        .execute(&mut connection)
        .await
        .unwrap();
    for before in MIGRATIONS
        .iter()
        .filter(|one| one.version <= 20_261_122_000_003)
    {
        sqlx::raw_sql(in_namespace(before.sql.as_str()))
            .execute(&mut connection)
            .await
            .unwrap();
        sqlx::query(r#"INSERT INTO "store-test._migrations" VALUES ($1, 'x', $2, 'x')"#)
            .bind(before.version)
            .bind(before.checksum.as_ref())
            .execute(&mut connection)
            .await
            .unwrap();
    }
    let replay = replay(DeadFilter::default());
    let letter = letter(EventId::born(), 0, 1);
    sqlx::query(
        r#"INSERT INTO "store-test.replays" (replay_id, filter, who, replayed, started_at)
        VALUES ($1, '{}', 'ada', 7, '2026-11-22T10:00:00.000000Z')"#,
    )
    .bind(replay.id)
    .execute(&mut connection)
    .await
    .unwrap();
    sqlx::query(
        r#"INSERT INTO "store-test.dead_letters"
        (dead_letter_id, queue, stage, generation, reason, error, attempts, first_failed_at,
         last_failed_at, routing_key, properties, headers, body, state, replay_id, archived_at)
        VALUES ($1, 'q', 'store', 0, 'unstorable', 'order 7', 1, '2026-11-22T10:00:00.000000Z',
                '2026-11-22T10:00:00.000000Z', 'x', '{}', '{}', x'', 'replaying', $2,
                '2026-11-22T10:00:00.000000Z')"#,
    )
    .bind(letter.id)
    .bind(replay.id)
    .execute(&mut connection)
    .await
    .unwrap();
    store.migrate().await.expect("it goes on from there");
    store.ready().await.unwrap();
    let known = store
        .operations()
        .operation(replay.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((known.replayed, known.who.as_str()), (7, "ada"));
    // The replay may run in a process of the version before.
    let operations = store.operations();
    let running = operations.running_operations(10).await.unwrap();
    assert!(running.is_empty(), "{running:?}");
    operations
        .hand_over_operation(replay.id, &steering())
        .await
        .unwrap();
    let running = operations.running_operations(10).await.unwrap();
    assert_eq!(running, [replay.id]);
    let paused = store
        .operations()
        .steer_operation(replay.id, OperationState::Paused, &steering())
        .await;
    assert_eq!(paused.unwrap(), Some(OperationState::Paused));
    let story = store.dead_story(letter.id).await.unwrap().unwrap();
    assert_eq!(story.fingerprint, "order #", "it has got one");
    assert_eq!(
        story.replays,
        [store
            .operations()
            .operation(replay.id)
            .await
            .unwrap()
            .unwrap()]
    );
    let broken: Vec<(String,)> = sqlx::query_as("SELECT \"table\" FROM pragma_foreign_key_check")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert_eq!(broken, []);
    let nobody = sqlx::query(r#"DELETE FROM "store-test.replays""#)
        .execute(&mut connection)
        .await;
    assert!(nobody.is_err(), "letters still refer to it");
}

#[tokio::test]
async fn a_migration_that_was_edited_is_refused() {
    let place = Place::new();
    let store = place.migrated().await;
    sqlx::query(
        r#"UPDATE "store-test._migrations" SET checksum = x'00' WHERE version = 20261122000002"#,
    )
    .execute(&mut place.connection().await)
    .await
    .unwrap();
    let refused = store.migrate().await.unwrap_err();
    assert!(matches!(refused, StoreError::Schema(_)), "{refused:?}");
    assert!(refused.to_string().contains("20261122000002"), "{refused}");
}

#[tokio::test]
async fn two_namespaces_share_a_file_and_nothing_else() {
    let place = Place::new();
    let namespaces = ["one", "one-more"].map(|name| name.parse().unwrap());
    let [one, more] = namespaces.map(|namespace| SqliteStore::at(&place.location(), &namespace));
    one.migrate().await.unwrap();
    let missing = more.ready().await;
    assert!(matches!(missing, Err(StoreError::Schema(_))), "{missing:?}");
    more.migrate().await.unwrap();
    let event = signup("ada@example.com");
    for store in [&one, &more] {
        let stored = store.store([event.clone()].into()).await;
        assert_eq!(stored.unwrap(), [Stored::New]);
    }
    one.remove_schema().await.unwrap();
    more.ready().await.unwrap();
    assert!(more.status(event.id).await.unwrap().is_some());
}
