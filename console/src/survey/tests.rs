use common::event::now;
use common::message::CLOUDEVENTS_JSON;

use super::*;
use crate::commands::events::stuck::requeue;
use crate::testbed::pipeline::Pipeline;

async fn survey(pipeline: &Pipeline) -> (Survey, Vec<Stuck>) {
    let surveyor = pipeline.surveyor();
    surveyor
        .take(Window::default(), now(), |_| {})
        .await
        .unwrap()
}

#[tokio::test]
async fn everything_that_is_accounted_for_balances() {
    let pipeline = Pipeline::new(&["crm"]).await;
    let done = pipeline.signup("ada").await;
    pipeline.work(&["crm"]).await;
    let ids = pipeline.store.at_rest(&[]).await.unwrap();
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

    let requeued = requeue(&pipeline.surveyor(), &stuck).await.unwrap();
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
    let requeued = requeue(&pipeline.surveyor(), &stuck).await.unwrap();
    assert_eq!(requeued.sent, 1);
    let email = pipeline.broker.waiting("longshore.integrate.email").await;
    assert_eq!(email.len(), 1);
    assert_eq!(email[0].content_type.as_deref(), Some(CLOUDEVENTS_JSON));
    assert_eq!(pipeline.broker.waiting("longshore.integrate.crm").await, []);
    let (mended, stuck) = survey(&pipeline).await;
    assert_eq!((mended.under_way, stuck.len()), (1, 0), "{mended:?}");
}

#[tokio::test]
async fn repetitions_count_once_and_young_events_are_under_way() {
    let pipeline = Pipeline::new(&[]).await;
    pipeline.receive("text/plain", "x", "hello").await;
    pipeline.receive("text/plain", "x", "hello").await;
    pipeline.forget("validate").await;
    let young = Surveyor {
        grace: time::Duration::HOUR,
        ..pipeline.surveyor()
    };
    let (survey, stuck) = young.take(Window::default(), now(), |_| {}).await.unwrap();
    assert_eq!(
        (survey.received, survey.repeated, survey.under_way),
        (1, 1, 1)
    );
    assert!(survey.balances && stuck.is_empty());
}
