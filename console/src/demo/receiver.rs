//! The demo's outside systems: a local HTTP server with one path for each destination.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Serialize;
use tokio::task::JoinHandle;

use super::plan::{Answer, Destination, TIMEOUT, answer};

/// The posts that one destination has seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Seen {
    /// Posts in all.
    pub(super) posts: u64,
    /// Deliveries taken, each once.
    pub(super) taken: u64,
    /// Posts that were answered with an error.
    pub(super) failed: u64,
    /// Posts that were not answered in time.
    pub(super) stalled: u64,
    /// Posts of a delivery that was taken before.
    pub(super) duplicates: u64,
}

#[derive(Debug, Default)]
struct Inbox {
    mended: AtomicBool,
    seen: Mutex<Everything>,
}

#[derive(Debug, Default)]
struct Everything {
    by_destination: BTreeMap<&'static str, Seen>,
    /// Posts of each delivery so far, and whether it was taken.
    deliveries: HashMap<(Destination, String), (u32, bool)>,
}

/// The running receivers. They stop when this is dropped.
pub(super) struct Receivers {
    address: SocketAddr,
    inbox: Arc<Inbox>,
    server: JoinHandle<()>,
}

impl Receivers {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await;
        let listener = listener.context("the receivers found no free port on 127.0.0.1")?;
        let address = listener.local_addr()?;
        let inbox = Arc::new(Inbox::default());
        let router = Router::new()
            .route("/{destination}", post(take))
            .with_state(Arc::clone(&inbox));
        let server = tokio::spawn(async move {
            // Ends only with the process or by being stopped.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            address,
            inbox,
            server,
        })
    }

    /// The URL of a destination.
    pub(super) fn url(&self, destination: Destination) -> String {
        format!("http://{}/{}", self.address, destination.as_str())
    }

    /// Lets every receiver take all posts from now on.
    pub(super) fn mend(&self) {
        self.inbox.mended.store(true, Ordering::Relaxed);
    }

    /// The posts that each destination has seen so far.
    pub(super) fn seen(&self) -> BTreeMap<&'static str, Seen> {
        self.inbox.lock().by_destination.clone()
    }

    /// Deliveries taken so far.
    pub(super) fn taken(&self) -> u64 {
        self.inbox
            .lock()
            .by_destination
            .values()
            .map(|seen| seen.taken)
            .sum()
    }
}

impl Drop for Receivers {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Everything> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a post and returns the answer to it.
    fn look(&self, to: Destination, id: &str, event: &serde_json::Value) -> Answer {
        let mended = self.mended.load(Ordering::Relaxed);
        let mut everything = self.lock();
        let Everything {
            by_destination,
            deliveries,
        } = &mut *everything;
        let (posts, taken) = deliveries.entry((to, id.to_owned())).or_default();
        *posts += 1;
        let answer = answer(to, event, *posts, mended);
        let seen = by_destination.entry(to.as_str()).or_default();
        seen.posts += 1;
        match answer {
            _ if *taken => seen.duplicates += 1,
            Answer::Take => {
                seen.taken += 1;
                *taken = true;
            }
            Answer::Status(_) | Answer::Patience(_) => seen.failed += 1,
            Answer::Stall => seen.stalled += 1,
        }
        answer
    }
}

async fn take(
    State(inbox): State<Arc<Inbox>>,
    Path(path): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let destination = Destination::ALL
        .into_iter()
        .find(|known| known.as_str() == path);
    let id = headers.get("webhook-id").and_then(|id| id.to_str().ok());
    let event = serde_json::from_slice(&body).ok();
    let (Some(destination), Some(id), Some(event)) = (destination, id, event) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    match inbox.look(destination, id, &event) {
        Answer::Take => StatusCode::NO_CONTENT.into_response(),
        Answer::Status(status) => StatusCode::from_u16(status)
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            .into_response(),
        Answer::Patience(seconds) => {
            let wait = [(header::RETRY_AFTER, seconds.to_string())];
            (StatusCode::TOO_MANY_REQUESTS, wait).into_response()
        }
        Answer::Stall => {
            tokio::time::sleep(TIMEOUT + Duration::from_millis(500)).await;
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_delivery_is_taken_once_and_its_repeats_are_seen() {
        let (inbox, event) = (
            Inbox::default(),
            json!({"data": {"payload": {"receiver": "fails-once"}}}),
        );
        let look = || inbox.look(Destination::Billing, "msg_1", &event);
        assert_eq!(
            (look(), look(), look()),
            (Answer::Status(500), Answer::Take, Answer::Take)
        );
        let expected = Seen {
            posts: 3,
            taken: 1,
            failed: 1,
            stalled: 0,
            duplicates: 1,
        };
        assert_eq!(inbox.lock().by_destination.get("billing"), Some(&expected));
    }
}
