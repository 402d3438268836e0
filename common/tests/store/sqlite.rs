//! SQLite, and its particular behaviour.

mod columns;
mod faults;
mod schema;
mod tampering;

use std::sync::Arc;

use common::namespace::Namespace;
use common::sqlite::Location;
use common::store::Schema as _;
use common::store::sqlite::SqliteStore;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, SqliteConnection};
use tempfile::TempDir;

use crate::engine::System;

/// A folder of its own with the place of a database in it.
pub struct Place {
    folder: TempDir,
}

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { folder }
    }

    /// The path of the file: in a missing folder, with a name that is not a plain word.
    pub fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("data").join("long shore.db")
    }

    pub fn location(&self) -> Location {
        Location::file(self.path())
    }

    /// A store that shares its connections with others of this process.
    pub fn store(&self) -> SqliteStore {
        SqliteStore::at(&self.location(), &namespace())
    }

    /// A store as another process has it.
    pub fn another(&self) -> SqliteStore {
        SqliteStore::apart(&self.location(), &namespace())
    }

    /// A store with its tables.
    pub async fn migrated(&self) -> SqliteStore {
        let store = self.store();
        store.migrate().await.expect("it can be migrated");
        store
    }

    /// A connection of the test's own.
    pub async fn connection(&self) -> SqliteConnection {
        SqliteConnectOptions::new()
            .filename(self.path())
            .connect()
            .await
            .expect("the file can be opened")
    }
}

/// The hyphen shows that the name is quoted wherever it goes.
pub fn namespace() -> Namespace {
    "store-test".parse().expect("a namespace")
}

/// Two stores, as two processes have them, on one fresh file.
pub async fn open() -> System {
    let place = Place::new();
    let store = place.migrated().await;
    let other = place.another();
    System {
        store: Arc::new(store),
        other: Arc::new(other),
        remove: Box::pin(async move { drop(place) }),
    }
}
