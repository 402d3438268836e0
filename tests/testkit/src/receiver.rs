//! The outside system: an HTTP receiver that answers by a plan.

pub mod answer;
mod connection;
mod front;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail};
use axum::{
    Router,
    body::Bytes,
    extract::{ConnectInfo, State},
    http::{HeaderMap, Method, Uri},
    response::Response,
};
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

pub use self::answer::Answer;
use self::connection::{Breakable, Breaker};
pub use self::front::TlsFront;
use crate::{
    pki::{Authority, Leaf},
    wait::eventually,
};

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// When its body was complete.
    pub at: Instant,
    /// Its method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// The status it was answered with; `None` while it waits, or if the connection went away.
    pub answered: Option<u16>,
}

impl Request {
    /// A header as text; empty if there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// The id of the delivery, the same for all its attempts.
    #[must_use]
    pub fn webhook_id(&self) -> &str {
        self.header("webhook-id")
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// If it is not JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body).context("the request's body is no JSON")
    }

    fn succeeded(&self) -> bool {
        self.answered
            .is_some_and(|status| (200..300).contains(&status))
    }
}

/// Which attempt a plan is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The request.
    pub request: &'a Request,
    /// How many requests with this `webhook-id` came before it.
    pub earlier: usize,
    /// How many requests of any kind came before it.
    pub total: usize,
}

type Plan = dyn Fn(Call<'_>) -> Answer + Send + Sync;

/// The requests so far.
#[derive(Default)]
struct Records {
    requests: Vec<Request>,
    /// Their number by `webhook-id`: a look through all of them for each request would slow large tests down.
    by_id: HashMap<String, usize>,
}

/// The requests so far, and the plan of the answers.
struct Shared {
    records: Mutex<Records>,
    plan: Mutex<Arc<Plan>>,
    holding: AtomicBool,
    released: Notify,
}

/// A receiver on loopback.
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: Option<(JoinHandle<()>, CancellationToken)>,
}

impl Receiver {
    /// Starts a receiver that answers 200 to everything.
    ///
    /// # Errors
    /// If no port can be bound.
    pub async fn start() -> Result<Self> {
        let shared = Arc::new(Shared {
            records: Mutex::default(),
            plan: Mutex::new(Arc::new(|_| Answer::status(200))),
            holding: AtomicBool::new(false),
            released: Notify::new(),
        });
        // Not from the system's ephemeral range: it has to get the same port again after `down`.
        let address = SocketAddr::from(([127, 0, 0, 1], crate::port::free()?));
        let mut receiver = Self {
            address,
            shared,
            serving: None,
        };
        receiver.up().await?;
        Ok(receiver)
    }

    /// The URL for a webhook destination.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Lets this receiver be reached over TLS, too, by a server that shows this certificate. With `clients`, callers
    /// have to show one of that authority.
    ///
    /// # Errors
    /// If no port can be bound, or the certificate cannot be used.
    pub async fn over_tls(&self, leaf: &Leaf, clients: Option<&Authority>) -> Result<TlsFront> {
        TlsFront::start(self.address, leaf, clients).await
    }

    /// Answers every request from now on by `plan`.
    pub fn plan(&self, plan: impl Fn(Call<'_>) -> Answer + Send + Sync + 'static) {
        *lock(&self.shared.plan) = Arc::new(plan);
    }

    /// Answers every request from now on alike.
    pub fn always(&self, answer: Answer) {
        self.plan(move |_| answer.clone());
    }

    /// Answers the first requests of every `webhook-id` with `first`, one after another, and all
    /// later ones with 200.
    pub fn first(&self, first: impl IntoIterator<Item = Answer>) {
        let first: Vec<Answer> = first.into_iter().collect();
        self.plan(move |call| {
            first
                .get(call.earlier)
                .cloned()
                .unwrap_or_else(|| Answer::status(200))
        });
    }

    /// Takes requests but answers none until [`release`](Self::release).
    pub fn hold(&self) {
        self.shared.holding.store(true, Ordering::SeqCst);
    }

    /// Answers the held requests, and all from now on.
    pub fn release(&self) {
        self.shared.holding.store(false, Ordering::SeqCst);
        self.shared.released.notify_waiters();
    }

    /// Closes the port and resets every connection: the outside system is down.
    pub async fn down(&mut self) {
        if let Some((serving, breaker)) = self.serving.take() {
            breaker.cancel();
            serving.abort();
            // The port is closed when the task is gone, not at its stop signal.
            let _ = serving.await;
        }
    }

    /// Opens the same port again.
    ///
    /// # Errors
    /// If somebody else has taken it.
    pub async fn up(&mut self) -> Result<()> {
        if self.serving.is_some() {
            return Ok(());
        }
        let listener = TcpListener::bind(self.address)
            .await
            .with_context(|| format!("binding the receiver to {}", self.address))?;
        let breaker = CancellationToken::new();
        let listener = Breakable::new(listener, breaker.clone());
        let app = Router::new()
            .fallback(take)
            // Webhooks larger than axum's default of 2 MB must come through to be measured.
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(Arc::clone(&self.shared))
            .into_make_service_with_connect_info::<Breaker>();
        let serving = tokio::spawn(async move {
            // Serving a listener that never fails does not end by itself.
            let _ = axum::serve(listener, app).await;
        });
        self.serving = Some((serving, breaker));
        Ok(())
    }

    /// All requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.records).requests.clone()
    }

