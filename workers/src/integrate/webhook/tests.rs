//! Requests, tokens and answers of a webhook.

mod over_tls;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use common::event::EventId;
use common::message::{CLOUDEVENTS_JSON, Message};
use common::runtime::Received;
use http::{HeaderValue, Method, Request};
use http_body_util::Full;
use testkit::receiver::{Answer as Reply, Receiver};

use super::*;
use crate::testbed::{self, signup};

/// A webhook whose `webhook` has these keys beside `url`.
fn webhook_with(url: &str, keys: &str) -> Webhook {
    webhook_within(Duration::from_secs(30), url, keys)
}

/// The same, with this timeout.
fn webhook_within(timeout: Duration, url: &str, keys: &str) -> Webhook {
    // Once a process; a second time says no.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = testbed::webhook_with(url, keys);
    Webhook::new(&config, timeout, Means::loopback()).unwrap()
}

fn webhook(url: &str) -> Webhook {
    webhook_with(url, "")
}

/// The request for a delivery.
async fn request(webhook: &Webhook, parcel: Parcel<'_>) -> Request<Full<Bytes>> {
    let payload = webhook.content.payload(parcel.received).unwrap();
    let shown = webhook.authorization.shown().await.unwrap();
    webhook.outline.request(parcel, &payload, shown.header())
}

fn parcel(event: EventId, received: &Received) -> Parcel<'_> {
    Parcel {
        id: "an-id",
        event,
        at: OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1000),
        received,
    }
}

fn header<'r>(request: &'r Request<Full<Bytes>>, name: &str) -> Option<&'r str> {
    request.headers().get(name)?.to_str().ok()
}

#[tokio::test]
async fn a_request_says_what_it_is_about() {
    let id = EventId::born();
    let mut received = signup(id, "ada@example.com");
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    received.message.headers.set("traceparent", parent);
    let webhook = webhook("https://crm.example/hook");
    let request = request(&webhook, parcel(id, &received)).await;
    assert_eq!(request.method(), Method::POST);
    assert_eq!(request.uri(), "https://crm.example/hook");
    let event = id.to_string();
    for (name, value) in [
        ("content-type", CLOUDEVENTS_JSON),
        ("webhook-id", "an-id"),
        ("webhook-timestamp", "1000"),
        ("longshore-event-id", &event),
        ("traceparent", parent),
    ] {
        assert_eq!(header(&request, name), Some(value), "{name}");
    }
    let agent = header(&request, "user-agent").unwrap_or_default();
    assert!(agent.starts_with("longshore/"), "{agent}");
    assert_eq!(header(&request, "authorization"), None);
}

#[tokio::test]
async fn a_context_that_can_be_no_header_stays_behind() {
    let id = EventId::born();
    let mut received = signup(id, "ada@example.com");
    received.message = Message {
        headers: [("traceparent", "a\r\nset-cookie: b")]
            .into_iter()
            .collect(),
        ..received.message
    };
    let webhook = webhook("https://crm.example/hook");
    let request = request(&webhook, parcel(id, &received)).await;
    assert_eq!(header(&request, "traceparent"), None);
    assert_eq!(header(&request, "webhook-id"), Some("an-id"));
}

#[tokio::test]
async fn the_state_of_a_trace_goes_with_its_parent() {
    let id = EventId::born();
    let mut received = signup(id, "ada@example.com");
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    received.message.headers.set("traceparent", parent);
    received.message.headers.set("tracestate", "shop=7");
    let webhook = webhook("https://crm.example/hook");
    let request = request(&webhook, parcel(id, &received)).await;
    assert_eq!(header(&request, "tracestate"), Some("shop=7"));
}

#[test]
fn a_trace_shows_no_secret_of_a_url() {
    let url = |text: &str| shown(text.parse().unwrap());
    assert_eq!(
        url("https://crm.example/hook?token=abc&a=b#c"),
        "https://crm.example/hook?token=REDACTED&a=REDACTED"
    );
    assert_eq!(url("https://crm.example/hook"), "https://crm.example/hook");
}

