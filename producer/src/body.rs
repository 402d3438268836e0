//! Reading request bodies within bounds of size, of time, and of memory for all bodies together.

use std::sync::Arc;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use futures_util::StreamExt as _;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::door::Door;
use crate::problem::{Code, Problem};

/// When a request has to be answered; set by the deadline layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(pub Instant);

/// A body, whole. It counts against the memory for bodies until it is dropped.
pub(crate) struct Whole {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Their place in memory, to be kept as long as they are.
    pub room: Option<OwnedSemaphorePermit>,
}

/// Reads a body of at most `limit` bytes before the request's deadline.
///
/// # Errors
/// It is too large, too slow or breaks off, or no memory is free for it now.
pub(crate) async fn read(
    door: &Door,
    parts: &axum::http::request::Parts,
    body: Body,
    limit: usize,
) -> Result<Whole, Problem> {
    let announced = content_length(&parts.headers);
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    let reading = collect(door, body, limit, announced.unwrap_or_default());
    match parts.extensions.get::<Deadline>() {
        Some(Deadline(at)) => tokio::time::timeout_at(*at, reading)
            .await
            .unwrap_or_else(|_| Err(too_slow())),
        None => reading.await,
    }
}

async fn collect(
    door: &Door,
    body: Body,
    limit: usize,
    announced: usize,
) -> Result<Whole, Problem> {
    // An announcement alone reserves little memory: beyond this the buffer grows with the bytes
    // that arrive.
    let mut bytes = Vec::with_capacity(announced.min(16 * 1024));
    let mut room: Option<OwnedSemaphorePermit> = None;
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| {
            Problem::new(
                Code::MalformedRequest,
                "expected a whole body, found one that breaks off or is not framed as HTTP/1.1",
            )
        })?;
        if bytes.len() + chunk.len() > limit {
            return Err(too_large(limit));
        }
        let permits = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
        let more = Arc::clone(&door.memory)
            .try_acquire_many_owned(permits)
            .map_err(|_| {
                Problem::new(
                    Code::Overloaded,
                    "the bodies on their way in take all the memory there is for them",
                )
                .retry_after(1)
            })?;
        match &mut room {
            Some(room) => room.merge(more),
            None => room = Some(more),
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Whole { bytes, room })
}

fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn too_large(limit: usize) -> Problem {
    Problem::new(
        Code::TooLarge,
        format!("expected a body of at most {limit} bytes, found a larger one"),
    )
}

fn too_slow() -> Problem {
    Problem::new(
        Code::RequestTimeout,
        "the body did not arrive in time; nothing was taken",
    )
}
