//! Between the library and the socket: the broker's bytes, made fit for the library.
//!
//! lapin reads short strings as UTF-8, bounds header frames by the negotiated frame size, and drops the whole
//! connection over any other message. RabbitMQ accepts such messages from every publisher. So the library sees no
//! properties at all. [`filter::Filter`] moves routing key and properties of each delivery to the front of its body
//! ([`envelope`]), where the library does not look, and [`fields`] reads them leniently. A publisher cannot forge this
//! part, since it is written on this side of the socket.
//!
//! The filter sits above TLS: the library is given it as if it were a plain socket.

mod envelope;
mod fields;
mod filter;
mod notes;
mod stream;

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_rs::traits::{Executor, Reactor, RuntimeKit};
use async_rs::util::Task;
use async_rs::{Runtime, Tokio};
use futures_io::AsyncRead as _;
use futures_util::Stream;
use lapin::tcp::RustlsConnector;
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{AsyncTcpStream, Connection, ConnectionProperties};

#[cfg(test)]
pub(super) use self::envelope::Envelope as Sealed;
pub(super) use self::envelope::open;
use self::stream::{Filtered, Socket};
use super::settings::Settings;
use crate::tasks::supervised;
use crate::tls::{self, Peer};

/// How large the bodies of one connection may be. Of a larger one, beginning, size and hash are kept.
#[derive(Debug)]
pub(super) struct BodyLimits {
    general: usize,
    channels: Mutex<HashMap<u16, usize>>,
}

impl BodyLimits {
    /// At most `general` bytes, where a channel has no limit of its own.
    pub(super) fn new(general: usize) -> Arc<Self> {
        Arc::new(Self {
            general,
            channels: Mutex::default(),
        })
    }

    /// Sets the size limit of deliveries on `channel` from now on.
    pub(super) fn set(&self, channel: u16, limit: usize) {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        channels.insert(channel, limit);
    }

    fn of(&self, channel: u16) -> usize {
        let channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        channels.get(&channel).copied().unwrap_or(self.general)
    }
}

/// Connects, over TLS where the URL asks for it, with the filter between the library and the socket.
pub(super) async fn connect(
    settings: &Settings,
    properties: ConnectionProperties,
    limits: Arc<BodyLimits>,
) -> lapin::Result<Connection> {
    let tokio = Tokio::current();
    let kit = Kit {
        tokio: tokio.clone(),
        limits: Arc::clone(&limits),
    };
    let sockets = Runtime::new(tokio);
    let encryption = encryption(settings)?;
    let connect = async move |uri: AMQPUri, _: Runtime<Kit>| {
        let socket = socket_of(&uri, &sockets, encryption.as_ref()).await?;
        let filtered = Filtered::new(socket, Arc::clone(&limits));
        Ok(AsyncTcpStream::Plain(filtered))
    };
    let uri = settings.uri.clone();
    Connection::connector(uri, Runtime::new(kit), connect, properties).await
}

/// How long to listen for the broker's last word.
const LAST_WORD_TIMEOUT: Duration = Duration::from_secs(2);

/// Why the broker cuts encrypted connections right after the handshake, if it tells: mostly because it does not take our
/// certificate. Whatever we have written by then makes our system throw its last word away, so this connection only listens.
pub(super) async fn last_word(settings: &Settings) -> Option<String> {
    let encryption = encryption(settings).ok()??;
    let sockets = Runtime::new(Tokio::current());
    let listen = async {
        let mut socket = socket_of(&settings.uri, &sockets, Some(&encryption)).await?;
        poll_fn(|context| Pin::new(&mut socket).poll_read(context, &mut [0])).await
    };
    match tokio::time::timeout(LAST_WORD_TIMEOUT, listen).await {
        Ok(Err(error)) => tls::explain(&error, Peer::Broker),
        Ok(Ok(_)) | Err(_) => None,
    }
}

/// The settings of TLS, where the URL asks for it.
fn encryption(settings: &Settings) -> io::Result<Option<RustlsConnector>> {
    match settings.uri.scheme {
        AMQPScheme::AMQP => Ok(None),
        AMQPScheme::AMQPS => {
            let client = tls::client(&settings.tls).map_err(io::Error::other)?;
            Ok(Some(RustlsConnector::from(client)))
        }
    }
}

async fn socket_of(
    uri: &AMQPUri,
    sockets: &Runtime<Tokio>,
    encryption: Option<&RustlsConnector>,
) -> io::Result<Socket> {
    let host = uri.authority.host.as_str();
    let addresses = sockets.to_socket_addrs((host.to_owned(), uri.authority.port));
    let socket = AsyncTcpStream::connect(sockets, addresses).await?;
    match encryption {
        None => Ok(socket),
        Some(encryption) => socket.into_rustls(encryption, host).await,
    }
}

/// tokio, whose sockets are filtered.
#[derive(Debug, Clone)]
struct Kit {
    tokio: Tokio,
    limits: Arc<BodyLimits>,
}

impl RuntimeKit for Kit {}

impl Executor for Kit {
    type Task<T: Send + 'static> = <Tokio as Executor>::Task<T>;

    fn block_on<T, F: Future<Output = T>>(&self, future: F) -> T {
        self.tokio.block_on(future)
    }

    fn spawn<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        future: F,
    ) -> Task<Self::Task<T>> {
        self.tokio.spawn(supervised("broker client", future))
    }

    fn spawn_blocking<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
        &self,
        work: F,
    ) -> Task<Self::Task<T>> {
        self.tokio.spawn_blocking(work)
    }
}

impl Reactor for Kit {
    type TcpStream = Filtered;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: io::Read + io::Write + AsFd + AsRawFd + Send + 'static>(
        &self,
        socket: H,
    ) -> io::Result<impl futures_io::AsyncRead + futures_io::AsyncWrite + Send + Unpin + 'static>
    {
        self.tokio.register(socket)
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.tokio.sleep(duration)
    }

    fn interval(&self, every: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.tokio.interval(every)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let limits = Arc::clone(&self.limits);
        let connect = self.tokio.tcp_connect_addr(address);
        async move {
            let socket = AsyncTcpStream::Plain(connect.await?);
            Ok(Filtered::new(socket, limits))
        }
    }
}
