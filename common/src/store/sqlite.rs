//! SQLite: the store of one machine, in one file.
//!
//! It behaves as [`PostgresStore`](super::postgres::PostgresStore) does. Where that store leaves a batch to
//! `UNNEST`, here a batch is one JSON document for `jsonb_each`: a statement has one text, whatever the size of
//! the batch. Several statements of one piece of work are in one transaction, in which nobody else writes.

mod audit;
mod dead;
mod deliveries;
mod destinations;
mod events;
mod keys;
mod leases;
mod link;
mod mending;
mod operations;
mod operators;
mod order;
mod rejections;
mod replays;
mod schedule;
mod schema;
mod statement;
mod statuses;
mod steering;
mod story;
mod watching;
mod workers;

use async_trait::async_trait;

use self::link::Link;
use super::{
    Audit, DeliveryOrder, Destinations, Operations, Operators, Store, StoreError, Watching, Workers,
};
use crate::config;
use crate::namespace::Namespace;
use crate::sqlite::{Database, Location};

/// Rows in an SQLite file, in tables whose names begin with the namespace. Clones share the connections.
#[derive(Clone)]
pub struct SqliteStore {
    link: Link,
}

impl SqliteStore {
    /// A store that opens its file at the first use, and makes a missing one. Call it inside a Tokio runtime.
    ///
    /// # Errors
    /// [`StoreError::Fault`] when the address is not `sqlite:PATH`.
    pub fn new(config: &config::Database, namespace: &Namespace) -> Result<Self, StoreError> {
        let location = Location::from_url(config.url.expose()).map_err(StoreError::Fault)?;
        Ok(Self::at(&location, namespace))
    }

    /// The store at `location`. All stores of this process at one location share their connections, and writes at
    /// one time are committed together.
    pub fn at(location: &Location, namespace: &Namespace) -> Self {
        Self::over(Database::shared(location), namespace)
    }

    /// The store at `location`, over connections of its own, as another process would have them.
    pub fn apart(location: &Location, namespace: &Namespace) -> Self {
        Self::over(Database::separate(location), namespace)
    }

    fn over(database: Database, namespace: &Namespace) -> Self {
        Self {
            link: Link::new(database, namespace),
        }
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn operations(&self) -> &dyn Operations {
        self
    }

    fn audit(&self) -> &dyn Audit {
        self
    }

    fn destinations(&self) -> &dyn Destinations {
        self
    }

    fn order(&self) -> &dyn DeliveryOrder {
        self
    }

    fn operators(&self) -> &dyn Operators {
        self
    }

    fn watching(&self) -> &dyn Watching {
        self
    }

    fn workers(&self) -> &dyn Workers {
        self
    }
}
