use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const EARLY: &str = "HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n";
const PATIENCE: Duration = Duration::from_secs(5);

/// A server that does one thing for each request, over all connections. A thing that begins with a `!` ends the
/// connection.
struct Server {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    async fn start(answers: &[&str]) -> Self {
        let answers: VecDeque<String> = answers.iter().map(|&it| it.to_owned()).collect();
        let answers = Arc::new(Mutex::new(answers));
        let (requests, connections) = (Arc::default(), Arc::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            requests: Arc::clone(&requests),
            connections: Arc::clone(&connections),
        };
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, Arc::clone(&requests), Arc::clone(&answers)));
            }
        });
        server
    }

    fn counts(&self) -> (usize, usize) {
        let count = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
        (count(&self.requests), count(&self.connections))
    }
}

async fn serve(
    mut stream: TcpStream,
    requests: Arc<AtomicUsize>,
    answers: Arc<Mutex<VecDeque<String>>>,
) {
    let mut buffer = [0; 4096];
    while let Ok(1..) = stream.read(&mut buffer).await {
        requests.fetch_add(1, Ordering::SeqCst);
        let answer = answers.lock().unwrap().pop_front().unwrap_or(OK.to_owned());
        let ends = answer.starts_with('!');
        let _ = stream
            .write_all(answer.trim_start_matches('!').as_bytes())
            .await;
        if ends {
            return;
        }
    }
}

fn client(address: SocketAddr) -> (Client, impl Fn() -> Request<Full<Bytes>>) {
    // Once a process; a second time says no.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = format!("http://{address}/hook");
    let guard = Guard::new(&url.parse().unwrap(), vec!["127.0.0.0/8".parse().unwrap()]);
    let client = Client::new(guard, PATIENCE, &LinkTls::default()).unwrap();
    let request = move || Request::post(&url).body(Full::from("{}")).unwrap();
    (client, request)
}

