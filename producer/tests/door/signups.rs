use axum::http::StatusCode;
use common::event::{EventId, Publisher};
use serde_json::{Value, json};

use crate::fakes::testbed;
use crate::request::JSON;

const GOOD: &str = r#"{"email":"ada@example.com","name":"Ada","attributes":{"n":1.00}}"#;

#[tokio::test]
async fn every_wrong_field_is_listed_at_once_and_nothing_is_published() {
    let bed = testbed();
    let body = json!({
        "email": "nobody", "name": " ", "locale": "???", "password": "short",
        "password_hash": "$argon2id$v=19$x", "attributes": {"a": "\0"}
    });
    let answer = bed.post("/v1/signups", &[JSON], body.to_string()).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer.code(), "invalid");
    assert_eq!(
        answer.pointers(),
        [
            "/attributes/a",
            "/email",
            "/locale",
            "/name",
            "/password",
            "/password_hash"
        ]
    );
    assert_eq!(bed.broker.begun(), 0);
}

#[tokio::test]
async fn fields_that_are_missing_or_unknown_are_errors() {
    let bed = testbed();
    for body in [
        "{}",
        r#"{"email":"a@b.example","name":"x","nick":"y"}"#,
        "[]",
        "7",
        "null",
    ] {
        let answer = bed.post("/v1/signups", &[JSON], body).await;
        assert_eq!(answer.code(), "invalid", "{body}");
        assert!(!answer.pointers().is_empty(), "{body}");
    }
    assert_eq!(bed.broker.begun(), 0);
}

#[tokio::test]
async fn a_signup_is_accepted_with_its_place_and_forwarded_as_it_was_written() {
    let bed = testbed();
    let answer = bed.post("/v1/signups", &[JSON], GOOD).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    let (publication, decoded) = bed.broker.only();
    let id = decoded.id.to_string();
    assert_eq!(decoded.id.uuid().get_version_num(), 7);
    let url = format!("/v1/events/{id}");
    assert_eq!(answer.header("location"), url);
    assert_eq!(
        answer.json(),
        json!({"id": id, "type": "signup.requested", "status_url": url})
    );
    assert_eq!(decoded.event.data(), GOOD);
    assert_eq!(decoded.event.source, "/v1/signups");
    assert_eq!(decoded.trail.publisher, Some(Publisher::ourselves()));
    assert!(decoded.trail.received_at.is_some());
    assert_eq!(publication.message.app_id.as_deref(), Some("/v1/signups"));
    assert!(publication.message.timestamp.is_some());
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
}

#[tokio::test]
async fn an_absent_password_may_be_written_as_null() {
    let bed = testbed();
    let body = r#"{"email":"a@b.example","name":"x","plan":null,"password":null}"#;
    let answer = bed.post("/v1/signups", &[JSON], body).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    assert_eq!(bed.broker.only().1.data.get("password"), None);
}

#[tokio::test]
async fn the_same_key_is_the_same_event_and_other_keys_are_others() {
    let bed = testbed();
    for key in ["k-1", "k-1", "k-2"] {
        let answer = bed
            .post("/v1/signups", &[JSON, ("idempotency-key", key)], GOOD)
            .await;
        assert_eq!(answer.status, StatusCode::ACCEPTED);
    }
    let ids: Vec<_> = bed.broker.taken().into_iter().map(|(_, d)| d.id).collect();
    let expected = EventId::from_key(&Publisher::http("anonymous"), "k-1");
    assert_eq!(ids[..2], [expected, expected]);
    assert_ne!(ids[2], expected);
}

#[tokio::test]
async fn keys_that_are_none_are_refused() {
    let bed = testbed();
    let long = "k".repeat(256);
    for key in ["", "a b", "\u{fc}", &long] {
        let answer = bed
            .post("/v1/signups", &[JSON, ("idempotency-key", key)], GOOD)
            .await;
        assert_eq!(answer.code(), "idempotency_key", "{key:?}");
    }
    let twice = [JSON, ("idempotency-key", "a"), ("idempotency-key", "b")];
    let answer = bed.post("/v1/signups", &twice, GOOD).await;
    assert_eq!(answer.code(), "idempotency_key");
    assert_eq!(bed.broker.begun(), 0);
}

#[tokio::test]
async fn other_content_types_are_refused() {
    let bed = testbed();
    for headers in [
        &[][..],
        &[("content-type", "text/plain")],
        &[("content-type", "application/x-www-form-urlencoded")],
        &[("content-type", "application/json; charset=utf-16")],
        &[JSON, JSON],
        &[JSON, ("content-encoding", "gzip")],
    ] {
        let answer = bed.post("/v1/signups", headers, GOOD).await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        assert_eq!(answer.code(), "unsupported_media_type", "{headers:?}");
    }
    let utf8 = [("content-type", "Application/JSON; Charset=\"UTF-8\"")];
    let answer = bed.post("/v1/signups", &utf8, GOOD).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_valid_trace_parent_goes_on_and_an_invalid_one_does_not() {
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for (given, expected) in [(parent, Some(parent)), ("00-nonsense", None)] {
        let bed = testbed();
        bed.post("/v1/signups", &[JSON, ("traceparent", given)], GOOD)
            .await;
        let (publication, _) = bed.broker.only();
        assert_eq!(publication.message.headers.text("traceparent"), expected);
    }
}

#[tokio::test]
async fn headers_of_ours_from_outside_are_not_believed() {
    let bed = testbed();
    let forged = [
        JSON,
        ("longshore-publisher", "mallory"),
        ("longshore-generation", "7"),
    ];
    bed.post("/v1/signups", &forged, GOOD).await;
    let (_, decoded) = bed.broker.only();
    assert_eq!(decoded.trail.generation, 0);
    assert_eq!(decoded.trail.publisher, Some(Publisher::ourselves()));
}

#[tokio::test]
async fn request_ids_are_kept_when_sane_and_made_when_not() {
    let bed = testbed();
    let own = bed
        .post("/v1/signups", &[JSON, ("x-request-id", "abc-1.2_3")], GOOD)
        .await;
    assert_eq!(own.header("x-request-id"), "abc-1.2_3");
    let forged = bed
        .post("/v1/signups", &[JSON, ("x-request-id", "a b\tc")], GOOD)
        .await;
    assert_eq!(forged.header("x-request-id").len(), 36);
    let body: Value = forged.json();
    assert!(body["id"].is_string());
}
