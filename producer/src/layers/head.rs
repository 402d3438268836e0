//! Bounds on the head of a request. The server has wider bounds of its own, and answers those
//! without a body; these answers tell the caller the problem.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::problem::{Code, Problem};

/// The longest path with query, in bytes.
const URI: usize = 4096;
/// The most bytes of header names and values.
const HEADERS: usize = 16 * 1024;

/// Answers 414 and 431 to heads that are too large.
pub(crate) async fn head(request: Request, next: Next) -> Response {
    let uri = request
        .uri()
        .path_and_query()
        .map_or(0, |uri| uri.as_str().len());
    if uri > URI {
        let detail = format!("expected a path and query of at most {URI} bytes, found {uri}");
        return Problem::new(Code::UriTooLong, detail).into_response();
    }
    let headers: usize = request
        .headers()
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    if headers > HEADERS {
        let detail = format!("expected headers of at most {HEADERS} bytes, found {headers}");
        return Problem::new(Code::HeadersTooLarge, detail).into_response();
    }
    next.run(request).await
}
