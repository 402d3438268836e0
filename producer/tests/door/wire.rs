//! Real sockets: slow and oversized heads, slow bodies, and how the server ends.

use std::net::SocketAddr;
use std::time::Duration;

use producer::{Wire, bind, serve_with};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::fakes::{Setup, TestStore, Testbed, testbed};
use crate::live::{STREAMS, watch};

pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    ended: JoinHandle<std::io::Result<()>>,
}

pub async fn start(bed: &Testbed, wire: Wire, drain: Duration) -> Server {
    let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let serving = serve_with(wire, listener, bed.router.clone(), stop.clone(), drain);
    Server {
        address,
        stop,
        ended: tokio::spawn(serving),
    }
}

impl Server {
    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes and reads until the server closes.
    pub async fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        // The server may answer and close before it has read everything.
        let _ = stream.write_all(bytes).await;
        read(&mut stream).await
    }

    pub async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.ended)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }
}

/// Reads until the other side closes.
pub async fn read(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut text))
        .await
        .expect("expected the server to close the connection");
    String::from_utf8_lossy(&text).into_owned()
}

pub fn signup(more: &str) -> String {
    let body = r#"{"email":"a@b.example","name":"x"}"#;
    format!(
        "POST /v1/signups HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n{more}\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn a_head_that_never_ends_is_given_up() {
    let wire = Wire {
        head_timeout: Duration::from_millis(200),
        ..Wire::default()
    };
    let server = start(&testbed(), wire, PATIENCE).await;
    // Once at the start, and once on a connection that has been served before.
    assert!(
        !server
            .exchange(b"POST /v1/signups HTT")
            .await
            .contains("202")
    );
    let again = format!("{}POST /v1", signup(""));
    assert!(server.exchange(again.as_bytes()).await.contains(" 202 "));
    server.end().await;
}

#[tokio::test]
async fn heads_that_are_too_large_are_refused() {
    let server = start(&testbed(), Wire::default(), PATIENCE).await;
    let huge = signup(&format!(
        "x-huge: {}\r\nconnection: close\r\n",
        "a".repeat(200_000)
    ));
    assert!(
        server
            .exchange(huge.as_bytes())
            .await
            .starts_with("HTTP/1.1 431")
    );
    let many = signup(&format!("{}connection: close\r\n", "a: b\r\n".repeat(500)));
    assert!(
        server
            .exchange(many.as_bytes())
            .await
            .starts_with("HTTP/1.1 431")
    );
    // Within the server's bounds, the answer names the problem.
    let large = signup(&format!(
        "x-large: {}\r\nconnection: close\r\n",
        "a".repeat(20_000)
    ));
    let answer = server.exchange(large.as_bytes()).await;
    assert!(answer.contains("headers_too_large"), "{answer}");
    let uri = format!(
        "GET /{} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        "a".repeat(5000)
    );
    let answer = server.exchange(uri.as_bytes()).await;
    assert!(answer.contains("uri_too_long"), "{answer}");
    server.end().await;
}

#[tokio::test]
async fn what_is_no_http_is_400_and_the_server_lives() {
    let server = start(&testbed(), Wire::default(), PATIENCE).await;
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n"[..],
        b"hello\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
    ] {
        let answer = server.exchange(garbage).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400"),
            "{answer}"
        );
    }
    let smuggled = "POST /v1/signups HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\
                    content-length: 6\r\n\r\nhello";
    assert!(
        server
            .exchange(smuggled.as_bytes())
            .await
            .starts_with("HTTP/1.1 400")
    );
    let answer = server
        .exchange(signup("connection: close\r\n").as_bytes())
        .await;
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    server.end().await;
}

#[tokio::test]
async fn a_body_that_trickles_is_408() {
    let mut setup = Setup::default();
    setup.config.producer.request_timeout = Duration::from_millis(200);
    let server = start(&setup.build(), Wire::default(), PATIENCE).await;
    let head = "POST /v1/signups HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                content-length: 100\r\n\r\n{";
    let answer = server.exchange(head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("request_timeout"), "{answer}");
    server.end().await;
}

