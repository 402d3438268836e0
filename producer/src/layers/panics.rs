//! The answer after a panic.

use std::panic::AssertUnwindSafe;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;

use crate::problem::{Code, Problem};

/// Answers 500 after a panic of the handler. The panic's message goes to the log only, by its hook.
pub(crate) async fn answer_panics(request: Request, next: Next) -> Response {
    // The unfinished work is dropped with the request, and its state is never used again.
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    answered.unwrap_or_else(|_| {
        let detail = "a fault of ours; the event may or may not have been taken";
        Problem::new(Code::Internal, detail).into_response()
    })
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::{Body, to_bytes};
    use axum::http::StatusCode;
    use axum::middleware::from_fn;
    use axum::routing::get;
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_answered_and_its_words_are_told_to_nobody() {
        async fn fall() -> StatusCode {
            panic!("hunter2")
        }
        let router = Router::new()
            .route("/", get(fall))
            .layer(from_fn(answer_panics));
        let answer = router.oneshot(Request::new(Body::empty())).await.unwrap();
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = to_bytes(answer.into_body(), 4096).await.unwrap();
        let text = String::from_utf8_lossy(&body);
        assert!(
            text.contains("\"internal\"") && !text.contains("hunter2"),
            "{text}"
        );
    }
}
