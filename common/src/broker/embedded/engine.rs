//! An open file: the database, our own part in it, and our copy of its topology.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use sqlx::SqliteConnection;

use super::clock::Clock;
use super::lock;
use super::owner::{self, OwnLock, Owner};
use super::queue;
use super::routes::Routes;
use super::wakes::Wakes;
use crate::broker::{BrokerError, PublishError};
use crate::sqlite::{Database, Error, Location};

/// The version of the schema that this code knows.
const VERSION: i64 = 2;

const SCHEMA: &str = include_str!("schema.sql");

/// Upgrades a file of the previous version.
const UPGRADE: &str = include_str!("upgrade.sql");

/// A file that is open.
pub(super) struct Engine {
    database: Database,
    /// The clock on the wall.
    pub(super) clock: Clock,
    /// Who we are in it.
    pub(super) owner: Owner,
    log: Option<PathBuf>,
    /// Locked as long as we live.
    _own_lock: Option<OwnLock>,
    routes: Mutex<Arc<Routes>>,
    pub(super) wakes: Arc<Wakes>,
    /// Consumers that have ended, but could not be written off.
    orphans: Mutex<Vec<i64>>,
}

impl Engine {
    /// Opens a file, new or not, and gives the messages of ended programs back.
    pub(super) async fn open(
        database: Database,
        wakes: Arc<Wakes>,
        name: String,
        clock: Clock,
    ) -> Result<Self, BrokerError> {
        let installed = database.write(|connection| Box::pin(install(connection)));
        installed.await.map_err(explain)?;
        let own_lock = OwnLock::new(database.location()).map_err(explain)?;
        let lock = own_lock.as_ref().map(OwnLock::name);
        let registered = database
            .write(move |connection| Box::pin(owner::register(connection, name, lock)))
            .await;
        let log = match database.location() {
            Location::File(path) => Some({
                let mut log = path.as_os_str().to_owned();
                log.push("-wal");
                log.into()
            }),
            Location::Memory { .. } => None,
        };
        let engine = Self {
            database,
            clock,
            log,
            owner: registered.map_err(explain)?,
            _own_lock: own_lock,
            routes: Mutex::default(),
            wakes,
            orphans: Mutex::default(),
        };
        for other in engine.owners().await? {
            if other.id != engine.owner.id && engine.is_gone(&other) {
                engine.take_over(&other, None).await?;
            }
        }
        Ok(engine)
    }

    /// Whether no other process can have it open.
    pub(super) fn is_in_memory(&self) -> bool {
        matches!(self.database.location(), Location::Memory { .. })
    }

    /// The log beside the file, which every write changes; `None` in memory.
    pub(super) fn log(&self) -> Option<&Path> {
        self.log.as_deref()
    }

    /// See [`Database::write`].
    pub(super) async fn write<T, F>(&self, work: F) -> Result<T, BrokerError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, Error>>
            + Send
            + 'static,
    {
        self.database.write(work).await.map_err(explain)
    }

    /// See [`Database::read`].
    pub(super) async fn read<T, F>(&self, work: F) -> Result<T, BrokerError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, Error>>
            + Send
            + 'static,
    {
        self.database.read(work).await.map_err(explain)
    }

    /// The topology as we last saw it.
    pub(super) fn routes(&self) -> Arc<Routes> {
        Arc::clone(&lock(&self.routes))
    }

    /// Somebody has read a newer topology.
    pub(super) fn learn(&self, routes: &Arc<Routes>) {
        let mut known = lock(&self.routes);
        if routes.version > known.version {
            *known = Arc::clone(routes);
        }
    }

    /// The topology as it is.
    pub(super) async fn current_routes(&self) -> Result<Arc<Routes>, BrokerError> {
        let known = self.routes();
        let current = self
            .read(|connection| {
                Box::pin(async move {
                    let version: i64 = sqlx::query_scalar("SELECT topology FROM state")
                        .fetch_one(&mut *connection)
                        .await?;
                    if version == known.version {
                        return Ok(known);
                    }
                    Ok(Arc::new(Routes::load(connection).await?))
                })
            })
            .await?;
        self.learn(&current);
        Ok(current)
    }

    /// Writes us down again, if others have given us up.
    pub(super) async fn restore(&self) -> Result<(), BrokerError> {
        let owner = self.owner.clone();
        self.write(move |connection| {
            Box::pin(async move { owner::restore(connection, &owner).await })
        })
        .await
    }

    /// Says that we live.
    pub(super) async fn beat(&self) -> Result<(), BrokerError> {
        let owner = self.owner.id;
        self.write(move |connection| Box::pin(owner::beat(connection, owner)))
            .await
    }

