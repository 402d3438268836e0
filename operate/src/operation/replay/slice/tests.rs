use std::time::Duration;

use common::event::{EventId, Publisher, header, now};
use common::message::CLOUDEVENTS_JSON;
use common::store::{DeadFilter, Moment, Operation, OperationKind, Schedule as _, Store as _};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::*;
use crate::operation::{Executor, Outcome, Runner};
use crate::testbed;
use crate::testbed::pipeline::Pipeline;

/// A replay of all events of the last hour.
fn everything(queue: &str) -> Operation {
    let id = Uuid::now_v7();
    Operation {
        id,
        kind: OperationKind::Replay,
        filter: DeadFilter::default(),
        to_queue: Some(queue.to_owned()),
        act: crate::operation::beginning(id, &testbed::requester()),
        rate: None,
        stop_when: None,
        slice: Some(HistorySlice {
            from: Moment(now() - time::Duration::HOUR),
            to: Moment(now() + time::Duration::HOUR),
            kind: None,
        }),
        new_ids: false,
        resumes: None,
    }
}

async fn run(pipeline: &Pipeline, replay: &Operation) -> Result<Outcome, Failure> {
    let stop = CancellationToken::new();
    executor(pipeline, &stop).begin(replay, |_| {}).await
}

fn executor<'a>(pipeline: &'a Pipeline, stop: &'a CancellationToken) -> Executor<'a> {
    Executor {
        broker: &pipeline.broker,
        store: pipeline.store.as_ref(),
        topology: &pipeline.topology,
        names: &pipeline.names,
        judge: &pipeline.judge,
        destinations: &[],
        stop,
        patience: Duration::ZERO,
        longest_attempt: Duration::ZERO,
        runner: Runner::Operator,
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
async fn nobody_gets_what_waits_or_was_cancelled() {
    let pipeline = Pipeline::new(&["crm", "news"]).await;
    let event = serde_json::json!({
        "specversion": "1.0", "id": "later", "source": "/test", "type": "signup.requested",
        "notbefore": "9000-01-02T03:04:05Z", "data": {"email": "ada@example.com", "name": "Ada"},
    });
    pipeline
        .receive(CLOUDEVENTS_JSON, "signup.requested", &event.to_string())
        .await;
    pipeline.work(&["crm"]).await;
    let news = everything("longshore.integrate.news");
    let outcome = run(&pipeline, &news).await.unwrap();
    assert_eq!(outcome.skipped.get("held"), Some(&1), "{outcome:?}");
    let survey = pipeline
        .surveyor()
        .take(Window::default(), now(), |_| {})
        .await
        .unwrap();
    assert!(survey.balances && survey.scheduled == 1, "{survey:?}");

    let cancellation = common::store::NewCancellation {
        event: event_of("later").parse().unwrap(),
        by: "cli:test".to_owned(),
        why: None,
    };
    let cancelled = pipeline.store.cancel_event(&cancellation, None).await;
    assert_eq!(cancelled, Ok(common::store::Cancelled::Now));
    let again = everything("longshore.integrate.news");
    let outcome = run(&pipeline, &again).await.unwrap();
    assert_eq!(outcome.skipped.get("held"), Some(&1), "{outcome:?}");
    let waiting = pipeline.broker.waiting("longshore.integrate.news").await;
    assert!(waiting.is_empty(), "{waiting:?}");
}

#[tokio::test]
async fn a_new_destination_gets_the_past_as_it_is_stored() {
    let pipeline = Pipeline::new(&["crm", "news"]).await;
    let id = pipeline.signup("ada").await;
    pipeline.work(&["crm"]).await;
    pipeline.deliver(&event_of(&id), "crm", 0).await;
    // An event that was received but never stored, a message that is not an event, and an event that the rules
    // refuse.
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
        .operations()
        .operation(outcome.replay)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((audit.replayed, audit.who.as_str()), (1, "cli:test"));
    assert!(audit.position.is_some());
}

#[tokio::test]
async fn the_filter_of_a_destination_holds_for_its_past() {
    let pipeline = Pipeline::new(&["news"]).await;
    let ada = pipeline.signup("ada").await;
    pipeline.signup("bob").await;
    pipeline.work(&[]).await;
    let destination: common::config::Destination = toml::from_str(
        "name = \"news\"\nwhere = \"data.name == 'ada'\"\nwebhook = { url = \"https://h\" }",
    )
    .unwrap();
    let stop = CancellationToken::new();
    let run = Executor {
        destinations: &[destination],
        ..executor(&pipeline, &stop)
    };
    let replay = everything("longshore.integrate.news");
    let outcome = run.begin(&replay, |_| {}).await.unwrap();
    assert_eq!(outcome.skipped.get("filtered"), Some(&1), "{outcome:?}");
    let news = pipeline.broker.waiting("longshore.integrate.news").await;
    let news: Vec<_> = news.iter().map(|it| it.message_id.clone()).collect();
    assert_eq!(news, [Some(event_of(&ada))]);
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
    let replay = |from: time::Duration, to: time::Duration, kind: Option<&str>| Operation {
        slice: Some(HistorySlice {
            from: Moment(now() + from),
            to: Moment(now() + to),
            kind: kind.map(str::to_owned),
        }),
        ..everything("longshore.validate")
    };
    let (ago, soon) = (-time::Duration::HOUR, time::Duration::HOUR);
    let sent = async |replay: Operation| run(&pipeline, &replay).await.unwrap().replayed;
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
    let replay = Operation {
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
    let first = executor(&pipeline, &stop)
        .begin(&replay, tell)
        .await
        .unwrap();
    assert!(first.stopped && first.replayed < 30, "{first:?}");
    let stop = CancellationToken::new();
    let rest = executor(&pipeline, &stop)
        .resume(replay.id, None, &testbed::requester(), |_| {})
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
    let replay = Operation {
        rate: Some(20),
        ..everything(queue)
    };
    // Killed in the middle of a batch. The batch is counted at its end.
    let (stop, killed) = (CancellationToken::new(), tokio::sync::Notify::new());
    let sent = std::sync::atomic::AtomicU64::new(0);
    let tell = |_: News<'_>| {
        if sent.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 4 {
            killed.notify_one();
        }
    };
    let run = executor(&pipeline, &stop);
    tokio::select! {
        biased;
        () = killed.notified() => {}
        done = run.begin(&replay, tell) => panic!("it was not killed: {done:?}"),
    }
    let known = pipeline
        .store
        .operations()
        .operation(replay.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((known.replayed, known.position), (0, None));
    assert!(pipeline.broker.waiting(queue).await.len() >= 5);
    let rest = run
        .resume(replay.id, None, &testbed::requester(), |_| {})
        .await
        .unwrap();
    assert_eq!(rest.replayed, EVENTS as u64);
    let waiting = pipeline.broker.waiting(queue).await;
    assert!(waiting.len() > EVENTS, "some were sent twice");
    for message in &waiting {
        // So each copy is looked up, and both are the same delivery.
        assert!(message.headers.get(header::AGAIN).is_some());
        assert_eq!(message.headers.int(header::GENERATION), None);
    }
}

/// Three events that were delivered, and a replay of them that is killed when it has sent one.
async fn killed_after_one(pipeline: &Pipeline) -> Operation {
    for number in 0..3 {
        pipeline.signup(&format!("n{number}")).await;
    }
    pipeline.work(&["crm"]).await;
    for entry in pipeline.entries().await {
        let event = pipeline.judge.identify(entry).event.unwrap();
        pipeline.deliver(&event.to_string(), "crm", 0).await;
    }
    let replay = Operation {
        rate: Some(3),
        ..everything("longshore.integrate.crm")
    };
    let (stop, killed) = (CancellationToken::new(), tokio::sync::Notify::new());
    let run = executor(pipeline, &stop);
    tokio::select! {
        biased;
        () = killed.notified() => {}
        done = run.begin(&replay, |_| killed.notify_one()) => panic!("{done:?}"),
    }
    replay
}

#[tokio::test]
async fn what_was_killed_and_then_stopped_goes_on_with_the_generation_it_had() {
    let pipeline = Pipeline::new(&["crm"]).await;
    let replay = killed_after_one(&pipeline).await;
    let queue = "longshore.integrate.crm";
    for message in pipeline.broker.waiting(queue).await {
        let event = message.message_id.unwrap();
        pipeline.deliver(&event, "crm", 1).await;
    }
    let (stopped, by) = (common::store::OperationState::Stopped, testbed::requester());
    let steered = crate::operation::steer(&*pipeline.store, replay.id, stopped, &by);
    steered.await.unwrap();
    let stop = CancellationToken::new();
    let rest = executor(&pipeline, &stop)
        .resume(replay.id, None, &testbed::requester(), |_| {})
        .await;
    assert_eq!(rest.unwrap().replay, replay.id);
    let sent = generations(&pipeline.broker.waiting(queue).await);
    assert!(sent.len() > 3, "{sent:?}");
    assert!(
        sent.iter().all(|generation| *generation == Some(1)),
        "{sent:?}"
    );
}

#[tokio::test]
async fn of_two_that_resume_a_killed_replay_one_sends() {
    let pipeline = Pipeline::new(&["crm"]).await;
    let replay = killed_after_one(&pipeline).await;
    pipeline.forget("integrate.crm").await;
    let stop = CancellationToken::new();
    let run = executor(&pipeline, &stop);
    let by = testbed::requester();
    let (one, other) = tokio::join!(
        run.resume(replay.id, None, &by, |_| {}),
        run.resume(replay.id, None, &by, |_| {})
    );
    let refused = match (one, other) {
        (Ok(_), Err(refused)) | (Err(refused), Ok(_)) => refused,
        both => panic!("{both:?}"),
    };
    assert_eq!(refused.code(), 2, "{refused:?}");
    let sent = pipeline.broker.waiting("longshore.integrate.crm").await;
    assert_eq!(sent.len(), 3);
}

#[tokio::test]
async fn a_replay_that_goes_on_waits_until_what_it_has_sent_is_taken_and_written_down() {
    let pipeline = Pipeline::new(&["crm"]).await;
    let replay = killed_after_one(&pipeline).await;
    let stop = CancellationToken::new();
    let run = Executor {
        patience: Duration::from_secs(60),
        longest_attempt: Duration::from_secs(1),
        ..executor(&pipeline, &stop)
    };
    let queue = "longshore.integrate.crm";
    let sent_before = pipeline.broker.waiting(queue).await.len();
    let work = async {
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert_eq!(pipeline.broker.waiting(queue).await.len(), sent_before);
        pipeline.forget("integrate.crm").await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(pipeline.broker.waiting(queue).await.len(), 0);
    };
    let by = testbed::requester();
    let (rest, ()) = tokio::join!(run.resume(replay.id, None, &by, |_| {}), work);
    assert_eq!(rest.unwrap().replayed, 3);
    assert_eq!(pipeline.broker.waiting(queue).await.len(), 3);
}

#[tokio::test]
async fn what_the_history_holds_several_times_is_sent_once_though_it_comes_in_another_batch() {
    let pipeline = Pipeline::new(&["crm"]).await;
    let event = r#"{"specversion":"1.0","id":"1","source":"/test","type":"signup.requested",
        "data":{"email":"a@b.example","name":"A"}}"#;
    for _ in 0..3 {
        pipeline
            .receive(CLOUDEVENTS_JSON, "signup.requested", event)
            .await;
    }
    pipeline.work(&["crm"]).await;
    let one_by_one = Operation {
        rate: Some(1),
        ..everything("longshore.integrate.crm")
    };
    let outcome = run(&pipeline, &one_by_one).await.unwrap();
    assert_eq!(outcome.replayed, 1, "{outcome:?}");
    assert_eq!(outcome.skipped.get("repeated"), Some(&2), "{outcome:?}");
}
