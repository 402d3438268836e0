//! Which engines a configuration asks for. The schemes of its two URLs decide, here and nowhere else.

use std::sync::Arc;

use crate::broker::embedded::EmbeddedBroker;
use crate::broker::rabbit::RabbitBroker;
use crate::broker::{Broker, BrokerError};
use crate::config::Config;
use crate::dependency::EngineKind;
use crate::store::postgres::PostgresStore;
use crate::store::sqlite::SqliteStore;
use crate::store::{Store, StoreError};
use crate::topology::{Names, levels_for};

/// The broker of a configuration: RabbitMQ, or for `sqlite:PATH` the embedded one. Nothing is connected or opened yet.
/// `name` is the operators' name for the connections of this process.
///
/// # Errors
/// The configuration cannot be used.
pub fn broker(config: &Config, name: &str) -> Result<Arc<dyn Broker>, BrokerError> {
    let names = Names::new(config.namespace.clone());
    if config.broker.url.is_embedded() {
        return Ok(Arc::new(EmbeddedBroker::new(&config.broker, names, name)?));
    }
    let levels = levels_for(config.plan().longest_delay);
    let broker = RabbitBroker::new(&config.broker, names, levels, config.limits.events(), name)?;
    Ok(Arc::new(broker))
}

/// The store of a configuration: PostgreSQL, or for `sqlite:PATH` the embedded one. Nothing is connected
/// or opened yet.
///
/// # Errors
/// The configuration cannot be used.
pub fn store(config: &Config) -> Result<Arc<dyn Store>, StoreError> {
    let (database, namespace) = (&config.database, &config.namespace);
    if database.url.is_embedded() {
        return Ok(Arc::new(SqliteStore::new(database, namespace)?));
    }
    Ok(Arc::new(PostgresStore::new(database, namespace)?))
}

/// What keeps the rows of a configuration.
pub(super) fn database(config: &Config) -> EngineKind {
    if config.database.url.is_embedded() {
        EngineKind::SqliteDatabase
    } else {
        EngineKind::Postgres
    }
}
