//! PostgreSQL, and its particular behaviour.

mod claims;
mod columns;
mod counts;
mod outage;
pub mod pooler;
mod schema;
mod tampering;

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use common::config::{Database, ServiceUrl};
use common::namespace::Namespace;
use common::store::Schema as _;
use common::store::postgres::PostgresStore;
use futures_util::FutureExt as _;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, PgConnection};

use crate::engine::System;

/// The database to test with.
pub fn config() -> Database {
    let url = std::env::var("LONGSHORE_DATABASE_URL")
        .unwrap_or_else(|_| "postgres://longshore:longshore@127.0.0.1:5432/longshore".to_owned());
    Database {
        url: ServiceUrl::parse(&url).expect("LONGSHORE_DATABASE_URL is a URL"),
        ..Database::default()
    }
}

/// A namespace that nobody else has.
pub fn namespace() -> Namespace {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    // The hyphen shows that the name is quoted wherever it goes.
    format!("store-{}-{number}", std::process::id())
        .parse()
        .expect("a namespace")
}

/// A connection of the test's own, that sees the tables of `namespace`.
pub async fn connection(namespace: &Namespace) -> PgConnection {
    let options: PgConnectOptions = config().url.expose().parse().expect("an address");
    options
        .options([("search_path", format!("\"{namespace}\""))])
        .connect()
        .await
        .expect("the database can be reached")
}

/// Runs a test on a fresh schema, which is removed afterwards.
pub async fn with_schema<F: Future<Output = ()>>(test: impl FnOnce(Namespace) -> F) {
    let namespace = namespace();
    let store = PostgresStore::new(&config(), &namespace).expect("a valid address");
    store.migrate().await.expect("the database can be migrated");
    let ended = AssertUnwindSafe(test(namespace)).catch_unwind().await;
    store.remove_schema().await.expect("it can be removed");
    if let Err(panic) = ended {
        resume_unwind(panic);
    }
}

/// Two stores on one fresh schema.
pub async fn open() -> System {
    let namespace = namespace();
    let store = PostgresStore::new(&config(), &namespace).expect("a valid address");
    let other = PostgresStore::new(&config(), &namespace).expect("a valid address");
    store.migrate().await.expect("the database can be migrated");
    let last = store.clone();
    System {
        store: Arc::new(store),
        other: Arc::new(other),
        remove: Box::pin(async move { last.remove_schema().await.expect("it can be removed") }),
    }
}
