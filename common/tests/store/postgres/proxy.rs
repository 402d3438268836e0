//! A TCP proxy before the database: falls silent, or keeps the answer to a commit to itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::config;

/// What ends a transaction as the client says it, and what the server says once it has ended: both
/// end in this.
const COMMIT: &[u8] = b"COMMIT\0";

/// The proxy. It ends with the test.
pub struct Proxy {
    pub address: SocketAddr,
    silent: watch::Sender<bool>,
    swallow: Arc<AtomicBool>,
}

impl Proxy {
    /// A proxy before the database to test with.
    pub async fn start() -> Self {
        let parts = config().url.parts().clone();
        let target = (
            parts.host_str().expect("a host").to_owned(),
            parts.port().unwrap_or(5432),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let proxy = Self {
            address: listener.local_addr().expect("an address"),
            silent: watch::Sender::new(false),
            swallow: Arc::default(),
        };
        let (silent, swallow) = (proxy.silent.subscribe(), Arc::clone(&proxy.swallow));
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(&target).await.expect("the database");
                tokio::spawn(serve(near, far, silent.clone(), Arc::clone(&swallow)));
            }
        });
        proxy
    }

    /// From now on nothing passes over the connections there are, which stay open.
    pub fn fall_silent(&self) {
        self.silent.send_replace(true);
    }

    /// From now on new connections pass everything again.
    pub fn heal(&self) {
        self.silent.send_replace(false);
    }

    /// Cuts the connection that commits next when the database has done it, and before the client
    /// hears of it.
    pub fn swallow_next_commit(&self) {
        self.swallow.store(true, Ordering::SeqCst);
    }

    /// Whether a commit that was to be swallowed still is.
    pub fn is_waiting_for_commit(&self) -> bool {
        self.swallow.load(Ordering::SeqCst)
    }
}

async fn serve(
    mut near: TcpStream,
    mut far: TcpStream,
    mut silent: watch::Receiver<bool>,
    swallow: Arc<AtomicBool>,
) {
    let fallen_silent = tokio::select! {
        () = pass(&mut near, &mut far, &swallow) => false,
        gone = silent.wait_for(|silent| *silent) => gone.is_ok(),
    };
    if fallen_silent {
        // Both ends stay open.
        std::future::pending::<()>().await;
    }
}

/// Passes bytes both ways until one end hangs up or a commit is swallowed.
async fn pass(near: &mut TcpStream, far: &mut TcpStream, swallow: &AtomicBool) {
    let (mut asked, mut answered) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        tokio::select! {
            Ok(count @ 1..) = near.read(&mut asked) => {
                let asked = &asked[..count];
                if far.write_all(asked).await.is_err() {
                    return;
                }
                if asked.ends_with(COMMIT) && swallow.swap(false, Ordering::SeqCst) {
                    return until_committed(far).await;
                }
            }
            Ok(count @ 1..) = far.read(&mut answered) => {
                if near.write_all(&answered[..count]).await.is_err() {
                    return;
                }
            }
            else => return,
        }
    }
}

/// Waits until the database says that it has committed.
async fn until_committed(far: &mut TcpStream) {
    let mut answer = Vec::new();
    while !answer.windows(COMMIT.len()).any(|part| part == COMMIT) {
        let count = far.read_buf(&mut answer).await.expect("an answer");
        assert_ne!(count, 0, "the database hung up instead of committing");
    }
}
