//! The way to the database: connections, and work over them. Whatever happens to a caller or to the network, no
//! connection is left in an unknown state.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection as _, PgConnection, PgPool, Postgres};
use tokio::time::timeout;

use super::failure::{Kind, classify, kind};
use super::session::{Begin, Settings, Way};
use super::spare::Sharing;
use super::work::{AnyValue, AnyWork, of_any_type, of_type};
use crate::config;
use crate::namespace::Namespace;
use crate::store::StoreError;
use crate::tasks;

/// How many failed waits for a connection in a row make the pool suspect.
const SUSPECT_WAITS: u32 = 3;

/// How many clashes with other transactions are survived by trying again.
const MAX_CLASHES: u32 = 8;

/// How often a caller that waits for a new connection looks for a free one.
const FREE_POLL: Duration = Duration::from_millis(20);

/// How long an unused connection is kept. Shorter than the time between two rounds of the standing watch and other
/// periodic work. The database may have fewer connections than there are programs, and an occasional user would
/// otherwise keep a connection from the others for ever.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3);

/// Maximum idle time of a connection that is used without a ping.
const MAX_UNCHECKED_IDLE: Duration = Duration::from_secs(2);

/// Maximum time of a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// The way to the database. Opens connections when they are needed, none before.
#[derive(Clone)]
pub(super) struct Link(Arc<Inner>);

struct Inner {
    settings: Arc<Settings>,
    max_connections: u32,
    connect_timeout: Duration,
    /// Maximum time of one piece of work in all. The server ends a statement before that; this limit ends the wait
    /// for a server that vanished without a word.
    work_timeout: Duration,
    /// Maximum wait for a lock that somebody else holds.
    lock_timeout: Duration,
    /// Made when it is first needed, and again when it has lost its connections.
    pool: Mutex<Option<Pool>>,
    /// No pool is made any more.
    closed: AtomicBool,
    /// How many waits for a connection were in vain since the last successful one.
    in_vain: AtomicU32,
    sharing: Sharing,
}

/// Connections that are all of one way.
#[derive(Clone)]
struct Pool {
    connections: PgPool,
    way: Way,
    /// A connection was found to be of another way: a pooler has been put in between.
    is_wrong: Arc<AtomicBool>,
}

impl Link {
    pub(super) fn new(
        config: &config::Database,
        namespace: &Namespace,
    ) -> Result<Self, StoreError> {
        let inner = Inner {
            settings: Arc::new(Settings::new(config, namespace)?),
            pool: Mutex::default(),
            closed: AtomicBool::new(false),
            max_connections: config.max_connections,
            connect_timeout: config.connect_timeout,
            work_timeout: config.statement_timeout + config.connect_timeout,
            lock_timeout: config.statement_timeout,
            in_vain: AtomicU32::new(0),
            sharing: Sharing::default(),
        };
        Ok(Self(Arc::new(inner)))
    }

    /// Runs `work` on a connection, in a task of its own: a caller that goes away half-way does not leave a
    /// connection behind in the middle of something. After a clash with another transaction or a broken
    /// connection, `work` is done again. So it must be safe to do twice.
    pub(super) async fn run<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, Result<T, sqlx::Error>>
            + Send
            + Sync
            + 'static,
    {
        self.begun(Begin::Statement, work).await
    }

    /// Like [`Link::run`], all in one transaction.
    pub(super) async fn transaction<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, Result<T, sqlx::Error>>
            + Send
            + Sync
            + 'static,
    {
        self.begun(Begin::Transaction, work).await
    }

