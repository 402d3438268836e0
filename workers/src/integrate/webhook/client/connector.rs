//! Connections of the client, TLS included.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use common::config::LinkTls;
use common::tls;
use futures_util::future::BoxFuture;
use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::{BoxError, Service};

use crate::integrate::guard::Guard;
use crate::integrate::webhook::tap::Tap;

/// How long a connection may be silent before TCP asks whether the other side is still there.
const KEEPALIVE: Duration = Duration::from_secs(15);

type Connected = TokioIo<Tap<MaybeHttpsStream<TokioIo<TcpStream>>>>;

/// Connects, TLS included, within a time: a client may go on to connect for later requests when nobody
/// waits for it any more.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) link: Link,
    pub(super) patience: Duration,
}

/// What a connection trusts and shows.
#[derive(Clone)]
pub(super) enum Link {
    /// It trusts the authorities of the machine.
    Machine(HttpsConnector<HttpConnector<Guard>>),
    /// It goes by files. They are read for each connection, so that a renewed certificate counts from the next one on.
    Files {
        http: HttpConnector<Guard>,
        tls: Arc<LinkTls>,
    },
}

impl Link {
    /// # Errors
    /// The roots of trust of this machine cannot be read, or a file cannot be used.
    pub(super) fn new(guard: Guard, patience: Duration, tls: &LinkTls) -> Result<Self, String> {
        let mut http = HttpConnector::new_with_resolver(guard);
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_keepalive(Some(KEEPALIVE));
        http.set_connect_timeout(Some(patience));
        if tls.is_set() {
            tls::client(tls)?;
            let tls = Arc::new(tls.clone());
            return Ok(Self::Files { http, tls });
        }
        let https = HttpsConnectorBuilder::new()
            .try_with_platform_verifier()
            .map_err(|error| error.to_string())?
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(http);
        Ok(Self::Machine(https))
    }
}

/// A connector that goes by these files.
fn by_files(
    http: &HttpConnector<Guard>,
    tls: &LinkTls,
) -> Result<HttpsConnector<HttpConnector<Guard>>, String> {
    let config = Arc::unwrap_or_clone(tls::client(tls)?);
    Ok(HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_or_http()
        .enable_all_versions()
        .wrap_connector(http.clone()))
}

impl Service<Uri> for Connector {
    type Response = Connected;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        match &mut self.link {
            Link::Machine(https) => https.poll_ready(cx),
            Link::Files { http, .. } => http.poll_ready(cx).map_err(Into::into),
        }
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = match &mut self.link {
            Link::Machine(https) => Ok(https.call(uri)),
            Link::Files { http, tls } => by_files(http, tls).map(|mut https| https.call(uri)),
        };
        let patience = self.patience;
        Box::pin(async move {
            let connected = tokio::time::timeout(patience, connecting?).await;
            let connected = connected.unwrap_or_else(|_| {
                Err(format!("expected a connection within {patience:?}, found none").into())
            })?;
            Ok(TokioIo::new(Tap::new(connected)))
        })
    }
}
