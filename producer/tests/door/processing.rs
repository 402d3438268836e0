use axum::http::StatusCode;

use crate::fakes::testbed;
use crate::request::JSON;

#[tokio::test]
async fn wrong_work_is_refused_with_pointers() {
    let bed = testbed();
    for (body, pointers) in [
        (r#"{"task":"","payload":{}}"#, vec!["/task"]),
        (r#"{"task":"t","payload":[]}"#, vec!["/payload"]),
        (r#"{"task":7,"payload":7}"#, vec!["/payload", "/task"]),
    ] {
        let answer = bed.post("/v1/processing", &[JSON], body).await;
        assert_eq!(answer.code(), "invalid");
        assert_eq!(answer.pointers(), pointers, "{body}");
    }
    assert_eq!(bed.broker.begun(), 0);
}

#[tokio::test]
async fn the_data_is_forwarded_byte_for_byte() {
    let bed = testbed();
    let body = "{ \"payload\": {\"big\": 123456789012345678901234567890, \"n\": 1.50},\n \"task\": \"resize\" }";
    let answer = bed.post("/v1/processing", &[JSON], body).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    let (_, decoded) = bed.broker.only();
    assert_eq!(decoded.event.data(), body);
    assert_eq!(decoded.event.source, "/v1/processing");
    assert_eq!(decoded.event.kind, "processing.requested");
}
