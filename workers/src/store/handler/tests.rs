use common::broker::Address;
use common::event::{EventId, Trail};
use common::store::DeliveryState;

use super::*;
use crate::testbed::{self, CRM, signup, signup_of, status};

fn handler(store: &Arc<dyn Store>) -> StoreEvents {
    let destination = testbed::destination("https://crm.example.com/hook");
    StoreEvents::new(Arc::clone(store), vec![destination])
}

/// The only publication of an event that goes on.
fn next(outcome: &Outcome) -> &Publication {
    match outcome {
        Outcome::Next(publications) if publications.len() == 1 => &publications[0],
        other => panic!("expected one publication, found {other:?}"),
    }
}

#[tokio::test]
async fn a_batch_is_stored_with_what_is_due_and_goes_on() {
    let store = testbed::store().await;
    let (ada, bob) = (EventId::born(), EventId::born());
    let batch = [
        signup(ada, "ada@example.com"),
        signup(bob, "bob@example.com"),
        signup(ada, "ada@example.com"),
    ];
    let outcomes = handler(&store).handle(&batch).await;
    for (outcome, received) in outcomes.iter().zip(&batch[..2]) {
        let to = Address::Fact {
            fact: Fact::Stored,
            routing_key: "signup.requested".to_owned(),
        };
        let Publication { to: found, message } = next(outcome);
        assert_eq!(*found, to);
        assert_eq!(message.body, received.message.body);
        assert!(!Trail::read(&message.headers).again);
    }
    assert_eq!(outcomes[2], Outcome::Done, "the first one goes on for both");
    for id in [ada, bob] {
        let found = status(&store, id).await;
        assert_eq!(found.status, "stored");
        let [delivery] = &found.deliveries[..] else {
            panic!("expected one delivery, found {found:?}")
        };
        assert_eq!(delivery.destination, CRM);
        assert_eq!(delivery.status, DeliveryState::Due);
    }
}

#[tokio::test]
async fn what_may_have_been_cut_off_before_it_went_on_goes_on_again() {
    let store = testbed::store().await;
    let handler = handler(&store);
    let received = signup(EventId::born(), "ada@example.com");
    handler.handle(std::slice::from_ref(&received)).await;
    let redelivered = Received {
        redelivered: true,
        ..received
    };
    let outcomes = handler.handle(&[redelivered]).await;
    let message = &next(&outcomes[0]).message;
    assert!(Trail::read(&message.headers).again);
}

/// A commit whose answer was lost: of old duplicates and of new events alike.
#[test]
fn what_is_not_known_to_be_new_goes_on_as_a_repetition() {
    let received = signup(EventId::born(), "ada@example.com");
    assert!(received.is_fresh());
    let event = rows(&received, &[]).unwrap();
    for (stored, again) in [(Stored::New, false), (Stored::NewOrBefore, true)] {
        let outcome = outcome(&received, &event, Ok(stored));
        let trail = Trail::read(&next(&outcome).message.headers);
        assert_eq!(trail.again, again, "{stored:?}");
        assert_eq!(
            trail,
            Trail {
                again,
                ..received.onward()
            }
        );
    }
}

#[tokio::test]
async fn another_content_and_a_taken_address_are_rejected_and_the_first_ones_stand() {
    let store = testbed::store().await;
    let first = EventId::born();
    let second = EventId::born();
    let batch = [
        signup(first, "ada@example.com"),
        signup(first, "eve@example.com"),
        signup(second, "ADA@example.com"),
    ];
    let outcomes = handler(&store).handle(&batch).await;
    next(&outcomes[0]);
    let codes = outcomes[1..].iter().map(|outcome| match outcome {
        Outcome::Rejected(rejection) => rejection.code,
        other => panic!("expected a rejection, found {other:?}"),
    });
    let expected = [ReasonCode::IdempotencyConflict, ReasonCode::EmailTaken];
    assert_eq!(codes.collect::<Vec<_>>(), expected);
    assert_eq!(status(&store, first).await.status, "stored");
    assert_eq!(store.status(second).await, Ok(None));
}

#[tokio::test]
async fn what_cannot_be_stored_harms_no_neighbour() {
    let store = testbed::store().await;
    let neighbours = [EventId::born(), EventId::born()];
    let mut no_event = signup(EventId::born(), "no@example.com");
    no_event.message.content_type = None;
    // A column of text holds no NUL.
    let unstorable = signup_of(EventId::born(), "nul@example.com", "A\0da");
    let batch = [
        no_event,
        signup(neighbours[0], "ada@example.com"),
        unstorable,
        signup(neighbours[1], "bob@example.com"),
    ];
    let outcomes = handler(&store).handle(&batch).await;
    for (index, code) in [(0, ReasonCode::Undecodable), (2, ReasonCode::Unstorable)] {
        match &outcomes[index] {
            Outcome::Dead(failure) => assert_eq!(failure.code, code),
            other => panic!("expected a dead letter, found {other:?}"),
        }
    }
    for (index, id) in [(1, neighbours[0]), (3, neighbours[1])] {
        next(&outcomes[index]);
        assert_eq!(status(&store, id).await.status, "stored");
    }
}

#[tokio::test]
async fn a_database_that_is_down_or_without_its_tables_is_waited_for() {
    for store in [testbed::down(), testbed::not_migrated()] {
        let handler = handler(&store);
        let batch = [
            signup(EventId::born(), "ada@example.com"),
            signup(EventId::born(), "bob@example.com"),
        ];
        let outcomes = handler.handle(&batch).await;
        assert_eq!(outcomes.len(), 2);
        for outcome in outcomes {
            assert!(matches!(outcome, Outcome::Hold { .. }), "{outcome:?}");
        }
        assert!(handler.probe("postgres").await.is_err());
    }
}