#[tokio::test]
async fn a_user_and_a_password_in_the_url_go_into_a_header() {
    let webhook = webhook("https://ada:p%40ss@crm.example/hook?a=b");
    let id = EventId::born();
    let received = signup(id, "ada@example.com");
    let request = request(&webhook, parcel(id, &received)).await;
    assert_eq!(request.uri(), "https://crm.example/hook?a=b");
    let expected = format!("Basic {}", STANDARD.encode("ada:p@ss"));
    assert_eq!(header(&request, "authorization"), Some(&*expected));
    let value = request.headers().get("authorization");
    assert!(value.is_some_and(HeaderValue::is_sensitive));
}

#[tokio::test]
async fn headers_and_method_of_the_operator_are_in_the_request() {
    let keys = "method = \"PUT\"\nheaders = { X-Api-Key = \"k1\", x-other = \"\" }";
    let webhook = webhook_with("https://crm.example/hook", keys);
    let id = EventId::born();
    let received = signup(id, "ada@example.com");
    let request = request(&webhook, parcel(id, &received)).await;
    assert_eq!(request.method(), Method::PUT);
    assert_eq!(header(&request, "x-api-key"), Some("k1"));
    assert_eq!(header(&request, "x-other"), Some(""));
    let value = request.headers().get("x-api-key");
    assert!(value.is_some_and(HeaderValue::is_sensitive));
}

#[tokio::test]
async fn basic_and_bearer_are_in_a_header() {
    let id = EventId::born();
    let received = signup(id, "ada@example.com");
    for (auth, expected) in [
        (
            "{ basic = { user = \"ada\", password = \"p:w\u{e9}\" } }",
            format!("Basic {}", STANDARD.encode("ada:p:w\u{e9}")),
        ),
        ("{ bearer = \"abc.def\" }", "Bearer abc.def".to_owned()),
    ] {
        let webhook = webhook_with("https://crm.example/hook", &format!("auth = {auth}"));
        let request = request(&webhook, parcel(id, &received)).await;
        assert_eq!(header(&request, "authorization"), Some(&*expected));
        let value = request.headers().get("authorization");
        assert!(value.is_some_and(HeaderValue::is_sensitive));
    }
}

/// A webhook with tokens of `server`, to `receiver`.
fn with_tokens(receiver: &Receiver, server: &Receiver) -> Webhook {
    with_tokens_within(Duration::from_secs(30), receiver, server)
}

/// The same, with this timeout.
fn with_tokens_within(timeout: Duration, receiver: &Receiver, server: &Receiver) -> Webhook {
    let keys = format!(
        "auth = {{ oauth2 = {{ token_url = \"{}\", client_id = \"a\", client_secret = \"hunter2\" }} }}",
        server.url()
    );
    webhook_within(timeout, &receiver.url(), &keys)
}

/// A receiver that takes one token alone, and a server that gives `t1`, `t2` and so on.
async fn receiver_of(token: &'static str) -> (Receiver, Receiver) {
    let (receiver, server) = (
        Receiver::start().await.unwrap(),
        Receiver::start().await.unwrap(),
    );
    receiver.plan(move |call| {
        let is_right = call.request.header("authorization") == format!("Bearer {token}");
        Reply::status(if is_right { 200 } else { 401 })
    });
    server.plan(|call| {
        let number = call.total + 1;
        let token = format!(
            "{{\"access_token\":\"t{number}\",\"token_type\":\"Bearer\",\"expires_in\":3600}}"
        );
        Reply::status(200).body(token)
    });
    (receiver, server)
}

async fn send(webhook: &Webhook) -> Sent {
    let id = EventId::born();
    let received = signup(id, "ada@example.com");
    webhook.send(parcel(id, &received)).await
}

#[tokio::test]
async fn a_refused_token_costs_no_attempt_and_a_refused_second_one_does() {
    let (receiver, server) = receiver_of("t2").await;
    let webhook = with_tokens(&receiver, &server);
    assert_eq!(send(&webhook).await.verdict, Verdict::Delivered);
    assert_eq!(send(&webhook).await.verdict, Verdict::Delivered);
    assert_eq!((receiver.count(), server.count()), (3, 2));
    let ids: Vec<_> = receiver
        .requests()
        .iter()
        .map(|it| it.webhook_id().to_owned())
        .collect();
    assert_eq!(ids, ["an-id"; 3]);

    let (receiver, server) = receiver_of("none").await;
    let webhook = with_tokens(&receiver, &server);
    for (posts, asked) in [(2, 2), (3, 2), (4, 2)] {
        let sent = send(&webhook).await;
        assert_eq!(sent.status, Some(401));
        assert!(matches!(sent.verdict, Verdict::Later { .. }), "{sent:?}");
        assert_eq!((receiver.count(), server.count()), (posts, asked));
    }
}

