//! The HTTP/1.1 server of every program, in the clear or over TLS: bounded heads, bounded patience, bounded connections,
//! and an end that loses no answer.

mod certificate;
mod places;
mod replaceable;
mod timed;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::certificate::Certificate;
use self::places::{Place, Places};
pub use self::replaceable::Replaceable;
use self::timed::Timed;
use crate::descriptors::{self, connections_within};

/// How the server treats connections.
#[derive(Debug, Clone, Copy)]
pub struct Wire {
    /// How long the handshake of TLS may take. The connection counts, and is idle, meanwhile.
    pub handshake_timeout: Duration,
    /// How long a client may take to send the head of a request, and to begin the next one.
    pub head_timeout: Duration,
    /// How long an answer may wait for a client that does not read it.
    pub write_timeout: Duration,
    /// The most bytes of a request's head; beyond it 431 without a body.
    pub head_bytes: usize,
    /// The most headers of a request; beyond it 431 without a body.
    pub headers: usize,
    /// Maximum of connections, and never more than there are descriptors for. Beyond it the one that has been
    /// idle for longest is closed; where none is idle, more wait to be accepted.
    pub connections: usize,
}

/// The other end of a connection; in the extensions of every request.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// How a server ended.
#[derive(Debug, Clone, Copy)]
pub struct Closed {
    /// The connections that were open at the stop signal.
    pub open: usize,
    /// Those of them that had not ended in time.
    pub cut: usize,
}

impl Default for Wire {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            head_bytes: 64 * 1024,
            headers: 128,
            connections: 8192,
        }
    }
}

/// Where connections come in.
pub struct Entrance {
    listener: TcpListener,
    /// Connections are in the clear without it.
    certificate: Option<Certificate>,
}

impl From<TcpListener> for Entrance {
    fn from(listener: TcpListener) -> Self {
        Self {
            listener,
            certificate: None,
        }
    }
}

impl Entrance {
    /// An entrance for TLS alone.
    pub fn over_tls(listener: TcpListener, certificate: Certificate) -> Self {
        Self {
            listener,
            certificate: Some(certificate),
        }
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// The listener is closed already.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Serves `router` at `entrance` until `stop`. Then it takes no more connections, finishes the
/// requests under way, and ends after the last of them, or after `drain`.
pub async fn serve(
    wire: Wire,
    entrance: Entrance,
    router: Router,
    stop: CancellationToken,
    drain: Duration,
) -> Closed {
    let Entrance {
        listener,
        certificate,
    } = entrance;
    let acceptor = certificate.as_ref().map(Certificate::acceptor);
    let mut keeping = std::pin::pin!(async {
        match certificate {
            Some(certificate) => certificate.keep().await,
            None => std::future::pending().await,
        }
    });
    let connections = TaskTracker::new();
    let descriptors = connections_within(descriptors::raise());
    let places = Places::new(wire.connections.min(descriptors));
    // Cancelled when this function ends, however it ends: no connection outlives it.
    let over = CancellationToken::new();
    let _end = over.clone().drop_guard();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &places) => accepted,
            never = &mut keeping => match never {},
        };
        let Some((stream, peer, place)) = accepted else {
            continue;
        };
        let connection = connection(
            wire,
            (stream, peer),
            acceptor.clone(),
            place.clone(),
            router.clone(),
            stop.clone(),
        );
        let over = over.clone();
        connections.spawn(async move {
            tokio::select! {
                () = connection => {}
                () = place.evicted() => tracing::debug!("an idle connection made room"),
                () = over.cancelled() => {}
            }
        });
    }
    drop(listener);
    connections.close();
    let open = connections.len();
    let drained = tokio::time::timeout(drain, connections.wait()).await;
    let cut = if drained.is_err() {
        connections.len()
    } else {
        0
    };
    Closed { open, cut }
}

/// The next connection, once there is a place for it.
async fn accept(listener: &TcpListener, places: &Places) -> Option<(TcpStream, Peer, Place)> {
    let place = places.take().await?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, Peer(peer), place)),
        Err(error) => {
            // A connection that was gone again is nothing; no file descriptors left needs time.
            if !matches!(
                error.kind(),
                io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionRefused
            ) {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            None
        }
    }
}

/// Serves one connection to its end, or, after `stop`, to the end of its request.
async fn connection(
    wire: Wire,
    (stream, peer): (TcpStream, Peer),
    acceptor: Option<TlsAcceptor>,
    place: Place,
    router: Router,
    stop: CancellationToken,
) {
    // Answers are small: waiting to fill a packet would only delay them.
    let _ = stream.set_nodelay(true);
    let stream = Timed::new(stream, wire.write_timeout);
    let Some(acceptor) = acceptor else {
        return requests(wire, (stream, peer), place, router, stop).await;
    };
    let handshake = tokio::time::timeout(wire.handshake_timeout, acceptor.accept(stream));
    let shaken = tokio::select! {
        shaken = handshake => shaken,
        () = stop.cancelled() => return,
    };
    match shaken {
        Ok(Ok(stream)) => requests(wire, (stream, peer), place, router, stop).await,
        Ok(Err(error)) => tracing::debug!(%error, "a handshake failed"),
        Err(_) => tracing::debug!("a handshake did not end in time"),
    }
}

/// Serves the requests of one connection.
async fn requests(
    wire: Wire,
    (stream, peer): (impl AsyncRead + AsyncWrite + Unpin + 'static, Peer),
    place: Place,
    router: Router,
    stop: CancellationToken,
) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        let (place, answer) = (place.clone(), router.call(request));
        async move { place.answering(answer).await }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(wire.head_timeout)
        .max_buf_size(wire.head_bytes.max(8192))
        .max_headers(wire.headers)
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = std::pin::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        // Clients go away, time out or speak something else; none of it is ours to mend.
        tracing::debug!(%error, "a connection ended early");
    }
}
