//! An unconfirmed event is never answered with 202.

use std::time::Duration;

use axum::http::StatusCode;
use common::broker::PublishError;
use rstest::rstest;

use crate::fakes::{Setup, TestStore};
use crate::request::{BATCH, EVENT, JSON, event};

fn unroutable() -> PublishError {
    PublishError::Unroutable {
        exchange: "longshore.received".to_owned(),
        routing_key: "signup.requested".to_owned(),
        reason: "NO_ROUTE".to_owned(),
    }
}

#[rstest]
#[case::nacked(PublishError::Nacked)]
#[case::timed_out(PublishError::TimedOut(Duration::from_secs(10)))]
#[case::blocked(PublishError::Blocked("low on memory".to_owned()))]
#[case::disconnected(PublishError::Disconnected("10.1.2.3:5672 refused".to_owned()))]
#[case::unroutable(unroutable())]
#[tokio::test]
async fn whatever_the_broker_does_not_confirm_is_503_with_retry_after(#[case] error: PublishError) {
    // After the first event that only the history would take, no further one is published.
    let published = match &error {
        PublishError::Unroutable { .. } => 1,
        _ => 4,
    };
    let bed = Setup {
        fails: Box::new(move |_| Some(error.clone())),
        ..Setup::default()
    }
    .build();
    let signup = r#"{"email":"a@b.example","name":"x"}"#;
    for answer in [
        bed.post("/v1/signups", &[JSON], signup).await,
        bed.post("/v1/processing", &[JSON], r#"{"task":"t","payload":{}}"#)
            .await,
        bed.post("/v1/events", &[EVENT], event("1").to_string())
            .await,
        bed.post("/v1/events", &[BATCH], format!("[{}]", event("1")))
            .await,
    ] {
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.code(), "not_confirmed");
        let seconds: u32 = answer.header("retry-after").parse().unwrap();
        assert!((1..=30).contains(&seconds));
        // Where the broker is, is nobody's business out there.
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(
            !text.contains("10.1.2.3") && !text.contains("longshore.received"),
            "{text}"
        );
    }
    assert_eq!(bed.broker.begun(), published);
    assert!(bed.broker.taken().is_empty());
    let ready = bed.get("/readyz").await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    let told = ready.json().to_string();
    assert!(
        told.contains("link to the broker is lost") && !told.contains("10.1.2.3"),
        "{told}"
    );
    assert_eq!(bed.get("/livez").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_broker_without_our_queues_takes_nothing_and_readiness_names_what_is_missing() {
    let bed = Setup {
        declared: false,
        ..Setup::default()
    }
    .build();
    let answer = bed
        .post("/v1/events", &[EVENT], event("1").to_string())
        .await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.code(), "not_confirmed");
    assert!(bed.broker.taken().is_empty());
    let ready = bed.get("/readyz").await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    let found = ready.json()["checks"]["broker"].to_string();
    assert!(found.contains("longshore.validate"), "{found}");
}

#[tokio::test]
async fn what_cannot_be_written_down_for_the_broker_is_the_callers_to_mend() {
    let bed = Setup {
        fails: Box::new(|_| Some(PublishError::Invalid("too long".to_owned()))),
        ..Setup::default()
    }
    .build();
    let answer = bed
        .post("/v1/events", &[EVENT], event("1").to_string())
        .await;
    assert_eq!((answer.status.as_u16(), &*answer.code()), (422, "invalid"));
}

#[tokio::test]
async fn a_panic_is_a_problem_and_the_next_request_is_served() {
    let bed = Setup {
        fails: Box::new(|number| {
            assert!(number > 0, "told to panic");
            None
        }),
        ..Setup::default()
    }
    .build();
    let post = || bed.post("/v1/events", &[EVENT], event("1").to_string());
    let answer = post().await;
    assert_eq!((answer.status.as_u16(), &*answer.code()), (500, "internal"));
    assert!(!answer.header("x-request-id").is_empty());
    assert!(!String::from_utf8_lossy(&answer.body).contains("told to panic"));
    assert_eq!(post().await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn readiness_names_what_is_down_and_does_not_need_the_database() {
    for (store, database) in [
        (TestStore::empty(), "ok"),
        (TestStore::down(), "not available"),
    ] {
        let setup = Setup {
            store,
            ..Setup::default()
        };
        let answer = setup.build().get("/readyz").await;
        assert_eq!(answer.status, StatusCode::OK);
        let checks = answer.json()["checks"].clone();
        assert_eq!(checks["broker"], "ok");
        let found = checks["database"].as_str().unwrap_or_default();
        assert!(found.contains(database), "{checks}");
    }
}
