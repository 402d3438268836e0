use std::time::Duration;

use common::event::{EventId, Publisher, header, now};
use common::message::CLOUDEVENTS_JSON;
use common::store::{DeadFilter, Moment, Replay, Store as _};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::*;
use crate::replay::{Outcome, Replayer};
use crate::testbed::pipeline::Pipeline;

/// A replay of everything of the last hour.
fn everything(queue: &str) -> Replay {
    Replay {
        id: Uuid::now_v7(),
        filter: DeadFilter::default(),
        to_queue: Some(queue.to_owned()),
        who: "test".to_owned(),
        why: None,
        rate: None,
        stop_when: None,
        slice: Some(HistorySlice {
            from: Moment(now() - time::Duration::HOUR),
            to: Moment(now() + time::Duration::HOUR),
            kind: None,
        }),
        new_ids: false,
    }
}

async fn run(pipeline: &Pipeline, replay: &Replay) -> Result<Outcome, Failure> {
    let stop = CancellationToken::new();
    replayer(pipeline, &stop).begin(replay, |_| {}).await
}

fn replayer<'a>(pipeline: &'a Pipeline, stop: &'a CancellationToken) -> Replayer<'a> {
    Replayer {
        broker: &pipeline.broker,
        store: pipeline.store.as_ref(),
        topology: &pipeline.topology,
        names: &pipeline.names,
        judge: &pipeline.judge,
        stop,
        patience: Duration::ZERO,
    }
}

fn generations(messages: &[common::message::Message]) -> Vec<Option<i64>> {
    messages
        .iter()
        .map(|it| it.headers.int(header::GENERATION))
        .collect()
}

fn event_of(id: &str) -> String {
    EventId::derived(&Publisher::amqp(Some("longshore")), "/test", id).to_string()
}

#[tokio::test]
async fn a_new_destination_gets_the_past_as_it_is_stored() {
    let pipeline = Pipeline::new(&["crm", "news"]).await;
    let id = pipeline.signup("ada").await;
    pipeline.work(&["crm"]).await;
    pipeline.deliver(&event_of(&id), "crm", 0).await;
    // Received, but never stored; no event; and one that the rules refuse.
    pipeline.signup("bob").await;
    pipeline
        .receive("text/plain", "signup.requested", "hello")
        .await;
    pipeline
        .receive(
            "application/json",
            "signup.requested",
            r#"{"email":"nobody"}"#,
        )
        .await;

    let outcome = run(&pipeline, &everything("longshore.integrate.news"))
        .await
        .unwrap();
    assert_eq!(outcome.replayed, 1, "{outcome:?}");
    for why in ["not_stored", "undecodable", "invalid"] {
        assert_eq!(outcome.skipped.get(why), Some(&1), "{why}: {outcome:?}");
    }
    let news = pipeline.broker.waiting("longshore.integrate.news").await;
    assert_eq!(news.len(), 1);
    assert_eq!(news[0].message_id.as_deref(), Some(event_of(&id).as_str()));
    assert_eq!(news[0].content_type.as_deref(), Some(CLOUDEVENTS_JSON));
    assert_eq!(generations(&news), [None], "the first delivery there");
    assert!(news[0].headers.get(header::AGAIN).is_some());
    let audit = pipeline
        .store
        .replay(outcome.replay)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((audit.replayed, audit.who.as_str()), (1, "test"));
    assert!(audit.position.is_some());
}

#[tokio::test]
async fn an_old_destination_gets_it_as_the_next_generation_and_once() {
    let pipeline = Pipeline::new(&["crm"]).await;
    let id = pipeline.signup("ada").await;
    pipeline.work(&["crm"]).await;
    pipeline.deliver(&event_of(&id), "crm", 0).await;
    let queue = "longshore.integrate.crm";
    let outcome = run(&pipeline, &everything(queue)).await.unwrap();
    assert_eq!(outcome.replayed, 1);
    assert_eq!(
        generations(&pipeline.broker.waiting(queue).await),
        [Some(1)]
    );
    pipeline.forget("integrate.crm").await;
    pipeline.deliver(&event_of(&id), "crm", 1).await;
    run(&pipeline, &everything(queue)).await.unwrap();
    assert_eq!(
        generations(&pipeline.broker.waiting(queue).await),
        [Some(2)]
    );
}

#[tokio::test]
async fn only_the_slice_is_sent() {
    let pipeline = Pipeline::new(&[]).await;
    pipeline.signup("ada").await;
    pipeline.receive("text/plain", "other.type", "hello").await;
    pipeline.forget("validate").await;
    let replay = |from: time::Duration, to: time::Duration, kind: Option<&str>| Replay {
        slice: Some(HistorySlice {
            from: Moment(now() + from),
            to: Moment(now() + to),
            kind: kind.map(str::to_owned),
        }),
        ..everything("longshore.validate")
    };
    let (ago, soon) = (-time::Duration::HOUR, time::Duration::HOUR);
    let sent = async |replay: Replay| run(&pipeline, &replay).await.unwrap().replayed;
    assert_eq!(sent(replay(ago, soon, Some("signup.*"))).await, 1);
    assert_eq!(sent(replay(ago, soon, None)).await, 2);
    assert_eq!(sent(replay(2 * ago, ago, None)).await, 0);
    assert_eq!(sent(replay(soon, 2 * soon, None)).await, 0);
}

