//! The schema: missing, old, new, and made by many at once.

use common::store::postgres::PostgresStore;
use common::store::{Schema as _, StoreError};

use super::{config, connection, namespace, with_schema};
use crate::unmigrated::every_call_says_what_to_do;

#[tokio::test]
async fn without_the_schema_every_call_says_what_to_do() {
    let store = PostgresStore::new(&config(), &namespace()).unwrap();
    every_call_says_what_to_do(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_can_migrate_at_once() {
    let namespace = namespace();
    let stores: Vec<_> = (0..6)
        .map(|_| PostgresStore::new(&config(), &namespace).unwrap())
        .collect();
    let tasks: Vec<_> = stores
        .iter()
        .cloned()
        .map(|store| tokio::spawn(async move { store.migrate().await }))
        .collect();
    for task in tasks {
        task.await.unwrap().expect("everybody succeeds");
    }
    stores[0].ready().await.expect("the schema is complete");
    stores[0].remove_schema().await.unwrap();
    let gone = stores[0].ready().await;
    assert!(matches!(gone, Err(StoreError::Schema(_))), "{gone:?}");
}

#[tokio::test]
async fn an_older_schema_is_not_ready_and_a_newer_one_is() {
    with_schema(async |namespace| {
        let store = PostgresStore::new(&config(), &namespace).unwrap();
        let mut connection = connection(&namespace).await;
        sqlx::query(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
            VALUES (99991231000000, 'of the next release', true, '', 0)",
        )
        .execute(&mut connection)
        .await
        .unwrap();
        store.ready().await.expect("a newer schema will do");
        store.migrate().await.expect("there is nothing to do");
        sqlx::query("DELETE FROM _sqlx_migrations WHERE version = 20261122000003")
            .execute(&mut connection)
            .await
            .unwrap();
        let older = store.ready().await.unwrap_err();
        assert!(matches!(older, StoreError::Schema(_)), "{older:?}");
        assert!(older.to_string().contains("longshore migrate"), "{older}");
    })
    .await;
}

#[tokio::test]
async fn a_migration_that_was_edited_is_refused() {
    with_schema(async |namespace| {
        let mut connection = connection(&namespace).await;
        sqlx::query("UPDATE _sqlx_migrations SET checksum = 'x' WHERE version = 20261122000002")
            .execute(&mut connection)
            .await
            .unwrap();
        let store = PostgresStore::new(&config(), &namespace).unwrap();
        let refused = store.migrate().await.unwrap_err();
        assert!(matches!(refused, StoreError::Schema(_)), "{refused:?}");
        assert!(refused.to_string().contains("20261122000002"), "{refused}");
    })
    .await;
}
