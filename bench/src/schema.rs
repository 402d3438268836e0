//! The tables of the twin: Longshore's own, of which an event on its way writes to four.

use std::str::FromStr;

use anyhow::{Context, Result};
use sqlx::{
    AssertSqlSafe, Connection, PgConnection, PgPool,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::Namespace;

/// Connections of the twin to the database: one for each transaction in flight, and as many again in reserve.
const CONNECTIONS: u32 = 8;

/// Longshore's own tables, so that both write the same rows under the same keys and checks.
static TABLES: Migrator = sqlx_macros::migrate!("../migrations/postgres");

/// Creates the schema named after the namespace with the tables of Longshore in it.
///
/// # Errors
/// When the database cannot be reached or the schema exists.
pub async fn create(database_url: &str, namespace: &Namespace) -> Result<()> {
    run(database_url, format!("create schema {namespace}"))
        .await
        .with_context(|| format!("cannot create schema {namespace}"))?;
    let options = PgConnectOptions::from_str(database_url)
        .context("the database URL cannot be read")?
        .options([("search_path", namespace.to_string())]);
    let mut connection = PgConnection::connect_with(&options)
        .await
        .context("cannot connect to the database")?;
    // Nobody else makes this schema: no lock is needed, and sqlx's own is for the whole database.
    let tables = Migrator {
        migrations: TABLES.migrations.clone(),
        locking: false,
        ..Migrator::DEFAULT
    };
    tables
        .run_direct(None, &mut connection, false)
        .await
        .with_context(|| format!("cannot create the tables of {namespace}"))?;
    connection
        .close()
        .await
        .context("the connection to the database did not close")
}

/// Drops the schema named after the namespace and all in it, if it exists.
///
/// # Errors
/// When the database cannot be reached or refuses.
pub async fn drop(database_url: &str, namespace: &Namespace) -> Result<()> {
    run(
        database_url,
        format!("drop schema if exists {namespace} cascade"),
    )
    .await
    .with_context(|| format!("cannot drop schema {namespace}"))
}

/// The pool the twin writes through.
pub(crate) async fn pool(database_url: &str) -> Result<PgPool> {
    // The plans of prepared statements are made while the tables are empty, when reading a whole table looks cheapest.
    let options = PgConnectOptions::from_str(database_url)
        .context("the database URL cannot be read")?
        .options([("enable_seqscan", "off")]);
    PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .test_before_acquire(false)
        .connect_with(options)
        .await
        .context("cannot connect to the database")
}

async fn run(database_url: &str, sql: String) -> Result<()> {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .connect(database_url)
        .await
        .context("cannot connect to the database")?;
    // Only a `Namespace` is put into the text, and it holds nothing that would need quoting.
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&pool).await?;
    pool.close().await;
    Ok(())
}

/// Events stored, and deliveries recorded as delivered.
pub(crate) async fn counts(database_url: &str, namespace: &Namespace) -> Result<(i64, i64)> {
    let sql = format!(
        "select (select count(*) from {namespace}.events join {namespace}.signups using (event_id)),
                (select count(*) from {namespace}.deliveries join {namespace}.delivery_attempts
                     using (event_id, destination, generation) where status = 'delivered')"
    );
    let pool = pool(database_url).await?;
    let counts = sqlx::query_as(AssertSqlSafe(sql)).fetch_one(&pool).await;
    pool.close().await;
    counts.context("the stored events cannot be counted")
}