    async fn begun<T, F>(&self, begin: Begin, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, Result<T, sqlx::Error>>
            + Send
            + Sync
            + 'static,
    {
        let inner = Arc::clone(&self.0);
        let work = of_any_type(work);
        let done = spawned(async move { inner.run(begin, &work).await }).await?;
        of_type(done)
    }

    /// Runs `work` on a connection that does not come from the pool, within the time for connecting.
    pub(super) async fn direct<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, Result<T, sqlx::Error>>
            + Send
            + Sync
            + 'static,
    {
        let inner = Arc::clone(&self.0);
        let work = of_any_type(work);
        let answer = timeout(inner.connect_timeout, async {
            let settings = &inner.settings;
            let (mut connection, way) = settings.connect().await?;
            let done = settings.perform(&mut connection, way, Begin::Statement, &work);
            let done = done.await.map_err(|error| classify(&error))?;
            // The connection is over either way.
            let _ = connection.close().await;
            of_type(done)
        });
        answer.await.unwrap_or_else(|_| Err(inner.no_answer()))
    }

    /// Runs `work` on a connection of its own, in one transaction without a limit to how long it may take.
    pub(super) async fn patiently<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, StoreError>>
            + Send
            + 'static,
    {
        let inner = Arc::clone(&self.0);
        spawned(async move {
            let (mut connection, _) = inner.connect().await?;
            let done = inner.settings.perform_patiently(&mut connection, work);
            let done = done.await?;
            let _ = connection.close().await;
            Ok(done)
        })
        .await
    }

    /// Maximum wait of [`Link::patiently`] for a lock that somebody else holds.
    pub(super) fn lock_timeout(&self) -> Duration {
        self.0.lock_timeout
    }

    /// Closes every connection. Work that waits for one gets none.
    pub(super) async fn close(&self) {
        self.0.closed.store(true, Ordering::Relaxed);
        let pool = self.0.lock_pool().clone();
        if let Some(pool) = pool {
            // A connection whose other end vanished cannot be closed nicely: do not wait for it.
            let _ = timeout(self.0.connect_timeout, pool.connections.close()).await;
        }
    }
}

impl Inner {
    async fn run(self: &Arc<Self>, begin: Begin, work: &AnyWork) -> Result<AnyValue, StoreError> {
        // Each broken connection is thrown away, so this many tries get past all of them.
        let mut broken_left = self.max_connections;
        let mut clashes_left = MAX_CLASHES;
        loop {
            let (mut connection, way) = self.acquire().await?;
            let done = self.settings.perform(&mut connection, way, begin, work);
            let error = match timeout(self.work_timeout, done).await {
                Ok(Ok(done)) => {
                    self.give_back(connection);
                    return Ok(done);
                }
                Ok(Err(error)) => error,
                Err(_) => {
                    discard(connection);
                    return Err(StoreError::Unavailable(format!(
                        "no answer within {:?}",
                        self.work_timeout
                    )));
                }
            };
            match kind(&error) {
                Kind::Broken => {
                    discard(connection);
                    if broken_left == 0 {
                        return Err(classify(&error));
                    }
                    broken_left -= 1;
                }
                Kind::Clash if clashes_left > 0 => clashes_left -= 1,
                _ => return Err(classify(&error)),
            }
        }
    }

    async fn acquire(self: &Arc<Self>) -> Result<(PoolConnection<Postgres>, Way), StoreError> {
        let pool = self.pool().await?;
        self.sharing.asked(&pool.connections);
        match one_of(&pool.connections).await {
            Ok(connection) => {
                self.in_vain.store(0, Ordering::Relaxed);
                Ok((connection, pool.way))
            }
            Err(error) => {
                if pool.is_wrong.load(Ordering::Relaxed) {
                    self.lock_pool().take();
                } else if matches!(error, sqlx::Error::PoolTimedOut)
                    && self.in_vain.fetch_add(1, Ordering::Relaxed) + 1 >= SUSPECT_WAITS
                {
                    self.replace_lost_pool().await;
                }
                Err(classify(&error))
            }
        }
    }

    /// Gives a connection back, or closes it where it is one too many.
    fn give_back(&self, mut connection: PoolConnection<Postgres>) {
        let pool = self.lock_pool();
        let is_over = |pool: &Pool| self.sharing.is_over(&pool.connections);
        if pool.as_ref().is_some_and(is_over) {
            connection.close_on_drop();
        }
    }

