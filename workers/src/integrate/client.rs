//! The HTTP client behind a webhook: pooled connections to where the guard lets them go, and nothing that
//! would lead around it. It follows no redirect and knows no proxy.

use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::Uri;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower::{BoxError, Service};

use super::guard::Guard;

/// How long a connection that nobody uses is kept.
const IDLE: Duration = Duration::from_secs(30);
/// How long a connection may be silent before TCP asks whether the other side is still there.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Sends requests over HTTP/1.1, or over HTTP/2 where TLS agrees on it.
pub(super) type Client = legacy::Client<Connector, Full<Bytes>>;

/// A client that goes where `guard` lets it and waits `patience` for a connection.
///
/// # Errors
/// The roots of trust of this machine cannot be read.
pub(super) fn client(guard: Guard, patience: Duration) -> Result<Client, rustls::Error> {
    let mut http = HttpConnector::new_with_resolver(guard);
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_keepalive(Some(KEEPALIVE));
    http.set_connect_timeout(Some(patience));
    let https = HttpsConnectorBuilder::new()
        .try_with_platform_verifier()?
        .https_or_http()
        .enable_all_versions()
        .wrap_connector(http);
    Ok(legacy::Client::builder(TokioExecutor::new())
        .pool_idle_timeout(IDLE)
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .build(Connector { https, patience }))
}

/// Connects, TLS included, within a time: a client may go on to connect for later requests when nobody
/// waits for it any more.
#[derive(Clone)]
pub(super) struct Connector {
    https: HttpsConnector<HttpConnector<Guard>>,
    patience: Duration,
}

impl Service<Uri> for Connector {
    type Response = <HttpsConnector<HttpConnector<Guard>> as Service<Uri>>::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.https.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.https.call(uri);
        let patience = self.patience;
        Box::pin(async move {
            let connected = tokio::time::timeout(patience, connecting).await;
            connected.unwrap_or_else(|_| {
                Err(format!("expected a connection within {patience:?}, found none").into())
            })
        })
    }
}
