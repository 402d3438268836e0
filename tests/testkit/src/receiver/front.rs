//! A TLS server before a receiver.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context, Result};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

use crate::pki::{Authority, Leaf};

/// A TLS server that passes on to a receiver all that it is sent.
#[derive(Debug)]
pub struct TlsFront {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl TlsFront {
    pub(super) async fn start(
        target: SocketAddr,
        leaf: &Leaf,
        clients: Option<&Authority>,
    ) -> Result<Self> {
        let acceptor = TlsAcceptor::from(Arc::new(leaf.server(clients)?));
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .context("binding the TLS server")?;
        let address = listener.local_addr()?;
        let accepting = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    continue;
                };
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // A client that does not trust us goes away here.
                    let mut outer = acceptor.accept(stream).await?;
                    let mut inner = TcpStream::connect(target).await?;
                    copy_bidirectional(&mut outer, &mut inner).await
                });
            }
        });
        Ok(Self { address, accepting })
    }

    /// The URL for a webhook destination, by this host.
    #[must_use]
    pub fn url(&self, host: &str) -> String {
        format!("https://{host}:{}/hook", self.address.port())
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
