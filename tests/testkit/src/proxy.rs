//! A TCP link that can be stalled, cut and healed, and that can speak for the other side.

mod carry;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use anyhow::{Context, Result};
use tokio::{
    net::TcpListener,
    sync::{broadcast, watch},
    task::JoinHandle,
};

use self::carry::{Connection, carry};

/// What the link does at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Link {
    /// Bytes pass.
    #[default]
    Whole,
    /// Connections stay and are even taken, but no byte passes: a network that swallows packets.
    Stalled,
    /// Connections are reset, new ones too.
    Cut,
}

#[derive(Clone, Debug, Default)]
struct State {
    link: Link,
    /// What contains this does not pass.
    withheld: Option<String>,
    /// Connections before this one are reset.
    reset_before: u64,
    /// Connections before this one pass nothing.
    silent_before: u64,
}

/// What is spoken over a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Anything: bytes pass as they come.
    Any,
    /// AMQP: whole frames pass to the client, so that others fit between them.
    Amqp,
}

/// The answer to what ends in this is not passed on.
type Swallowed = Arc<Mutex<Option<&'static [u8]>>>;

/// A proxy on loopback before a broker, a database or a receiver.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: watch::Sender<State>,
    frames: broadcast::Sender<Vec<u8>>,
    swallowed: Swallowed,
    open: Arc<AtomicUsize>,
    accepted: Arc<AtomicU64>,
    accepting: JoinHandle<()>,
}

impl State {
    fn lets_pass(&self, bytes: &[u8], connection: u64) -> bool {
        let withheld = self.withheld.as_ref().is_some_and(|text| {
            let mut parts = bytes.windows(text.len());
            parts.any(|part| part == text.as_bytes())
        });
        self.link != Link::Stalled && !withheld && connection >= self.silent_before
    }

    fn resets(&self, connection: u64) -> bool {
        self.link == Link::Cut || connection < self.reset_before
    }
}

impl Proxy {
    /// Starts a whole link to `target` (`host:port`).
    ///
    /// # Errors
    /// If no port can be bound.
    pub async fn start(target: impl Into<String>) -> Result<Self> {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), target, Protocol::Any).await
    }

    /// Starts a whole link that listens at an address.
    ///
    /// # Errors
    /// If that cannot be bound.
    pub async fn start_at(
        address: SocketAddr,
        target: impl Into<String>,
        protocol: Protocol,
    ) -> Result<Self> {
        let target = target.into();
        let listener = TcpListener::bind(address)
            .await
            .context("binding the proxy")?;
        let address = listener.local_addr()?;
        let state = watch::Sender::new(State::default());
        let frames = broadcast::Sender::new(16);
        let (open, accepted) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicU64::new(0)));
        let (opened, numbered) = (Arc::clone(&open), Arc::clone(&accepted));
        let swallowed = Swallowed::default();
        let to_swallow = Arc::clone(&swallowed);
        let (watched, spoken) = (state.subscribe(), frames.clone());
        let accepting = tokio::spawn(async move {
            loop {
                let Ok((client, _)) = listener.accept().await else {
                    continue;
                };
                let connection = Connection {
                    number: numbered.fetch_add(1, Ordering::SeqCst),
                    protocol,
                    state: watched.clone(),
                    swallowed: Arc::clone(&to_swallow),
                    frames: spoken.subscribe(),
                };
                let (target, opened) = (target.clone(), Arc::clone(&opened));
                tokio::spawn(async move {
                    opened.fetch_add(1, Ordering::SeqCst);
                    carry(client, &target, connection).await;
                    opened.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Ok(Self {
            address,
            state,
            frames,
            swallowed,
            open,
            accepted,
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

    /// How many connections there have been through it.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::SeqCst)
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
        let accepted = self.accepted();
        self.state
            .send_modify(|state| state.reset_before = accepted);
    }

    /// Makes the link whole for new connections. Those of this moment stay open, and pass nothing any more.
    pub fn heal_for_new(&self) {
        let accepted = self.accepted();
        self.state.send_modify(|state| {
            state.link = Link::Whole;
            state.silent_before = accepted;
        });
    }

    /// Passes what a client sends next that ends in `text`, waits for an answer that ends in it too, and resets the
    /// connection in place of passing that on.
    pub fn swallow_answer(&self, text: &'static [u8]) {
        *lock(&self.swallowed) = Some(text);
    }

    /// Whether an answer that was to be swallowed still is.
    #[must_use]
    pub fn is_to_swallow(&self) -> bool {
        lock(&self.swallowed).is_some()
    }

    /// Tells every AMQP client that the broker takes no messages.
    ///
    /// # Errors
    /// If the reason is too long, or nobody is connected.
    pub fn block(&self, reason: &str) -> Result<()> {
        let mut method = vec![0, 10, 0, 60, u8::try_from(reason.len())?];
        method.extend(reason.as_bytes());
        self.say(&method)
    }

    /// Tells every AMQP client that the broker takes messages again.
    ///
    /// # Errors
    /// If nobody is connected.
    pub fn unblock(&self) -> Result<()> {
        self.say(&[0, 10, 0, 61])
    }

    /// Sends a method frame on channel 0 to every client.
    fn say(&self, method: &[u8]) -> Result<()> {
        let mut frame = vec![1, 0, 0];
        frame.extend(u32::try_from(method.len())?.to_be_bytes());
        frame.extend(method);
        frame.push(0xCE);
        self.frames
            .send(frame)
            .map(|_| ())
            .context("nobody is connected")
    }

    fn set(&self, link: Link) {
        self.state.send_modify(|state| state.link = link);
    }
}

/// What was written there is sound, even if a test has panicked since.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
