//! A receiver's answer to one request.

use std::{convert::Infallible, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::StatusCode,
    response::Response,
};
use futures_util::stream;
use tokio::time::sleep;

use super::connection::Breaker;

/// An answer: a status, or worse.
#[derive(Clone, Debug)]
pub struct Answer {
    status: u16,
    delay: Duration,
    headers: Vec<(&'static str, String)>,
    body: Payload,
    reset: bool,
}

#[derive(Clone, Debug)]
enum Payload {
    Text(String),
    Endless {
        chunk: usize,
        every: Duration,
        chunks: usize,
    },
}

impl Answer {
    /// This status with a short body.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self {
            status,
            delay: Duration::ZERO,
            headers: Vec::new(),
            body: Payload::Text(format!("answered {status}")),
            reset: false,
        }
    }

    /// No answer: the connection is reset once the request was read.
    #[must_use]
    pub fn reset() -> Self {
        Self {
            reset: true,
            ..Self::status(500)
        }
    }

    /// Waits before it answers.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// With this body.
    #[must_use]
    pub fn body(self, text: impl Into<String>) -> Self {
        Self {
            body: Payload::Text(text.into()),
            ..self
        }
    }

    /// With a body of `bytes` bytes, sent as fast as it is read.
    #[must_use]
    pub fn huge(self, bytes: usize) -> Self {
        let chunk = 64 * 1024;
        let chunks = bytes.div_ceil(chunk);
        Self {
            body: Payload::Endless {
                chunk,
                every: Duration::ZERO,
                chunks,
            },
            ..self
        }
    }

    /// With a body that comes byte by byte: headers at once, the end very late.
    #[must_use]
    pub fn drip(self, bytes: usize, every: Duration) -> Self {
        Self {
            body: Payload::Endless {
                chunk: 1,
                every,
                chunks: bytes,
            },
            ..self
        }
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// With `Retry-After` in seconds.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        self.header("retry-after", seconds.to_string())
    }

    /// The status the caller gets to see, if any.
    pub(super) fn sent_status(&self) -> Option<u16> {
        (!self.reset).then_some(self.status)
    }

    pub(super) async fn give(self, breaker: &Breaker) -> Response {
        sleep(self.delay).await;
        if self.reset {
            breaker.reset();
        }
        let mut response = Response::builder()
            .status(StatusCode::from_u16(self.status).unwrap_or(StatusCode::IM_A_TEAPOT));
        for (name, value) in self.headers {
            response = response.header(name, value);
        }
        // An invalid header is a mistake in the test; it shows as an unlikely status.
        response
            .body(self.body.into_body())
            .unwrap_or_else(|error| {
                let mut mistake = Response::new(Body::from(error.to_string()));
                *mistake.status_mut() = StatusCode::IM_A_TEAPOT;
                mistake
            })
    }
}

impl Payload {
    fn into_body(self) -> Body {
        match self {
            Self::Text(text) => Body::from(text),
            Self::Endless {
                chunk,
                every,
                chunks,
            } => {
                let bytes = Bytes::from(vec![b'x'; chunk]);
                Body::from_stream(stream::unfold(0, move |sent| {
                    let bytes = bytes.clone();
                    async move {
                        if sent == chunks {
                            return None;
                        }
                        sleep(every).await;
                        Some((Ok::<_, Infallible>(bytes), sent + 1))
                    }
                }))
            }
        }
    }
}
