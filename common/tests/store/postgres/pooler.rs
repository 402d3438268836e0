//! Through pgbouncer, which drops or refuses start-up parameters and may give each transaction to another session.

use std::sync::Arc;
use std::time::Duration;

use common::config::{Database, ServiceUrl};
use common::namespace::Namespace;
use common::store::postgres::PostgresStore;
use common::store::{Events as _, Schema as _, StoreError, Stored};
use sqlx::Connection as _;
use testkit::private::pgbouncer::{Parameters, Pooling, PrivatePgbouncer};

use super::{config, connection, namespace};
use crate::engine::System;
use crate::samples::event;

/// The shared database through `pooler`.
fn through(pooler: &PrivatePgbouncer) -> Database {
    Database {
        url: ServiceUrl::parse(&pooler.url()).unwrap(),
        ..config()
    }
}

/// Two stores on one fresh schema, each transaction of theirs in any session.
pub async fn open() -> System {
    let pooler = PrivatePgbouncer::start(Pooling::Transaction, Parameters::Dropped)
        .await
        .expect("a pooler");
    let namespace = namespace();
    let store = PostgresStore::new(&through(&pooler), &namespace).expect("a valid address");
    let other = PostgresStore::new(&through(&pooler), &namespace).expect("a valid address");
    store.migrate().await.expect("the database can be migrated");
    System {
        store: Arc::new(store),
        other: Arc::new(other),
        remove: Box::pin(async move {
            let last = PostgresStore::new(&config(), &namespace).expect("a valid address");
            last.remove_schema().await.expect("it can be removed");
            drop(pooler);
        }),
    }
}

/// The schemas that our tables are in.
async fn schemas_of(table: &str, namespace: &Namespace) -> Vec<String> {
    let mut connection = connection(namespace).await;
    sqlx::query_scalar(
        "SELECT schemaname FROM pg_tables
        WHERE tablename = $1 AND schemaname IN ('public', $2) ORDER BY 1",
    )
    .bind(table)
    .bind(namespace.as_str())
    .fetch_all(&mut connection)
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_lie_in_the_namespace_whatever_is_in_between() {
    for (pooling, parameters) in [
        (Pooling::Session, Parameters::Dropped),
        (Pooling::Session, Parameters::Refused),
        (Pooling::Transaction, Parameters::Dropped),
        (Pooling::Transaction, Parameters::Refused),
    ] {
        let pooler = PrivatePgbouncer::start(pooling, parameters)
            .await
            .expect("a pooler");
        let namespace = namespace();
        let before = schemas_of("dead_letter_counts", &namespace).await;
        // Where a client keeps its session, there must be one for each.
        let config = Database {
            max_connections: 2,
            ..through(&pooler)
        };
        let store = PostgresStore::new(&config, &namespace).unwrap();
        store.migrate().await.unwrap();
        store.migrate().await.expect("there is nothing to do");
        store.ready().await.unwrap();
        // At once, so that sessions change hands.
        let others = (0..4).map(|_| PostgresStore::new(&config, &namespace).unwrap());
        let others: Vec<_> = others.collect();
        let busy = (0..40).map(|number| {
            let store = others[number % 4].clone();
            async move { store.store([event()].into()).await.unwrap() }
        });
        for stored in futures_util::future::join_all(busy).await {
            assert_eq!(stored, [Stored::New]);
        }
        let mut expected = before;
        expected.push(namespace.to_string());
        assert_eq!(schemas_of("dead_letter_counts", &namespace).await, expected);
        let direct = PostgresStore::new(&super::config(), &namespace).unwrap();
        direct.ready().await.expect("it is the same directly");
        store.remove_schema().await.unwrap();
        assert!(direct.ready().await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_somebody_holds_is_waited_for_with_a_bound_and_named() {
    let namespace = namespace();
    let mut holder = connection(&namespace).await;
    sqlx::query("SELECT pg_advisory_lock(hashtextextended($1, 0))")
        .bind(format!("longshore migrate {namespace}"))
        .execute(&mut holder)
        .await
        .unwrap();
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(&mut holder)
        .await
        .unwrap();
    let config = Database {
        statement_timeout: Duration::from_millis(600),
        ..config()
    };
    let store = PostgresStore::new(&config, &namespace).unwrap();
    let error = store.migrate().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&format!("process {pid} ")), "{text}");
    assert!(text.contains("pg_terminate_backend"), "{text}");
    holder.close().await.unwrap();
    store.migrate().await.expect("it is free");
    // A table that somebody works on is not waited for without a word either.
    let mut busy = connection(&namespace).await;
    let mut transaction = busy.begin().await.unwrap();
    sqlx::query("LOCK TABLE events")
        .execute(&mut *transaction)
        .await
        .unwrap();
    let error = store.remove_schema().await.unwrap_err();
    assert!(error.to_string().contains("pg_stat_activity"), "{error}");
    transaction.rollback().await.unwrap();
    store.remove_schema().await.unwrap();
}
