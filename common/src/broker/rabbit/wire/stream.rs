//! The filter as a stream: the library's socket.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_rs::traits::Reactor;
use futures_io::{AsyncRead, AsyncWrite};
use lapin::AsyncTcpStream;

use super::BodyLimits;
use super::filter::Filter;

/// How many bytes are read from the socket at once.
const CHUNK: usize = 64 * 1024;

/// A socket of the library, TLS included.
pub(super) type Socket = AsyncTcpStream<<async_rs::Tokio as Reactor>::TcpStream>;

/// A connection to the broker, filtered on its way in.
pub(super) struct Filtered {
    socket: Socket,
    filter: Filter,
    input: Box<[u8]>,
    /// The bounds of the bytes that were read and not filtered yet.
    start: usize,
    end: usize,
}

impl Filtered {
    pub(super) fn new(socket: Socket, limits: Arc<BodyLimits>) -> Self {
        Self {
            socket,
            filter: Filter::new(limits),
            input: vec![0; CHUNK].into_boxed_slice(),
            start: 0,
            end: 0,
        }
    }
}

impl AsyncRead for Filtered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        output: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let Self {
            socket,
            filter,
            input,
            start,
            end,
        } = &mut *self;
        if output.is_empty() {
            return Poll::Ready(Ok(0));
        }
        loop {
            if *start < *end || filter.has_output() {
                let mut rest = input.get(*start..*end).unwrap_or_default();
                let written = filter.pull(&mut rest, output)?;
                *start = *end - rest.len();
                if written > 0 {
                    return Poll::Ready(Ok(written));
                }
            }
            // Everything that was read is used up and has made nothing to hand on yet.
            let read = ready!(Pin::new(&mut *socket).poll_read(context, input))?;
            if read == 0 {
                return Poll::Ready(Ok(0));
            }
            (*start, *end) = (0, read);
        }
    }
}

impl AsyncWrite for Filtered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(context)
    }
}
