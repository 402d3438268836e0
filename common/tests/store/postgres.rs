//! PostgreSQL, and what is particular to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use common::config::{Database, ServiceUrl};
use common::namespace::Namespace;
use common::store::Store as _;
use common::store::postgres::PostgresStore;

use crate::engine::System;

/// The database to test with.
pub fn config() -> Database {
    let mut config = Database::default();
    if let Ok(url) = std::env::var("LONGSHORE_DATABASE_URL") {
        config.url = ServiceUrl::parse(&url).expect("LONGSHORE_DATABASE_URL is a URL");
    }
    config
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