/// The results of `count` requests in sequence: a status, and `again` or `cut`.
async fn sent(server: &Server, count: usize) -> Vec<String> {
    let (client, request) = client(server.address);
    let mut results = Vec::new();
    for _ in 0..count {
        results.push(match client.send(&request).await {
            Ok(Answered { answer, again }) => {
                let status = match &answer {
                    Answer::Whole(response) => response.status().as_u16().to_string(),
                    Answer::StatusOnly(status) => format!("only {}", status.as_u16()),
                };
                format!("{status}{}", if again { " again" } else { "" })
            }
            Err(_) => "broken".to_owned(),
        });
        // The client learns of an answer's end, and that it may use the connection again, on its own time.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    results
}

#[tokio::test]
async fn a_kept_connection_that_is_closed_costs_no_attempt() {
    let server = Server::start(&[OK, "!", OK]).await;
    assert_eq!(sent(&server, 2).await, ["200", "200 again"]);
    assert_eq!(server.counts(), (3, 2));
}

#[tokio::test]
async fn a_new_connection_that_breaks_is_a_failure_and_so_is_the_second_one() {
    let server = Server::start(&["!", OK, "!", "!", OK]).await;
    assert_eq!(sent(&server, 4).await, ["broken", "200", "broken", "200"]);
    assert_eq!(server.counts().0, 5);
}

#[tokio::test]
async fn an_answer_that_began_is_not_asked_for_again() {
    let server = Server::start(&[OK, "!HTTP/1.1 200 O"]).await;
    assert_eq!(sent(&server, 2).await, ["200", "broken"]);
    assert_eq!(server.counts().0, 2);
}

#[tokio::test]
async fn the_status_counts_however_large_the_head_is() {
    let head = |status: &str, lines: usize, length: usize| {
        let lines: String = (0..lines)
            .map(|at| format!("x-{at}: {}\r\n", "y".repeat(length)))
            .collect();
        format!("HTTP/1.1 {status}\r\n{lines}content-length: 0\r\n\r\n")
    };
    let answers = [
        head("200 OK", 101, 1),
        head("200 OK", 1000, 1),
        head("204 No Content", 1, 600_000),
        head("500 Oh", 3000, 300),
        format!(
            "{EARLY}HTTP/1.1 100 Continue\r\n\r\n{}",
            head("202 Accepted", 500, 1)
        ),
        format!("{EARLY}{}", head("200 OK", 100, 1)),
    ];
    let answers: Vec<&str> = answers.iter().map(String::as_str).collect();
    let server = Server::start(&answers).await;
    assert_eq!(
        sent(&server, 6).await,
        ["200", "only 200", "only 204", "only 500", "only 202", "200"]
    );
    assert_eq!(server.counts().0, 6);
}

#[tokio::test]
async fn the_status_counts_whatever_follows_it_in_the_head() {
    let answers = [
        "HTTP/1.1 200 OK\r\nthis is not a header\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        "HTTP/1.1 410 Gone\r\ncontent-length: many\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
    ];
    let server = Server::start(&answers).await;
    assert_eq!(
        sent(&server, 4).await,
        ["only 200", "only 200", "only 410", "broken"]
    );
    assert_eq!(server.counts().0, 4);
}

#[tokio::test]
async fn a_server_that_calls_a_kept_connection_idle_costs_no_attempt() {
    const IDLE: &str =
        "!HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let server = Server::start(&[OK, IDLE, OK, IDLE, IDLE, IDLE]).await;
    // One that says so of a new connection has waited for this very request.
    assert_eq!(
        sent(&server, 4).await,
        ["200", "200 again", "408", "408"],
        "{:?}",
        server.counts()
    );
    assert_eq!(server.counts().0, 5);
}

#[tokio::test]
async fn a_stream_that_is_refused_is_sent_over_another_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut refuses = true;
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let refused = std::mem::replace(&mut refuses, false);
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    if refused {
                        respond.send_reset(h2::Reason::REFUSED_STREAM);
                    } else {
                        respond.send_response(Response::new(()), true).unwrap();
                    }
                }
            });
        }
    });
    let (_, request) = client(address);
    let guard = Guard::new(
        &format!("http://{address}/").parse().unwrap(),
        vec!["127.0.0.0/8".parse().unwrap()],
    );
    let client = Client::with(guard, PATIENCE, &LinkTls::default(), |builder| {
        builder.http2_only(true);
    })
    .unwrap();
    let answered = client.send(request).await.unwrap();
    assert!(answered.again);
    assert!(matches!(answered.answer, Answer::Whole(response) if response.status() == 200));
}

#[tokio::test]
async fn a_kept_connection_that_is_closed_in_the_middle_of_a_request_costs_no_attempt() {
    let server = Server::start(&[OK, "!"]).await;
    let (client, request) = client(server.address);
    client.send(&request).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    // Far more than the server reads before it goes away.
    let large = || request().map(|_| Full::from(vec![b'x'; 8 * 1024 * 1024]));
    let answered = client.send(large).await.unwrap();
    assert!(answered.again);
}

#[tokio::test]
async fn a_connection_that_let_a_request_wait_in_vain_is_not_used_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    tokio::spawn(async move {
        let requests = Arc::new(AtomicUsize::new(0));
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            counter.fetch_add(1, Ordering::SeqCst);
            let requests = Arc::clone(&requests);
            let service = service_fn(move |_| {
                let earlier = requests.fetch_add(1, Ordering::SeqCst);
                async move {
                    if earlier == 1 {
                        std::future::pending::<()>().await;
                    }
                    Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
                }
            });
            let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(serving);
        }
    });
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = format!("http://{address}/hook");
    let guard = Guard::new(&url.parse().unwrap(), vec!["127.0.0.0/8".parse().unwrap()]);
    let client = Client::with(guard, PATIENCE, &LinkTls::default(), |builder| {
        builder.http2_only(true);
    })
    .unwrap();
    let send = async || {
        let request = || Request::post(&url).body(Full::from("{}")).unwrap();
        tokio::time::timeout(Duration::from_millis(300), client.send(request))
            .await
            .is_ok()
    };
    // The second waits in vain; the third does not share its connection.
    assert_eq!(
        [send().await, send().await, send().await],
        [true, false, true]
    );
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}
