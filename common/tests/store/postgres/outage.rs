//! The behaviour while the database is away, slow or cut off, and afterwards.

use std::time::{Duration, Instant};

use common::config::{Database, ServiceUrl};
use common::event::EventId;
use common::namespace::Namespace;
use common::store::postgres::PostgresStore;
use common::store::{
    DeadFilter, DeadLetters as _, Events as _, NewEvent, Schema as _, StoreError, Stored,
};
use sqlx::Connection as _;
use testkit::proxy::Proxy;
use tokio::net::TcpListener;

use super::{config, connection, namespace, with_schema};
use crate::samples::{event, signup};

const SHORT: Duration = Duration::from_millis(300);

fn address(change: impl FnOnce(&mut url::Url)) -> ServiceUrl {
    let mut url = config().url.parts().clone();
    change(&mut url);
    ServiceUrl::parse(url.as_str()).unwrap()
}

fn unavailable(error: &StoreError) {
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
}

#[tokio::test]
async fn a_database_that_is_away_is_unavailable_and_soon() {
    // Bound and closed again: nobody listens there.
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let config = Database {
        url: address(|url| {
            url.set_port(Some(port)).unwrap();
            url.set_password(Some("hunter2")).unwrap();
        }),
        connect_timeout: SHORT,
        ..config()
    };
    let store = PostgresStore::new(&config, &namespace()).expect("nothing connects yet");
    let begun = Instant::now();
    for error in [
        store.ready().await.unwrap_err(),
        store.store([event()].into()).await.unwrap_err(),
        store.migrate().await.unwrap_err(),
    ] {
        unavailable(&error);
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "it takes too long"
    );
}

#[tokio::test]
async fn a_database_that_does_not_exist_is_no_fault_of_an_event() {
    let config = Database {
        url: address(|url| url.set_path("/longshore-has-no-such-database")),
        ..config()
    };
    let store = PostgresStore::new(&config, &namespace()).unwrap();
    unavailable(&store.store([event()].into()).await.unwrap_err());
}

