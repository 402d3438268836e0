//! The tables: bringing them up to date, and telling whether they are.

use async_trait::async_trait;
use sqlx::SqliteConnection;
use sqlx::migrate::{Migration, Migrator};
use uuid::Uuid;

use super::SqliteStore;
use super::link::{Link, document, now};
use crate::fingerprint::fingerprint;
use crate::sqlite::Error;
use crate::store::{Schema, StoreError};

/// Every migration this program knows, compiled in.
static MIGRATIONS: Migrator = sqlx_macros::migrate!("../migrations/sqlite");

/// The applied migrations, as sqlx writes them down in other databases. Its own way of applying migrations knows
/// only the names of tables that are in the text.
const MADE: &str = r#"CREATE TABLE IF NOT EXISTS "NAMESPACE._migrations" (
    version     INTEGER NOT NULL PRIMARY KEY,
    description TEXT    NOT NULL,
    checksum    BLOB    NOT NULL,
    applied_at  TEXT    NOT NULL
) STRICT"#;
const APPLIED: &str = r#"SELECT version, checksum FROM "NAMESPACE._migrations""#;
const WRITE_DOWN: &str = r#"INSERT INTO "NAMESPACE._migrations"
    (version, description, checksum, applied_at) VALUES ($1, $2, $3, $4)"#;
const TOUCH: &str =
    r#"UPDATE "NAMESPACE._migrations" SET description = description WHERE version = $1"#;
const VERSIONS: &str = r#"SELECT version FROM "NAMESPACE._migrations""#;

const UNPRINTED: &str = r#"SELECT dead_letter_id, error FROM "NAMESPACE.dead_letters"
    WHERE fingerprint = '' AND dead_letter_id > $1 ORDER BY dead_letter_id LIMIT $2"#;
const PRINT: &str = r#"UPDATE "NAMESPACE.dead_letters" SET fingerprint = given.value ->> 1
    FROM jsonb_each($1) AS given WHERE dead_letter_id = unhex(given.value ->> 0, '-')"#;

/// How many letters get their fingerprints in one transaction.
const PRINT_BATCH: i64 = 1000;

#[async_trait]
impl Schema for SqliteStore {
    /// Brings the tables up to date: all in one transaction, in which no other process writes.
    async fn migrate(&self) -> Result<(), StoreError> {
        let changed = self
            .link
            .write(|connection, link| {
                Box::pin(async move {
                    sqlx::query(link.sql(MADE))
                        .execute(&mut *connection)
                        .await?;
                    let applied: Vec<(i64, Vec<u8>)> = sqlx::query_as(link.sql(APPLIED))
                        .fetch_all(&mut *connection)
                        .await?;
                    for known in MIGRATIONS.iter() {
                        match applied
                            .iter()
                            .find(|(version, _)| *version == known.version)
                        {
                            Some((_, checksum)) if *checksum == known.checksum.as_ref() => {}
                            Some(_) => return Ok(Some(known.version)),
                            None => apply(connection, link, known).await?,
                        }
                    }
                    Ok(None)
                })
            })
            .await?;
        match changed {
            None => print_fingerprints(&self.link).await,
            Some(version) => Err(StoreError::Schema(format!(
                "migration {version} was applied with another content than this program has: one of the two is no release"
            ))),
        }
    }

    /// Removes the tables and everything in them.
    async fn remove_schema(&self) -> Result<(), StoreError> {
        self.link
            .write(|connection, link| {
                Box::pin(async move {
                    // If one table refers to another, the one that refers comes first.
                    let tables: Vec<String> = sqlx::query_scalar(
                        "SELECT name FROM sqlite_schema
                    WHERE type = 'table' AND substr(name, 1, length($1)) = $1
                    ORDER BY (SELECT count(*) FROM pragma_foreign_key_list(name)) DESC, rowid DESC",
                    )
                    .bind(link.in_namespace("NAMESPACE."))
                    .fetch_all(&mut *connection)
                    .await?;
                    for table in tables {
                        // Names of ours: none holds a quote.
                        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("DROP TABLE \"{table}\"")))
                            .execute(&mut *connection)
                            .await?;
                    }
                    Ok(())
                })
            })
            .await
    }

    /// Whether the database can be opened, takes writes, and its tables are ones this program can work with:
    /// every migration it knows is applied. One that it does not know is fine: migrations never break the
    /// program before them.
    async fn ready(&self) -> Result<(), StoreError> {
        let versions = self.link.sql(VERSIONS);
        let applied: Vec<i64> = self
            .link
            .probe(move |connection| {
                Box::pin(
                    async move { Ok(sqlx::query_scalar(versions).fetch_all(connection).await?) },
                )
            })
            .await?;
        let missing = MIGRATIONS
            .iter()
            .filter(|known| !applied.contains(&known.version))
            .count();
        if missing == 0 {
            return touch(&self.link).await;
        }
        Err(StoreError::Schema(format!(
            "the schema {namespace:?} lacks {missing} of the {} migrations this program needs: run `longshore migrate`",
            MIGRATIONS.iter().count(),
            namespace = self.link.namespace().as_str(),
        )))
    }

    /// The product and its version: the one that is compiled in.
    async fn product(&self) -> Result<String, StoreError> {
        let version: String = self
            .link
            .probe(|connection| {
                Box::pin(async move {
                    Ok(sqlx::query_scalar("SELECT sqlite_version()")
                        .fetch_one(connection)
                        .await?)
                })
            })
            .await?;
        Ok(format!("SQLite {version}"))
    }

    async fn close(&self) {
        self.link.close().await;
    }
}

/// Fills in the fingerprints of letters that were kept by versions without fingerprints.
async fn print_fingerprints(link: &Link) -> Result<(), StoreError> {
    let mut after = Some(Uuid::nil());
    while let Some(last) = after {
        after = link
            .write(move |connection, link| {
                Box::pin(async move {
                    let without: Vec<(Uuid, String)> = sqlx::query_as(link.sql(UNPRINTED))
                        .bind(last)
                        .bind(PRINT_BATCH)
                        .fetch_all(&mut *connection)
                        .await?;
                    let prints: Vec<(Uuid, String)> = without
                        .iter()
                        .map(|(id, error)| (*id, fingerprint(error)))
                        .collect();
                    sqlx::query(link.sql(PRINT))
                        .bind(document(&prints)?)
                        .execute(connection)
                        .await?;
                    Ok(without.last().map(|(id, _)| *id))
                })
            })
            .await?;
    }
    Ok(())
}

async fn apply(
    connection: &mut SqliteConnection,
    link: &Link,
    migration: &Migration,
) -> Result<(), Error> {
    let text = link.in_namespace(migration.sql.as_str());
    sqlx::raw_sql(sqlx::AssertSqlSafe(text))
        .execute(&mut *connection)
        .await?;
    sqlx::query(link.sql(WRITE_DOWN))
        .bind(migration.version)
        .bind(migration.description.as_ref())
        .bind(migration.checksum.as_ref())
        .bind(now()?)
        .execute(connection)
        .await?;
    Ok(())
}

/// Writes without changing anything: only that shows whether there is room and the right to write.
async fn touch(link: &Link) -> Result<(), StoreError> {
    let newest = MIGRATIONS.iter().map(|known| known.version).max();
    link.execute(TOUCH, |query| query.bind(newest)).await
}
