//! 202 only when the work queue has it: that some queue took an event is not enough.

use std::time::Duration;

use axum::http::StatusCode;
use common::broker::Broker as _;
use common::config::Config;
use common::namespace::Namespace;
use common::topology::{Fact, Names, Topology};

use tokio_util::sync::CancellationToken;

use crate::fakes::{Setup, Testbed, testbed};
use crate::request::{BATCH, JSON, event};
use crate::wire::PATIENCE;

const SIGNUP: &str = r#"{"email":"a@b.example","name":"x"}"#;

fn validate() -> String {
    Names::new(Namespace::default()).validate()
}

/// The way from the door to its work queue.
fn work() -> Topology {
    let names = Names::new(Namespace::default());
    let mut work = Topology::new(&Config::default().plan()).around(&names.exchange(Fact::Received));
    work.exchanges.clear();
    work.queues.retain(|queue| queue.name == names.validate());
    work
}

#[tokio::test]
async fn a_history_that_takes_an_event_does_not_make_it_accepted() {
    let bed = testbed();
    let engine = bed.broker.real().await;
    engine.delete(&work()).await.unwrap();
    let answer = bed.post("/v1/signups", &[JSON], SIGNUP.to_owned()).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    assert_eq!(answer.code(), "not_confirmed");
    assert_eq!(answer.header("retry-after"), "5");
    // Nothing more is published to a queue known to be missing.
    let published = bed.broker.taken().len();
    let batch = serde_json::json!([event("1"), event("2")]).to_string();
    let answer = bed.post("/v1/events", &[BATCH], batch).await;
    assert_eq!(answer.code(), "not_confirmed");
    assert_eq!(bed.broker.taken().len(), published);
    let ready = bed.get("/readyz").await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        ready.json()["checks"]["broker"]
            .to_string()
            .contains("longshore.validate"),
        "{ready:?}"
    );

    let whole = Topology::new(&Config::default().plan());
    engine.apply(&whole).await.unwrap();
    accepted_again(&bed).await;
    assert_eq!(bed.get("/readyz").await.status, StatusCode::OK);
}

/// Waits until the door takes a signup, while it keeps its queue.
async fn accepted_again(bed: &Testbed) {
    let stop = CancellationToken::new();
    let posting = async {
        loop {
            let answer = bed.post("/v1/signups", &[JSON], SIGNUP.to_owned()).await;
            if answer.status == StatusCode::ACCEPTED {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = bed.door.keep_queue(&stop) => unreachable!("nothing stops it"),
        accepted = tokio::time::timeout(PATIENCE, posting) => accepted.expect("accepted again"),
    }
}

#[tokio::test]
async fn a_queue_that_is_made_anew_is_bound_before_anything_is_accepted() {
    let bed = testbed();
    let engine = bed.broker.real().await;
    engine.delete(&work()).await.unwrap();
    let answer = bed.post("/v1/signups", &[JSON], SIGNUP.to_owned()).await;
    assert_eq!(answer.code(), "not_confirmed", "{answer:?}");
    // The program that creates the queue declares first and binds later: for a moment only the history is bound.
    let unbound = Topology {
        bindings: Vec::new(),
        ..work()
    };
    engine.apply(&unbound).await.unwrap();
    accepted_again(&bed).await;
    let depth = engine.depth(&validate()).await.unwrap().unwrap();
    assert_eq!(depth.messages, 1, "accepted, and not in the queue");
}

#[tokio::test]
async fn a_door_without_traffic_notices_a_missing_queue_within_the_second_that_it_stays_missing() {
    let bed = testbed();
    let engine = bed.broker.real().await;
    engine.delete(&work()).await.unwrap();
    let stop = CancellationToken::new();
    let kept = bed.door.keep_queue(&stop);
    let _ = tokio::time::timeout(Duration::from_millis(950), kept).await;
    // Nothing is published any more: it is known.
    let answer = bed.post("/v1/signups", &[JSON], SIGNUP.to_owned()).await;
    assert_eq!(answer.code(), "not_confirmed", "{answer:?}");
    assert_eq!(bed.broker.begun(), 0);
}

#[tokio::test]
async fn what_was_published_before_the_queue_was_made_anew_is_not_accepted() {
    let bed = Setup {
        confirms: 0,
        ..Setup::default()
    }
    .build();
    let engine = bed.broker.real().await;
    let early = bed.post("/v1/signups", &[JSON], SIGNUP.to_owned());
    let meanwhile = async {
        while bed.broker.begun() < 1 {
            tokio::task::yield_now().await;
        }
        engine.delete(&work()).await.unwrap();
        // Somebody else's event finds it missing.
        let next = bed.post("/v1/signups", &[JSON], SIGNUP.to_owned());
        let remake = async {
            while bed.broker.begun() < 2 {
                tokio::task::yield_now().await;
            }
            bed.broker.confirms.add_permits(2);
        };
        let (next, ()) = tokio::join!(next, remake);
        let whole = Topology::new(&Config::default().plan());
        engine.apply(&whole).await.unwrap();
        next
    };
    let (early, next) = tokio::join!(early, meanwhile);
    for answer in [early, next] {
        assert_eq!(answer.code(), "not_confirmed", "{answer:?}");
    }
}
