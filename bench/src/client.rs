use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Where requests go: a plain `http` URL, taken apart once.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    authority: String,
    host: HeaderValue,
    path: Uri,
}

impl Target {
    pub(crate) fn new(url: &str) -> Result<Self> {
        let uri: Uri = url
            .parse()
            .with_context(|| format!("{url:?} is not a URL"))?;
        ensure!(
            uri.scheme_str() == Some("http"),
            "{url:?} cannot be measured: expected a URL that starts with http://"
        );
        let host = uri
            .host()
            .with_context(|| format!("{url:?} names no host"))?;
        Ok(Self {
            authority: format!("{host}:{}", uri.port_u16().unwrap_or(80)),
            host: HeaderValue::from_str(uri.authority().map_or(host, |a| a.as_str()))?,
            path: uri.path_and_query().map_or("/", |p| p.as_str()).parse()?,
        })
    }

    /// A POST of this body, ready but for further headers.
    pub(crate) fn post(&self, content_type: HeaderValue, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.path.clone();
        let headers = request.headers_mut();
        headers.reserve(6);
        headers.insert(header::HOST, self.host.clone());
        headers.insert(header::CONTENT_TYPE, content_type);
        request
    }
}

/// One keep-alive connection, one request at a time.
#[derive(Debug)]
pub(crate) struct Client(SendRequest<Full<Bytes>>);

impl Client {
    pub(crate) async fn connect(target: &Target) -> Result<Self> {
        let authority = &target.authority;
        let socket = TcpStream::connect(authority)
            .await
            .with_context(|| format!("cannot connect to {authority}"))?;
        socket.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(socket)).await?;
        // The request under way on the connection reports how it ended.
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    /// Sends a request and reads the answer to its end.
    pub(crate) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes)> {
        self.0
            .ready()
            .await
            .context("the server closed the connection")?;
        let response = self
            .0
            .send_request(request)
            .await
            .context("the request failed")?;
        let status = response.status();
        let body = response
            .into_body()
            .collect()
            .await
            .context("the answer broke off")?;
        Ok((status, body.to_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::Target;

    #[test]
    fn only_plain_http_is_measured() {
        for bad in ["https://localhost/", "/v1/events", "http://", "nonsense"] {
            assert!(Target::new(bad).is_err(), "{bad:?} was taken");
        }
        assert!(Target::new("http://127.0.0.1:8080/v1/events").is_ok());
    }
}
