//! Webhooks to receivers whose certificate is of an authority of the test's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use testkit::pki::{Authority, LeafFiles};
use testkit::receiver::TlsFront;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

/// Two authorities, and their files.
struct Pki {
    folder: tempfile::TempDir,
    servers: Authority,
    clients: Authority,
}

impl Pki {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            servers: Authority::new("servers").unwrap(),
            clients: Authority::new("clients").unwrap(),
        }
    }

    fn write(&self, authority: &Authority, name: &str) -> LeafFiles {
        let leaf = authority.issue(&["longshore"]).unwrap();
        authority.write(&leaf, self.folder.path(), name).unwrap()
    }

    /// A receiver at 127.0.0.1, by a certificate for that address, which takes certificates of `clients` alone.
    async fn receiver(&self) -> (Receiver, TlsFront) {
        let receiver = Receiver::start().await.unwrap();
        let leaf = self.servers.issue(&["127.0.0.1"]).unwrap();
        let front = receiver.over_tls(&leaf, Some(&self.clients)).await.unwrap();
        (receiver, front)
    }
}

/// A delivery with these files: the authority, and the certificate that is shown.
async fn delivery(url: &str, ca: &LeafFiles, shown: Option<&LeafFiles>) -> Sent {
    let shown = shown.map(|files| {
        format!(
            ", certificate = {:?}, key = {:?}",
            files.certificate, files.key
        )
    });
    let keys = format!("tls = {{ ca = {:?}{} }}", ca.ca, shown.unwrap_or_default());
    send(&webhook_with(url, &keys)).await
}

fn error(sent: &Sent) -> &str {
    match &sent.verdict {
        Verdict::Later { failure, .. } => {
            assert_eq!(failure.code, ReasonCode::ReceiverFailing);
            &failure.error
        }
        other => panic!("expected a later attempt, found {other:?}"),
    }
}

#[tokio::test]
async fn a_receiver_is_trusted_by_its_authority_and_shown_our_certificate() {
    let pki = Pki::new();
    let (receiver, front) = pki.receiver().await;
    let (ca, client) = (
        pki.write(&pki.servers, "server"),
        pki.write(&pki.clients, "client"),
    );
    let sent = delivery(&front.url("127.0.0.1"), &ca, Some(&client)).await;
    assert_eq!(sent.verdict, Verdict::Delivered, "{sent:?}");
    assert_eq!(receiver.count(), 1);
}

#[tokio::test]
async fn a_certificate_of_another_authority_or_for_another_host_is_not_believed() {
    let pki = Pki::new();
    let (receiver, front) = pki.receiver().await;
    let (ca, client) = (
        pki.write(&pki.servers, "server"),
        pki.write(&pki.clients, "client"),
    );
    let sent = delivery(&front.url("127.0.0.1"), &client, Some(&client)).await;
    assert!(error(&sent).contains("UnknownIssuer"), "{sent:?}");
    let sent = send(&webhook(&front.url("127.0.0.1"))).await;
    assert!(error(&sent).starts_with("cannot connect: "), "{sent:?}");
    let sent = delivery(&front.url("localhost"), &ca, Some(&client)).await;
    assert!(
        error(&sent).contains("not valid for name \"localhost\""),
        "{sent:?}"
    );
    assert_eq!(receiver.count(), 0);
}

#[tokio::test]
async fn a_receiver_that_asks_for_a_certificate_refuses_none_and_a_strange_one() {
    let pki = Pki::new();
    let (receiver, front) = pki.receiver().await;
    let (ca, strange) = (
        pki.write(&pki.servers, "server"),
        pki.write(&pki.servers, "strange"),
    );
    let none = delivery(&front.url("127.0.0.1"), &ca, None).await;
    assert!(!error(&none).is_empty(), "{none:?}");
    let other = delivery(&front.url("127.0.0.1"), &ca, Some(&strange)).await;
    assert!(!error(&other).is_empty(), "{other:?}");
    assert_eq!(receiver.count(), 0);
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_on_the_next_connection() {
    let pki = Pki::new();
    let (receiver, front) = pki.receiver().await;
    let (ca, files) = (
        pki.write(&pki.servers, "server"),
        pki.write(&pki.servers, "client"),
    );
    let keys = format!(
        "tls = {{ ca = {:?}, certificate = {:?}, key = {:?} }}",
        ca.ca, files.certificate, files.key
    );
    let webhook = webhook_with(&front.url("127.0.0.1"), &keys);
    assert!(!error(&send(&webhook).await).is_empty());
    pki.write(&pki.clients, "client");
    assert_eq!(send(&webhook).await.verdict, Verdict::Delivered);
    assert_eq!(receiver.count(), 1);
}

#[test]
fn files_that_cannot_be_used_are_an_error_at_start() {
    let keys = "tls = { ca = \"/nowhere/ca.pem\" }";
    let config = testbed::webhook_with("https://crm.example/hook", keys);
    let error = Webhook::new(&config, Duration::from_secs(1), Means::default())
        .err()
        .unwrap();
    assert!(error.contains("/nowhere/ca.pem"), "{error}");
}

#[tokio::test]
async fn a_token_server_is_reached_by_the_same_certificates() {
    let pki = Pki::new();
    let (receiver, front) = pki.receiver().await;
    let (server, before) = pki.receiver().await;
    server.always(Reply::status(200).body("{\"access_token\":\"t1\",\"token_type\":\"Bearer\"}"));
    let (ca, client) = (
        pki.write(&pki.servers, "server"),
        pki.write(&pki.clients, "client"),
    );
    let keys = format!(
        "tls = {{ ca = {:?}, certificate = {:?}, key = {:?} }}\nauth = {{ oauth2 = {{ token_url = \"{}\", \
         client_id = \"a\", client_secret = \"b\" }} }}",
        ca.ca,
        client.certificate,
        client.key,
        before.url("127.0.0.1")
    );
    let sent = send(&webhook_with(&front.url("127.0.0.1"), &keys)).await;
    assert_eq!(sent.verdict, Verdict::Delivered, "{sent:?}");
    assert_eq!(receiver.requests()[0].header("authorization"), "Bearer t1");
}

#[tokio::test]
async fn http2_is_spoken_where_the_receiver_speaks_it() {
    let pki = Pki::new();
    let ca = pki.write(&pki.servers, "server");
    let mut config = pki
        .servers
        .issue(&["127.0.0.1"])
        .unwrap()
        .server(None)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/hook", listener.local_addr().unwrap());
    let (connections, streams) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (opened, asked) = (Arc::clone(&connections), Arc::clone(&streams));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let stream = acceptor.accept(stream).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            opened.fetch_add(1, Ordering::SeqCst);
            let asked = Arc::clone(&asked);
            let service = service_fn(move |request: Request<Incoming>| {
                asked.fetch_add(1, Ordering::SeqCst);
                async move {
                    assert_eq!(request.headers()["webhook-id"], "an-id");
                    Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::default()))
                }
            });
            let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(serving);
        }
    });
    let webhook = webhook_with(&url, &format!("tls = {{ ca = {:?} }}", ca.ca));
    for _ in 0..3 {
        assert_eq!(send(&webhook).await.verdict, Verdict::Delivered);
    }
    let counts = (
        connections.load(Ordering::SeqCst),
        streams.load(Ordering::SeqCst),
    );
    assert_eq!(counts, (1, 3));
}
