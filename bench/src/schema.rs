//! The tables of the twin: the columns and keys of Longshore's that an event on its way writes to.

use std::str::FromStr;

use anyhow::{Context, Result};
use sqlx::{
    AssertSqlSafe, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::Namespace;

/// Connections of the twin to the database: one for each transaction in flight, and as many again in reserve.
const CONNECTIONS: u32 = 8;

/// Creates the schema named after the namespace with the tables `events`, `signups`, `deliveries` and `delivery_attempts`.
///
/// # Errors
/// When the database cannot be reached or the schema exists.
pub async fn create(database_url: &str, namespace: &Namespace) -> Result<()> {
    let sql = format!(
        "create schema {namespace};
         create table {namespace}.events (
             event_id uuid primary key,
             type text not null,
             source text not null,
             time timestamptz,
             body json not null,
             fingerprint bytea not null,
             received_at timestamptz not null,
             accepted_at timestamptz not null,
             stored_at timestamptz not null
         );
         create table {namespace}.signups (
             event_id uuid primary key,
             email text not null,
             email_normalized text not null unique,
             name text not null,
             plan text,
             locale text,
             attributes json not null
         );
         create table {namespace}.deliveries (
             event_id uuid not null,
             destination text not null,
             generation integer not null,
             status text not null,
             attempts integer not null,
             due_at timestamptz not null,
             primary key (event_id, destination, generation)
         );
         create table {namespace}.delivery_attempts (
             event_id uuid not null,
             destination text not null,
             generation integer not null,
             attempt integer not null,
             status_code integer not null,
             duration_ms integer not null,
             finished_at timestamptz not null,
             primary key (event_id, destination, generation, attempt)
         );"
    );
    run(database_url, sql)
        .await
        .with_context(|| format!("cannot create schema {namespace}"))
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
