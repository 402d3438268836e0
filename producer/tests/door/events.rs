use axum::http::StatusCode;
use common::event::{EventId, Publisher};
use serde_json::{Value, json};

use crate::fakes::{Setup, Testbed, testbed};
use crate::request::{EVENT, JSON, event};

fn derived(id: &str) -> EventId {
    EventId::derived(&Publisher::http("anonymous"), "/shop", id)
}

#[tokio::test]
async fn attributes_that_are_missing_or_wrong_are_listed_at_once() {
    let bed = testbed();
    let wrong = json!({"specversion": 1, "type": "signup.requested", "ext": {}, "data_base64": 1});
    let answer = bed.post("/v1/events", &[EVENT], wrong.to_string()).await;
    assert_eq!(answer.code(), "invalid");
    assert_eq!(
        answer.pointers(),
        ["/data_base64", "/ext", "/id", "/source", "/specversion"]
    );
    for (name, value) in [
        ("specversion", json!("0.3")),
        ("id", json!("")),
        ("time", json!("noon")),
        ("Tenant", json!("a")),
        ("datacontenttype", json!("text/xml")),
        ("datacontenttype", json!("xml")),
        ("data_base64", json!("AAEC")),
        ("ext", json!(1.5)),
        ("source", json!("a\u{1}b")),
    ] {
        let mut wrong = event("1");
        wrong[name] = value;
        let answer = bed.post("/v1/events", &[EVENT], wrong.to_string()).await;
        assert_eq!(answer.code(), "invalid", "{name}");
        assert_eq!(answer.pointers(), [format!("/{name}")]);
    }
    assert_eq!(bed.broker.begun(), 0);
}

#[tokio::test]
async fn unknown_types_wrong_data_and_plain_passwords_have_codes_of_their_own() {
    let bed = testbed();
    let post = async |change: fn(&mut Value)| {
        let mut event = event("1");
        change(&mut event);
        bed.post("/v1/events", &[EVENT], event.to_string()).await
    };
    let answer = post(|event| event["type"] = json!("nobody.knows")).await;
    assert_eq!(
        (answer.code(), answer.pointers()),
        ("unknown_type".into(), vec!["/type".into()])
    );
    let answer = post(|event| event["data"]["email"] = json!("x")).await;
    assert_eq!(
        (answer.code(), answer.pointers()),
        ("invalid".into(), vec!["/data/email".into()])
    );
    let answer = post(|event| event["data"]["password"] = json!("hunter22")).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer.code(), "plaintext_password");
    assert_eq!(answer.pointers(), ["/data/password"]);
    assert!(!String::from_utf8_lossy(&answer.body).contains("hunter22"));
    let answer = post(|event| event["data"] = json!(null)).await;
    assert_eq!(answer.pointers(), ["/data"]);
    assert_eq!(bed.broker.begun(), 0);
}

#[tokio::test]
async fn a_structured_event_is_forwarded_byte_for_byte() {
    let bed = testbed();
    let body = " {\"specversion\":\"1.0\",\"id\":\"7\",\"source\":\"/shop\",\n\"type\":\"processing.requested\",\
                \"time\":\"2026-01-02T03:04:05Z\",\"tenant\":\"a\",\"data\":{\"task\":\"t\",\"payload\":{\"n\":1.0}}} ";
    let answer = bed.post("/v1/events", &[EVENT], body).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    let (publication, decoded) = bed.broker.only();
    assert_eq!(publication.message.body, body.as_bytes());
    assert_eq!(decoded.id, derived("7"));
    assert_eq!(answer.json()["id"], derived("7").to_string());
    assert_eq!(decoded.trail.publisher, Some(Publisher::http("anonymous")));
}

#[tokio::test]
async fn an_event_without_a_time_gets_the_one_it_came_at_and_null_means_absent() {
    let bed = testbed();
    let mut event = event("7");
    event["time"] = Value::Null;
    event["subject"] = Value::Null;
    event["tenant"] = Value::Null;
    let answer = bed.post("/v1/events", &[EVENT], event.to_string()).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    let (_, decoded) = bed.broker.only();
    assert!(decoded.event.time.is_some());
    assert!(decoded.event.extensions.is_empty(), "{decoded:?}");
    assert_eq!(decoded.id, derived("7"));
}

#[tokio::test]
async fn a_binary_event_is_the_same_event_as_a_structured_one() {
    let bed = testbed();
    let headers = [
        JSON,
        ("ce-specversion", "1.0"),
        ("ce-id", "%37"),
        ("ce-source", "/shop"),
        ("ce-type", "signup.requested"),
        ("ce-subject", "J%C3%BCrgen%20%25"),
        ("ce-tenant", "\"a \\\"b\\\"\""),
    ];
    let data = r#"{"email": "ada@example.com", "name": "Ada"}"#;
    let answer = bed.post("/v1/events", &headers, data).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    let (_, decoded) = bed.broker.only();
    assert_eq!(decoded.id, derived("7"));
    assert_eq!(decoded.event.data(), data);
    assert_eq!(decoded.event.subject.as_deref(), Some("Jürgen %"));
    assert_eq!(decoded.event.extensions["tenant"], json!("a \"b\""));
    assert_eq!(
        decoded.event.datacontenttype.as_deref(),
        Some("application/json")
    );
}

