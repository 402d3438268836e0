//! The server over TLS: what is spoken, and the bounds that also hold during the handshake.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests may stop at the first surprise, in helpers too"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use common::config::Identity;
use common::server::{Certificate, Closed, Entrance, Wire, serve};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use testkit::pki::Authority;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(20);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

/// The beginning of a handshake by a client that knows TLS 1.1 at most.
const HELLO_OF_TLS_1_1: &[u8] = &[
    // A handshake record of 55 bytes: a hello of 51 bytes that asks for version 3.2, which is TLS 1.1.
    22, 3, 1, 0, 55, 1, 0, 0, 51, 3, 2, // 32 bytes, which should be random.
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25,
    26, 27, 28, 29, 30,
    31, // No session, one cipher (ECDHE_ECDSA_WITH_AES_128_CBC_SHA), no compression.
    0, 0, 2, 0xc0, 0x09, 1,
    0, // An extension: it takes signatures by ECDSA on P-256 with SHA-256.
    0, 8, 0, 13, 0, 4, 0, 2, 4, 3,
];

/// The record of a fatal alert: no protocol version in common.
const NO_SUCH_VERSION: &[u8] = &[21, 3, 3, 0, 2, 2, 70];

struct Server {
    address: SocketAddr,
    client: TlsConnector,
    stop: CancellationToken,
    ended: JoinHandle<Closed>,
    _files: tempfile::TempDir,
}

impl Server {
    async fn start(wire: Wire) -> Self {
        let authority = Authority::new("door").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let leaf = authority.issue(&["localhost"]).unwrap();
        let files = authority.write(&leaf, folder.path(), "door").unwrap();
        let certificate = Certificate::read(Identity {
            certificate: files.certificate,
            key: files.key,
        });
        let certificate = certificate.await.unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(|| async { "hello" }));
        let stop = CancellationToken::new();
        let entrance = Entrance::over_tls(listener, certificate);
        let serving = serve(wire, entrance, router, stop.clone(), PATIENCE);
        Self {
            address,
            client: client(&authority),
            stop,
            ended: tokio::spawn(serving),
            _files: folder,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn shake(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from("localhost").unwrap();
        self.client.connect(name, self.connect().await).await
    }

    async fn get(&self) -> String {
        let mut stream = self.shake().await.unwrap();
        stream.write_all(REQUEST).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn end(self) -> Closed {
        self.stop.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.ended).await;
        ended.expect("the server ends").unwrap()
    }
}

fn client(authority: &Authority) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap();
    roots.add(certificate).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsConnector::from(Arc::new(config))
}

/// What comes until the other side closes.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes))
        .await
        .expect("the server closes the connection");
    bytes
}

#[tokio::test]
async fn a_request_over_tls_is_served_as_http_1_1() {
    let server = Server::start(Wire::default()).await;
    let stream = server.shake().await.unwrap();
    let protocol = stream.get_ref().1.alpn_protocol();
    assert_eq!(protocol, Some(&b"http/1.1"[..]));
    drop(stream);
    let answer = server.get().await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with("hello"), "{answer}");
    assert_eq!(server.end().await.cut, 0);
}

#[tokio::test]
async fn a_client_that_knows_no_newer_version_than_1_1_is_refused() {
    let server = Server::start(Wire::default()).await;
    let mut stream = server.connect().await;
    stream.write_all(HELLO_OF_TLS_1_1).await.unwrap();
    assert_eq!(rest(&mut stream).await, NO_SUCH_VERSION);
    server.end().await;
}

#[tokio::test]
async fn a_request_in_the_clear_is_not_served() {
    let server = Server::start(Wire::default()).await;
    let mut stream = server.connect().await;
    stream.write_all(REQUEST).await.unwrap();
    let answer = rest(&mut stream).await;
    assert!(!String::from_utf8_lossy(&answer).contains("hello"));
    server.end().await;
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_cut_off() {
    let wire = Wire {
        handshake_timeout: Duration::from_millis(200),
        ..Wire::default()
    };
    let server = Server::start(wire).await;
    for beginning in [&b""[..], &HELLO_OF_TLS_1_1[..20]] {
        let mut stream = server.connect().await;
        stream.write_all(beginning).await.unwrap();
        assert_eq!(rest(&mut stream).await, b"");
    }
    server.end().await;
}

#[tokio::test]
async fn connections_in_their_handshake_count_and_make_room() {
    let wire = Wire {
        connections: 4,
        handshake_timeout: Duration::from_secs(3600),
        ..Wire::default()
    };
    let server = Server::start(wire).await;
    let mut silent = Vec::new();
    for _ in 0..12 {
        silent.push(server.connect().await);
    }
    let answer = tokio::time::timeout(PATIENCE, server.get()).await;
    assert!(answer.expect("a place").starts_with("HTTP/1.1 200"));
    // The first one had to go.
    assert_eq!(rest(&mut silent[0]).await, b"");
    // One in its handshake does not hold up the end.
    assert_eq!(server.end().await.cut, 0);
}
