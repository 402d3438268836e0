//! The HTTP client behind a webhook: pooled connections to where the guard lets them go, and nothing that
//! would lead around it. It follows no redirect and knows no proxy.

mod connector;

use std::error::Error as _;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use common::config::LinkTls;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use self::connector::{Connector, Link};
use super::tap::Seen;
use crate::integrate::guard::Guard;

/// How long a connection that nobody uses is kept.
const IDLE: Duration = Duration::from_secs(30);
/// How often HTTP/2 asks that, and how long it waits for the answer.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum of header lines in an answer. Of one that has more, the status counts alone.
const MAX_HEADERS: usize = 256;
/// Maximum of the headers' size in an HTTP/2 answer, in bytes.
const MAX_HEADER_LIST: u32 = 256 * 1024;

type Pool = legacy::Client<Connector, Full<Bytes>>;

/// Sends requests over HTTP/1.1, or over HTTP/2 where TLS agrees on it.
pub(super) struct Client {
    kept: Pool,
    /// A connection for one request.
    fresh: Pool,
}

/// The answer of a receiver.
pub(super) enum Answer {
    /// An answer whose head could be read.
    Whole(Response<Incoming>),
    /// An answer whose head cannot be read, but for its status.
    StatusOnly(StatusCode),
}

/// An answer, and its cost.
pub(super) struct Answered {
    pub(super) answer: Answer,
    /// The request was sent twice: the first time over a connection that was kept too long.
    pub(super) again: bool,
}

impl Client {
    /// A client that goes where `guard` lets it and waits `patience` for a connection. `tls` is what it trusts and
    /// shows beside the authorities of the machine.
    ///
    /// # Errors
    /// The roots of trust of this machine cannot be read, or a file of `tls` cannot be used.
    pub(super) fn new(guard: Guard, patience: Duration, tls: &LinkTls) -> Result<Self, String> {
        Self::with(guard, patience, tls, |_| {})
    }

    fn with(
        guard: Guard,
        patience: Duration,
        tls: &LinkTls,
        settle: impl FnOnce(&mut legacy::Builder),
    ) -> Result<Self, String> {
        let connector = Connector {
            link: Link::new(guard, patience, tls)?,
            patience,
        };
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        builder
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .http1_max_headers(MAX_HEADERS)
            .http2_max_header_list_size(MAX_HEADER_LIST)
            .http2_keep_alive_interval(PING_EVERY)
            .http2_keep_alive_timeout(PING_TIMEOUT)
            .http2_keep_alive_while_idle(true);
        settle(&mut builder);
        let kept = builder.build(connector.clone());
        let fresh = builder.pool_max_idle_per_host(0).build(connector);
        Ok(Self { kept, fresh })
    }

    /// Sends the request that `request` makes. If the receiver had just closed the connection ([`is_given_up`]), the
    /// request is sent once more over a new one. The receiver may have got the first request, and would know the second
    /// by its `webhook-id`.
    ///
    /// Dropped before the answer is there, it leaves a connection that is not used again.
    ///
    /// # Errors
    /// No answer came.
    pub(super) async fn send(
        &self,
        request: impl Fn() -> Request<Full<Bytes>>,
    ) -> Result<Answered, legacy::Error> {
        let (first, before) = exchange(&self.kept, request()).await;
        if !is_given_up(&first, before) {
            return first.map(|answer| Answered {
                answer,
                again: false,
            });
        }
        tracing::debug!("the connection was given up: sending once more over a new one");
        let (answer, _) = exchange(&self.fresh, request()).await;
        answer.map(|answer| Answered {
            answer,
            again: true,
        })
    }
}

/// The bytes that came over a connection before the answer to a request.
#[derive(Clone, Copy, Default)]
struct Before {
    /// The answer to another request.
    an_answer: bool,
    /// Nothing else, not even a part of this answer.
    nothing_since: bool,
    /// It is HTTP/1, so an answer belongs to this request or to none.
    is_own: bool,
}

/// Sends one request over one connection.
async fn exchange(
    pool: &Pool,
    mut request: Request<Full<Bytes>>,
) -> (Result<Answer, legacy::Error>, Before) {
    let mut under_way = UnderWay {
        capture: capture_connection(&mut request),
        is_over: false,
    };
    let answer = pool.request(request).await;
    under_way.is_over = true;
    let seen = Seen::of(&under_way.capture);
    let before = seen.as_ref().map(|seen| Before {
        an_answer: seen.has_answered(),
        nothing_since: seen.is_silent(),
        is_own: !seen.is_shared(),
    });
    let answer = match (answer, &seen) {
        (Ok(response), seen) => {
            if let Some(seen) = seen {
                seen.answered();
            }
            Ok(Answer::Whole(response))
        }
        (Err(error), Some(seen)) if is_unreadable(&error) => {
            seen.status().map(Answer::StatusOnly).ok_or(error)
        }
        (Err(error), _) => Err(error),
    };
    (answer, before.unwrap_or_default())
}

/// Whether the receiver gave the connection up just when the request went out, so that it is to be sent over
/// another one:
///
/// - a connection that had served a request broke before any byte of an answer came,
/// - such a connection was answered with 408, which a server says of an idle connection (RFC 9110, 15.5.9),
/// - HTTP/2 refused the stream, before anything was done with it (RFC 9113, 8.7).
fn is_given_up(answer: &Result<Answer, legacy::Error>, before: Before) -> bool {
    match answer {
        Ok(Answer::Whole(response)) => {
            before.an_answer && before.is_own && response.status() == StatusCode::REQUEST_TIMEOUT
        }
        Ok(Answer::StatusOnly(_)) => false,
        Err(error) => {
            is_refused(error) || (before.an_answer && before.nothing_since && is_broken_off(error))
        }
    }
}

/// A request that waits for its answer. A connection that let it wait in vain is not used again: a connection silent
/// for one request is silent for the next, and over HTTP/2 all requests share it.
struct UnderWay {
    capture: CaptureConnection,
    is_over: bool,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if !self.is_over
            && let Some(connection) = self.capture.connection_metadata().as_ref()
        {
            connection.poison();
        }
    }
}

/// Whether the head of the answer has more lines or bytes than are read, or a line that is not a header.
fn is_unreadable(error: &legacy::Error) -> bool {
    causes(error).any(|cause| {
        cause
            .downcast_ref::<hyper::Error>()
            .is_some_and(hyper::Error::is_parse)
    })
}

/// Whether HTTP/2 refused the stream.
fn is_refused(error: &legacy::Error) -> bool {
    causes(error).any(|cause| {
        cause
            .downcast_ref::<h2::Error>()
            .is_some_and(|error| error.reason() == Some(h2::Reason::REFUSED_STREAM))
    })
}

/// Whether the connection itself ended, rather than sending a bad answer.
fn is_broken_off(error: &legacy::Error) -> bool {
    !error.is_connect()
        && causes(error).any(|cause| {
            if let Some(error) = cause.downcast_ref::<hyper::Error>() {
                // A timeout within the client is that of HTTP/2's pings.
                return error.is_incomplete_message()
                    || error.is_closed()
                    || error.is_canceled()
                    || error.is_timeout()
                    || error.is_body_write_aborted();
            }
            if let Some(error) = cause.downcast_ref::<h2::Error>() {
                return error.is_go_away() || error.is_io();
            }
            cause.is::<io::Error>()
        })
}

/// The causes of an error, outermost first.
fn causes(error: &legacy::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}

#[cfg(test)]
mod tests;