    /// How far the ids are ahead of the clock on the wall, in microseconds.
    pub(super) async fn ahead(&self) -> Result<i64, BrokerError> {
        let ids: i64 = self
            .read(|connection| {
                Box::pin(async move {
                    let ids = sqlx::query_scalar("SELECT clock FROM state");
                    Ok(ids.fetch_one(connection).await?)
                })
            })
            .await?;
        Ok(ids.saturating_sub(self.clock.now()))
    }

    /// Everybody who has the file open, or had.
    pub(super) async fn owners(&self) -> Result<Vec<Owner>, BrokerError> {
        self.read(|connection| Box::pin(owner::all(connection)))
            .await
    }

    /// Whether it has ended.
    pub(super) fn is_gone(&self, other: &Owner) -> bool {
        other.is_gone(self.database.location())
    }

    /// Gives another instance's messages back; with `beat`, only if it still stands still. Returns whether it did.
    pub(super) async fn take_over(
        &self,
        other: &Owner,
        beat: Option<i64>,
    ) -> Result<bool, BrokerError> {
        let (id, now) = (other.id, self.clock.now());
        let ended = self
            .write(move |connection| Box::pin(queue::end_owner(connection, id, beat, now)))
            .await?;
        if ended {
            let why = if beat.is_some() {
                "stands still"
            } else {
                "has ended without a word"
            };
            tracing::info!(
                broker.address = %self.database.location(),
                broker.other = other.name,
                "gave back the messages of another program that {why}"
            );
            self.wakes.wake_all();
        }
        Ok(ended)
    }

    /// Ends a consumer; its messages go back, now or as soon as the file can be written.
    pub(super) async fn end_consumer(&self, consumer: i64, queue: i64) {
        let now = self.clock.now();
        let ended =
            self.write(move |connection| Box::pin(queue::end_consumer(connection, consumer, now)));
        match ended.await {
            Ok(()) => self.wakes.wake(&[queue]),
            Err(error) => {
                tracing::warn!(%error, "cannot give back messages now, but will");
                lock(&self.orphans).push(consumer);
            }
        }
    }

    /// Ends the consumers that could not be ended before.
    pub(super) async fn end_orphans(&self) {
        let orphans = std::mem::take(&mut *lock(&self.orphans));
        if orphans.is_empty() {
            return;
        }
        let (theirs, now) = (orphans.clone(), self.clock.now());
        let ended = self.write(move |connection| {
            Box::pin(async move {
                for consumer in theirs {
                    queue::end_consumer(connection, consumer, now).await?;
                }
                Ok(())
            })
        });
        match ended.await {
            Ok(()) => self.wakes.wake_all(),
            Err(_) => lock(&self.orphans).extend(orphans),
        }
    }

    /// Leaves the file: all our messages go back.
    pub(super) async fn close(&self) {
        let (owner, now) = (self.owner.id, self.clock.now());
        let ended =
            self.write(move |connection| Box::pin(queue::end_owner(connection, owner, None, now)));
        match ended.await {
            Ok(_) => self.wakes.wake_all(),
            // Our lock tells the next one.
            Err(error) => tracing::debug!(%error, "could not say goodbye"),
        }
        self.database.close().await;
    }
}

/// Makes the tables, if they are not there.
async fn install(connection: &mut SqliteConnection) -> Result<(), Error> {
    const IS_THERE: &str = "SELECT count(*) FROM sqlite_schema WHERE name = 'state'";
    let there: i64 = sqlx::query_scalar(IS_THERE)
        .fetch_one(&mut *connection)
        .await?;
    if there == 0 {
        sqlx::raw_sql(SCHEMA).execute(connection).await?;
        return Ok(());
    }
    let version: i64 = sqlx::query_scalar("SELECT version FROM state")
        .fetch_one(&mut *connection)
        .await?;
    if version == VERSION - 1 {
        sqlx::raw_sql(UPGRADE).execute(connection).await?;
        return Ok(());
    }
    if version != VERSION {
        return Err(Error::Damaged(format!(
            "expected a broker's file of version {VERSION}, found version {version}: use the \
             Longshore that made it, or move it away to begin with an empty one"
        )));
    }
    Ok(())
}

/// The meaning of an error of the file for users of the broker.
pub(super) fn explain(error: Error) -> BrokerError {
    match error {
        Error::Unavailable(text) => BrokerError::Blocked(text),
        Error::Damaged(text) | Error::Missing(text) => BrokerError::Refused(text),
        Error::Data(text) | Error::Fault(text) => BrokerError::Lost(text),
    }
}

/// The meaning of such an error for publishers.
pub(super) fn publish_error(error: BrokerError) -> PublishError {
    match error {
        BrokerError::Blocked(reason) => PublishError::Blocked(reason),
        error => PublishError::Disconnected(error.to_string()),
    }
}
