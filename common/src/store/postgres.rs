//! PostgreSQL.
//!
//! Nothing connects before it has to, so a program starts while the database is down. Every piece of work runs to
//! its end in a task of its own, whatever becomes of the caller. It may be done twice: after a broken connection
//! or a clash with another transaction it is tried again here.

mod audit;
mod columns;
mod dead;
mod deliveries;
mod destinations;
mod encryption;
mod events;
mod failure;
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
mod session;
mod spare;
mod statement;
mod statuses;
mod steering;
mod story;
mod watching;
mod work;
mod workers;

use async_trait::async_trait;

use self::link::Link;
use super::{
    Audit, DeliveryOrder, Destinations, Operations, Operators, Store, StoreError, Watching, Workers,
};
use crate::config;
use crate::namespace::Namespace;

/// Rows in PostgreSQL 13 or later, in the schema named after the namespace. Clones share the
/// connections.
#[derive(Clone)]
pub struct PostgresStore {
    link: Link,
    namespace: Namespace,
    last_claim: replays::LastClaim,
}

impl PostgresStore {
    /// A store that connects when it is first used. Call it inside a Tokio runtime.
    ///
    /// # Errors
    /// [`StoreError::Fault`] when the address is not that of a PostgreSQL. The message holds no password.
    pub fn new(config: &config::Database, namespace: &Namespace) -> Result<Self, StoreError> {
        Ok(Self {
            link: Link::new(config, namespace)?,
            namespace: namespace.clone(),
            last_claim: replays::LastClaim::default(),
        })
    }
}

#[async_trait]
impl Store for PostgresStore {
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