    /// sqlx 0.9 never gives a permit back when the other end of its connection vanished silently
    /// (issue 4349): the pool then has nothing left to give, for ever. When the database itself can
    /// be reached it is the pool, so take a new one.
    async fn replace_lost_pool(self: &Arc<Self>) {
        let Ok((connection, way)) = self.connect().await else {
            return;
        };
        drop(connection);
        if self.in_vain.swap(0, Ordering::Relaxed) < SUSPECT_WAITS {
            // Somebody else has replaced it, or it has recovered.
            return;
        }
        tracing::warn!(
            "the database can be reached and its connection pool has none to give: replacing the pool"
        );
        let lost = self.lock_pool().replace(self.lazy_pool(way));
        if let Some(lost) = lost {
            // Its other connections close as they come back; lost ones are not waited for.
            tasks::spawn("closing a lost pool", async move {
                lost.connections.close().await;
            });
        }
    }

    /// The pool, or a new one of the way that a connection is found to be.
    async fn pool(&self) -> Result<Pool, StoreError> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(classify(&sqlx::Error::PoolClosed));
        }
        if let Some(pool) = &*self.lock_pool() {
            return Ok(pool.clone());
        }
        let (connection, way) = self.connect().await?;
        // The connection is over either way.
        let _ = timeout(self.connect_timeout, connection.close()).await;
        if way == Way::Pooled {
            tracing::info!(
                "the database is behind a pooler that does not pass settings on: every piece of work becomes a \
                 transaction that brings its own, which takes more round trips; a direct address is faster"
            );
        }
        let mut pool = self.lock_pool();
        Ok(pool.get_or_insert_with(|| self.lazy_pool(way)).clone())
    }

    /// A connection that does not come from the pool, and its way.
    async fn connect(&self) -> Result<(PgConnection, Way), StoreError> {
        let opened = timeout(self.connect_timeout, self.settings.connect()).await;
        opened.unwrap_or_else(|_| Err(self.no_answer()))
    }

    fn no_answer(&self) -> StoreError {
        StoreError::Unavailable(format!("no answer within {:?}", self.connect_timeout))
    }

    fn lock_pool(&self) -> std::sync::MutexGuard<'_, Option<Pool>> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lazy_pool(&self, way: Way) -> Pool {
        let is_wrong = Arc::new(AtomicBool::new(false));
        let (settings, wrong) = (Arc::clone(&self.settings), Arc::clone(&is_wrong));
        let connections = PgPoolOptions::new()
            .max_connections(self.max_connections)
            .acquire_timeout(self.connect_timeout)
            .idle_timeout(IDLE_TIMEOUT)
            .after_connect(move |connection, _| {
                let (settings, wrong) = (Arc::clone(&settings), Arc::clone(&wrong));
                Box::pin(async move {
                    if way == Way::Pooled || settings.are_in(connection).await? {
                        return Ok(());
                    }
                    wrong.store(true, Ordering::Relaxed);
                    Err(sqlx::Error::Protocol(
                        "the settings of this session are not ours: a pooler is in between".to_owned(),
                    ))
                })
            })
            // A round trip before each piece of work is too much under load, and under load nothing is
            // idle. After a pause it is worth it: the database may have restarted.
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    if meta.idle_for > MAX_UNCHECKED_IDLE {
                        let alive = timeout(PING_TIMEOUT, connection.ping()).await;
                        return Ok(matches!(alive, Ok(Ok(()))));
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(self.settings.options(way).clone());
        Pool {
            connections,
            way,
            is_wrong,
        }
    }
}

/// A connection of the pool. If the database has none to spare, opening one takes long, and an open one may be
/// free before.
async fn one_of(pool: &PgPool) -> Result<PoolConnection<Postgres>, sqlx::Error> {
    let opened = pool.acquire();
    tokio::pin!(opened);
    loop {
        tokio::select! {
            biased;
            opened = &mut opened => return opened,
            () = tokio::time::sleep(FREE_POLL) => {
                if let Some(free) = pool.try_acquire() {
                    return Ok(free);
                }
            }
        }
    }
}

/// Takes a connection out of the pool and hangs up, without a word that might wait for an answer.
fn discard(connection: PoolConnection<Postgres>) {
    drop(connection.detach());
}

/// Runs `work` to its end whatever becomes of the caller.
pub(super) async fn spawned<T: Send + 'static>(
    work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(error) if error.is_cancelled() => {
            Err(StoreError::Unavailable("the program is ending".to_owned()))
        }
        Err(_) => Err(StoreError::Fault("a task panicked".to_owned())),
    }
}
