//! The schema: bringing it up to date, and telling whether it is.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use sqlx::error::DatabaseError;
use sqlx::migrate::{MigrateError, Migration, Migrator};
use sqlx::{AssertSqlSafe, Executor as _, PgConnection};
use uuid::Uuid;

use super::PostgresStore;
use super::failure::{classify, classify_migration};
use super::link::Link;
use super::session::quoted;
use crate::fingerprint::fingerprint;
use crate::namespace::Namespace;
use crate::store::{Schema, StoreError};

/// Every migration this program knows, compiled in.
static MIGRATIONS: Migrator = sqlx_macros::migrate!("../migrations/postgres");

/// How many letters get their fingerprints in one transaction.
const PRINT_BATCH: i64 = 1000;

/// The wait between two tries to take the lock.
const LOCK_POLL: Duration = Duration::from_millis(250);

/// A lock of ours and not sqlx's own, which is for the whole database. This lock is for the namespace, and covers
/// making the schema too. It goes with the transaction, also where a pooler gives the session to somebody else.
const TRY_LOCK: &str = "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))";

const HOLDER: &str = "SELECT format('process %s (%s, %s) for %s s', activity.pid,
        COALESCE(NULLIF(activity.application_name, ''), 'without a name'),
        COALESCE(activity.state, 'in a state that may not be seen'),
        COALESCE(round(extract(epoch FROM clock_timestamp() - activity.state_change))::text, '?'))
    FROM pg_locks AS held JOIN pg_stat_activity AS activity USING (pid)
    WHERE held.locktype = 'advisory' AND held.granted AND held.objsubid = 1
          AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND (held.classid::bigint << 32 | held.objid::bigint) = hashtextextended($1, 0)";

const HAS_SCHEMA: &str = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)";

/// The applied migrations, as sqlx writes them down.
const HAS_APPLIED: &str = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL";
const MAKE_APPLIED: &str = "CREATE TABLE _sqlx_migrations (
    version        bigint      NOT NULL PRIMARY KEY,
    description    text        NOT NULL,
    installed_on   timestamptz NOT NULL DEFAULT now(),
    success        boolean     NOT NULL,
    checksum       bytea       NOT NULL,
    execution_time bigint      NOT NULL
)";
const APPLIED: &str = "SELECT version, checksum, success FROM _sqlx_migrations";
const WRITE_DOWN: &str = "INSERT INTO _sqlx_migrations
    (version, description, success, checksum, execution_time) VALUES ($1, $2, true, $3, $4)";

/// A write that changes nothing, committed: a database that can only be read, that is full or that protects
/// itself refuses it.
const TOUCH: &str = "UPDATE _sqlx_migrations SET success = success WHERE version = $1";

const VERSIONS: &str = "SELECT version FROM _sqlx_migrations WHERE success";

const PRODUCT: &str = "SELECT split_part(current_setting('server_version'), ' ', 1)";

const UNPRINTED: &str = "SELECT dead_letter_id, error FROM dead_letters
    WHERE fingerprint = '' AND dead_letter_id > $1
    ORDER BY dead_letter_id LIMIT $2";

const PRINT: &str = "UPDATE dead_letters SET fingerprint = given.fingerprint
    FROM UNNEST($1::uuid[], $2::text[]) AS given (dead_letter_id, fingerprint)
    WHERE dead_letters.dead_letter_id = given.dead_letter_id";

#[async_trait]
impl Schema for PostgresStore {
    /// Brings the schema up to date: all in one transaction, so that it is never half done.
    async fn migrate(&self) -> Result<(), StoreError> {
        let (known, patience) = (self.namespace.clone(), self.link.lock_timeout());
        self.link
            .patiently(move |connection| {
                Box::pin(async move { bring_up(connection, &known, patience).await })
            })
            .await?;
        print_fingerprints(&self.link).await
    }

    /// Removes the schema and everything in it.
    async fn remove_schema(&self) -> Result<(), StoreError> {
        let (schema, patience) = (quoted(&self.namespace), self.link.lock_timeout());
        self.link
            .patiently(move |connection| {
                Box::pin(async move {
                    connection
                        .execute(AssertSqlSafe(format!(
                            "DROP SCHEMA IF EXISTS {schema} CASCADE"
                        )))
                        .await
                        .map_err(|error| failure(&error, patience))?;
                    Ok(())
                })
            })
            .await
    }

