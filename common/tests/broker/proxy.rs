//! A TCP proxy before the broker: cuts, stalls and heals the link, and slips in frames of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};

/// The state of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Up,
    /// Bytes go in and do not come out.
    Stalled,
    /// Nothing is connected and nothing can connect.
    Cut,
}

/// The proxy. It ends with the test.
pub struct Proxy {
    pub address: SocketAddr,
    link: watch::Sender<Link>,
    frames: broadcast::Sender<Vec<u8>>,
    connections: Arc<AtomicUsize>,
}

impl Proxy {
    /// A proxy before `target`, listening on `address`.
    pub async fn start(address: SocketAddr, target: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("a port");
        let proxy = Self {
            address: listener.local_addr().expect("an address"),
            link: watch::Sender::new(Link::Up),
            frames: broadcast::Sender::new(16),
            connections: Arc::default(),
        };
        let (link, frames) = (proxy.link.clone(), proxy.frames.clone());
        let connections = Arc::clone(&proxy.connections);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *link.borrow() == Link::Cut {
                    continue;
                }
                let Ok(broker) = TcpStream::connect(target).await else {
                    continue;
                };
                connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(client, broker, link.subscribe(), frames.subscribe()));
            }
        });
        proxy
    }

    /// How many connections there have been.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub fn cut(&self) {
        self.link.send_replace(Link::Cut);
    }

    pub fn stall(&self) {
        self.link.send_replace(Link::Stalled);
    }

    pub fn heal(&self) {
        self.link.send_replace(Link::Up);
    }

    /// Tells every client that the broker takes no messages.
    pub fn block(&self, reason: &str) {
        let mut method = vec![0, 10, 0, 60, u8::try_from(reason.len()).expect("short")];
        method.extend(reason.as_bytes());
        self.send_method(&method);
    }

    /// Tells every client that the broker takes messages again.
    pub fn unblock(&self) {
        self.send_method(&[0, 10, 0, 61]);
    }

    /// A method frame on channel 0.
    fn send_method(&self, method: &[u8]) {
        let mut frame = vec![1, 0, 0];
        frame.extend(u32::try_from(method.len()).expect("short").to_be_bytes());
        frame.extend(method);
        frame.push(0xCE);
        self.frames.send(frame).expect("somebody is connected");
    }
}

async fn serve(
    client: TcpStream,
    broker: TcpStream,
    mut link: watch::Receiver<Link>,
    frames: broadcast::Receiver<Vec<u8>>,
) {
    let (from_client, to_client) = client.into_split();
    let (from_broker, to_broker) = broker.into_split();
    let (up, down) = (link.clone(), link.clone());
    tokio::select! {
        _ = link.wait_for(|link| *link == Link::Cut) => {}
        () = copy(from_client, to_broker, up) => {}
        () = copy_frames(from_broker, to_client, down, frames) => {}
    }
}

/// Waits while the link is stalled.
async fn pass(link: &mut watch::Receiver<Link>) {
    // Fails when the proxy is gone, and with it the test.
    let _ = link.wait_for(|link| *link != Link::Stalled).await;
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut link: watch::Receiver<Link>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        pass(&mut link).await;
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

/// Copies whole AMQP frames, so that others fit between them.
async fn copy_frames(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut link: watch::Receiver<Link>,
    mut frames: broadcast::Receiver<Vec<u8>>,
) {
    let mut read = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let whole = tokio::select! {
            Ok(frame) = frames.recv() => frame,
            Ok(count @ 1..) = from.read(&mut buffer) => {
                read.extend_from_slice(&buffer[..count]);
                let mut whole = Vec::new();
                while let Some(size) = read.get(3..7) {
                    let size: [u8; 4] = size.try_into().expect("four bytes");
                    let size = 8 + u32::from_be_bytes(size) as usize;
                    if read.len() < size {
                        break;
                    }
                    whole.extend(read.drain(..size));
                }
                whole
            }
            else => return,
        };
        pass(&mut link).await;
        if to.write_all(&whole).await.is_err() {
            return;
        }
    }
}
