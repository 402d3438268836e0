//! Sizes, numbers and times.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Method, Request, StatusCode};
use futures_util::stream;
use serde_json::json;

use crate::fakes::{Setup, testbed};
use crate::request::{BATCH, EVENT, JSON, event};

#[tokio::test]
async fn bodies_over_the_limit_are_413_announced_or_not() {
    let mut setup = Setup::default();
    setup.config.limits.event_bytes = 100;
    setup.config.limits.request_bytes = 200;
    let bed = setup.build();
    for (path, header) in [
        ("/v1/signups", JSON),
        ("/v1/processing", JSON),
        ("/v1/events", EVENT),
        ("/v1/events", BATCH),
    ] {
        let answer = bed.post(path, &[header], "x".repeat(201)).await;
        assert_eq!(
            (answer.status.as_u16(), &*answer.code()),
            (413, "too_large"),
            "{path}"
        );
        let chunks = stream::iter((0..30).map(|_| Ok::<_, std::io::Error>("0123456789")));
        let answer = bed.post(path, &[header], Body::from_stream(chunks)).await;
        assert_eq!(answer.code(), "too_large", "{path}");
    }
}

#[tokio::test]
async fn an_event_that_outgrows_the_limit_in_canonical_form_is_413() {
    let mut setup = Setup::default();
    let body = json!({"task": "t", "payload": {"p": "x".repeat(200)}}).to_string();
    setup.config.limits.event_bytes = body.len() + 10;
    let bed = setup.build();
    let answer = bed.post("/v1/processing", &[JSON], body).await;
    assert_eq!(answer.code(), "too_large");
    assert_eq!(bed.broker.begun(), 0);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_400() {
    let bed = testbed();
    let chunks = [Ok("{"), Err(std::io::Error::other("gone"))];
    let body = Body::from_stream(stream::iter(chunks));
    let answer = bed.post("/v1/signups", &[JSON], body).await;
    assert_eq!(
        (answer.status.as_u16(), &*answer.code()),
        (400, "malformed_request")
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_ends_is_408() {
    let bed = testbed();
    let body = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    let answer = bed.post("/v1/signups", &[JSON], body).await;
    assert_eq!(
        (answer.status.as_u16(), &*answer.code()),
        (408, "request_timeout")
    );
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_never_answers_is_503() {
    let bed = Setup {
        confirms: 0,
        ..Setup::default()
    }
    .build();
    let answer = bed
        .post("/v1/events", &[EVENT], event("1").to_string())
        .await;
    assert_eq!(
        (answer.status.as_u16(), &*answer.code()),
        (503, "timed_out")
    );
    assert_eq!(answer.header("retry-after"), "2");
}

#[tokio::test]
async fn requests_beyond_the_bound_are_told_to_come_back_and_health_still_answers() {
    let mut setup = Setup {
        confirms: 0,
        ..Setup::default()
    };
    setup.config.producer.concurrent_requests = 1;
    let bed = setup.build();
    let second = async {
        while bed.broker.begun() < 1 {
            tokio::task::yield_now().await;
        }
        let answer = bed
            .post("/v1/events", &[EVENT], event("2").to_string())
            .await;
        let live = bed.get("/livez").await;
        bed.broker.confirms.add_permits(2);
        (answer, live)
    };
    let (first, (second, live)) = tokio::join!(
        bed.post("/v1/events", &[EVENT], event("1").to_string()),
        second
    );
    assert_eq!(first.status, StatusCode::ACCEPTED);
    assert_eq!(
        (second.status.as_u16(), &*second.code()),
        (503, "overloaded")
    );
    assert_eq!(second.header("retry-after"), "1");
    assert_eq!(live.status, StatusCode::OK);
    let third = bed
        .post("/v1/events", &[EVENT], event("3").to_string())
        .await;
    assert_eq!(third.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn bodies_that_fill_the_memory_for_them_are_told_to_come_back() {
    // There is room for sixty-four of the largest requests, and this one takes more than that.
    let mut setup = Setup::default();
    setup.config.limits.request_bytes = 100;
    let bed = setup.build();
    let large = "x".repeat(6_401);
    let answer = bed.post("/v1/signups", &[JSON], large).await;
    assert_eq!(answer.code(), "overloaded");
    // The memory of a finished body is free again.
    let answer = bed.post("/v1/signups", &[JSON], "x".repeat(6_000)).await;
    assert_eq!(answer.code(), "malformed_json");
    let answer = bed.post("/v1/signups", &[JSON], "x".repeat(6_000)).await;
    assert_eq!(answer.code(), "malformed_json");
}

#[tokio::test]
async fn long_paths_and_large_headers_are_problems() {
    let bed = testbed();
    let answer = bed.get(&format!("/v1/events/{}", "a".repeat(5000))).await;
    assert_eq!(
        (answer.status.as_u16(), &*answer.code()),
        (414, "uri_too_long")
    );
    let large = "a".repeat(20_000);
    let answer = bed
        .post("/v1/signups", &[JSON, ("x-large", &large)], "{}")
        .await;
    assert_eq!(
        (answer.status.as_u16(), &*answer.code()),
        (431, "headers_too_large")
    );
}

#[tokio::test]
async fn unknown_paths_and_wrong_methods_are_problems() {
    let bed = testbed();
    for path in [
        "/v1",
        "/v1/signups/",
        "/v2/events",
        "/v1//events",
        "/%ff",
        "/.env",
    ] {
        let answer = bed.get(path).await;
        assert_eq!(
            (answer.status.as_u16(), &*answer.code()),
            (404, "not_found"),
            "{path}"
        );
    }
    for (method, path, allow) in [
        (Method::GET, "/v1/signups", "POST"),
        (Method::PUT, "/v1/processing", "POST"),
        (Method::OPTIONS, "/v1/events", "POST"),
        (Method::DELETE, "/v1/events/7", "GET,HEAD"),
        (Method::POST, "/", "GET,HEAD"),
        (Method::POST, "/livez", "GET,HEAD"),
    ] {
        let request = Request::builder().method(method).uri(path);
        let answer = bed.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(
            (answer.status.as_u16(), &*answer.code()),
            (405, "method_not_allowed")
        );
        assert_eq!(answer.header("allow"), allow, "{path}");
    }
}

#[tokio::test]
async fn metrics_name_routes_and_never_paths() {
    let bed = testbed();
    bed.get("/secret-path-of-somebody").await;
    bed.get("/v1/events/01890000-0000-7000-8000-000000000000")
        .await;
    let page = bed.get("/metrics").await;
    assert_eq!(page.status, StatusCode::OK);
    let text = String::from_utf8_lossy(&page.body);
    assert!(
        !text.contains("secret-path") && !text.contains("01890000"),
        "{text}"
    );
}

#[tokio::test]
async fn the_time_a_request_may_take_is_configured() {
    let mut setup = Setup {
        confirms: 0,
        ..Setup::default()
    };
    setup.config.producer.request_timeout = Duration::from_millis(20);
    let bed = setup.build();
    let answer = bed
        .post("/v1/events", &[EVENT], event("1").to_string())
        .await;
    assert_eq!(answer.code(), "timed_out");
}