#[tokio::test]
async fn what_the_history_has_under_another_id_goes_as_the_event_it_is() {
    let pipeline = Pipeline::new(&["crm"]).await;
    let body = r#"{"email":"a@b.example","name":"A"}"#;
    pipeline
        .receive("application/json", "signup.requested", body)
        .await;
    let ids = pipeline.work_altered(&["crm"]).await;
    pipeline.deliver(&ids[0], "crm", 0).await;
    for queue in ["integrate.crm", "store", "validate"] {
        let queue = format!("longshore.{queue}");
        let outcome = run(&pipeline, &everything(&queue)).await.unwrap();
        assert_eq!(outcome.replayed, 1, "{outcome:?}");
        let sent = pipeline.broker.waiting(&queue).await;
        assert_eq!(sent[0].message_id.as_deref(), Some(ids[0].as_str()));
        assert_eq!(generations(&sent), [Some(1)]);
        if queue == "longshore.validate" {
            let entry = pipeline.judge.judge(common::broker::HistoryEntry {
                offset: 0,
                time: None,
                routing_key: "signup.requested".to_owned(),
                message: sent[0].clone(),
            });
            assert_eq!(entry.event.map(|it| it.to_string()), Some(ids[0].clone()));
        }
    }
}

#[tokio::test]
async fn to_validate_it_goes_as_it_came() {
    let pipeline = Pipeline::new(&[]).await;
    let body = r#"{"email":"a@b.example","name":"A"}"#;
    pipeline
        .receive("application/json", "signup.requested", body)
        .await;
    pipeline.forget("validate").await;
    run(&pipeline, &everything("longshore.validate"))
        .await
        .unwrap();
    let waiting = pipeline.broker.waiting("longshore.validate").await;
    assert_eq!(waiting[0].body, body.as_bytes());
    assert_eq!(waiting[0].content_type.as_deref(), Some("application/json"));
    let headers = &waiting[0].headers;
    assert!(headers.get(header::AGAIN).is_some());
    assert_eq!(headers.text(header::ROUTING_KEY), Some("signup.requested"));
}

#[tokio::test]
async fn it_goes_on_where_it_was_stopped() {
    let pipeline = Pipeline::new(&[]).await;
    for number in 0..30 {
        pipeline.signup(&format!("n{number}")).await;
    }
    pipeline.forget("validate").await;
    let replay = Replay {
        rate: Some(10),
        ..everything("longshore.validate")
    };
    let stop = CancellationToken::new();
    let sent = std::sync::atomic::AtomicU64::new(0);
    let tell = |_: News<'_>| {
        if sent.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 14 {
            stop.cancel();
        }
    };
    let first = replayer(&pipeline, &stop)
        .begin(&replay, tell)
        .await
        .unwrap();
    assert!(first.stopped && first.replayed < 30, "{first:?}");
    let stop = CancellationToken::new();
    let rest = replayer(&pipeline, &stop)
        .resume(replay.id, |_| {})
        .await
        .unwrap();
    assert_eq!(first.replayed + rest.replayed, 30);
    assert_eq!(
        pipeline.broker.waiting("longshore.validate").await.len(),
        30
    );
}

#[tokio::test]
async fn what_was_sent_and_not_counted_is_known_when_it_is_sent_again() {
    const EVENTS: usize = 20;
    let pipeline = Pipeline::new(&["crm", "news"]).await;
    for number in 0..EVENTS {
        pipeline.signup(&format!("n{number}")).await;
    }
    pipeline.work(&["crm"]).await;
    let queue = "longshore.integrate.news";
    let replay = Replay {
        rate: Some(20),
        ..everything(queue)
    };
    // Killed in the middle of its batch, which is counted at its end.
    let (stop, killed) = (CancellationToken::new(), tokio::sync::Notify::new());
    let sent = std::sync::atomic::AtomicU64::new(0);
    let tell = |_: News<'_>| {
        if sent.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 4 {
            killed.notify_one();
        }
    };
    let run = replayer(&pipeline, &stop);
    tokio::select! {
        biased;
        () = killed.notified() => {}
        done = run.begin(&replay, tell) => panic!("it was not killed: {done:?}"),
    }
    let known = pipeline.store.replay(replay.id).await.unwrap().unwrap();
    assert_eq!((known.replayed, known.position), (0, None));
    assert!(pipeline.broker.waiting(queue).await.len() >= 5);
    let rest = run.resume(replay.id, |_| {}).await.unwrap();
    assert_eq!(rest.replayed, EVENTS as u64);
    let waiting = pipeline.broker.waiting(queue).await;
    assert!(waiting.len() > EVENTS, "some were sent twice");
    for message in &waiting {
        // So each copy is asked after, and both are the same delivery.
        assert!(message.headers.get(header::AGAIN).is_some());
        assert_eq!(message.headers.int(header::GENERATION), None);
    }
}
