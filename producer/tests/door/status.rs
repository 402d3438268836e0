use std::sync::Arc;

use axum::http::StatusCode;
use common::event::EventId;
use common::store::Standing;
use serde_json::json;

use crate::changes::Change;
use crate::fakes::{Setup, TestStore, Testbed};

fn with(store: &Arc<TestStore>) -> Testbed {
    Setup {
        store: Arc::clone(store),
        ..Setup::default()
    }
    .build()
}

#[tokio::test]
async fn a_database_that_is_down_is_503_and_tells_nothing_of_itself() {
    let bed = with(&TestStore::down());
    let answer = bed.get(&format!("/v1/events/{}", EventId::born())).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.code(), "status_unavailable");
    assert_eq!(answer.header("retry-after"), "5");
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(
        !text.contains("db.internal") && !text.contains("/dev/null"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_database_that_hangs_is_503_in_time() {
    let bed = with(&TestStore::changing([Change::Hangs]));
    let answer = bed.get(&format!("/v1/events/{}", EventId::born())).await;
    assert_eq!(answer.code(), "status_unavailable");
}

#[tokio::test]
async fn what_is_unknown_may_be_known_in_a_moment() {
    let bed = with(&TestStore::empty());
    let answer = bed.get(&format!("/v1/events/{}", EventId::born())).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert_eq!(answer.code(), "unknown_event");
    assert_eq!(answer.header("retry-after"), "1");
}

#[tokio::test]
async fn what_is_no_id_is_a_problem() {
    let bed = with(&TestStore::empty());
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
    let store = TestStore::changing([Change::Failed]);
    let answer = with(&store).get(&format!("/v1/events/{id}")).await;
    assert_eq!(answer.status, StatusCode::OK);
    let said = store.said();
    assert_eq!((said[0].id, said[0].status), (id, Standing::Delivering));
    assert_eq!(answer.json(), json!(said[0].clone().public()));
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(!text.contains("found 500"), "{text}");
    assert_eq!(answer.json()["deliveries"][0]["attempts"], 1);
}
