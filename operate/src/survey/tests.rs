use common::broker::{Address, Broker as _, Publication};
use common::event::now;
use common::message::{CLOUDEVENTS_JSON, Message};
use common::store::{DeadLetters as _, Statuses as _};

use crate::survey::{Missing, Trouble, requeue};
use common::event::EventId;

use super::*;
use crate::testbed::pipeline::Pipeline;

async fn survey(pipeline: &Pipeline) -> (Survey, Vec<Missing>) {
    let surveyor = pipeline.surveyor();
    let survey = surveyor.take(Window::default(), now(), |_| {}).await;
    let survey = survey.unwrap();
    let missing = survey.items.clone();
    (survey, missing)
}

#[tokio::test]
async fn everything_that_is_accounted_for_balances() {
    let pipeline = Pipeline::new(&["crm"]).await;
    let done = pipeline.signup("ada").await;
    pipeline.work(&["crm"]).await;
    let ids = pipeline.store.standings(&[]).await.unwrap();
    assert_eq!(ids, []);
    let (under_way, stuck) = survey(&pipeline).await;
    assert_eq!(
        (under_way.received, stuck.len()),
        (1, 1),
        "nobody has it: {under_way:?}"
    );
    assert!(!under_way.balances);

    pipeline
        .deliver(&event_of(&pipeline, &done), "crm", 0)
        .await;
    let (settled, stuck) = survey(&pipeline).await;
    assert_eq!((settled.completed, stuck.len()), (1, 0), "{settled:?}");
    assert!(settled.balances);
}

/// The id that validation gives an event that came with an id of its publisher's.
fn event_of(_: &Pipeline, id: &str) -> String {
    let publisher = common::event::Publisher::amqp(Some("longshore"));
    EventId::derived(&publisher, "/test", id).to_string()
}

#[tokio::test]
async fn what_waits_in_a_queue_is_under_way_and_what_is_in_none_is_stuck() {
    let pipeline = Pipeline::new(&["crm"]).await;
    pipeline.signup("ada").await;
    let (waiting, stuck) = survey(&pipeline).await;
    assert_eq!((waiting.under_way, stuck.len()), (1, 0), "{waiting:?}");
    assert!(waiting.balances);
    assert_eq!(waiting.waiting["longshore.validate"], 1);

    pipeline.forget("validate").await;
    let (lost, stuck) = survey(&pipeline).await;
    assert_eq!((lost.stuck, lost.under_way), (1, 0), "{lost:?}");
    assert!(!lost.balances);
    assert_eq!(stuck[0].kind, "signup.requested");
    assert_eq!(stuck[0].status, None);

    let requeued = requeue(&pipeline.surveyor(), &stuck, &crate::testbed::requester())
        .await
        .unwrap();
    assert_eq!((requeued.sent, requeued.left.len()), (1, 0));
    let (mended, stuck) = survey(&pipeline).await;
    assert_eq!((mended.under_way, stuck.len()), (1, 0), "{mended:?}");
    let again = pipeline.broker.waiting("longshore.validate").await;
    let headers = &again[0].headers;
    assert!(headers.get(common::event::header::AGAIN).is_some());
    assert_eq!(
        headers.text(common::event::header::ROUTING_KEY),
        Some("signup.requested")
    );
}

#[tokio::test]
async fn a_stored_event_goes_to_the_destination_where_it_is_due_and_to_no_other() {
    let pipeline = Pipeline::new(&["crm", "email"]).await;
    let id = pipeline.signup("ada").await;
    pipeline.work(&["crm", "email"]).await;
    pipeline.deliver(&event_of(&pipeline, &id), "crm", 0).await;
    let (_, stuck) = survey(&pipeline).await;
    assert_eq!(stuck.len(), 1);
    let requeued = requeue(&pipeline.surveyor(), &stuck, &crate::testbed::requester())
        .await
        .unwrap();
    assert_eq!(requeued.sent, 1);
    let email = pipeline.broker.waiting("longshore.integrate.email").await;
    assert_eq!(email.len(), 1);
    assert_eq!(email[0].content_type.as_deref(), Some(CLOUDEVENTS_JSON));
    assert_eq!(pipeline.broker.waiting("longshore.integrate.crm").await, []);
    let (mended, stuck) = survey(&pipeline).await;
    assert_eq!((mended.under_way, stuck.len()), (1, 0), "{mended:?}");
}

