use std::{
    collections::HashSet,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{
    Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinHandle, time::Instant};

use crate::{Events, Stamps, progress::Progress};

/// How a receiver treats its callers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    /// It answers every POST with 204, at once.
    #[default]
    Takes,
    /// It answers every POST with 503, at once.
    Fails,
    /// It never answers.
    Stalls,
    /// It answers every POST with 204, after this long.
    Slow(Duration),
}

/// A webhook receiver on a free port of 127.0.0.1 that answers every POST with 204 and counts the requests, unless it has
/// another [`Manner`].
///
/// It stops when it is dropped.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    inbox: Arc<Inbox>,
    server: JoinHandle<()>,
}

#[derive(Debug)]
struct Inbox {
    posts: Progress,
    distinct: Progress,
    seen: Mutex<Seen>,
    arrivals: Option<Arc<Stamps>>,
    manner: Manner,
}

#[derive(Debug, Default)]
struct Seen {
    ids: HashSet<Box<[u8]>>,
    first_at: Option<Instant>,
    last_at: Option<Instant>,
}

impl Receiver {
    /// Starts a receiver. With `arrivals`, each event's number is marked there as it arrives. That costs a search of
    /// the body, so leave it out where only the rate matters.
    ///
    /// # Errors
    /// When no port can be listened on.
    pub async fn start(arrivals: Option<Arc<Stamps>>) -> Result<Self> {
        Self::with_manner(Manner::Takes, arrivals).await
    }

    /// Starts a receiver that treats its callers so; see [`Receiver::start`].
    ///
    /// # Errors
    /// When no port can be listened on.
    pub async fn with_manner(manner: Manner, arrivals: Option<Arc<Stamps>>) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .context("the receiver found no free port on 127.0.0.1")?;
        let address = listener.local_addr()?;
        let inbox = Arc::new(Inbox {
            posts: Progress::default(),
            distinct: Progress::default(),
            seen: Mutex::default(),
            arrivals,
            manner,
        });
        let server = tokio::spawn(accept(listener, Arc::clone(&inbox)));
        Ok(Self {
            address,
            inbox,
            server,
        })
    }

    /// Where it listens: `http://127.0.0.1:PORT/hook`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// POSTs answered, repeats included.
    #[must_use]
    pub fn posts(&self) -> u64 {
        self.inbox.posts.count()
    }

    /// Distinct `webhook-id`s seen.
    #[must_use]
    pub fn distinct(&self) -> u64 {
        self.inbox.distinct.count()
    }

    /// From the arrival of the first new `webhook-id` to the last, once there are two.
    #[must_use]
    pub fn span(&self) -> Option<Duration> {
        let seen = self
            .inbox
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Some(seen.last_at?.duration_since(seen.first_at?))
    }

    /// When the last new `webhook-id` arrived.
    #[must_use]
    pub fn last_at(&self) -> Option<std::time::Instant> {
        let seen = self
            .inbox
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        seen.last_at.map(Instant::into_std)
    }

    /// Waits until `n` distinct `webhook-id`s were seen.
    ///
    /// # Errors
    /// When no new one arrives for `patience`.
    pub async fn wait(&self, n: u64, patience: Duration) -> Result<()> {
        let wait = self.inbox.distinct.wait(n, patience).await;
        wait.context("the receiver waits for deliveries")
    }
}

impl Receiver {
    /// Stops, and closes the port before it returns.
    pub async fn stop(mut self) {
        self.server.abort();
        // An aborted task ends with an error that says just that.
        let _ = (&mut self.server).await;
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Serves every connection; all of them end with this task.
async fn accept(listener: TcpListener, inbox: Arc<Inbox>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // Too many open files and the like: the caller that waits for deliveries will report that none arrive.
                let Ok((socket, _)) = accepted else { continue };
                // Without it small answers wait for the other side's delayed ack; a socket that refuses is only slower.
                let _ = socket.set_nodelay(true);
                let inbox = Arc::clone(&inbox);
                connections.spawn(async move {
                    let service = service_fn(|request| answer(&inbox, request));
                    // A caller that hangs up in the middle of a request has no answer to miss.
                    let _ = http1::Builder::new()
                        .pipeline_flush(true)
                        .serve_connection(TokioIo::new(socket), service)
                        .await;
                });
            }
            Some(_ended) = connections.join_next() => {}
        }
    }
}

async fn answer(
    inbox: &Inbox,
    request: Request<Incoming>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let mut response = Response::new(Empty::new());
    match body.collect().await {
        Ok(body) => {
            inbox.take(
                head.headers
                    .get("webhook-id")
                    .map(http::HeaderValue::as_bytes),
                &body.to_bytes(),
            );
            *response.status_mut() = match inbox.manner {
                Manner::Fails => StatusCode::SERVICE_UNAVAILABLE,
                Manner::Takes | Manner::Slow(_) | Manner::Stalls => StatusCode::NO_CONTENT,
            };
            match inbox.manner {
                Manner::Takes | Manner::Fails => {}
                Manner::Slow(time) => tokio::time::sleep(time).await,
                Manner::Stalls => std::future::pending().await,
            }
        }
        Err(_cut_off) => *response.status_mut() = StatusCode::BAD_REQUEST,
    }
    Ok(response)
}

impl Inbox {
    fn take(&self, webhook_id: Option<&[u8]>, body: &[u8]) {
        self.posts.add(1);
        if let Some(arrivals) = &self.arrivals
            && let Some(seq) = Events::sequence(body)
        {
            arrivals.mark(seq);
        }
        let Some(webhook_id) = webhook_id else { return };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.ids.insert(webhook_id.into()) {
            let now = Instant::now();
            seen.first_at.get_or_insert(now);
            seen.last_at = Some(now);
            drop(seen);
            self.distinct.add(1);
        }
    }
}
