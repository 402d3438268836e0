use common::broker::Address;
use common::event::{EventId, Trail};
use common::filter::Filter;
use common::seal::Seal;
use common::store::{DeliveryState, Details, Standing};

use super::*;
use crate::testbed::{self, CRM, handle, signup, signup_of, status};

fn handler(store: &Arc<dyn Store>) -> StoreEvents {
    let destination = testbed::destination("https://crm.example.com/hook");
    StoreEvents::new(Arc::clone(store), vec![destination], testbed::seal())
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
    let outcomes = handle(&handler(&store), &batch).await;
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
        assert_eq!(found.status, Standing::Stored);
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
    handle(&handler, std::slice::from_ref(&received)).await;
    let redelivered = Received {
        redelivered: true,
        ..received
    };
    let outcomes = handle(&handler, &[redelivered]).await;
    let message = &next(&outcomes[0]).message;
    assert!(Trail::read(&message.headers).again);
}

/// The same event, which names this moment.
fn not_before(received: &Received, moment: time::OffsetDateTime) -> Received {
    let mut event: serde_json::Value = serde_json::from_slice(&received.message.body).unwrap();
    event["notbefore"] = common::event::to_rfc3339(moment).into();
    let mut received = received.clone();
    received.message.body = event.to_string().into();
    received
}

#[tokio::test]
async fn what_names_a_moment_waits_for_it_and_goes_on_with_its_release() {
    let store = testbed::store().await;
    let handler = handler(&store);
    let [ada, bob] = [EventId::born(), EventId::born()];
    let now = time::OffsetDateTime::now_utc();
    let waiting = not_before(&signup(ada, "ada@example.com"), now + time::Duration::HOUR);
    let passed = not_before(&signup(bob, "bob@example.com"), now - time::Duration::HOUR);
    let outcomes = handle(&handler, &[waiting.clone(), passed]).await;
    assert_eq!(outcomes[0], Outcome::Done);
    next(&outcomes[1]);
    // Given out again, it was not cut off before it went on: it does not go on yet.
    let redelivered = Received {
        redelivered: true,
        ..waiting.clone()
    };
    assert_eq!(handle(&handler, &[redelivered]).await, [Outcome::Done]);
    assert_eq!(status(&store, ada).await.status, Standing::Scheduled);

    let bodies = store.watching().stored_bodies(&[ada]).await.unwrap();
    let message = operate::survey::as_release(&bodies[0]);
    let release = Received {
        trail: Trail::read(&message.headers),
        message,
        ..waiting
    };
    let outcomes = handle(&handler, &[release.clone(), release.clone()]).await;
    let Publication { message, .. } = next(&outcomes[0]);
    assert_eq!(message.body, release.message.body);
    assert!(!Trail::read(&message.headers).release);
    assert_eq!(outcomes[1], Outcome::Done, "sent twice");
    assert_eq!(status(&store, ada).await.status, Standing::Stored);
    // It was cut off before it went on.
    let redelivered = Received {
        redelivered: true,
        ..release
    };
    next(&handle(&handler, &[redelivered]).await[0]);
}