#[tokio::test]
async fn repetitions_count_once_and_what_is_on_its_way_is_given_time() {
    let pipeline = Pipeline::new(&[]).await;
    pipeline.receive("text/plain", "x", "hello").await;
    pipeline.receive("text/plain", "x", "hello").await;
    let (found, stuck) = survey(&pipeline).await;
    assert_eq!((found.received, found.repeated), (1, 1));
    assert_eq!((found.under_way, stuck.len()), (1, 0), "{found:?}");

    // Nobody has it, but somebody stores it while the survey waits.
    let done = pipeline.signup("ada").await;
    pipeline.forget("validate").await;
    let patient = Surveyor {
        patience: std::time::Duration::from_secs(20),
        ..pipeline.surveyor()
    };
    let work = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        pipeline.work(&[]).await;
        let letter = crate::testbed::letter("longshore.validate");
        let mut entries = pipeline.entries().await;
        let entry = pipeline.judge.judge(entries.remove(0));
        let letter = common::store::DeadLetter {
            id: pipeline.judge.letter_of(&entry, 0),
            event: None,
            destination: None,
            ..letter
        };
        pipeline.store.keep_dead(&[letter]).await.unwrap();
    };
    let (survey, ()) = tokio::join!(patient.take(Window::default(), now(), |_| {}), work);
    let survey = survey.unwrap();
    assert_eq!((survey.completed, survey.dead), (1, 1), "{survey:?} {done}");
    assert!(survey.balances);
}

/// Messages that differ in their queue, but not in a history that keeps less of them.
#[tokio::test]
async fn a_letter_of_another_spelling_stands_for_as_many_entries_as_it_has_copies() {
    let pipeline = Pipeline::new(&[]).await;
    for content_type in ["text/one", "text/two", "text/three"] {
        pipeline.receive(content_type, "x", "hello").await;
    }
    pipeline.receive("text/one", "x", "another").await;
    pipeline.forget("validate").await;
    let mut entries = pipeline.entries().await;
    let first = pipeline.judge.judge(entries.remove(0));
    let letter = |id, copies| common::store::DeadLetter {
        id,
        entry_key: Some(crate::history::Judge::entry_key_of(&first)),
        event: None,
        destination: None,
        copies,
        ..crate::testbed::letter("longshore.validate")
    };
    let named = async || {
        let (survey, missing) = survey(&pipeline).await;
        assert_eq!(survey.balances, missing.is_empty());
        (survey.dead, survey.stuck)
    };
    let keep = async |letter| pipeline.store.keep_dead(&[letter]).await.unwrap();
    assert_eq!(named().await, (0, 4));
    // By its own id: it stands for no other.
    let own = letter(pipeline.judge.letter_of(&first, 0), 2);
    keep(own).await;
    assert_eq!(named().await, (1, 3));
    let altered = letter(uuid::Uuid::now_v7(), 1);
    keep(altered.clone()).await;
    assert_eq!(named().await, (2, 2));
    keep(altered).await;
    assert_eq!(named().await, (3, 1), "it came again");
    keep(letter(uuid::Uuid::now_v7(), 9)).await;
    assert_eq!(named().await, (3, 1), "nothing stands for another body");
}

/// A plain event without an id of its own: the history, which has less of it, makes another id of it.
#[tokio::test]
async fn an_event_that_the_history_has_under_another_id_is_neither_forged_nor_stuck() {
    let pipeline = Pipeline::new(&["crm"]).await;
    let body = r#"{"email":"a@b.example","name":"A"}"#;
    pipeline
        .receive("application/json", "signup.requested", body)
        .await;
    let ids = pipeline.work_altered(&["crm"]).await;
    let (due, stuck) = survey(&pipeline).await;
    assert_eq!((due.received, due.forged, due.stuck), (1, 0, 1), "{due:?}");
    assert_eq!(stuck[0].event.unwrap().to_string(), ids[0]);
    let requeued = requeue(&pipeline.surveyor(), &stuck, &crate::testbed::requester())
        .await
        .unwrap();
    assert_eq!(requeued.sent, 1);
    let waiting = pipeline.broker.waiting("longshore.integrate.crm").await;
    assert_eq!(waiting[0].message_id.as_deref(), Some(ids[0].as_str()));
    assert_eq!(pipeline.broker.waiting("longshore.validate").await, []);

    pipeline.forget("integrate.crm").await;
    pipeline.deliver(&ids[0], "crm", 0).await;
    let (settled, stuck) = survey(&pipeline).await;
    assert_eq!((settled.completed, stuck.len()), (1, 0), "{settled:?}");
    assert!(settled.balances);
}

