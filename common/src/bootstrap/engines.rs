//! Which engines a configuration asks for. The schemes of its two URLs decide, here and nowhere else.

use std::sync::Arc;

use super::Failure;
use crate::broker::Broker;
use crate::broker::embedded::EmbeddedBroker;
use crate::broker::rabbit::RabbitBroker;
use crate::config::{Config, LinkTls};
use crate::dependency::EngineKind;
use crate::store::Store;
use crate::store::postgres::PostgresStore;
use crate::store::sqlite::SqliteStore;
use crate::tls;
use crate::topology::{Names, levels_for};

/// The broker of a configuration: RabbitMQ, or for `sqlite:PATH` the embedded one. Nothing is connected or opened yet.
/// `name` is the operators' name for the connections of this process.
///
/// # Errors
/// The configuration cannot be used, a file with certificates included.
pub fn broker(config: &Config, name: &str) -> Result<Arc<dyn Broker>, Failure> {
    let names = Names::new(config.namespace.clone());
    if config.broker.url.is_embedded() {
        return Ok(Arc::new(EmbeddedBroker::new(&config.broker, names, name)?));
    }
    check(&config.broker.tls, "broker.tls")?;
    let levels = levels_for(config.plan().longest_delay);
    let broker = RabbitBroker::new(&config.broker, names, levels, config.limits.events(), name)?;
    Ok(Arc::new(broker))
}

/// The store of a configuration: PostgreSQL, or for `sqlite:PATH` the embedded one. Nothing is connected
/// or opened yet.
///
/// # Errors
/// The configuration cannot be used, a file with certificates included.
pub fn store(config: &Config) -> Result<Arc<dyn Store>, Failure> {
    let (database, namespace) = (&config.database, &config.namespace);
    if database.url.is_embedded() {
        return Ok(Arc::new(SqliteStore::new(database, namespace)?));
    }
    check(&database.tls, "database.tls")?;
    Ok(Arc::new(PostgresStore::new(database, namespace)?))
}

/// Reads the certificates of a link. A program that does not use the link needs none of them.
fn check(tls: &LinkTls, section: &str) -> Result<(), Failure> {
    tls::check(tls).map_err(|problem| Failure::Usage(format!("[{section}]: {problem}")))
}

/// What keeps the rows of a configuration.
pub(super) fn database(config: &Config) -> EngineKind {
    if config.database.url.is_embedded() {
        EngineKind::SqliteDatabase
    } else {
        EngineKind::Postgres
    }
}
