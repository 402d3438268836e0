//! The traffic of a connection, seen from below the HTTP client. It shows whether the connection was used before, and
//! the beginning of an answer whose head the client cannot read to the end.

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

/// The facts of one connection. The client hands them out with the connection's other properties.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// How many answers came over it.
    answers: u64,
    /// The first bytes of the head that came since the last request was begun; interim answers (1xx) are passed over.
    beginning: [u8; BEGINNING],
    /// How many of those there are.
    came: usize,
    /// How many bytes of the current line of an interim answer came.
    line: usize,
    /// Something came since the last request was begun.
    has_come: bool,
    /// The next bytes written belong to the next request.
    is_answered: bool,
    /// Many requests share the connection, and bytes do not show their request.
    is_shared: bool,
}

impl Seen {
    /// The facts of the connection that a request went over; `None` without a connection.
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

    /// Whether the connection has served a request before.
    pub(super) fn has_answered(&self) -> bool {
        self.state().answers > 0
    }

    /// Whether no byte has come for the request under way. Bytes over HTTP/2 may be for others.
    pub(super) fn is_silent(&self) -> bool {
        let state = self.state();
        state.is_shared || state.is_answered || !state.has_come
    }

    /// Whether requests share the connection.
    pub(super) fn is_shared(&self) -> bool {
        self.state().is_shared
    }

    /// The status of an HTTP/1 answer whose head cannot be read. An interim answer (1xx) is not one.
    pub(super) fn status(&self) -> Option<StatusCode> {
        self.state().status().filter(|it| !it.is_informational())
    }

    fn wrote(&self) {
        let mut state = self.state();
        if state.is_answered {
            state.is_answered = false;
            state.has_come = false;
            state.begin();
        }
    }

    fn read(&self, bytes: &[u8]) {
        let mut state = self.state();
        state.has_come = true;
        for &byte in bytes {
            if state.came == BEGINNING && !state.is_interim() {
                return;
            }
            state.take(byte);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A head begins.
    fn begin(&mut self) {
        self.came = 0;
        self.line = 0;
    }

    /// Takes one byte of a head. Behind an interim one the next begins.
    fn take(&mut self, byte: u8) {
        if let Some(free) = self.beginning.get_mut(self.came) {
            *free = byte;
            self.came += 1;
        }
        match byte {
            b'\n' if self.line == 0 && self.is_interim() => self.begin(),
            b'\n' => self.line = 0,
            b'\r' => {}
            _ => self.line += 1,
        }
    }

    fn is_interim(&self) -> bool {
        self.status().is_some_and(|it| it.is_informational())
    }

    fn status(&self) -> Option<StatusCode> {
        let line = self.beginning.get(..self.came)?.strip_prefix(b"HTTP/1.")?;
        let (code, behind) = (line.get(2..5)?, line.get(5)?);
        StatusCode::from_bytes(code)
            .ok()
            .filter(|_| b" \r\n".contains(behind))
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
        assert!(seen.has_answered() && seen.is_silent());
        seen.wrote();
        assert_eq!(seen.status(), None);
        seen.read(b"HTTP/1.0 500 \r\n");
        assert_eq!(seen.status(), Some(StatusCode::INTERNAL_SERVER_ERROR));
        assert!(!seen.is_silent());
    }

    #[test]
    fn interim_answers_are_passed_over_however_they_arrive() {
        let bytes =
            b"HTTP/1.1 100\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 202 \r\nx";
        for size in [1, 7, bytes.len()] {
            let seen = Seen::default();
            seen.wrote();
            for part in bytes.chunks(size) {
                seen.read(part);
            }
            assert_eq!(seen.status(), Some(StatusCode::ACCEPTED), "{size}");
        }
    }

    #[test]
    fn what_is_not_a_final_answer_has_no_status() {
        for bytes in [
            &b"HTTP/1.1 100 Continue\r\n\r\n"[..],
            b"HTTP/1.1 2000 Many",
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
