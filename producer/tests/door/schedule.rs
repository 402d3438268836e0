use axum::http::StatusCode;
use common::event::EventId;
use serde_json::json;

use crate::changes::Change;
use crate::fakes::{Setup, TestStore, testbed};
use crate::request::JSON;

const WORK: &str = r#"{"task":"resize","payload":{}}"#;
const MOMENT: &str = "2030-01-28T09:00:00.25+01:00";

#[tokio::test]
async fn the_moment_of_a_simple_call_is_an_attribute_of_its_event() {
    let bed = testbed();
    let headers = [JSON, ("longshore-not-before", MOMENT)];
    let signup = r#"{"email":"ada@example.com","name":"Ada"}"#;
    for (path, body) in [("/v1/processing", WORK), ("/v1/signups", signup)] {
        let answer = bed.post(path, &headers, body).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
        let (_, decoded) = bed.broker.last();
        assert_eq!(decoded.event.extensions["notbefore"], json!(MOMENT));
    }
    bed.post("/v1/processing", &[JSON], WORK).await;
    let (_, decoded) = bed.broker.last();
    assert!(decoded.event.extensions.is_empty());
}

#[tokio::test]
async fn what_is_not_one_moment_is_refused() {
    let bed = testbed();
    let twice = [
        JSON,
        ("longshore-not-before", MOMENT),
        ("longshore-not-before", MOMENT),
    ];
    let answer = bed.post("/v1/processing", &twice, WORK).await;
    assert_eq!(answer.code(), "not_before");
    for bad in [
        "",
        "tomorrow",
        "2030-02-30T00:00:00Z",
        "2030-01-28",
        "1893456000",
    ] {
        let headers = [JSON, ("longshore-not-before", bad)];
        let answer = bed.post("/v1/processing", &headers, WORK).await;
        assert_eq!(
            (answer.status.as_u16(), &*answer.code()),
            (400, "not_before"),
            "{bad}"
        );
    }
    for bad in [json!("tomorrow"), json!(7), json!(""), json!(true)] {
        let event = json!({
            "specversion": "1.0", "id": "1", "source": "/shop", "type": "processing.requested",
            "data": {"task": "resize", "payload": {}}, "notbefore": bad,
        });
        let media = ("content-type", "application/cloudevents+json");
        let answer = bed.post("/v1/events", &[media], event.to_string()).await;
        assert_eq!(answer.code(), "invalid", "{bad}");
        assert_eq!(answer.pointers(), ["/notbefore"], "{bad}");
    }
    assert_eq!(bed.broker.begun(), 0);
}

async fn cancel(store: std::sync::Arc<TestStore>, id: &str) -> (u16, String) {
    let bed = Setup {
        store,
        ..Setup::default()
    }
    .build();
    let path = format!("/v1/events/{id}/cancel");
    let answer = bed.post(&path, &[], "").await;
    (answer.status.as_u16(), answer.code())
}

#[tokio::test]
async fn what_does_not_wait_cannot_be_cancelled() {
    let id = EventId::born().to_string();
    let expected = |status: u16, code: &str| (status, code.to_owned());
    let unknown = cancel(TestStore::empty(), &id).await;
    assert_eq!(unknown, expected(404, "unknown_event"));
    let begun = cancel(TestStore::changing([Change::Failed]), &id).await;
    assert_eq!(begun, expected(409, "too_late"));
    let down = cancel(TestStore::down(), &id).await;
    assert_eq!(down, expected(503, "status_unavailable"));
    let malformed = cancel(TestStore::empty(), "7").await;
    assert_eq!(malformed, expected(400, "malformed_id"));
}