#[tokio::test]
async fn an_event_in_a_delay_is_under_way_while_another_that_is_gone_is_stuck() {
    let pipeline = Pipeline::new(&["crm"]).await;
    let [gone, later] = [pipeline.signup("ada").await, pipeline.signup("bob").await];
    pipeline.work(&["crm"]).await;
    let message = Message {
        message_id: Some(event_of(&pipeline, &later)),
        ..Message::default()
    };
    let to = Address::Later {
        queue: "longshore.integrate.crm".to_owned(),
        delay: std::time::Duration::from_secs(60),
    };
    pipeline
        .broker
        .publish(Publication { to, message })
        .await
        .unwrap();
    let (survey, missing) = survey(&pipeline).await;
    assert_eq!((survey.under_way, survey.stuck), (1, 1), "{survey:?}");
    assert_eq!(
        missing[0].event.unwrap().to_string(),
        event_of(&pipeline, &gone)
    );
    assert_eq!(missing[0].verdict, Trouble::Stuck);
    assert!(missing[0].known.contains("due at crm"), "{missing:?}");
    assert!(!survey.balances);
}

#[tokio::test]
async fn what_is_older_than_the_history_is_unknown_and_not_forged() {
    let pipeline = Pipeline::new(&["crm"]).await;
    pipeline.signup("ada").await;
    pipeline.work(&[]).await;
    let mut history = pipeline.topology.clone();
    history.exchanges.clear();
    let name = pipeline.names.history();
    history.queues.retain(|queue| queue.name == name);
    pipeline.broker.delete(&history).await.unwrap();
    pipeline.broker.apply(&pipeline.topology).await.unwrap();
    for (received, next) in [(0, "bob"), (1, "eve")] {
        let (survey, missing) = survey(&pipeline).await;
        let found = (survey.received, survey.forged, survey.unknown);
        assert_eq!(found, (received, 0, 1), "{survey:?}");
        assert_eq!(missing[0].verdict, Trouble::Unknown, "{missing:?}");
        assert!(missing[0].advice.contains("history stats"), "{missing:?}");
        assert!(!survey.balances);
        pipeline.signup(next).await;
    }
    pipeline.work(&[]).await;
    let stored = pipeline.forge_accepted("mallory").await;
    let (survey, missing) = survey(&pipeline).await;
    assert_eq!((survey.forged, survey.unknown), (1, 1), "{survey:?}");
    assert!(
        missing.iter().any(|it| it.event == Some(stored)),
        "{missing:?}"
    );
}

#[tokio::test]
async fn what_nobody_received_is_forged() {
    let pipeline = Pipeline::new(&["crm"]).await;
    let honest = pipeline.signup("ada").await;
    pipeline.work(&[]).await;
    let (survey_before, missing) = survey(&pipeline).await;
    assert_eq!(
        (survey_before.forged, missing.len()),
        (0, 0),
        "{survey_before:?} {honest}"
    );

    let stored = pipeline.forge_accepted("mallory").await;
    let delivered = EventId::born();
    pipeline.deliver(&delivered.to_string(), "crm", 0).await;
    let (survey, missing) = survey(&pipeline).await;
    assert_eq!((survey.received, survey.forged), (1, 2), "{survey:?}");
    let named: Vec<_> = missing.iter().filter_map(|it| it.event).collect();
    assert!(
        named.contains(&stored) && named.contains(&delivered),
        "{missing:?}"
    );
    assert!(!survey.balances);
}

#[tokio::test]
async fn what_waits_for_a_destination_that_is_configured_no_more_is_under_way() {
    let pipeline = Pipeline::new(&["crm", "old"]).await;
    let id = pipeline.signup("ada").await;
    pipeline.work(&["old"]).await;
    let message = Message {
        message_id: Some(event_of(&pipeline, &id)),
        ..Message::default()
    };
    let to = Address::Queue("longshore.integrate.old".to_owned());
    pipeline
        .broker
        .publish(Publication { to, message })
        .await
        .unwrap();
    let topology = crate::testbed::topology(&["crm"]);
    let now_configured = Surveyor {
        topology: &topology,
        ..pipeline.surveyor()
    };
    for (under_way, stuck) in [(1, 0), (0, 1)] {
        let survey = now_configured.take(Window::default(), now(), |_| {}).await;
        let survey = survey.unwrap();
        assert_eq!(
            (survey.under_way, survey.stuck),
            (under_way, stuck),
            "{survey:?}"
        );
        pipeline.forget("integrate.old").await;
    }
}

#[tokio::test]
async fn a_window_may_begin_long_before_there_was_anything() {
    let pipeline = Pipeline::new(&[]).await;
    pipeline.signup("ada").await;
    pipeline.work(&[]).await;
    let window = Window {
        from: Some(now() - time::Duration::days(20_000)),
        to: None,
    };
    let surveyor = pipeline.surveyor();
    let survey = surveyor.take(window, now(), |_| {});
    let survey = tokio::time::timeout(std::time::Duration::from_secs(30), survey).await;
    let survey = survey.expect("in time").unwrap();
    assert_eq!((survey.completed, survey.balances), (1, true), "{survey:?}");
}