#[tokio::test]
async fn what_is_announced_too_large_is_413_before_it_is_sent() {
    let server = start(&testbed(), Wire::default(), PATIENCE).await;
    let head = "POST /v1/signups HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                content-length: 99999999\r\nexpect: 100-continue\r\n\r\n";
    let answer = server.exchange(head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    server.end().await;
}

#[tokio::test]
async fn who_sends_far_too_much_still_reads_the_answer() {
    let server = start(&testbed(), Wire::default(), PATIENCE).await;
    for (path, status) in [("/v1/signups", "413"), ("/nowhere", "404")] {
        let mut stream = server.connect().await;
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
             content-length: 20000000\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // Everything is sent before anything is read, as simple clients do.
        stream.write_all(&vec![b'x'; 20_000_000]).await.unwrap();
        let answer = read(&mut stream).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
    }
    server.end().await;
}

#[tokio::test]
async fn stopping_finishes_what_is_running_and_lets_go_of_who_idles() {
    let bed = Setup {
        confirms: 1,
        ..Setup::default()
    }
    .build();
    let server = start(&bed, Wire::default(), PATIENCE).await;
    let mut idle = server.connect().await;
    idle.write_all(signup("").as_bytes()).await.unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 202");

    let mut busy = server.connect().await;
    busy.write_all(signup("").as_bytes()).await.unwrap();
    while bed.broker.begun() < 2 {
        tokio::task::yield_now().await;
    }
    server.stop.cancel();
    // The idle connection ends although its client would keep it.
    read(&mut idle).await;
    assert!(!server.ended.is_finished());
    let late = TcpStream::connect(server.address).await;
    assert!(late.is_err(), "expected that nobody listens any more");
    bed.broker.confirms.add_permits(1);
    let answer = read(&mut busy).await;
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    server.end().await;
    assert_eq!(bed.broker.taken().len(), 2);
}

#[tokio::test]
async fn stopping_does_not_wait_longer_than_the_drain_deadline() {
    let bed = Setup {
        confirms: 0,
        ..Setup::default()
    }
    .build();
    let server = start(&bed, Wire::default(), Duration::from_millis(100)).await;
    let mut busy = server.connect().await;
    busy.write_all(signup("").as_bytes()).await.unwrap();
    while bed.broker.begun() < 1 {
        tokio::task::yield_now().await;
    }
    server.end().await;
    assert_eq!(read(&mut busy).await, "");
}

/// A producer that knows nothing of any event, and somebody who watches one live.
async fn watched(bed: &Testbed) -> (Server, TcpStream) {
    let server = start(bed, Wire::default(), PATIENCE).await;
    let mut watcher = server.connect().await;
    let request =
        b"GET /v1/events/01890000-0000-7000-8000-000000000000/live HTTP/1.1\r\nhost: x\r\n\r\n";
    watcher.write_all(request).await.unwrap();
    let mut read = String::new();
    while !read.contains("event: waiting") {
        let mut some = [0; 1024];
        let count = watcher.read(&mut some).await.unwrap();
        assert_ne!(count, 0, "{read}");
        read.push_str(&String::from_utf8_lossy(&some[..count]));
    }
    assert!(read.starts_with("HTTP/1.1 200"), "{read}");
    (server, watcher)
}

fn knowing_nothing() -> Testbed {
    Setup {
        store: TestStore::empty(),
        ..Setup::default()
    }
    .build()
}

#[tokio::test]
async fn stopping_tells_those_who_watch_and_waits_for_none_of_them() {
    let (server, mut watcher) = watched(&knowing_nothing()).await;
    server.stop.cancel();
    let rest = read(&mut watcher).await;
    assert!(rest.contains(r#"data: {"reason":"stopping"}"#), "{rest}");
    server.end().await;
}

#[tokio::test]
async fn a_watcher_who_goes_away_frees_a_place() {
    let bed = knowing_nothing();
    let (server, watcher) = watched(&bed).await;
    let mut others = Vec::new();
    for _ in 1..STREAMS {
        others.push(watch(&bed).await);
    }
    assert!(watch(&bed).await.is_err());
    drop(watcher);
    let freed = async {
        while watch(&bed).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, freed)
        .await
        .expect("expected that the server notices who is gone");
    drop(others);
    server.end().await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_error_that_says_what_to_do() {
    let first = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let error = bind(first.local_addr().unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    let text = error.to_string();
    assert!(
        text.contains("LONGSHORE_LISTEN") && text.contains("another program"),
        "{text}"
    );
}
