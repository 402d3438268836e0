//! Webhooks of providers: who is believed, which event they make, and each other answer.

use axum::http::{Method, Request, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::broker::PublishError;
use common::config::{Config, load_from};
use common::event::{EventId, Publisher, now};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::fakes::{Setup, Testbed};
use crate::request::{Answer, EVENT, JSON, event};

pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OLD_SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";

/// A door with some sources.
fn config() -> Config {
    let source = |name: &str, more: &str| {
        format!(
            r#"{{ name = "{name}", scheme = "{name}", type = "{name}.{{type}}",
                secret = ["{SECRET}", "{OLD_SECRET}"] {more} }}"#
        )
    };
    let sources = [
        source(
            "stripe",
            r##", types = ["stripe.invoice.#", "stripe.odd"]"##,
        ),
        source("standard", ""),
        source("github", ""),
        source("slack", ""),
        format!(
            r#"{{ name = "form", scheme = "github", type = "signup.requested", secret = "{SECRET}" }}"#
        ),
    ];
    let object = r#"schema = { type = "object", required = ["id"] }"#;
    let types = [
        "stripe.invoice.paid",
        "standard.user.created",
        "github.push",
        "slack.message",
    ];
    let types = types.map(|name| match name {
        "stripe.invoice.paid" => format!(r#"{{ name = "{name}", {object} }}"#),
        _ => format!(r#"{{ name = "{name}", schema = true }}"#),
    });
    let variables = [
        ("LONGSHORE__SOURCE", format!("[{}]", sources.join(", "))),
        ("LONGSHORE__TYPE", format!("[{}]", types.join(", "))),
    ];
    load_from(variables.map(|(name, value)| (name.to_owned(), value))).unwrap()
}

fn bed() -> Testbed {
    Setup {
        config: config(),
        ..Setup::default()
    }
    .build()
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Stripe's header for a body that is signed now, or a number of seconds from now.
pub fn stripe(secret: &str, off: i64, body: &str) -> String {
    let at = now().unix_timestamp() + off;
    let signature = mac(secret.as_bytes(), &format!("{at}.{body}"));
    format!("t={at},v1={}", hex(&signature))
}

fn invoice(id: &str) -> String {
    // Written as Stripe writes it: the data stays byte for byte.
    format!("{{\n  \"id\": \"{id}\",\n  \"type\": \"invoice.paid\",\n  \"created\": 1700000000\n}}")
}

async fn send_stripe(bed: &Testbed, signature: &str, body: &str) -> Answer {
    let headers = [JSON, ("stripe-signature", signature)];
    bed.post("/v1/sources/stripe", &headers, body.to_owned())
        .await
}

#[tokio::test]
async fn a_signed_webhook_is_an_event_with_the_provider_s_id_type_and_time() {
    let bed = bed();
    let body = invoice("evt_1");
    let answer = send_stripe(&bed, &stripe(SECRET, 0, &body), &body).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    let (publication, decoded) = bed.broker.only();
    assert_eq!(decoded.event.id, "evt_1");
    assert_eq!(decoded.event.source, "/v1/sources/stripe");
    assert_eq!(decoded.event.kind, "stripe.invoice.paid");
    assert_eq!(decoded.event.time.as_deref(), Some("2023-11-14T22:13:20Z"));
    assert_eq!(decoded.event.data(), body);
    let publisher = Publisher::source("stripe");
    assert_eq!(decoded.trail.publisher, Some(publisher.clone()));
    assert_eq!(
        decoded.id,
        EventId::derived(&publisher, "/v1/sources/stripe", "evt_1")
    );
    assert_eq!(answer.json()["id"], decoded.id.to_string());
    assert_eq!(
        answer.header("location"),
        format!("/v1/events/{}", decoded.id)
    );
    assert!(!format!("{publication:?} {answer:?}").contains("whsec"));
}

#[tokio::test]
async fn a_repetition_is_the_same_event_and_nobody_else_can_name_it() {
    let bed = bed();
    let body = invoice("evt_1");
    let mut ids = Vec::new();
    for (secret, off) in [(SECRET, 0), (OLD_SECRET, -200), (SECRET, 200)] {
        let answer = send_stripe(&bed, &stripe(secret, off, &body), &body).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
        ids.push(answer.json()["id"].clone());
    }
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "{ids:?}");
    let mut shadow = event("evt_1");
    shadow["source"] = "/v1/sources/stripe".into();
    let answer = bed.post("/v1/events", &[EVENT], shadow.to_string()).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_ne!(answer.json()["id"], ids[0]);
}

#[tokio::test]
async fn who_is_not_believed_gets_one_answer_and_publishes_nothing() {
    let bed = bed();
    let body = invoice("evt_1");
    let good = stripe(SECRET, 0, &body);
    let mut details = Vec::new();
    for (signature, sent) in [
        (
            stripe("whsec_another_secret_of_somebody", 0, &body),
            body.clone(),
        ),
        (
            stripe("whsec_another_secret_of_somebody", -9000, &body),
            body.clone(),
        ),
        (good.clone(), invoice("evt_2")),
        (good.replace("v1=", "v0="), body.clone()),
        ("nonsense".to_owned(), body.clone()),
        (good.clone(), "not JSON".to_owned()),
    ] {
        let answer = send_stripe(&bed, &signature, &sent).await;
        assert_eq!(
            (answer.status.as_u16(), &*answer.code()),
            (401, "unauthenticated")
        );
        assert_eq!(answer.header("www-authenticate"), "Signature");
        details.push(answer.json()["detail"].clone());
    }
    let missing = bed.post("/v1/sources/stripe", &[JSON], body.clone()).await;
    assert_eq!(missing.status, StatusCode::UNAUTHORIZED);
    details.push(missing.json()["detail"].clone());
    assert!(
        details.windows(2).all(|pair| pair[0] == pair[1]),
        "{details:?}"
    );
    for off in [-400, 400] {
        let answer = send_stripe(&bed, &stripe(SECRET, off, &body), &body).await;
        assert_eq!(
            (answer.status.as_u16(), &*answer.code()),
            (401, "unauthenticated")
        );
        assert!(answer.json()["detail"].as_str().unwrap().contains("300 s"));
    }
    let twice = [
        JSON,
        ("stripe-signature", &*good),
        ("stripe-signature", &*good),
    ];
    let answer = bed.post("/v1/sources/stripe", &twice, body).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(bed.broker.begun(), 0);
}

#[tokio::test]
async fn an_unknown_source_is_not_found() {
    let bed = bed();
    for path in [
        "/v1/sources/paypal",
        "/v1/sources/Stripe",
        "/v1/sources/%ff",
        "/v1/sources/",
    ] {
        let answer = bed.post(path, &[JSON], "{}").await;
        assert_eq!(
            (answer.status.as_u16(), &*answer.code()),
            (404, "not_found"),
            "{path}"
        );
    }
    let request = Request::builder()
        .method(Method::GET)
        .uri("/v1/sources/stripe");
    let answer = bed
        .send(request.body(axum::body::Body::empty()).unwrap())
        .await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("allow")),
        (405, "POST")
    );
}

