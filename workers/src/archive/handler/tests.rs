use common::event::{EventId, Trail, header};
use common::message::Message;
use common::namespace::Namespace;
use common::reason::ReasonCode;
use common::runtime::Received;
use common::store::{DeadFilter, DeliveryState, Standing};

use super::*;
use crate::store::StoreEvents;
use crate::testbed::{self, CRM, handle, signup, status};

fn names() -> Names {
    Names::new(Namespace::default())
}

fn topology() -> Topology {
    Topology::new(&common::config::Config::default().plan())
}

/// `received` as a worker gives it up in `queue` with these headers.
fn given_up(received: &Received, queue: &str, headers: &[(&'static str, &str)]) -> Received {
    let mut message = received.message.clone();
    message.headers.set(header::QUEUE, queue);
    message
        .headers
        .set(header::FAILED_AT, "2026-01-02T03:04:05Z");
    for (name, value) in headers {
        message.headers.set(*name, *value);
    }
    Received {
        trail: Trail::read(&message.headers),
        message,
        ..received.clone()
    }
}

#[tokio::test]
async fn a_delivery_that_was_given_up_is_kept_once_and_the_event_is_dead() {
    let store = testbed::store().await;
    let id = EventId::born();
    let event = signup(id, "ada@example.com");
    let destination = testbed::destination("https://crm.example.com/hook");
    let storing = StoreEvents::new(Arc::clone(&store), vec![destination], testbed::seal());
    handle(&storing, std::slice::from_ref(&event)).await;

    let why = [
        (header::REASON, "receiver_failing"),
        (header::ERROR, "expected status 2xx, found 500"),
    ];
    let dead = given_up(&event, &names().integrate(CRM), &why);
    let handler = KeepDead::new(Arc::clone(&store), names(), &topology(), testbed::judge());
    for _ in 0..2 {
        let outcomes = handle(&handler, std::slice::from_ref(&dead)).await;
        assert_eq!(outcomes, [Outcome::Done]);
    }
    assert_eq!(store.dead_count(&DeadFilter::default()).await, Ok(1));
    let found = status(&store, id).await;
    assert_eq!(found.status, Standing::Dead);
    assert_eq!(found.deliveries[0].status, DeliveryState::Dead);
    let reason = found.reason.expect("a reason");
    assert_eq!(reason.code, ReasonCode::ReceiverFailing);
    let letter = reason.dead_letter.expect("a dead letter");
    let letter = store.dead_letter(letter).await.unwrap().expect("kept");
    assert_eq!(letter.error, "expected status 2xx, found 500");
    assert_eq!(letter.message.body, event.message.body);
}

#[tokio::test]
async fn whatever_comes_to_the_dead_queue_is_kept() {
    let store = testbed::store().await;
    let handler = KeepDead::new(Arc::clone(&store), names(), &topology(), testbed::judge());
    let bytes = Received {
        message: Message {
            body: bytes::Bytes::from_static(b"\xff\0no text at all"),
            ..Message::default()
        },
        routing_key: String::new(),
        ..signup(EventId::born(), "ada@example.com")
    };
    let batch = [bytes, signup(EventId::born(), "bob@example.com")];
    let outcomes = handle(&handler, &batch).await;
    assert_eq!(outcomes, [Outcome::Done, Outcome::Done]);
    assert_eq!(store.dead_count(&DeadFilter::default()).await, Ok(2));
}

#[tokio::test]
async fn a_rejection_is_kept_and_what_is_none_harms_no_neighbour() {
    let store = testbed::store().await;
    let id = EventId::born();
    let event = signup(id, "ada@example.com");
    let errors = r#"[{"pointer":"/email","detail":"expected another"}]"#;
    let why = [(header::REASON, "email_taken"), (header::ERRORS, errors)];
    let rejected = given_up(&event, &names().store(), &why);
    let none = signup(EventId::born(), "bob@example.com");
    let handler = KeepRejections::new(Arc::clone(&store), names());
    let outcomes = handle(&handler, &[none, rejected]).await;
    match &outcomes[..] {
        [Outcome::Dead(failure), Outcome::Done] => {
            assert_eq!(failure.code, ReasonCode::Undecodable);
        }
        other => panic!("expected a dead letter and a kept rejection, found {other:?}"),
    }
    let found = status(&store, id).await;
    assert_eq!(found.status, Standing::Rejected);
    let reason = found.reason.expect("a reason");
    assert_eq!(reason.code, ReasonCode::EmailTaken);
    assert_eq!(reason.errors[0].pointer, "/email");
}

#[tokio::test]
async fn a_database_that_is_down_is_waited_for() {
    let event = signup(EventId::born(), "ada@example.com");
    let rejected = given_up(&event, &names().store(), &[(header::REASON, "email_taken")]);
    let dead = KeepDead::new(testbed::down(), names(), &topology(), testbed::judge());
    let rejections = KeepRejections::new(testbed::down(), names());
    for outcome in [
        handle(&dead, std::slice::from_ref(&rejected)).await,
        handle(&rejections, std::slice::from_ref(&rejected)).await,
    ] {
        assert!(matches!(outcome[..], [Outcome::Hold { .. }]), "{outcome:?}");
    }
    assert!(dead.probe().await.is_err());
    assert!(rejections.probe().await.is_err());
}
