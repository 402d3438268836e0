//! The HTTP/1.1 server: bounded heads, bounded patience, bounded connections, and an end that loses no answer.

mod framing;
mod places;
mod timed;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::middleware::from_fn;
use axum::{Extension, Router};
use common::descriptors::{self, connections_within};
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::framing::framing;
use self::places::{Place, Places};
use self::timed::Timed;

/// Where the producer listens unless it is told otherwise.
pub const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// How the server treats connections.
#[derive(Debug, Clone, Copy)]
pub struct Wire {
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

/// In the extensions of every request: cancelled when the server is to end. An answer that would go
/// on for long ends then.
#[derive(Clone)]
pub(crate) struct Stopping(pub CancellationToken);

impl Default for Wire {
    fn default() -> Self {
        Self {
            head_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            head_bytes: 64 * 1024,
            headers: 128,
            connections: 8192,
        }
    }
}

/// Listens on `address`.
///
/// # Errors
/// It cannot be listened on; the error says what to do.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "another program listens there; stop it, or set LONGSHORE_LISTEN to another \
                 address and port"
            }
            io::ErrorKind::AddrNotAvailable => {
                "this machine has no such address; set LONGSHORE_LISTEN to one it has"
            }
            _ => "set LONGSHORE_LISTEN to an address and port that can be listened on",
        };
        let text = format!("cannot listen on {address}: {error}; {hint}");
        io::Error::new(error.kind(), text)
    })
}

/// Serves `router` on `listener` until `stop`; then takes no more connections, finishes the
/// requests that are under way, and ends when they have, or after `drain`.
///
/// # Errors
/// The listener's address cannot be told: it is closed already.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
    drain: Duration,
) -> io::Result<()> {
    serve_with(Wire::default(), listener, router, stop, drain).await
}

/// [`serve`] with settings of its own.
///
/// # Errors
/// See [`serve`].
pub async fn serve_with(
    wire: Wire,
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
    drain: Duration,
) -> io::Result<()> {
    tracing::info!(listen.address = %listener.local_addr()?, "the door is open");
    let router = router
        .layer(Extension(Stopping(stop.clone())))
        .layer(from_fn(framing));
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
        };
        let Some((stream, place)) = accepted else {
            continue;
        };
        let connection = connection(wire, stream, place.clone(), router.clone(), stop.clone());
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
    if tokio::time::timeout(drain, connections.wait())
        .await
        .is_err()
    {
        let cut = connections.len();
        tracing::warn!(
            open,
            cut,
            "the door is closed; some requests did not end in time"
        );
    } else {
        tracing::info!(open, "the door is closed; every request was answered");
    }
    Ok(())
}

/// The next connection, once there is a place for it.
async fn accept(listener: &TcpListener, places: &Places) -> Option<(TcpStream, Place)> {
    let place = places.take().await?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, place)),
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
    stream: TcpStream,
    place: Place,
    router: Router,
    stop: CancellationToken,
) {
    // Answers are small: waiting to fill a packet would only delay them.
    let _ = stream.set_nodelay(true);
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |request| {
        let (place, answer) = (place.clone(), router.call(request));
        async move { place.answering(answer).await }
    });
    let stream = Timed::new(stream, wire.write_timeout);
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
