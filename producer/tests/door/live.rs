//! `GET /v1/events/{id}/live`.

use std::iter::repeat;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use common::event::EventId;
use common::store::Standing;
use serde_json::{Value, json};
use tokio::time::Instant;
use tower::ServiceExt as _;

use crate::changes::Change;
use crate::fakes::{Setup, TestStore, Testbed};
use crate::request::Answer;

/// How many may watch at once.
pub const STREAMS: usize = 512;

/// Begins to watch some event; the refusal if there is no place.
pub async fn watch(bed: &Testbed) -> Result<Response<Body>, StatusCode> {
    let request = Request::get(path(EventId::born())).body(Body::empty());
    let response = bed.router.clone().oneshot(request.unwrap()).await.unwrap();
    match response.status() {
        StatusCode::OK => Ok(response),
        refused => Err(refused),
    }
}

fn path(id: EventId) -> String {
    format!("/v1/events/{id}/live")
}

fn with(store: &Arc<TestStore>) -> Testbed {
    Setup {
        store: Arc::clone(store),
        ..Setup::default()
    }
    .build()
}

/// The events of a stream over `store`.
async fn told(store: &Arc<TestStore>) -> Vec<(String, Value)> {
    let answer = with(store).get(&path(EventId::born())).await;
    assert_eq!(answer.status, StatusCode::OK);
    events(&answer)
}

/// The named events of a stream that has ended: names and data.
fn events(answer: &Answer) -> Vec<(String, Value)> {
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let field = |block: &str, name: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(name));
        line.map(|value| value.trim_start().to_owned())
    };
    text.split("\n\n")
        .filter_map(|block| {
            let data = field(block, "data:")?;
            assert_eq!(field(block, "retry:").as_deref(), Some("2000"), "{block}");
            Some((
                field(block, "event:")?,
                serde_json::from_str(&data).unwrap(),
            ))
        })
        .collect()
}

fn event(name: &str, data: Value) -> (String, Value) {
    (name.to_owned(), data)
}

#[tokio::test(start_paused = true)]
async fn each_change_is_told_once_until_the_event_is_at_rest() {
    let store = TestStore::changing([
        Change::Nothing,
        Change::Nothing,
        Change::Stored,
        Change::Failed,
        Change::Nothing,
        Change::Delivered,
    ]);
    let events = told(&store).await;
    let said = store.said();
    let standings: Vec<_> = said.iter().map(|status| status.status).collect();
    assert_eq!(
        standings,
        [Standing::Stored, Standing::Delivering, Standing::Completed]
    );
    assert_eq!(
        events,
        [
            event("waiting", json!({"for": "event"})),
            event("status", json!(said[0].clone().public())),
            event("status", json!(said[1].clone().public())),
            event("status", json!(said[2].clone().public())),
            event("end", json!({"reason": "at_rest"})),
        ]
    );
    assert_eq!(store.looks(), 6, "what is at rest is looked at no more");
}

#[tokio::test(start_paused = true)]
async fn what_is_at_rest_already_is_told_at_once() {
    for (change, standing) in [
        (Change::Delivered, Standing::Completed),
        (Change::Rejected, Standing::Rejected),
        (Change::Dead, Standing::Dead),
    ] {
        let (begun, store) = (Instant::now(), TestStore::changing([change]));
        let events = told(&store).await;
        let said = store.said();
        assert_eq!(said[0].status, standing);
        assert_eq!(
            events,
            [
                event("status", json!(said[0].clone().public())),
                event("end", json!({"reason": "at_rest"})),
            ]
        );
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn a_database_that_is_down_is_waited_for_and_tells_nothing_of_itself() {
    let store = TestStore::changing([Change::Fails, Change::Fails, Change::Delivered]);
    let events = told(&store).await;
    assert_eq!(
        events,
        [
            event("waiting", json!({"for": "database"})),
            event("status", json!(store.said()[0].clone().public())),
            event("end", json!({"reason": "at_rest"})),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn what_stays_unknown_ends_after_a_minute_of_ever_rarer_looks() {
    let (begun, store) = (Instant::now(), TestStore::empty());
    let events = told(&store).await;
    assert_eq!(
        events,
        [
            event("waiting", json!({"for": "event"})),
            event("end", json!({"reason": "unknown"})),
        ]
    );
    let took = begun.elapsed().as_secs();
    assert!((60..65).contains(&took), "{took} s");
    // The longest wait is 2 s, give or take half.
    let looks = store.looks();
    assert!((20..=70).contains(&looks), "{looks} looks");
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_after_ten_minutes_and_is_never_silent_for_long() {
    for store in [
        TestStore::changing([Change::Failed]),
        TestStore::changing(repeat(Change::Hangs)),
    ] {
        let begun = Instant::now();
        let answer = with(&store).get(&path(EventId::born())).await;
        let last = events(&answer).pop();
        assert_eq!(last, Some(event("end", json!({"reason": "too_long"}))));
        let took = begun.elapsed().as_secs();
        assert!((600..610).contains(&took), "{took} s");
        let text = String::from_utf8_lossy(&answer.body);
        let comments = text.lines().filter(|line| line.starts_with(':')).count();
        assert!((30..=40).contains(&comments), "{comments} comments");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_says_that_it_is_one_and_is_kept_by_nobody() {
    let bed = with(&TestStore::changing([Change::Dead]));
    let answer = bed.get(&path(EventId::born())).await;
    assert_eq!(answer.header("content-type"), "text/event-stream");
    assert_eq!(answer.header("cache-control"), "no-cache");
    assert_eq!(answer.header("x-accel-buffering"), "no");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
}

#[tokio::test]
async fn what_is_no_id_is_a_problem() {
    let bed = with(&TestStore::empty());
    for id in ["7", "%ff%fe", "%00", "a%20b"] {
        let answer = bed.get(&format!("/v1/events/{id}/live")).await;
        assert_eq!(
            (answer.status.as_u16(), &*answer.code()),
            (400, "malformed_id"),
            "{id}"
        );
    }
}

#[tokio::test]
async fn streams_beyond_the_bound_are_told_to_come_back_and_cost_others_nothing() {
    let bed = with(&TestStore::empty());
    let mut open = Vec::new();
    for _ in 0..STREAMS {
        open.push(watch(&bed).await.unwrap());
    }
    let answer = bed.get(&path(EventId::born())).await;
    assert_eq!(
        (answer.status.as_u16(), &*answer.code()),
        (503, "overloaded")
    );
    assert_eq!(answer.header("retry-after"), "5");
    let answer = bed.get(&format!("/v1/events/{}", EventId::born())).await;
    assert_eq!(answer.code(), "unknown_event");
    open.pop();
    assert!(watch(&bed).await.is_ok(), "expected that a place is free");
}
