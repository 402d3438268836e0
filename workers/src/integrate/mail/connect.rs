//! The way to a mail server: its checked addresses, a connection, TLS, and the login.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use common::config::{LinkTls, MailServer, Protection};
use common::tls::{self, Peer};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::Host;

use super::conversation::{Conversation, Login, Stop, greet, start_tls};
use super::line::{Broken, Line, Stream};
use crate::integrate::guard::{Forbidden, Guard};

/// Connects to one mail server.
pub(super) struct Connector {
    server: MailServer,
    /// The host as the resolver wants it: an IPv6 address has no brackets.
    host: String,
    name: ServerName<'static>,
    protection: Protection,
    login: Option<Login>,
    guard: Guard,
    timeout: Duration,
}

/// Why a conversation did not begin.
#[derive(Debug)]
pub(super) enum NoConversation {
    /// The outbound guard forbids the address.
    Forbidden(String),
    /// The server cannot be reached, or does not want us.
    Stopped(Stop),
}

impl From<Stop> for NoConversation {
    fn from(stop: Stop) -> Self {
        Self::Stopped(stop)
    }
}

impl From<Broken> for NoConversation {
    fn from(broken: Broken) -> Self {
        Self::Stopped(broken.into())
    }
}

impl Connector {
    /// # Errors
    /// The certificates cannot be used.
    pub(super) fn new(
        server: MailServer,
        protection: Protection,
        login: Option<Login>,
        guard: Guard,
        timeout: Duration,
    ) -> Result<Self, String> {
        if let Protection::Tls(tls) | Protection::StartTls(tls) = &protection {
            tls::client(tls)?;
        }
        let (host, name) = match &server.host {
            Host::Domain(name) => (name.clone(), ServerName::try_from(name.clone()).ok()),
            Host::Ipv4(address) => (address.to_string(), Some(IpAddr::V4(*address).into())),
            Host::Ipv6(address) => (address.to_string(), Some(IpAddr::V6(*address).into())),
        };
        let name = name.ok_or("expected a host name in `url`, found another text")?;
        Ok(Self {
            server,
            host,
            name,
            protection,
            login,
            guard,
            timeout,
        })
    }

    /// The server, for traces.
    pub(super) fn server(&self) -> &MailServer {
        &self.server
    }

    /// Connects, up to the login.
    pub(super) async fn connect(&self) -> Result<Conversation, NoConversation> {
        let resolved = self.guard.resolve(&self.host, self.server.port).await;
        let addresses = resolved.map_err(|error| match error.downcast_ref::<Forbidden>() {
            Some(forbidden) => NoConversation::Forbidden(forbidden.to_string()),
            None => Broken(format!(
                "expected an address of the mail server, found none: {error}"
            ))
            .into(),
        })?;
        let tcp = self.reach(&addresses).await?;
        // RFC 5321, 4.1.3: a client without a name of its own says its address.
        let name = match tcp.local_addr().map(|address| address.ip()) {
            Ok(IpAddr::V6(address)) => format!("[IPv6:{address}]"),
            Ok(IpAddr::V4(address)) => format!("[{address}]"),
            Err(_) => "localhost".to_owned(),
        };
        let (line, offers) = match &self.protection {
            Protection::None => {
                let mut line = Line::new(Box::new(tcp));
                let offers = greet(&mut line, &name, true).await?;
                (line, offers)
            }
            Protection::Tls(tls) => {
                let mut line = Line::new(Box::new(self.secure(tcp, tls).await?));
                let offers = greet(&mut line, &name, true).await?;
                (line, offers)
            }
            Protection::StartTls(tls) => {
                let mut plain = Line::new(Box::new(tcp));
                let offers = greet(&mut plain, &name, true).await?;
                let stream = start_tls(plain, &offers).await?;
                let mut line = Line::new(Box::new(self.secure(stream, tls).await?));
                // What was offered in plain text may have been anybody's offer.
                let offers = greet(&mut line, &name, false).await?;
                (line, offers)
            }
        };
        Ok(Conversation::begin(line, offers, self.login.as_ref()).await?)
    }

    /// A connection to the first address that answers. Each gets an equal share of the time.
    async fn reach(&self, addresses: &[SocketAddr]) -> Result<TcpStream, Broken> {
        let count = u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
        let share = self.timeout / count;
        let mut last = "its name has no address".to_owned();
        for address in addresses {
            match tokio::time::timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // A conversation is many short messages, each of which is waited for.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) => last = error.to_string(),
                Err(_) => last = format!("no answer within {share:?}"),
            }
        }
        Err(Broken(format!("cannot connect to the mail server: {last}")))
    }

    async fn secure<S: Stream>(&self, stream: S, tls: &LinkTls) -> Result<TlsStream<S>, Broken> {
        // Read for each connection, so that a renewed certificate counts from the next one on.
        let settings = tls::client(tls).map_err(Broken)?;
        let connector = TlsConnector::from(Arc::clone(&settings));
        let connected = connector.connect(self.name.clone(), stream).await;
        connected.map_err(|error: io::Error| {
            let words = tls::explain(&error, Peer::MailServer);
            Broken(words.unwrap_or_else(|| format!("TLS with the mail server broke off: {error}")))
        })
    }
}
