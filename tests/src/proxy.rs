//! A TCP link that can be stalled, cut and healed.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

/// The present state of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// Bytes pass.
    Whole,
    /// Connections stay and are even taken, but no byte passes: a network that swallows packets.
    Stalled,
    /// Connections are reset, new ones too.
    Cut,
}

#[derive(Clone, Debug)]
struct State {
    link: Link,
    /// A connection whose bytes contain this is held back.
    withheld: Option<String>,
    /// Connections of an older generation are reset.
    generation: u64,
}

/// A proxy on loopback before a broker, a database or a receiver.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: watch::Sender<State>,
    open: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl State {
    fn lets_pass(&self, bytes: &[u8]) -> bool {
        let withheld = self.withheld.as_ref().is_some_and(|text| {
            let mut parts = bytes.windows(text.len());
            parts.any(|part| part == text.as_bytes())
        });
        self.link != Link::Stalled && !withheld
    }
}

impl Proxy {
    /// Starts a whole link to `target` (`host:port`).
    ///
    /// # Errors
    /// If no port can be bound.
    pub async fn start(target: impl Into<String>) -> Result<Self> {
        let target = target.into();
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .context("binding the proxy")?;
        let address = listener.local_addr()?;
        let (state, watched) = watch::channel(State {
            link: Link::Whole,
            withheld: None,
            generation: 0,
        });
        let open = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&open);
        let accepting = tokio::spawn(async move {
            loop {
                let Ok((client, _)) = listener.accept().await else {
                    continue;
                };
                let (target, watched, counter) = (target.clone(), watched.clone(), counter.clone());
                tokio::spawn(async move {
                    counter.fetch_add(1, Ordering::SeqCst);
                    carry(client, &target, watched).await;
                    counter.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Ok(Self {
            address,
            state,
            open,
            accepting,
        })
    }

    /// Starts a whole link to the broker or the database of a URL.
    ///
    /// # Errors
    /// If the URL names no host, or as [`start`](Self::start).
    pub async fn start_before(url: &str) -> Result<Self> {
        let url = url::Url::parse(url).context("reading the URL to put a proxy before")?;
        let host = url.host_str().context("the URL has no host")?;
        let usual = if url.scheme().starts_with("amqp") {
            5672
        } else {
            5432
        };
        Self::start(format!("{host}:{}", url.port().unwrap_or(usual))).await
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `url` with its host and port replaced by the proxy's.
    ///
    /// # Errors
    /// If it is not a URL with a host.
    pub fn before(&self, url: &str) -> Result<String> {
        let mut url = url::Url::parse(url).context("reading the URL to put a proxy before")?;
        url.set_host(Some("127.0.0.1"))
            .context("the URL takes no host")?;
        url.set_port(Some(self.address.port()))
            .ok()
            .context("the URL takes no port")?;
        Ok(url.into())
    }

    /// How many connections are open through it.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// Resets all connections and every new one until [`heal`](Self::heal).
    pub fn cut(&self) {
        self.set(Link::Cut);
    }

    /// Lets no byte pass until [`heal`](Self::heal); nothing is reset and nothing is lost.
    pub fn stall(&self) {
        self.set(Link::Stalled);
    }

    /// Lets connections pass until one end sends a packet that contains this text, which waits, and
    /// all behind it, until [`heal`](Self::heal).
    pub fn withhold(&self, text: &str) {
        self.state
            .send_modify(|state| state.withheld = Some(text.to_owned()));
    }

    /// Makes the link whole again.
    pub fn heal(&self) {
        self.state.send_modify(|state| {
            state.link = Link::Whole;
            state.withheld = None;
        });
    }

    /// Resets the connections of this moment; new ones pass.
    pub fn reset_connections(&self) {
        self.state.send_modify(|state| state.generation += 1);
    }

    fn set(&self, link: Link) {
        self.state.send_modify(|state| state.link = link);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(mut client: TcpStream, target: &str, mut state: watch::Receiver<State>) {
    let born = state.borrow_and_update().generation;
    let doomed = move |state: &State| state.link == Link::Cut || state.generation != born;
    if doomed(&state.borrow()) {
        let _ = client.set_zero_linger();
        return;
    }
    let Ok(mut server) = TcpStream::connect(target).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let mut watching = state.clone();
    let broken = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let up = pump(from_client, to_server, state.clone());
        let down = pump(from_server, to_client, state);
        tokio::select! {
            _ = watching.wait_for(doomed) => true,
            _ = async { tokio::join!(up, down) } => false,
        }
    };
    if broken {
        // A reset rather than a close: the peers must not take a cut for an orderly end.
        let _ = (client.set_zero_linger(), server.set_zero_linger());
    }
}

async fn pump(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mut state: watch::Receiver<State>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        // Bytes that were read just when the link stalled wait here.
        if state
            .wait_for(|state| state.lets_pass(&buffer[..count]))
            .await
            .is_err()
            || to.write_all(&buffer[..count]).await.is_err()
        {
            break;
        }
    }
    let _ = to.shutdown().await;
}
