use axum::http::StatusCode;
use common::broker::PublishError;
use serde_json::{Value, json};

use crate::fakes::{Setup, testbed};
use crate::request::{BATCH, event};

fn batch(count: usize) -> Vec<Value> {
    (0..count)
        .map(|number| event(&number.to_string()))
        .collect()
}

#[tokio::test]
async fn one_wrong_event_refuses_the_whole_batch() {
    let bed = testbed();
    let mut events = batch(5);
    events[3]["data"]["email"] = json!("nobody");
    events[4] = json!("no event");
    let answer = bed
        .post("/v1/events", &[BATCH], Value::from(events).to_string())
        .await;
    assert_eq!(answer.code(), "invalid");
    assert_eq!(answer.pointers(), ["/3/data/email", "/4"]);
    assert_eq!(bed.broker.begun(), 0);
}

#[tokio::test]
async fn a_batch_whose_events_share_a_fault_has_its_code() {
    let bed = testbed();
    let mut events = batch(2);
    for event in &mut events {
        event["type"] = json!("nobody.knows");
    }
    let answer = bed
        .post("/v1/events", &[BATCH], Value::from(events).to_string())
        .await;
    assert_eq!(answer.code(), "unknown_type");
    assert_eq!(answer.pointers(), ["/0/type", "/1/type"]);
}

#[tokio::test]
async fn a_batch_is_accepted_whole_in_its_order() {
    let bed = testbed();
    let events = batch(50);
    let answer = bed
        .post("/v1/events", &[BATCH], Value::from(events).to_string())
        .await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    let accepted = answer.json()["accepted"].as_array().cloned().unwrap();
    let taken = bed.broker.taken();
    assert_eq!(accepted.len(), 50);
    for (receipt, (_, decoded)) in accepted.iter().zip(&taken) {
        assert_eq!(receipt["id"], decoded.id.to_string());
    }
    assert_eq!(taken[7].1.event.id, "7");
}

#[tokio::test]
async fn an_empty_batch_is_accepted_and_does_nothing() {
    let bed = testbed();
    let answer = bed.post("/v1/events", &[BATCH], " [ ] ").await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(answer.json(), json!({"accepted": []}));
}

#[tokio::test]
async fn too_many_events_or_one_too_large_is_413() {
    let mut setup = Setup::default();
    setup.config.limits.batch_events = 3;
    setup.config.limits.event_bytes = 1000;
    let bed = setup.build();
    let answer = bed
        .post("/v1/events", &[BATCH], Value::from(batch(4)).to_string())
        .await;
    assert_eq!(
        (answer.status.as_u16(), &*answer.code()),
        (413, "too_large")
    );
    let mut events = batch(3);
    events[1]["subject"] = json!("s".repeat(1000));
    let answer = bed
        .post("/v1/events", &[BATCH], Value::from(events).to_string())
        .await;
    assert_eq!(
        (answer.status.as_u16(), &*answer.code()),
        (413, "too_large")
    );
    assert_eq!(answer.pointers(), ["/1"]);
    assert_eq!(bed.broker.begun(), 0);
}

#[tokio::test]
async fn one_unconfirmed_event_makes_the_batch_503_and_sending_it_again_gives_the_same_ids() {
    let bed = Setup {
        fails: Box::new(|number| (number == 2).then_some(PublishError::Nacked)),
        ..Setup::default()
    }
    .build();
    let body = Value::from(batch(5)).to_string();
    let answer = bed.post("/v1/events", &[BATCH], body.clone()).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.code(), "not_confirmed");
    assert_eq!(answer.header("retry-after"), "1");
    assert!(answer.json()["detail"].as_str().unwrap().contains("1 of 5"));
    // The others were not given up half-way.
    let first: Vec<_> = bed.broker.taken().iter().map(|(_, d)| d.id).collect();
    assert_eq!(first.len(), 4);

    let answer = bed.post("/v1/events", &[BATCH], body).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    let again: Vec<_> = bed.broker.taken()[4..].iter().map(|(_, d)| d.id).collect();
    assert!(first.iter().all(|id| again.contains(id)));
}

#[tokio::test]
async fn the_events_of_a_batch_are_published_at_once() {
    // Nothing is confirmed before all of them have been handed over.
    let bed = Setup {
        confirms: 0,
        ..Setup::default()
    }
    .build();
    let body = Value::from(batch(100)).to_string();
    let confirm = async {
        while bed.broker.begun() < 100 {
            tokio::task::yield_now().await;
        }
        bed.broker.confirms.add_permits(100);
    };
    let (answer, ()) = tokio::join!(bed.post("/v1/events", &[BATCH], body), confirm);
    assert_eq!(answer.status, StatusCode::ACCEPTED);
}
