//! Bounds on the API: the number of concurrent requests, and the duration of each.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tokio::time::Instant;

use crate::body::Deadline;
use crate::door::Door;
use crate::problem::{Code, Problem};

/// Answers 503 to requests beyond the limit, and to requests that take too long.
pub(crate) async fn bound(State(door): State<Door>, mut request: Request, next: Next) -> Response {
    let Ok(_place) = Arc::clone(&door.requests).try_acquire_owned() else {
        return Problem::new(
            Code::Overloaded,
            "more requests are under way than can be done now; nothing was taken",
        )
        .retry_after(1)
        .into_response();
    };
    let deadline = Instant::now() + door.config.producer.request_timeout;
    // Reading the body ends at the same moment, with an answer of its own.
    request.extensions_mut().insert(Deadline(deadline));
    match tokio::time::timeout_at(deadline, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(
            Code::TimedOut,
            "the answer took too long; the event may have been taken: send it again with the \
             same Idempotency-Key (or the same `source` and `id`) and it is stored once",
        )
        .retry_after(2)
        .into_response(),
    }
}
