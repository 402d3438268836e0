//! The way to the database: connections, and running work over them so that nothing that happens to a
//! caller or to the network can leave a connection in an unknown state.

use std::future::Future;
use std::net::IpAddr;
use std::str::FromStr as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::{Connection as _, PgConnection, PgPool, Postgres};
use tokio::time::timeout;

use super::failure::{Kind, classify, kind};
use crate::config;
use crate::namespace::Namespace;
use crate::store::StoreError;
use crate::tasks;

/// After so many waits for a connection in a row that were in vain, the pool is suspected.
const SUSPICIOUS: u32 = 3;

/// How often work that another transaction was in the way of is tried.
const CLASHES: u32 = 8;

/// How often a caller that waits for a new connection looks for a free one.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How long a connection that nobody uses is kept: the database may have few, and other programs wait for them.
const IDLE: Duration = Duration::from_secs(15);

/// A connection that stood idle for longer than this is asked whether it still lives.
const FRESH: Duration = Duration::from_secs(5);

/// The way to the database. Opens connections when they are needed, none before.
#[derive(Clone)]
pub(super) struct Link(Arc<Inner>);

struct Inner {
    options: PgConnectOptions,
    max_connections: u32,
    connect_timeout: Duration,
    /// How long one piece of work may take in all. The server ends a statement before that; this ends
    /// the wait for a server that vanished without a word.
    work_timeout: Duration,
    /// Replaced when it has lost its connections.
    pool: Mutex<PgPool>,
    /// Waits for a connection in vain since the last one that was not.
    in_vain: AtomicU32,
}

impl Link {
    pub(super) fn new(
        config: &config::Database,
        namespace: &Namespace,
    ) -> Result<Self, StoreError> {
        let options = connect_options(config, namespace)?;
        let inner = Inner {
            pool: Mutex::new(lazy_pool(
                &options,
                config.max_connections,
                config.connect_timeout,
            )),
            options,
            max_connections: config.max_connections,
            connect_timeout: config.connect_timeout,
            work_timeout: config.statement_timeout + config.connect_timeout,
            in_vain: AtomicU32::new(0),
        };
        Ok(Self(Arc::new(inner)))
    }

    /// Runs `work` on a connection, in a task of its own: a caller that goes away half-way does not
    /// leave a connection behind in the middle of something. Work that another transaction or a
    /// broken connection got in the way of is done again, so it must be something that may be done
    /// twice.
    pub(super) async fn run<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, Result<T, sqlx::Error>>
            + Send
            + Sync
            + 'static,
    {
        let inner = Arc::clone(&self.0);
        spawned(async move { inner.run(&work).await }).await
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
        let work = Arc::new(work);
        self.run(move |connection| {
            let work = Arc::clone(&work);
            Box::pin(async move {
                let mut transaction = connection.begin().await?;
                let done = work(&mut transaction).await?;
                transaction.commit().await?;
                Ok(done)
            })
        })
        .await
    }

    /// Runs `work` on a connection that does not come from the pool, within the time for connecting.
    pub(super) async fn direct<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, sqlx::Error>>
            + Send
            + 'static,
    {
        let inner = Arc::clone(&self.0);
        let answer = timeout(inner.connect_timeout, async {
            let mut connection = PgConnection::connect_with(&inner.options).await?;
            let done = work(&mut connection).await?;
            // It is over either way.
            let _ = connection.close().await;
            Ok(done)
        });
        match answer.await {
            Ok(done) => done.map_err(|error| classify(&error)),
            Err(_) => Err(StoreError::Unavailable(format!(
                "no answer within {:?}",
                inner.connect_timeout
            ))),
        }
    }

    /// A connection of one's own, without a limit to how long a statement may take.
    pub(super) async fn patient(&self) -> Result<PgConnection, StoreError> {
        let options = self.0.options.clone().options([("statement_timeout", "0")]);
        match timeout(self.0.connect_timeout, PgConnection::connect_with(&options)).await {
            Ok(connection) => connection.map_err(|error| classify(&error)),
            Err(_) => Err(StoreError::Unavailable(format!(
                "no answer within {:?}",
                self.0.connect_timeout
            ))),
        }
    }

    /// Closes every connection. Work that waits for one gets none.
    pub(super) async fn close(&self) {
        // A connection whose other end vanished cannot be closed nicely: do not wait for it.
        let _ = timeout(self.0.connect_timeout, self.0.pool().close()).await;
    }
}

