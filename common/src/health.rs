//! `/livez`, `/readyz` and `/metrics`, the same in every program.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::future::join_all;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::broker::{Broker, BrokerError};
use crate::outcome::chain;
use crate::runtime::Standing;
use crate::server::{self, Wire};
use crate::store::{Schema, StoreError};
use crate::tasks;
use crate::telemetry::metrics::MetricsPage;

/// How long `/readyz` waits for one dependency to answer.
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// Maximum of connections that ask at once; beyond it the one that has been idle for longest makes room.
const MAX_CONNECTIONS: usize = 256;

/// The dependencies of a program's health.
#[derive(Clone)]
pub struct Health {
    /// The broker.
    pub broker: Arc<dyn Broker>,
    /// Whether the program has declared the topology: an exchange whose queue is not bound yet takes
    /// nothing.
    pub declared: Arc<AtomicBool>,
    /// The queues that the program feeds or takes from: without one of them there is nothing to be
    /// ready for.
    pub queues: Vec<String>,
    /// The workers of the program: each must take from its queue.
    pub workers: Vec<Standing>,
    /// The database, where the program uses one.
    pub store: Option<Arc<dyn Schema>>,
    /// Whether the program is not ready without the database. The producer is: it goes on accepting,
    /// and only says here that the database is down.
    pub store_needed: bool,
    /// The content of `/metrics`.
    pub metrics: MetricsPage,
}

/// The result of asking one dependency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// `broker`, `database`, `tasks`, or the queue of a worker.
    pub name: String,
    /// The problem, if any.
    pub problem: Option<String>,
    /// Whether the program is not ready without it.
    pub needed: bool,
}

impl Health {
    /// Asks every dependency for real.
    pub async fn checks(&self) -> Vec<Check> {
        let broker = async {
            let answer = tokio::time::timeout(CHECK_TIMEOUT, self.ask_broker()).await;
            check("broker", true, answer)
        };
        let store = async {
            let store = self.store.as_ref()?;
            let answer = tokio::time::timeout(CHECK_TIMEOUT, store.ready()).await;
            Some(check(
                "database",
                self.store_needed,
                answer.map(|answer| answer.map_err(|error| told_of_store(&error))),
            ))
        };
        let workers = join_all(self.workers.iter().map(|worker| async {
            let standing = async { worker.problem().await.map_or(Ok(()), Err) };
            let answer = tokio::time::timeout(CHECK_TIMEOUT, standing).await;
            check(worker.queue(), true, answer)
        }));
        let (broker, store, workers) = tokio::join!(broker, store, workers);
        // One that failed ends the program soon.
        let failed = tasks::failure_so_far().map(|problem| check("tasks", true, Ok(Err(problem))));
        let checks = std::iter::once(broker).chain(store);
        checks.chain(workers).chain(failed).collect()
    }

    async fn ask_broker(&self) -> Result<(), String> {
        self.broker.ready().await.map_err(|error| told(&error))?;
        if !self.declared.load(Ordering::Relaxed) {
            return Err("its exchanges and queues are not declared yet".to_owned());
        }
        for queue in &self.queues {
            match self.broker.depth(queue).await {
                Ok(Some(_)) => {}
                Ok(None) => return Err(told(&BrokerError::NoSuchQueue(queue.clone()))),
                Err(error) => return Err(told(&error)),
            }
        }
        Ok(())
    }

    /// The three routes.
    pub fn router(self) -> Router {
        self.clone().probes().merge(self.metrics())
    }

    /// `/livez` and `/readyz`.
    pub fn probes(self) -> Router {
        Router::new()
            .route("/livez", get(|| async { "live\n" }))
            .route("/readyz", get(ready))
            .with_state(self)
    }

    /// `/metrics`.
    pub fn metrics(self) -> Router {
        Router::new()
            .route("/metrics", get(metrics))
            .with_state(self)
    }

    /// Serves the three routes, or those that take their place, on `address` until `stop`.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn serve(
        routes: Router,
        address: SocketAddr,
        stop: CancellationToken,
    ) -> std::io::Result<()> {
        let listener = TcpListener::bind(address).await.map_err(|error| {
            std::io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
        })?;
        tracing::info!(listen.address = %address, "health and metrics are served");
        let wire = Wire {
            connections: MAX_CONNECTIONS,
            ..Wire::default()
        };
        server::serve(wire, listener.into(), routes, stop, CHECK_TIMEOUT).await;
        Ok(())
    }
}

/// The public part of an error. The door's port serves this page too, so addresses, logins and the broker's words stay
/// in the log.
fn told(error: &BrokerError) -> String {
    match error {
        BrokerError::Unreachable { .. } => "the broker cannot be reached".to_owned(),
        BrokerError::Lost(_) => "the link to the broker is lost".to_owned(),
        BrokerError::Blocked(_) => "the broker takes no messages now".to_owned(),
        BrokerError::Refused(_) => "the broker refuses".to_owned(),
        BrokerError::Distrust { .. } => {
            "this program trusts other broker logins than the others".to_owned()
        }
        BrokerError::Mismatch(_) | BrokerError::NoSuchQueue(_) => chain(error),
    }
}

/// The same of the database.
fn told_of_store(error: &StoreError) -> String {
    match error {
        StoreError::Unavailable(_) => "the database is not available".to_owned(),
        StoreError::Data(_) | StoreError::Fault(_) => "the database refuses".to_owned(),
        StoreError::Schema(_) => chain(error),
    }
}

fn check(
    name: &str,
    needed: bool,
    answer: Result<Result<(), String>, tokio::time::error::Elapsed>,
) -> Check {
    let problem = match answer {
        Ok(Ok(())) => None,
        Ok(Err(problem)) => Some(problem),
        Err(_) => Some(format!("no answer within {CHECK_TIMEOUT:?}")),
    };
    Check {
        name: name.to_owned(),
        problem,
        needed,
    }
}

async fn ready(State(health): State<Health>) -> Response {
    let checks = health.checks().await;
    let ready = checks
        .iter()
        .all(|check| check.problem.is_none() || !check.needed);
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let checks: serde_json::Map<_, _> = checks
        .into_iter()
        .map(|check| {
            (
                check.name,
                check.problem.unwrap_or_else(|| "ok".into()).into(),
            )
        })
        .collect();
    (status, Json(json!({ "ready": ready, "checks": checks }))).into_response()
}

async fn metrics(State(health): State<Health>) -> Response {
    let format = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, format)], health.metrics.render()).into_response()
}