    /// How many requests came so far.
    #[must_use]
    pub fn count(&self) -> usize {
        lock(&self.shared.records).requests.len()
    }

    /// The requests that were answered with a 2xx, counted by `webhook-id`.
    #[must_use]
    pub fn successes(&self) -> HashMap<String, usize> {
        let mut counts = HashMap::new();
        let records = lock(&self.shared.records);
        for request in records.requests.iter().filter(|it| it.succeeded()) {
            *counts.entry(request.webhook_id().to_owned()).or_default() += 1;
        }
        counts
    }

    /// All requests, counted by `webhook-id`.
    #[must_use]
    pub fn attempts(&self) -> HashMap<String, usize> {
        lock(&self.shared.records).by_id.clone()
    }

    /// The requests with this `webhook-id`, oldest first.
    #[must_use]
    pub fn requests_of(&self, webhook_id: &str) -> Vec<Request> {
        self.requests()
            .into_iter()
            .filter(|request| request.webhook_id() == webhook_id)
            .collect()
    }

    /// Waits until at least `count` requests came and gives all.
    ///
    /// # Errors
    /// If fewer come within the time.
    pub async fn await_count(&self, count: usize, within: Duration) -> Result<Vec<Request>> {
        eventually(
            within,
            format!("{count} requests at the receiver"),
            || async {
                let requests = self.requests();
                if requests.len() < count {
                    bail!("{} requests", requests.len());
                }
                Ok(requests)
            },
        )
        .await
    }

    /// Waits until at least `count` different `webhook-id`s were answered with a 2xx.
    ///
    /// # Errors
    /// If fewer are within the time.
    pub async fn await_successes(&self, count: usize, within: Duration) -> Result<()> {
        eventually(
            within,
            format!("{count} deliveries at the receiver"),
            || async {
                let successes = self.successes().len();
                if successes < count {
                    bail!("{successes} deliveries")
                } else {
                    Ok(())
                }
            },
        )
        .await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some((serving, breaker)) = &self.serving {
            breaker.cancel();
            serving.abort();
        }
    }
}

async fn take(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(breaker): ConnectInfo<Breaker>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let request = Request {
        at: Instant::now(),
        method,
        path: uri.to_string(),
        headers,
        body,
        answered: None,
    };
    let plan = Arc::clone(&lock(&shared.plan));
    let (answer, index) = {
        let mut records = lock(&shared.records);
        let Records { requests, by_id } = &mut *records;
        let same = by_id.entry(request.webhook_id().to_owned()).or_default();
        let answer = plan(Call {
            request: &request,
            earlier: *same,
            total: requests.len(),
        });
        *same += 1;
        requests.push(request);
        (answer, requests.len() - 1)
    };
    while shared.holding.load(Ordering::SeqCst) {
        // Bounded, as a release between the look and the wait would otherwise be missed.
        let _ = tokio::time::timeout(Duration::from_millis(50), shared.released.notified()).await;
    }
    let status = answer.sent_status();
    let response = answer.give(&breaker).await;
    // Not before: a caller that goes away while it waits drops this future and got no answer.
    lock(&shared.records).requests[index].answered = status;
    response
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A plan that panicked fails its own request; the records are still sound.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
