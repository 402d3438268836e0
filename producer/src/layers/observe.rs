//! Request id, span, metrics and one log line. Bodies, queries and headers are in none of them.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use common::telemetry::{metrics, trace};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::admit::trace_context;
use crate::paths;
use crate::problem::Code;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The label of every path that is not a route: the number of such paths has no limit.
const NO_ROUTE: &str = "(none)";

/// Gives the request an id, or takes its own, and records how it was answered.
pub(crate) async fn observe(request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let id = request_id(&request);
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .and_then(|path| paths::ALL.into_iter().find(|route| *route == path.as_str()))
        .unwrap_or(NO_ROUTE);
    let served = trace::serving(request.method().as_str(), route);
    trace::link(&trace_context(request.headers()), &served);
    let span = tracing::info_span!(
        parent: &served,
        "http.request",
        http.request.method = %request.method(),
        http.route = route,
        request.id = id.to_str().unwrap_or_default(),
        caller.name = tracing::field::Empty,
        caller.key = tracing::field::Empty,
    );
    let handled = next.run(request).instrument(span.clone());
    let mut response = handled.instrument(served.clone()).await;

    let status = response.status();
    trace::answered(&served, status.as_u16(), status.is_server_error());
    let took = begun.elapsed();
    metrics::http_answered(route, status.as_u16(), took);
    let code = response
        .extensions()
        .get::<Code>()
        .map(|code| code.as_str());
    span.in_scope(|| {
        let (status, took_ms) = (status.as_u16(), took.as_secs_f64() * 1000.0);
        if status >= 500 {
            tracing::warn!(
                http.response.status_code = status,
                problem.code = code,
                took_ms,
                "answered"
            );
        } else {
            tracing::debug!(
                http.response.status_code = status,
                problem.code = code,
                took_ms,
                "answered"
            );
        }
    });
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// The request's own id if it is one that can be written anywhere, else a new one.
fn request_id(request: &Request) -> HeaderValue {
    let fits = |value: &&HeaderValue| {
        (1..=128).contains(&value.len())
            && value
                .as_bytes()
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    let own = request.headers().get(REQUEST_ID).filter(fits).cloned();
    own.unwrap_or_else(|| {
        HeaderValue::from_str(&Uuid::now_v7().to_string())
            .unwrap_or_else(|_| HeaderValue::from_static("-"))
    })
}