#[tokio::test]
async fn an_address_that_is_none_is_refused_without_its_password() {
    let config = Database {
        url: address(|url| {
            url.set_password(Some("hunter2")).unwrap();
            url.set_query(Some("sslmode=perhaps"));
        }),
        ..config()
    };
    let Err(error) = PostgresStore::new(&config, &namespace()) else {
        panic!("expected a refusal")
    };
    assert!(matches!(error, StoreError::Fault(_)), "{error:?}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

/// Ends every other session of one namespace, as an operator or a restart would.
async fn end_sessions(namespace: &Namespace) -> i64 {
    let mut connection = connection(namespace).await;
    sqlx::query_scalar(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE application_name LIKE '% ' || $1",
    )
    .bind(namespace.as_str())
    .fetch_one(&mut connection)
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_were_ended_are_not_noticed() {
    with_schema(async |namespace| {
        let store = PostgresStore::new(&config(), &namespace).unwrap();
        // Work at once, so that there are several sessions.
        let busy = (0..8).map(|_| {
            let store = store.clone();
            async move { store.store([event()].into()).await.unwrap() }
        });
        futures_util::future::join_all(busy).await;
        assert!(end_sessions(&namespace).await > 1);
        for _ in 0..8 {
            let outcome = store.store([event()].into()).await;
            assert_eq!(outcome.expect("another session is taken"), [Stored::New]);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_somebody_else_ends() {
    with_schema(async |namespace| {
        let config = Database {
            statement_timeout: SHORT,
            ..config()
        };
        let store = PostgresStore::new(&config, &namespace).unwrap();
        let event = signup("ada@example.com");
        store.store([event.clone()].into()).await.unwrap();
        let mut connection = connection(&namespace).await;
        let mut holder = connection.begin().await.unwrap();
        sqlx::query("LOCK TABLE events IN EXCLUSIVE MODE")
            .execute(&mut *holder)
            .await
            .unwrap();
        unavailable(&store.store([event.clone()].into()).await.unwrap_err());
        holder.rollback().await.unwrap();
        assert_eq!(store.store([event].into()).await.unwrap(), [Stored::Before]);
    })
    .await;
}

/// A caller that goes away (a client hangs up, a worker stops) leaves nothing half done and no connection in the
/// middle of something.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_go_away_leave_nothing_behind() {
    with_schema(async |namespace| {
        let store = PostgresStore::new(&config(), &namespace).unwrap();
        let mut pairs = Vec::new();
        for round in 0..200_u64 {
            let pair = [event(), signup(&format!("{round}@example.com"))];
            // From before the first byte to after the last.
            let patience = Duration::from_micros(round * 40);
            let _ = tokio::time::timeout(patience, store.store(pair.clone().into())).await;
            pairs.push(pair);
        }
        store.close().await;
        let mut connection = connection(&namespace).await;
        let open: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity
            WHERE application_name LIKE '% ' || $1 AND state LIKE 'idle in transaction%'",
        )
        .bind(namespace.as_str())
        .fetch_one(&mut connection)
        .await
        .unwrap();
        assert_eq!(open, 0);
        let store = PostgresStore::new(&config(), &namespace).unwrap();
        for pair in &pairs {
            let outcomes = store.store(pair.clone().into()).await.unwrap();
            assert_eq!(outcomes[0], outcomes[1], "both or neither");
        }
    })
    .await;
}

/// The database may have fewer connections than there are programs: who uses it now and then keeps one of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_now_and_then_keeps_one_connection() {
    with_schema(async |namespace| {
        let mut connection = connection(&namespace).await;
        let mut open = async || -> i64 {
            let open = sqlx::query_scalar(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '% ' || $1",
            );
            let open = open.bind(namespace.as_str()).fetch_one(&mut connection);
            open.await.unwrap()
        };
        let others = open().await;
        let store = PostgresStore::new(&config(), &namespace).unwrap();
        let all = DeadFilter::default();
        let many = (0..32).map(|_| store.dead_count(&all));
        for done in futures_util::future::join_all(many).await {
            done.unwrap();
        }
        let mut kept = vec![open().await - others];
        assert!(kept[0] > 1, "{kept:?}: nothing was done at once");
        // Often enough that none of several would be idle for as long as an idle one is kept.
        for _ in 0..8 {
            tokio::time::sleep(Duration::from_millis(400)).await;
            store.dead_count(&all).await.unwrap();
            kept.push(open().await - others);
        }
        assert_eq!(kept.last(), Some(&1), "{kept:?}");
    })
    .await;
}

/// The end of a transaction: the client says it, and so does the server once the transaction has ended.
const COMMIT: &[u8] = b"COMMIT\0";

/// A proxy before the database.
async fn proxy() -> Proxy {
    let url = config().url.expose().to_owned();
    Proxy::start_before(&url).await.expect("a proxy")
}

/// The way to the database through a proxy.
fn through(proxy: &Proxy) -> ServiceUrl {
    address(|url| {
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(proxy.address().port())).unwrap();
    })
}

/// A call that inserted an event has the duty to hand it on. When the connection breaks at the commit, the rows
/// found afterwards may be this call's own, or duplicates of old ones. Neither is known, so neither is said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_commit_whose_answer_is_lost_nothing_is_called_new_or_old() {
    with_schema(async |namespace| {
        let proxy = proxy().await;
        let config = Database {
            url: through(&proxy),
            ..config()
        };
        let store = PostgresStore::new(&config, &namespace).unwrap();
        let old: Vec<_> = (0..20).map(|_| event()).collect();
        store.store(old.clone().into()).await.unwrap();
        let taken = signup("ada@example.com");
        let conflict = NewEvent {
            fingerprint: [8; 32],
            ..old[0].clone()
        };
        let late = NewEvent {
            id: EventId::born(),
            ..taken.clone()
        };
        let mut batch = vec![event(), taken, conflict, late];
        batch.extend(old);
        proxy.swallow_answer(COMMIT);
        let outcomes = store.store(batch.clone().into()).await.unwrap();
        assert!(!proxy.is_to_swallow(), "no commit was swallowed");
        let expected = |of_ours| {
            let mut expected = vec![of_ours, of_ours, Stored::Conflict, Stored::EmailTaken];
            expected.resize(batch.len(), of_ours);
            expected
        };
        assert_eq!(outcomes, expected(Stored::NewOrBefore));
        // For everybody who comes later they are as stored as any other.
        let later = store.store(batch.clone().into()).await.unwrap();
        assert_eq!(later, expected(Stored::Before));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_falls_silent_is_given_up_and_another_taken() {
    with_schema(async |namespace| {
        let proxy = proxy().await;
        let config = Database {
            url: through(&proxy),
            max_connections: 2,
            connect_timeout: SHORT,
            statement_timeout: SHORT,
            ..Database::default()
        };
        let store = PostgresStore::new(&config, &namespace).unwrap();
        store.store([event()].into()).await.unwrap();
        proxy.stall();
        unavailable(&store.store([event()].into()).await.unwrap_err());
        unavailable(&store.store([event()].into()).await.unwrap_err());
        unavailable(&store.ready().await.unwrap_err());
        proxy.heal_for_new();
        // As callers do: when it is ready again, go on. sqlx may have lost permits meanwhile, so a few
        // of these may be in vain, but not for ever.
        store.ready().await.expect("the link is back");
        let deadline = Instant::now() + Duration::from_secs(10);
        let outcome = loop {
            match store.store([event()].into()).await {
                Ok(outcome) => break outcome,
                Err(error) => unavailable(&error),
            }
            assert!(Instant::now() < deadline, "it never recovers");
        };
        assert_eq!(outcome, [Stored::New]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_that_gives_nothing_is_replaced() {
    with_schema(async |namespace| {
        let config = Database {
            max_connections: 1,
            connect_timeout: SHORT,
            ..config()
        };
        let store = PostgresStore::new(&config, &namespace).unwrap();
        let stuck = event();
        let mut connection = connection(&namespace).await;
        let mut holder = connection.begin().await.unwrap();
        sqlx::query(
            "INSERT INTO events (event_id, type, source, source_id, publisher, received_at,
                                 accepted_at, fingerprint, body)
            VALUES ($1, 't', 's', 'i', 'p', now(), now(), $2, '{}')",
        )
        .bind(stuck.id.uuid())
        .bind([7_u8; 32])
        .execute(&mut *holder)
        .await
        .unwrap();
        // Takes the only connection, and waits for the same id.
        let waiting = tokio::spawn({
            let store = store.clone();
            async move { store.store([stuck].into()).await }
        });
        let mut watcher = super::connection(&namespace).await;
        let mut waits = false;
        while !waits {
            waits = sqlx::query_scalar(
                "SELECT EXISTS (SELECT FROM pg_stat_activity
                WHERE application_name LIKE '% ' || $1 AND wait_event_type = 'Lock')",
            )
            .bind(namespace.as_str())
            .fetch_one(&mut watcher)
            .await
            .unwrap();
        }
        let mut in_vain = 0;
        while store.store([event()].into()).await.is_err() {
            in_vain += 1;
            assert!(in_vain < 10, "the pool is never replaced");
        }
        assert!(in_vain >= 3, "one that is merely busy is left alone");
        // Work that is still under way in the old pool ends as if nothing had happened.
        holder.commit().await.unwrap();
        assert_eq!(waiting.await.unwrap().unwrap(), [Stored::Before]);
    })
    .await;
}