/// A commit whose answer was lost: of old duplicates and of new events alike.
#[test]
fn what_is_not_known_to_be_new_goes_on_as_a_repetition() {
    let received = signup(EventId::born(), "ada@example.com");
    assert!(received.is_fresh());
    let event = rows(&received, &[], &testbed::seal()).unwrap();
    for (stored, again) in [(Stored::New, false), (Stored::NewOrBefore, true)] {
        let outcome = outcome(&received, &event, None, stored);
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

/// A handler whose only destination has this filter.
fn filtering(store: &Arc<dyn Store>, filter: &str) -> StoreEvents {
    let destination = Destination {
        filter: Some(Filter::parse(filter).unwrap()),
        ..testbed::destination("https://crm.example.com/hook")
    };
    StoreEvents::new(Arc::clone(store), vec![destination], testbed::seal())
}

/// The destinations that a message says its event is not due at.
fn filtered(outcome: &Outcome) -> Vec<String> {
    Trail::read(&next(outcome).message.headers).filtered
}

#[tokio::test]
async fn a_filter_decides_where_an_event_is_due() {
    let store = testbed::store().await;
    let (ada, bob) = (EventId::born(), EventId::born());
    let batch = [
        signup_of(ada, "ada@example.com", "Ada"),
        signup_of(bob, "bob@example.com", "Bob"),
    ];
    let handler = filtering(&store, "data.name == 'Ada'");
    let outcomes = handle(&handler, &batch).await;
    assert!(filtered(&outcomes[0]).is_empty());
    assert_eq!(filtered(&outcomes[1]), [CRM]);
    let (ada, bob) = (status(&store, ada).await, status(&store, bob).await);
    assert_eq!(
        (ada.deliveries.len(), ada.filtered.len(), ada.status),
        (1, 0, Standing::Stored)
    );
    assert_eq!(
        (bob.deliveries.len(), bob.filtered.len(), bob.status),
        (0, 1, Standing::Completed)
    );
    assert_eq!(
        (&*bob.filtered[0].destination, &bob.filtered[0].error),
        (CRM, &None)
    );

    let other = EventId::born();
    let handler = filtering(&store, "data.plan == 'pro'");
    handle(&handler, &[signup_of(other, "eve@example.com", "Eve")]).await;
    let other = status(&store, other).await;
    let why = Some("data.plan: no such member".to_owned());
    assert_eq!(other.filtered[0].error, why);
}

/// The configuration may have changed between two messages of one event.
#[tokio::test]
async fn the_row_counts_for_an_event_that_goes_on_again() {
    let store = testbed::store().await;
    let all = filtering(&store, "true");
    let none = filtering(&store, "false");
    let open = handler(&store);
    for (first, then, is_filtered, goes_on_as_filtered) in [
        (&none, &all, true, true),
        (&none, &open, true, true),
        // Where it is due, integrate goes by the delivery.
        (&all, &none, false, true),
        (&open, &none, false, true),
        (&all, &open, false, false),
    ] {
        let id = EventId::born();
        let received = signup(id, &format!("{id}@example.com"));
        handle(first, std::slice::from_ref(&received)).await;
        let is_due = status(&store, id).await.deliveries.len();
        assert_eq!(is_due, usize::from(!is_filtered));
        let redelivered = Received {
            redelivered: true,
            ..received
        };
        let outcomes = handle(then, &[redelivered]).await;
        assert_eq!(
            filtered(&outcomes[0]).len(),
            usize::from(goes_on_as_filtered)
        );
        let status = status(&store, id).await;
        assert_eq!(status.deliveries.len(), is_due, "{status:?}");
        assert_eq!(status.filtered.len(), usize::from(is_filtered));
    }
}

#[tokio::test]
async fn a_replay_is_judged_anew() {
    let store = testbed::store().await;
    let id = EventId::born();
    let mut received = signup(id, "ada@example.com");
    handle(&filtering(&store, "false"), std::slice::from_ref(&received)).await;
    received.trail.generation = 1;
    let outcomes = handle(&filtering(&store, "false"), std::slice::from_ref(&received)).await;
    assert_eq!(filtered(&outcomes[0]), [CRM]);
    assert_eq!(status(&store, id).await.status, Standing::Completed);
    let outcomes = handle(&filtering(&store, "true"), std::slice::from_ref(&received)).await;
    assert!(filtered(&outcomes[0]).is_empty());
    let status = status(&store, id).await;
    assert_eq!(
        (status.deliveries[0].generation, status.filtered.len()),
        (1, 0)
    );
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
    let outcomes = handle(&handler(&store), &batch).await;
    next(&outcomes[0]);
    let codes = outcomes[1..].iter().map(|outcome| match outcome {
        Outcome::Rejected(rejection) => rejection.code,
        other => panic!("expected a rejection, found {other:?}"),
    });
    let expected = [ReasonCode::IdempotencyConflict, ReasonCode::EmailTaken];
    assert_eq!(codes.collect::<Vec<_>>(), expected);
    assert_eq!(status(&store, first).await.status, Standing::Stored);
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
    let outcomes = handle(&handler(&store), &batch).await;
    for (index, code) in [(0, ReasonCode::Undecodable), (2, ReasonCode::Unstorable)] {
        match &outcomes[index] {
            Outcome::Dead(failure) => assert_eq!(failure.code, code),
            other => panic!("expected a dead letter, found {other:?}"),
        }
    }
    for (index, id) in [(1, neighbours[0]), (3, neighbours[1])] {
        next(&outcomes[index]);
        assert_eq!(status(&store, id).await.status, Standing::Stored);
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
        let outcomes = handle(&handler, &batch).await;
        assert_eq!(outcomes.len(), 2);
        for outcome in outcomes {
            assert!(matches!(outcome, Outcome::Hold { .. }), "{outcome:?}");
        }
        assert!(handler.probe().await.is_err());
    }
}

const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA";

/// A signup whose password hash is sealed with `seal`.
fn with_hash(id: EventId, seal: &Seal) -> Received {
    let mut received = signup(id, "ada@example.com");
    let sealed = seal.seal(id, HASH).unwrap();
    let headers = &mut received.message.headers;
    headers.set(header::SEALED_PASSWORD_HASH, sealed);
    received
}

fn kept(received: &Received) -> NewEvent {
    rows(received, &[], &testbed::seal()).unwrap()
}

fn hash_of(event: &NewEvent) -> Option<&str> {
    match &event.details {
        Details::Signup { password_hash, .. } => password_hash.as_deref(),
        other => panic!("expected a signup, found {other:?}"),
    }
}

#[tokio::test]
async fn a_password_hash_reaches_the_table_and_nothing_else() {
    let store = testbed::store().await;
    let id = EventId::born();
    let received = with_hash(id, &testbed::seal());
    let event = kept(&received);
    assert_eq!(hash_of(&event), Some(HASH));
    assert!(!event.body.contains("argon2id"), "{}", event.body);
    let outcomes = handle(&handler(&store), &[received]).await;
    let message = &next(&outcomes[0]).message;
    assert_eq!(message.headers.get(header::SEALED_PASSWORD_HASH), None);
    assert!(
        !format!("{outcomes:?}").contains("argon2id"),
        "{outcomes:?}"
    );
    let record = store.event(id).await.unwrap().unwrap();
    assert!(!format!("{record:?}").contains("argon2id"), "{record:?}");
}

#[tokio::test]
async fn a_hash_in_the_data_of_an_older_producer_is_stored_and_goes_no_further() {
    let store = testbed::store().await;
    let (first, second) = (EventId::born(), EventId::born());
    let old = |id| {
        let mut received = signup(id, "ada@example.com");
        let body = String::from_utf8(received.message.body.to_vec()).unwrap();
        let body = body.replace(
            r#""email""#,
            &format!(r#""password_hash":"{HASH}","email""#),
        );
        received.message.body = body.into();
        received
    };
    let event = kept(&old(first));
    assert_eq!(hash_of(&event), Some(HASH));
    assert_eq!(
        event.fingerprint,
        kept(&signup(first, "ada@example.com")).fingerprint
    );
    // The second one is rejected: its address is taken.
    let outcomes = handle(&handler(&store), &[old(first), old(second)]).await;
    let message = &next(&outcomes[0]).message;
    let event: serde_json::Value = serde_json::from_slice(&message.body).unwrap();
    assert_eq!(
        event["data"],
        serde_json::json!({"email": "ada@example.com", "name": "Ada"})
    );
    let said = format!("{outcomes:?} {:?}", store.event(first).await);
    assert!(
        said.contains("EmailTaken") && !said.contains("argon2id"),
        "{said}"
    );
}

#[tokio::test]
async fn a_hash_that_does_not_open_is_a_dead_letter_with_what_to_do() {
    let store = testbed::store().await;
    let other = with_hash(EventId::born(), &Seal::new(["a secret of somebody else"]));
    let mut moved = signup(EventId::born(), "bob@example.com");
    moved.message.headers = with_hash(EventId::born(), &testbed::seal()).message.headers;
    let outcomes = handle(&handler(&store), &[other.clone(), moved]).await;
    let codes = [ReasonCode::SealKeyMissing, ReasonCode::SealBroken];
    for (outcome, code) in outcomes.iter().zip(codes) {
        match outcome {
            Outcome::Dead(failure) => assert_eq!(failure.code, code, "{failure:?}"),
            other => panic!("expected a dead letter, found {other:?}"),
        }
    }
    // An operator can give up the hash and keep the signup.
    let mut mended = other;
    let body = String::from_utf8(mended.message.body.to_vec()).unwrap();
    let body = body.replace(r#""email""#, r#""password_hash":null,"email""#);
    mended.message.body = body.into();
    assert_eq!(hash_of(&kept(&mended)), None);
    next(&handle(&handler(&store), &[mended]).await[0]);
}
