//! The door's server.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::middleware::from_fn;
use axum::{Extension, Router};
use common::bootstrap::Failure;
use common::config::Config;
use common::server::{self, Certificate, Closed, Entrance, Wire};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::framing::framing;

/// The producer's default address.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// In the extensions of every request: cancelled when the server is to end. An answer that would go
/// on for long ends then.
#[derive(Clone)]
pub(crate) struct Stopping(pub CancellationToken);

/// Listens on `address`.
///
/// # Errors
/// The address cannot be bound; the error says what to do.
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

/// Binds the configured address, and reads the certificate of the door if it has one.
///
/// # Errors
/// The address cannot be bound, or a file of the certificate cannot be used.
pub async fn open(config: &Config) -> Result<Entrance, Failure> {
    let listener = bind(config.listen.unwrap_or(DEFAULT_LISTEN))
        .await
        .map_err(anyhow::Error::from)?;
    let Some(files) = config.producer.tls.identity() else {
        return Ok(listener.into());
    };
    let certificate = Certificate::read(files).await;
    let certificate =
        certificate.map_err(|problem| Failure::Usage(format!("[producer.tls]: {problem}")))?;
    Ok(Entrance::over_tls(listener, certificate))
}

/// Serves `router` at `entrance` until `stop`. Then it takes no more connections, finishes the
/// requests under way, and ends after the last of them, or after `drain`.
///
/// # Errors
/// The listener's address is unknown: it is closed already.
pub async fn serve(
    entrance: impl Into<Entrance>,
    router: Router,
    stop: CancellationToken,
    drain: Duration,
) -> io::Result<()> {
    serve_with(Wire::default(), entrance, router, stop, drain).await
}

/// [`serve`] with settings of its own.
///
/// # Errors
/// See [`serve`].
pub async fn serve_with(
    wire: Wire,
    entrance: impl Into<Entrance>,
    router: Router,
    stop: CancellationToken,
    drain: Duration,
) -> io::Result<()> {
    let entrance = entrance.into();
    tracing::info!(listen.address = %entrance.local_addr()?, "the door is open");
    let router = router
        .layer(Extension(Stopping(stop.clone())))
        .layer(from_fn(framing));
    let Closed { open, cut } = server::serve(wire, entrance, router, stop, drain).await;
    if cut > 0 {
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