#[tokio::test]
async fn many_deliveries_with_a_refused_token_renew_it_once() {
    let (receiver, server) = receiver_of("t2").await;
    let webhook = with_tokens(&receiver, &server);
    let sent = futures_util::future::join_all((0..16).map(|_| send(&webhook))).await;
    assert!(sent.iter().all(|sent| sent.verdict == Verdict::Delivered));
    assert_eq!(server.count(), 2);
}

#[tokio::test]
async fn a_token_that_cannot_be_had_is_a_failure_of_the_receiver_and_nothing_is_sent() {
    let (receiver, server) = receiver_of("t1").await;
    server.always(Reply::status(500).body("hunter2"));
    let sent = send(&with_tokens(&receiver, &server)).await;
    let Verdict::Later { failure, .. } = &sent.verdict else {
        panic!("expected a later attempt, found {sent:?}");
    };
    assert_eq!(failure.code, ReasonCode::ReceiverFailing);
    assert!(
        failure
            .error
            .starts_with("the token for its webhook could not be had"),
        "{failure:?}"
    );
    assert!(!format!("{sent:?}").contains("hunter2"), "{sent:?}");
    assert_eq!(receiver.count(), 0);
}

#[tokio::test]
async fn the_timeout_covers_the_whole_exchange_with_its_token() {
    let (receiver, server) = receiver_of("t1").await;
    server.plan(|_| Reply::status(200).body("{}").after(Duration::from_secs(30)));
    let second = Duration::from_secs(1);
    let began = std::time::Instant::now();
    let sent = send(&with_tokens_within(second, &receiver, &server)).await;
    assert!(began.elapsed() < Duration::from_secs(20));
    assert!(
        matches!(&sent.verdict, Verdict::Later { failure, .. } if failure.error.contains("within 1s")),
        "{sent:?}"
    );
    // Each half is in time, and both together are not.
    let (receiver, server) = receiver_of("t1").await;
    let half = Duration::from_millis(700);
    server.always(
        Reply::status(200)
            .body("{\"access_token\":\"t1\",\"token_type\":\"Bearer\"}")
            .after(half),
    );
    receiver.always(Reply::status(200).after(half));
    let sent = send(&with_tokens_within(second, &receiver, &server)).await;
    assert!(
        matches!(&sent.verdict, Verdict::Later { failure, .. } if failure.error.contains("within 1s")),
        "{sent:?}"
    );
}

#[tokio::test]
async fn what_cannot_be_made_is_not_sent() {
    let receiver = Receiver::start().await.unwrap();
    let webhook = webhook_with(&receiver.url(), "body = { template = \"a.json\" }");
    let sent = send(&webhook).await;
    assert!(
        matches!(&sent.verdict, Verdict::NotMade(failure) if failure.code == ReasonCode::TemplateFailed),
        "{sent:?}"
    );
    assert_eq!(receiver.count(), 0);
}

#[tokio::test]
async fn redirects_are_failures_and_are_not_followed() {
    let (receiver, elsewhere) = (
        Receiver::start().await.unwrap(),
        Receiver::start().await.unwrap(),
    );
    for status in [301, 302, 303, 307, 308] {
        receiver.always(Reply::status(status).header("location", elsewhere.url()));
        let sent = send(&webhook(&receiver.url())).await;
        assert_eq!(sent.status, Some(status));
        assert!(matches!(sent.verdict, Verdict::Later { .. }), "{sent:?}");
    }
    assert_eq!((receiver.count(), elsewhere.count()), (5, 0));
}

#[tokio::test]
async fn too_many_requests_and_unavailable_say_when_to_come_back() {
    let receiver = Receiver::start().await.unwrap();
    for status in [429, 503] {
        receiver.always(Reply::status(status).retry_after(17));
        let sent = send(&webhook(&receiver.url())).await;
        let wait = Some(Duration::from_secs(17));
        assert!(
            matches!(sent.verdict, Verdict::Later { after, .. } if after == wait),
            "{sent:?}"
        );
    }
}
