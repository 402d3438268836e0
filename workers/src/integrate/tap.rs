//! What went over a connection, seen from below the HTTP client: whether it was used before, and how an answer
//! began that the client cannot read to the end of its head.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use http::{Extensions, StatusCode};
use hyper_util::client::legacy::connect::{CaptureConnection, Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How many bytes of an answer's beginning are kept: enough for `HTTP/1.1 200 `.
const BEGINNING: usize = 16;

/// What is known of one connection. The client hands it out with the connection's other properties.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// How many answers came over it.
    answers: u64,
    /// The first bytes of what came since the last request was begun.
    beginning: [u8; BEGINNING],
    /// How many of those there are.
    came: usize,
    /// What is written next belongs to the next request.
    is_answered: bool,
    /// Many requests share it, and what comes does not tell for which.
    is_shared: bool,
}

impl Seen {
    /// What is known of the connection that a request went over; `None` where there was none.
    pub(super) fn of(capture: &CaptureConnection) -> Option<Self> {
        let mut extras = Extensions::new();
        let connection = capture.connection_metadata();
        connection.as_ref()?.get_extras(&mut extras);
        let seen: Self = extras.remove()?;
        seen.state().is_shared = connection.as_ref()?.is_negotiated_h2();
        Some(seen)
    }

    /// The head of an answer was read.
    pub(super) fn answered(&self) {
        let mut state = self.state();
        state.answers += 1;
        state.is_answered = true;
    }

    /// Whether the connection has served a request before, and nothing has come since. What comes over HTTP/2 may be
    /// for other requests.
    pub(super) fn is_silent_since_an_answer(&self) -> bool {
        let state = self.state();
        state.answers > 0 && (state.is_shared || state.is_answered || state.came == 0)
    }

    /// The status of an HTTP/1 answer whose head cannot be read. An interim answer (1xx) is not one.
    pub(super) fn status(&self) -> Option<StatusCode> {
        let state = self.state();
        let line = state.beginning[..state.came].strip_prefix(b"HTTP/1.")?;
        let code = line.get(2..5)?;
        StatusCode::from_bytes(code)
            .ok()
            .filter(|status| !status.is_informational())
    }

    fn wrote(&self) {
        let mut state = self.state();
        if state.is_answered {
            state.is_answered = false;
            state.came = 0;
        }
    }

    fn read(&self, bytes: &[u8]) {
        let mut state = self.state();
        let came = state.came;
        let count = bytes.len().min(BEGINNING - came);
        state.beginning[came..came + count].copy_from_slice(&bytes[..count]);
        state.came += count;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that is listened in on.
pub(super) struct Tap<T> {
    io: TokioIo<T>,
    seen: Seen,
}

impl<T> Tap<T> {
    pub(super) fn new(io: T) -> Self {
        Self {
            io: TokioIo::new(io),
            seen: Seen::default(),
        }
    }
}

impl<T: Connection> Connection for Tap<T> {
    fn connected(&self) -> Connected {
        self.io.inner().connected().extra(self.seen.clone())
    }
}

impl<T: hyper::rt::Read + Unpin> AsyncRead for Tap<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buffer);
        let came = &buffer.filled()[before..];
        if !came.is_empty() {
            self.seen.read(came);
        }
        polled
    }
}

impl<T: hyper::rt::Write + Unpin> AsyncWrite for Tap<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.seen.wrote();
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.seen.wrote();
        Pin::new(&mut self.io).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_read_off_the_first_bytes_that_follow_a_request() {
        let seen = Seen::default();
        seen.wrote();
        seen.read(b"HT");
        assert_eq!(seen.status(), None);
        seen.read(b"TP/1.1 204 No Content\r\nx: y\r\n");
        assert_eq!(seen.status(), Some(StatusCode::NO_CONTENT));
        seen.answered();
        seen.read(b"the rest of a body");
        assert!(seen.is_silent_since_an_answer());
        seen.wrote();
        assert_eq!(seen.status(), None);
        seen.read(b"HTTP/1.0 500 \r\n");
        assert_eq!(seen.status(), Some(StatusCode::INTERNAL_SERVER_ERROR));
        assert!(!seen.is_silent_since_an_answer());
    }

    #[test]
    fn what_is_not_a_final_answer_has_no_status() {
        for bytes in [
            &b"HTTP/1.1 100 Continue"[..],
            b"HTTP/2 200 ",
            b"SSH-2.0-OpenSSH_9.2",
        ] {
            let seen = Seen::default();
            seen.wrote();
            seen.read(bytes);
            assert_eq!(seen.status(), None);
        }
    }
}