#[tokio::test]
async fn wrong_headers_of_a_binary_event_are_listed_at_once() {
    let bed = testbed();
    let headers = [
        JSON,
        ("ce-specversion", "1.0"),
        ("ce-id", "%ff"),
        ("ce-type", "signup.requested"),
        ("ce-subject", "a"),
        ("ce-subject", "b"),
        ("ce-data", "{}"),
    ];
    let answer = bed.post("/v1/events", &headers, "{}").await;
    assert_eq!(answer.code(), "invalid");
    assert_eq!(answer.pointers(), ["/data", "/id", "/source", "/subject"]);
    let bare = [
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/s"),
        ("ce-type", "signup.requested"),
    ];
    let answer = bed.post("/v1/events", &bare, "").await;
    assert_eq!(answer.pointers(), ["/data"]);
    let answer = bed.post("/v1/events", &bare, "{").await;
    assert_eq!(
        (answer.code(), answer.pointers()),
        ("malformed_json".into(), vec!["/data".into()])
    );
    assert_eq!(bed.broker.begun(), 0);
}

#[tokio::test]
async fn what_is_no_event_mode_is_refused() {
    let bed = testbed();
    for headers in [
        &[][..],
        &[JSON],
        &[
            ("content-type", "application/cloudevents+xml"),
            ("ce-id", "1"),
        ],
        &[
            ("content-type", "application/json; charset=latin1"),
            ("ce-id", "1"),
        ],
    ] {
        let answer = bed
            .post("/v1/events", headers, event("1").to_string())
            .await;
        assert_eq!(answer.code(), "unsupported_media_type", "{headers:?}");
    }
}

#[tokio::test]
async fn an_idempotency_key_beside_an_events_own_key_is_refused() {
    let bed = testbed();
    let headers = [EVENT, ("idempotency-key", "k")];
    let answer = bed
        .post("/v1/events", &headers, event("1").to_string())
        .await;
    assert_eq!(answer.code(), "idempotency_key");
    assert!(answer.json()["detail"].as_str().unwrap().contains("source"));
}

#[tokio::test]
async fn a_long_source_is_kept_in_the_event_and_left_out_of_the_short_property() {
    let bed = testbed();
    let mut event = event("1");
    event["source"] = json!(format!("/{}", "s".repeat(300)));
    let answer = bed.post("/v1/events", &[EVENT], event.to_string()).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    assert_eq!(bed.broker.only().0.message.app_id, None);
}

/// A door that knows a type whose data may be anything, and one whose data is text.
fn with_free_types() -> Testbed {
    let mut setup = Setup::default();
    let types = json!([
        {"name": "note.added", "schema": {"type": "string"}},
        {"name": "thing.seen", "schema": {"type": ["string", "null"], "default": null}},
    ]);
    setup.config.types = serde_json::from_value(types).unwrap();
    setup.build()
}

#[tokio::test]
async fn text_and_binary_data_are_taken_where_the_schema_takes_a_text() {
    let head = |kind| {
        [
            ("ce-specversion", "1.0"),
            ("ce-id", "7"),
            ("ce-source", "/shop"),
            ("ce-type", kind),
        ]
    };
    for (content_type, body, field, expected) in [
        (
            "text/plain",
            "gr\u{fc}\u{df}e\r\n\"".as_bytes(),
            "data",
            "gr\u{fc}\u{df}e\r\n\"",
        ),
        ("application/octet-stream", b"\0\xff", "data_base64", "AP8="),
        ("text/plain; charset=latin1", b"\xfc", "data_base64", "/A=="),
    ] {
        let bed = with_free_types();
        let mut headers = head("note.added").to_vec();
        headers.push(("content-type", content_type));
        let answer = bed.post("/v1/events", &headers, body).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
        let (publication, decoded) = bed.broker.only();
        let event: Value = serde_json::from_slice(&publication.message.body).unwrap();
        assert_eq!(
            (&event[field], &event["datacontenttype"]),
            (&json!(expected), &json!(content_type))
        );
        assert_eq!(decoded.data, json!(expected));

        let mut headers = head("signup.requested").to_vec();
        headers.push(("content-type", content_type));
        let answer = bed.post("/v1/events", &headers, body).await;
        assert_eq!(answer.code(), "invalid");
        assert_eq!(answer.pointers(), [format!("/{field}")]);
    }
}

#[tokio::test]
async fn null_and_no_data_are_two_things() {
    let bed = with_free_types();
    let mut thing = event("1");
    thing["type"] = json!("thing.seen");
    thing["data"] = Value::Null;
    let answer = bed.post("/v1/events", &[EVENT], thing.to_string()).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    let (publication, decoded) = bed.broker.last();
    assert_eq!(publication.message.body, thing.to_string().as_bytes());
    assert!(decoded.event.data.is_some());
    thing.as_object_mut().unwrap().remove("data");
    let answer = bed.post("/v1/events", &[EVENT], thing.to_string()).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    assert!(bed.broker.last().1.event.data.is_none());
}

#[tokio::test]
async fn configured_types_are_taken_too() {
    let mut setup = Setup::default();
    setup.config.types = vec![
        serde_json::from_value(json!({
            "name": "invoice.paid",
            "schema": {"type": "object", "required": ["amount"]}
        }))
        .unwrap(),
    ];
    let bed = setup.build();
    let mut invoice = event("1");
    invoice["type"] = json!("invoice.paid");
    let answer = bed.post("/v1/events", &[EVENT], invoice.to_string()).await;
    assert_eq!(answer.code(), "invalid");
    invoice["data"] = json!({"amount": 3});
    let answer = bed.post("/v1/events", &[EVENT], invoice.to_string()).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
}
