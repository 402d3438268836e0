//! The schema: bringing it up to date, and telling whether it is.

use std::sync::Arc;

use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use uuid::Uuid;

use super::failure::{classify, classify_migration};
use super::link::{Link, quoted, spawned};
use crate::fingerprint::fingerprint;
use crate::namespace::Namespace;
use crate::store::StoreError;

/// Every migration this program knows, compiled in.
static MIGRATIONS: Migrator = sqlx::migrate!("../migrations/postgres");

/// How many letters get their fingerprints in one transaction.
const PRINTED_AT_ONCE: i64 = 1000;

/// Brings the schema up to date.
pub(super) async fn migrate(link: &Link, namespace: &Namespace) -> Result<(), StoreError> {
    let link = link.clone();
    let schema = quoted(namespace);
    let lock = format!("longshore migrate {namespace}");
    spawned(async move {
        let mut connection = link.patient().await?;
        // Ours and not sqlx's own lock: that one is for the whole database, this one for the
        // namespace, and it covers making the schema too. It goes with the connection.
        sqlx::query("SELECT pg_advisory_lock(hashtextextended($1, 0))")
            .bind(lock)
            .execute(&mut connection)
            .await
            .map_err(|error| classify(&error))?;
        // `CREATE SCHEMA IF NOT EXISTS` needs the right to create one even where it exists.
        let there: bool = sqlx::query_scalar("SELECT current_schema() IS NOT NULL")
            .fetch_one(&mut connection)
            .await
            .map_err(|error| classify(&error))?;
        if !there {
            connection
                .execute(AssertSqlSafe(format!("CREATE SCHEMA {schema}")))
                .await
                .map_err(|error| classify(&error))?;
        }
        migrator()
            .run_direct(None, &mut connection, false)
            .await
            .map_err(classify_migration)?;
        print_fingerprints(&link).await?;
        let _ = connection.close().await;
        Ok(())
    })
    .await
}

/// Gives letters their fingerprints that a program of before there were any has kept.
async fn print_fingerprints(link: &Link) -> Result<(), StoreError> {
    let mut after = Uuid::nil();
    loop {
        let without: Vec<(Uuid, String)> = link
            .run(move |connection| {
                Box::pin(async move {
                    sqlx::query_as(
                        "SELECT dead_letter_id, error FROM dead_letters
                        WHERE fingerprint = '' AND dead_letter_id > $1
                        ORDER BY dead_letter_id LIMIT $2",
                    )
                    .bind(after)
                    .bind(PRINTED_AT_ONCE)
                    .fetch_all(connection)
                    .await
                })
            })
            .await?;
        let Some((last, _)) = without.last() else {
            return Ok(());
        };
        after = *last;
        let (ids, prints): (Vec<Uuid>, Vec<String>) = without
            .iter()
            .map(|(id, error)| (*id, fingerprint(error)))
            .unzip();
        let given = Arc::new((ids, prints));
        link.run(move |connection| {
            let given = Arc::clone(&given);
            Box::pin(async move {
                sqlx::query(
                    "UPDATE dead_letters SET fingerprint = given.fingerprint
                    FROM UNNEST($1::uuid[], $2::text[]) AS given (dead_letter_id, fingerprint)
                    WHERE dead_letters.dead_letter_id = given.dead_letter_id",
                )
                .bind(&given.0)
                .bind(&given.1)
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .await?;
    }
}

/// The product and its version, without what a distribution has added to it.
pub(super) async fn product(link: &Link) -> Result<String, StoreError> {
    let version: String = link
        .direct(|connection| {
            Box::pin(async move {
                sqlx::query_scalar("SELECT split_part(current_setting('server_version'), ' ', 1)")
                    .fetch_one(connection)
                    .await
            })
        })
        .await?;
    Ok(format!("PostgreSQL {version}"))
}

/// Whether the database can be reached, takes writes, and its schema is one this program can work with:
/// every migration it knows is applied. One that it does not know is fine: migrations never break the
/// program before them, so that a new release can migrate while the old one runs.
pub(super) async fn ready(link: &Link, namespace: &Namespace) -> Result<(), StoreError> {
    let newest = MIGRATIONS.iter().map(|known| known.version).max();
    let applied: Vec<i64> = link
        .direct(move |connection| {
            Box::pin(async move {
                // A write that changes nothing, committed: a database that can only be read, that is full
                // or that protects itself refuses it.
                sqlx::query("UPDATE _sqlx_migrations SET success = success WHERE version = $1")
                    .bind(newest)
                    .execute(&mut *connection)
                    .await?;
                sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success")
                    .fetch_all(connection)
                    .await
            })
        })
        .await?;
    let missing = MIGRATIONS
        .iter()
        .filter(|known| !applied.contains(&known.version))
        .count();
    if missing == 0 {
        return Ok(());
    }
    Err(StoreError::Schema(format!(
        "the schema {namespace:?} lacks {missing} of the {} migrations this program needs: run `longshore migrate`",
        MIGRATIONS.iter().count(),
        namespace = namespace.as_str(),
    )))
}

/// Removes the schema and everything in it.
pub(super) async fn remove(link: &Link, namespace: &Namespace) -> Result<(), StoreError> {
    let link = link.clone();
    let schema = quoted(namespace);
    spawned(async move {
        let mut connection = link.patient().await?;
        connection
            .execute(AssertSqlSafe(format!(
                "DROP SCHEMA IF EXISTS {schema} CASCADE"
            )))
            .await
            .map_err(|error| classify(&error))?;
        let _ = connection.close().await;
        Ok(())
    })
    .await
}

fn migrator() -> Migrator {
    Migrator {
        migrations: MIGRATIONS.migrations.clone(),
        // A newer program may have been here.
        ignore_missing: true,
        locking: false,
        ..Migrator::DEFAULT
    }
}
