//! Through pgbouncer, which drops or refuses start-up parameters and may give each transaction to another session.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use common::config::{Database, ServiceUrl};
use common::namespace::Namespace;
use common::store::postgres::PostgresStore;
use common::store::{Events as _, Schema as _, StoreError, Stored};
use sqlx::Connection as _;
use tempfile::TempDir;

use super::{config, connection, namespace};
use crate::engine::System;
use crate::samples::event;

const PATIENCE: Duration = Duration::from_secs(20);

/// The sessions of the server that a client gets.
#[derive(Clone, Copy)]
enum Pooling {
    /// One for as long as it is there.
    Session,
    /// One for each transaction.
    Transaction,
}

/// The fate of start-up parameters.
#[derive(Clone, Copy)]
enum Parameters {
    Dropped,
    Refused,
}

/// A pgbouncer of the test's own before the shared database. It ends with the test.
struct Pooler {
    server: Child,
    port: u16,
    _folder: TempDir,
}

impl Pooler {
    async fn start(pooling: Pooling, parameters: Parameters) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let url = config().url.parts().clone();
        let mode = match pooling {
            Pooling::Session => "session",
            Pooling::Transaction => "transaction",
        };
        let ignored = match parameters {
            Parameters::Dropped => "ignore_startup_parameters = extra_float_digits,options",
            Parameters::Refused => "",
        };
        let text = format!(
            "[databases]\n* = host={} port={} user={} password={}\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = {mode}\ndefault_pool_size = 16\nmax_client_conn = 200\n{ignored}\n",
            url.host_str().expect("a host"),
            url.port().unwrap_or(5432),
            url.username(),
            url.password().unwrap_or_default(),
        );
        let path = folder.path().join("pgbouncer.ini");
        let mut file = std::fs::File::create(&path).expect("a file");
        file.write_all(text.as_bytes()).expect("written");
        let server = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "pgbouncer", "--quiet"])
            .args(as_nobody(folder.path()))
            .arg(&path)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("pgbouncer is started; `scripts/services install` installs it");
        let pooler = Self {
            server,
            port,
            _folder: folder,
        };
        let deadline = Instant::now() + PATIENCE;
        while tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .is_err()
        {
            assert!(Instant::now() < deadline, "pgbouncer does not listen");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        pooler
    }

    fn config(&self) -> Database {
        let mut url = config().url.parts().clone();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(self.port)).unwrap();
        Database {
            url: ServiceUrl::parse(url.as_str()).unwrap(),
            ..config()
        }
    }
}

/// Below Linux's ephemeral range, so that no outgoing connection takes it before pgbouncer does; and given once.
fn free_port() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(|| GIVEN.fetch_add(1, Ordering::Relaxed))
        .map(|given| std::process::id().wrapping_mul(10).wrapping_add(given))
        .filter_map(|number| u16::try_from(16_000 + number % 4_000).ok())
        .take(4_000)
        .find(is_free)
        .expect("a free port")
}

impl Drop for Pooler {
    fn drop(&mut self) {
        // The server may have ended.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// The pooler refuses to run as root, and then needs a user who may read its folder.
fn as_nobody(folder: &std::path::Path) -> Vec<&'static str> {
    if !rustix_is_root() {
        return Vec::new();
    }
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder, open).expect("a folder that can be read");
    vec!["--user", "nobody"]
}

fn rustix_is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("id runs");
    id.stdout.trim_ascii() == b"0"
}

/// Two stores on one fresh schema, each transaction of theirs in any session.
pub async fn open() -> System {
    let pooler = Pooler::start(Pooling::Transaction, Parameters::Dropped).await;
    let namespace = namespace();
    let store = PostgresStore::new(&pooler.config(), &namespace).expect("a valid address");
    let other = PostgresStore::new(&pooler.config(), &namespace).expect("a valid address");
    store.migrate().await.expect("the database can be migrated");
    System {
        store: Arc::new(store),
        other: Arc::new(other),
        remove: Box::pin(async move {
            let last = PostgresStore::new(&config(), &namespace).expect("a valid address");
            last.remove_schema().await.expect("it can be removed");
            drop(pooler);
        }),
    }
}

/// The schemas that our tables are in.
async fn schemas_of(table: &str, namespace: &Namespace) -> Vec<String> {
    let mut connection = connection(namespace).await;
    sqlx::query_scalar(
        "SELECT schemaname FROM pg_tables
        WHERE tablename = $1 AND schemaname IN ('public', $2) ORDER BY 1",
    )
    .bind(table)
    .bind(namespace.as_str())
    .fetch_all(&mut connection)
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_lie_in_the_namespace_whatever_is_in_between() {
    for (pooling, parameters) in [
        (Pooling::Session, Parameters::Dropped),
        (Pooling::Session, Parameters::Refused),
        (Pooling::Transaction, Parameters::Dropped),
        (Pooling::Transaction, Parameters::Refused),
    ] {
        let pooler = Pooler::start(pooling, parameters).await;
        let namespace = namespace();
        let before = schemas_of("dead_letter_counts", &namespace).await;
        // Where a client keeps its session, there must be one for each.
        let config = Database {
            max_connections: 2,
            ..pooler.config()
        };
        let store = PostgresStore::new(&config, &namespace).unwrap();
        store.migrate().await.unwrap();
        store.migrate().await.expect("there is nothing to do");
        store.ready().await.unwrap();
        // At once, so that sessions change hands.
        let others = (0..4).map(|_| PostgresStore::new(&config, &namespace).unwrap());
        let others: Vec<_> = others.collect();
        let busy = (0..40).map(|number| {
            let store = others[number % 4].clone();
            async move { store.store([event()].into()).await.unwrap() }
        });
        for stored in futures_util::future::join_all(busy).await {
            assert_eq!(stored, [Stored::New]);
        }
        let mut expected = before;
        expected.push(namespace.to_string());
        assert_eq!(schemas_of("dead_letter_counts", &namespace).await, expected);
        let direct = PostgresStore::new(&super::config(), &namespace).unwrap();
        direct.ready().await.expect("it is the same directly");
        store.remove_schema().await.unwrap();
        assert!(direct.ready().await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_somebody_holds_is_waited_for_with_a_bound_and_named() {
    let namespace = namespace();
    let mut holder = connection(&namespace).await;
    sqlx::query("SELECT pg_advisory_lock(hashtextextended($1, 0))")
        .bind(format!("longshore migrate {namespace}"))
        .execute(&mut holder)
        .await
        .unwrap();
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(&mut holder)
        .await
        .unwrap();
    let config = Database {
        statement_timeout: Duration::from_millis(600),
        ..config()
    };
    let store = PostgresStore::new(&config, &namespace).unwrap();
    let error = store.migrate().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&format!("process {pid} ")), "{text}");
    assert!(text.contains("pg_terminate_backend"), "{text}");
    holder.close().await.unwrap();
    store.migrate().await.expect("it is free");
    // A table that somebody works on is not waited for without a word either.
    let mut busy = connection(&namespace).await;
    let mut transaction = busy.begin().await.unwrap();
    sqlx::query("LOCK TABLE events")
        .execute(&mut *transaction)
        .await
        .unwrap();
    let error = store.remove_schema().await.unwrap_err();
    assert!(error.to_string().contains("pg_stat_activity"), "{error}");
    transaction.rollback().await.unwrap();
    store.remove_schema().await.unwrap();
}