    /// Whether the database can be reached, takes writes, and its schema is one this program can work with:
    /// every migration it knows is applied. One that it does not know is fine: migrations never break the
    /// program before them, so that a new release can migrate while the old one runs.
    async fn ready(&self) -> Result<(), StoreError> {
        let newest = MIGRATIONS.iter().map(|known| known.version).max();
        let applied: Vec<i64> = self
            .link
            .direct(move |connection| {
                Box::pin(async move {
                    sqlx::query(TOUCH)
                        .bind(newest)
                        .execute(&mut *connection)
                        .await?;
                    sqlx::query_scalar(VERSIONS).fetch_all(connection).await
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
            namespace = self.namespace.as_str(),
        )))
    }

    /// The product and its version, without the additions of a distribution.
    async fn product(&self) -> Result<String, StoreError> {
        let version: String = self
            .link
            .direct(|connection| {
                Box::pin(async move { sqlx::query_scalar(PRODUCT).fetch_one(connection).await })
            })
            .await?;
        Ok(format!("PostgreSQL {version}"))
    }

    async fn close(&self) {
        self.link.close().await;
    }
}

async fn bring_up(
    connection: &mut PgConnection,
    namespace: &Namespace,
    patience: Duration,
) -> Result<(), StoreError> {
    lock(connection, namespace, patience).await?;
    let at = |error: sqlx::Error| failure(&error, patience);
    // `IF NOT EXISTS` would need the right to make one even where it is there, here and below.
    let is_there: bool = sqlx::query_scalar(HAS_SCHEMA)
        .bind(namespace.as_str())
        .fetch_one(&mut *connection)
        .await
        .map_err(at)?;
    if !is_there {
        let schema = quoted(namespace);
        connection
            .execute(AssertSqlSafe(format!("CREATE SCHEMA {schema}")))
            .await
            .map_err(at)?;
    }
    let is_there: bool = sqlx::query_scalar(HAS_APPLIED)
        .fetch_one(&mut *connection)
        .await
        .map_err(at)?;
    if !is_there {
        connection.execute(MAKE_APPLIED).await.map_err(at)?;
    }
    let applied: Vec<(i64, Vec<u8>, bool)> = sqlx::query_as(APPLIED)
        .fetch_all(&mut *connection)
        .await
        .map_err(at)?;
    if let Some((version, ..)) = applied.iter().find(|(_, _, success)| !success) {
        return Err(classify_migration(MigrateError::Dirty(*version)));
    }
    // A newer program may have been here: applied migrations that we do not know are fine.
    for known in MIGRATIONS.iter() {
        match applied
            .iter()
            .find(|(version, ..)| *version == known.version)
        {
            Some((_, checksum, _)) if *checksum == known.checksum.as_ref() => {}
            Some(_) => {
                return Err(classify_migration(MigrateError::VersionMismatch(
                    known.version,
                )));
            }
            None => apply(connection, known).await.map_err(at)?,
        }
    }
    Ok(())
}

async fn apply(connection: &mut PgConnection, migration: &Migration) -> Result<(), sqlx::Error> {
    let began = Instant::now();
    connection.execute(migration.sql.clone()).await?;
    sqlx::query(WRITE_DOWN)
        .bind(migration.version)
        .bind(&*migration.description)
        .bind(&*migration.checksum)
        .bind(i64::try_from(began.elapsed().as_nanos()).unwrap_or(i64::MAX))
        .execute(connection)
        .await?;
    Ok(())
}

/// Takes the lock that lets one program migrate at a time, or names its holder.
async fn lock(
    connection: &mut PgConnection,
    namespace: &Namespace,
    patience: Duration,
) -> Result<(), StoreError> {
    let name = format!("longshore migrate {namespace}");
    let began = Instant::now();
    let mut is_told = false;
    loop {
        let locked: bool = sqlx::query_scalar(TRY_LOCK)
            .bind(&name)
            .fetch_one(&mut *connection)
            .await
            .map_err(|error| classify(&error))?;
        if locked {
            return Ok(());
        }
        let holders: Vec<String> = sqlx::query_scalar(HOLDER)
            .bind(&name)
            .fetch_all(&mut *connection)
            .await
            .map_err(|error| classify(&error))?;
        let holders = holders.join(", ");
        if began.elapsed() >= patience {
            return Err(StoreError::Unavailable(format!(
                "another session has held the lock for migrating {namespace:?} for more than {patience:?}: {holders}. \
                 If that is a migration, wait for its end; else end it with `SELECT pg_terminate_backend(PROCESS)`",
                namespace = namespace.as_str()
            )));
        }
        if !std::mem::replace(&mut is_told, true) && !holders.is_empty() {
            tracing::warn!("waiting for another session that migrates: {holders}");
        }
        tokio::time::sleep(LOCK_POLL).await;
    }
}

/// The error of a migration, with advice where a table was locked for too long.
fn failure(error: &sqlx::Error, patience: Duration) -> StoreError {
    let database = error.as_database_error();
    match database.and_then(DatabaseError::code).as_deref() {
        Some("55P03") => {}
        Some("25006") => {
            return StoreError::Unavailable(
                "expected a database that takes writes, found one that can only be read (SQLSTATE 25006): it is a \
                 standby, or `default_transaction_read_only` is on for it or for the role"
                    .to_owned(),
            );
        }
        _ => return classify(error),
    }
    StoreError::Unavailable(format!(
        "another session has locked a table for more than {patience:?}, so nothing was changed: `SELECT pid, \
         application_name, state, query FROM pg_stat_activity WHERE xact_start < now() - interval '10 s'` says \
         which it may be"
    ))
}

/// Fills in the fingerprints of letters that were kept by versions without fingerprints.
async fn print_fingerprints(link: &Link) -> Result<(), StoreError> {
    let mut after = Uuid::nil();
    loop {
        let without: Vec<(Uuid, String)> = link
            .rows(UNPRINTED, move |query| query.bind(after).bind(PRINT_BATCH))
            .await?;
        let Some((last, _)) = without.last() else {
            return Ok(());
        };
        after = *last;
        let (ids, prints): (Vec<Uuid>, Vec<String>) = without
            .iter()
            .map(|(id, error)| (*id, fingerprint(error)))
            .unzip();
        link.execute(PRINT, move |query| query.bind(&ids).bind(&prints))
            .await?;
    }
}