impl Inner {
    async fn run<T, F>(self: &Arc<Self>, work: &F) -> Result<T, StoreError>
    where
        F: for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, Result<T, sqlx::Error>>,
    {
        // Each broken connection is thrown away, so this many tries get past all of them.
        let mut broken_left = self.max_connections;
        let mut clashes_left = CLASHES;
        loop {
            let mut connection = self.acquire().await?;
            let error = match timeout(self.work_timeout, work(&mut connection)).await {
                Ok(Ok(done)) => return Ok(done),
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

    async fn acquire(self: &Arc<Self>) -> Result<PoolConnection<Postgres>, StoreError> {
        match one_of(&self.pool()).await {
            Ok(connection) => {
                self.in_vain.store(0, Ordering::Relaxed);
                Ok(connection)
            }
            Err(error) => {
                if matches!(error, sqlx::Error::PoolTimedOut)
                    && self.in_vain.fetch_add(1, Ordering::Relaxed) + 1 >= SUSPICIOUS
                {
                    self.replace_lost_pool().await;
                }
                Err(classify(&error))
            }
        }
    }

    /// sqlx 0.9 never gives a permit back when the other end of its connection vanished silently
    /// (issue 4349): the pool then has nothing left to give, for ever. When the database itself can
    /// be reached it is the pool, so take a new one.
    async fn replace_lost_pool(self: &Arc<Self>) {
        let reached = timeout(
            self.connect_timeout,
            PgConnection::connect_with(&self.options),
        )
        .await;
        let Ok(Ok(connection)) = reached else {
            return;
        };
        drop(connection);
        if self.in_vain.swap(0, Ordering::Relaxed) < SUSPICIOUS {
            // Somebody else has replaced it, or it has recovered.
            return;
        }
        tracing::warn!(
            "the database can be reached and its connection pool has none to give: replacing the pool"
        );
        let fresh = lazy_pool(&self.options, self.max_connections, self.connect_timeout);
        let lost = std::mem::replace(&mut *self.lock_pool(), fresh);
        // What it still has closes as it comes back; what never comes back is not waited for.
        tasks::spawn("closing a lost pool", async move { lost.close().await });
    }

    fn pool(&self) -> PgPool {
        self.lock_pool().clone()
    }

    fn lock_pool(&self) -> std::sync::MutexGuard<'_, PgPool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection of the pool. Where the database has none to spare, opening one takes long: one that is open already
/// may be free before.
async fn one_of(pool: &PgPool) -> Result<PoolConnection<Postgres>, sqlx::Error> {
    let opened = pool.acquire();
    tokio::pin!(opened);
    loop {
        tokio::select! {
            biased;
            opened = &mut opened => return opened,
            () = tokio::time::sleep(LOOK_AGAIN) => {
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

fn lazy_pool(options: &PgConnectOptions, max: u32, connect_timeout: Duration) -> PgPool {
    PgPoolOptions::new()
        .max_connections(max)
        .acquire_timeout(connect_timeout)
        .idle_timeout(IDLE)
        // A round trip before each piece of work is too much under load, and under load nothing is
        // idle. After a pause it is worth it: the database may have restarted.
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for > FRESH {
                    let alive = timeout(FRESH, connection.ping()).await;
                    return Ok(matches!(alive, Ok(Ok(()))));
                }
                Ok(true)
            })
        })
        .connect_lazy_with(options.clone())
}

fn connect_options(
    config: &config::Database,
    namespace: &Namespace,
) -> Result<PgConnectOptions, StoreError> {
    let options = PgConnectOptions::from_str(config.url.expose()).map_err(|error| {
        // What sqlx says of a URL it cannot read names the part, not the password.
        StoreError::Fault(format!(
            "expected the address of a PostgreSQL database at {}, found none: {error}",
            config.url.address()
        ))
    })?;
    let timeout = config.statement_timeout.as_millis().to_string();
    Ok(without_needless_tls(options)
        .application_name(&application_name(namespace))
        .options([
            // Every statement is static and names no schema: this is the only place that does.
            ("search_path", quoted(namespace).as_str()),
            ("statement_timeout", timeout.as_str()),
            // When we vanish in the middle of a transaction, its locks go soon.
            ("idle_in_transaction_session_timeout", timeout.as_str()),
            // Statements are prepared once and for all, maybe while the tables are empty. Each of them
            // has an index; a scan of the whole table that is the best plan then is the worst later.
            ("enable_seqscan", "off"),
            ("jit", "off"),
        ]))
}

/// Leaves TLS out where it is only preferred and nothing leaves the machine. It would cost more than
/// its ciphers: sqlx 0.9.0 does not set `TCP_NODELAY` (issue 4335, mended in the release after it), so
/// each batch that needs two TLS records would wait 40 ms for a delayed acknowledgement in between.
fn without_needless_tls(options: PgConnectOptions) -> PgConnectOptions {
    let host = options.get_host();
    let stays_here = host == "localhost"
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    match options.get_ssl_mode() {
        PgSslMode::Allow | PgSslMode::Prefer if stays_here => options.ssl_mode(PgSslMode::Disable),
        _ => options,
    }
}

/// The namespace as an SQL identifier.
pub(super) fn quoted(namespace: &Namespace) -> String {
    // A namespace holds no quotes.
    format!("\"{namespace}\"")
}

/// Who we are in `pg_stat_activity`: program and namespace.
fn application_name(namespace: &Namespace) -> String {
    let program = std::env::current_exe()
        .ok()
        .and_then(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
        .unwrap_or_else(|| "longshore".to_owned());
    format!("{program} {namespace}").chars().take(63).collect()
}