#[tokio::test]
async fn a_type_that_is_not_wanted_is_ignored_and_one_that_nobody_knows_is_refused() {
    let bed = bed();
    let send = async |kind: &str| {
        let body = json!({"id": "evt_1", "type": kind}).to_string();
        send_stripe(&bed, &stripe(SECRET, 0, &body), &body).await
    };
    let answer = send("customer.created").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.json(), json!({"ignored": "stripe.customer.created"}));
    for kind in ["invoice.voided", "odd"] {
        let answer = send(kind).await;
        assert_eq!(
            (answer.status.as_u16(), &*answer.code()),
            (422, "unknown_type")
        );
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(&format!("stripe.{kind}")), "{detail}");
    }
    assert_eq!(bed.broker.begun(), 0);
}

#[tokio::test]
async fn an_authentic_webhook_that_is_wrong_says_where() {
    let bed = bed();
    for (body, status, code, pointers) in [
        ("{", 400, "malformed_json", &["/data"][..]),
        ("{\"a\": 1, \"a\": 2}", 400, "malformed_json", &["/data"]),
        ("{}", 422, "invalid", &["/id", "/type"]),
        (
            r#"{"id": "a\u0000b", "type": "invoice.paid"}"#,
            422,
            "invalid",
            &["/id"],
        ),
    ] {
        let answer = send_stripe(&bed, &stripe(SECRET, 0, body), body).await;
        assert_eq!(
            (answer.status.as_u16(), &*answer.code()),
            (status, code),
            "{body}"
        );
        assert_eq!(answer.pointers(), pointers, "{body}");
    }
    let long = json!({"id": "x".repeat(201), "type": "invoice.paid"}).to_string();
    let answer = send_stripe(&bed, &stripe(SECRET, 0, &long), &long).await;
    assert_eq!(answer.pointers(), ["/id"]);
    let bytes = b"\"\xff\"".to_vec();
    let at = now().unix_timestamp();
    let mut signed = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    signed.update(&[format!("{at}.").as_bytes(), &bytes].concat());
    let signature = format!("t={at},v1={}", hex(&signed.finalize().into_bytes()));
    let headers = [JSON, ("stripe-signature", &*signature)];
    let answer = bed.post("/v1/sources/stripe", &headers, bytes).await;
    assert_eq!(answer.code(), "malformed_json");
    assert_eq!(bed.broker.begun(), 0);
}

