use axum::http::StatusCode;
use common::event::{EventId, now};
use common::store::{EventStatus, Moment, Timeline};
use serde_json::json;

use crate::fakes::{FakeStore, Setup};

fn with(store: FakeStore) -> crate::fakes::Testbed {
    Setup {
        store,
        ..Setup::default()
    }
    .build()
}

#[tokio::test]
async fn a_database_that_is_down_is_503_and_tells_nothing_of_itself() {
    let bed = with(FakeStore::Down);
    let answer = bed.get(&format!("/v1/events/{}", EventId::born())).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.code(), "status_unavailable");
    assert_eq!(answer.header("retry-after"), "5");
    assert!(!String::from_utf8_lossy(&answer.body).contains("db.internal"));
}

#[tokio::test(start_paused = true)]
async fn a_database_that_hangs_is_503_in_time() {
    let bed = with(FakeStore::Hangs);
    let answer = bed.get(&format!("/v1/events/{}", EventId::born())).await;
    assert_eq!(answer.code(), "status_unavailable");
}

#[tokio::test]
async fn what_is_unknown_may_be_known_in_a_moment() {
    let bed = with(FakeStore::Empty);
    let answer = bed.get(&format!("/v1/events/{}", EventId::born())).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert_eq!(answer.code(), "unknown_event");
    assert_eq!(answer.header("retry-after"), "1");
}

#[tokio::test]
async fn what_is_no_id_is_a_problem() {
    let bed = with(FakeStore::Empty);
    for id in [
        "7",
        "%ff%fe",
        "%00",
        "..",
        "a b".replace(' ', "%20").as_str(),
    ] {
        let answer = bed.get(&format!("/v1/events/{id}")).await;
        assert_eq!(
            (answer.status.as_u16(), &*answer.code()),
            (400, "malformed_id"),
            "{id}"
        );
    }
}

#[tokio::test]
async fn the_status_is_what_the_store_says() {
    let id = EventId::born();
    let status = EventStatus {
        id,
        kind: Some("signup.requested".to_owned()),
        status: "delivering",
        timeline: vec![Timeline {
            step: "received",
            at: Moment(now()),
            destination: None,
        }],
        deliveries: Vec::new(),
        reason: None,
    };
    let bed = with(FakeStore::Knows(status.clone()));
    let answer = bed.get(&format!("/v1/events/{id}")).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.json(), json!(status));
}