#[tokio::test]
async fn other_media_and_large_bodies_are_refused() {
    let mut setup = Setup {
        config: config(),
        ..Setup::default()
    };
    setup.config.limits.event_bytes = 1000;
    let bed = setup.build();
    for media in [
        "application/x-www-form-urlencoded",
        "text/plain",
        "application/json; charset=latin1",
    ] {
        let answer = bed
            .post("/v1/sources/slack", &[("content-type", media)], "{}")
            .await;
        assert_eq!(answer.code(), "unsupported_media_type", "{media}");
    }
    let headers = [JSON, ("content-encoding", "gzip")];
    let answer = bed.post("/v1/sources/slack", &headers, "{}").await;
    assert_eq!(answer.code(), "unsupported_media_type");
    let answer = bed
        .post("/v1/sources/slack", &[JSON], "x".repeat(1001))
        .await;
    assert_eq!(answer.code(), "too_large");
}

#[tokio::test]
async fn handshakes_are_answered_and_publish_nothing() {
    let bed = bed();
    let body = json!({"type": "url_verification", "challenge": "3eZbrw1aBm2rZgRN"}).to_string();
    let at = now().unix_timestamp().to_string();
    let signature = format!(
        "v0={}",
        hex(&mac(SECRET.as_bytes(), &format!("v0:{at}:{body}")))
    );
    let headers = [
        JSON,
        ("x-slack-request-timestamp", &*at),
        ("x-slack-signature", &*signature),
    ];
    let answer = bed.post("/v1/sources/slack", &headers, body.clone()).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(&answer.body[..], b"3eZbrw1aBm2rZgRN");
    assert!(answer.header("content-type").starts_with("text/plain"));
    let answer = bed.post("/v1/sources/slack", &[JSON], body).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);

    let ping = json!({"zen": "Keep it logically awesome."}).to_string();
    let signature = format!("sha256={}", hex(&mac(SECRET.as_bytes(), &ping)));
    let headers = [
        JSON,
        ("x-hub-signature-256", &*signature),
        ("x-github-event", "ping"),
        ("x-github-delivery", "d-1"),
    ];
    let answer = bed.post("/v1/sources/github", &headers, ping).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(bed.broker.begun(), 0);
}

#[tokio::test]
async fn standard_webhooks_and_events_without_a_time_are_taken() {
    let bed = bed();
    let body = json!({"type": "user.created", "data": {}}).to_string();
    let at = now().unix_timestamp().to_string();
    let key = STANDARD
        .decode(SECRET.trim_start_matches("whsec_"))
        .unwrap();
    let signature = STANDARD.encode(mac(&key, &format!("msg_1.{at}.{body}")));
    let signature = format!("v1,bm90IGl0 v1,{signature}");
    // Without a content type, as some providers send it.
    let headers = [
        ("webhook-id", "msg_1"),
        ("webhook-timestamp", &*at),
        ("webhook-signature", &*signature),
    ];
    let answer = bed.post("/v1/sources/standard", &headers, body).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    let (_, decoded) = bed.broker.only();
    assert_eq!(decoded.event.id, "msg_1");
    assert!(decoded.event.time.is_some());
}

#[tokio::test]
async fn the_rules_of_a_type_hold_for_every_source() {
    let bed = bed();
    let send = async |body: Value| {
        let body = body.to_string();
        let signature = format!("sha256={}", hex(&mac(SECRET.as_bytes(), &body)));
        let headers = [
            JSON,
            ("x-hub-signature-256", &*signature),
            ("x-github-event", "any"),
            ("x-github-delivery", "d-1"),
        ];
        bed.post("/v1/sources/form", &headers, body).await
    };
    let answer = send(json!({"email": "nobody", "name": "x"})).await;
    assert_eq!(
        (answer.code(), answer.pointers()),
        ("invalid".to_owned(), vec!["/data/email".to_owned()])
    );
    let answer =
        send(json!({"email": "a@b.example", "name": "x", "password": "hunter2hunter2"})).await;
    assert_eq!(answer.code(), "plaintext_password");
    assert!(!format!("{answer:?}").contains("hunter2"));
    assert_eq!(bed.broker.begun(), 0);
    let answer = send(json!({"email": "a@b.example", "name": "x"})).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    assert_eq!(bed.broker.only().1.event.kind, "signup.requested");
}

#[tokio::test]
async fn an_unconfirmed_webhook_is_told_to_come_again() {
    let bed = Setup {
        config: config(),
        fails: Box::new(|_| Some(PublishError::Nacked)),
        ..Setup::default()
    }
    .build();
    let body = invoice("evt_1");
    let answer = send_stripe(&bed, &stripe(SECRET, 0, &body), &body).await;
    assert_eq!(
        (answer.status.as_u16(), &*answer.code()),
        (503, "not_confirmed")
    );
    assert!(!answer.header("retry-after").is_empty());
}
