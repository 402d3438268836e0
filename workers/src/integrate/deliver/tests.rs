use common::event::EventId;
use common::reason::ReasonCode;
use common::store::{DeliveryRecord, DeliveryState, Standing};
use testkit::receiver::Answer;

use super::*;
use crate::store::StoreEvents;
use crate::testbed::{self, CRM, handle, signup, status};

/// A worker of this destination.
fn worker(destination: Destination, store: &Arc<dyn Store>) -> Deliver {
    // Once a process; a second time says no.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let copies = Copies::new(Arc::clone(store), testbed::card(&[CRM]));
    let copies = Arc::new(copies);
    let gates = Gates::new(Arc::clone(store), Arc::clone(&copies), [&destination]);
    let (gates, means) = (Arc::new(gates), Means::loopback());
    let order = destination.order.as_ref();
    let order = order.map(|it| Order::start(&destination, it, "crm.queue".to_owned(), store));
    Deliver::new(
        destination,
        means,
        Arc::clone(store),
        (gates, copies),
        order,
    )
    .unwrap()
}

/// A receiver that gives these answers, and 200 once there are no more.
struct Receiver {
    server: testkit::receiver::Receiver,
    url: String,
}

impl Receiver {
    async fn start(answers: &'static [u16]) -> Self {
        let server = testkit::receiver::Receiver::start().await.unwrap();
        server.plan(move |call| Answer::status(answers.get(call.total).copied().unwrap_or(200)));
        let url = server.url();
        Self { server, url }
    }

    /// A worker that delivers here, as another process has it.
    fn worker(&self, store: &Arc<dyn Store>) -> Deliver {
        worker(testbed::destination(&self.url), store)
    }

    /// The `webhook-id` of every call.
    fn calls(&self) -> Vec<String> {
        let calls = self.server.requests();
        calls.iter().map(|it| it.webhook_id().to_owned()).collect()
    }

    /// An event that is stored and due here.
    async fn due(&self, store: &Arc<dyn Store>) -> (EventId, Received) {
        let id = EventId::born();
        let received = signup(id, "ada@example.com");
        let destination = testbed::destination(&self.url);
        let storing = StoreEvents::new(Arc::clone(store), vec![destination], testbed::seal());
        handle(&storing, std::slice::from_ref(&received)).await;
        (id, received)
    }
}

#[tokio::test]
async fn a_delivery_is_written_down_and_a_copy_of_it_is_not_sent() {
    let store = testbed::store().await;
    let receiver = Receiver::start(&[]).await;
    let (id, received) = receiver.due(&store).await;
    let worker = receiver.worker(&store);
    let outcomes = handle(&worker, std::slice::from_ref(&received)).await;
    assert_eq!(outcomes, [Outcome::Done]);
    assert_eq!(status(&store, id).await.status, Standing::Completed);

    let copy = Received {
        redelivered: true,
        ..received
    };
    let outcomes = handle(&receiver.worker(&store), &[copy]).await;
    assert_eq!(outcomes, [Outcome::Done]);
    assert_eq!(receiver.calls(), [id.to_string()]);
    assert_eq!(status(&store, id).await.deliveries[0].attempts, 1);
}

/// As the store stage passes it on, whose filter for the destination has passed over it.
fn filtered(mut received: Received) -> Received {
    received.trail.filtered = vec!["audit".to_owned(), CRM.to_owned()];
    received
}

#[tokio::test]
async fn an_event_that_a_filter_passed_over_is_settled_without_a_delivery() {
    let store = testbed::store().await;
    let receiver = Receiver::start(&[]).await;
    let (fresh, copy) = (EventId::born(), EventId::born());
    let copied = Received {
        redelivered: true,
        ..filtered(signup(copy, "bob@example.com"))
    };
    let batch = [filtered(signup(fresh, "ada@example.com")), copied];
    let outcomes = handle(&receiver.worker(&store), &batch).await;
    assert_eq!(outcomes, [Outcome::Done, Outcome::Done]);
    assert!(receiver.calls().is_empty());
    for id in [fresh, copy] {
        assert_eq!(store.status(id).await, Ok(None), "no row was written");
    }
    // A fresh one needs no database.
    let worker = receiver.worker(&testbed::down());
    let outcomes = handle(&worker, &batch[..1]).await;
    assert_eq!(outcomes, [Outcome::Done]);
    // Nor does it concern another destination.
    let (id, mut received) = receiver.due(&store).await;
    received.trail.filtered = vec!["audit".to_owned()];
    handle(&receiver.worker(&store), &[received]).await;
    assert_eq!(receiver.calls(), [id.to_string()]);
}

#[tokio::test]
async fn a_delivery_that_is_due_is_made_whatever_a_filter_said() {
    let store = testbed::store().await;
    let receiver = Receiver::start(&[]).await;
    let (id, received) = receiver.due(&store).await;
    let copy = Received {
        redelivered: true,
        ..filtered(received)
    };
    let outcomes = handle(&receiver.worker(&store), &[copy]).await;
    assert_eq!(outcomes, [Outcome::Done]);
    assert_eq!(receiver.calls(), [id.to_string()]);
    assert_eq!(status(&store, id).await.status, Standing::Completed);
}

#[tokio::test]
async fn a_copy_that_another_process_delivers_while_it_waits_is_not_sent() {
    let store = testbed::store().await;
    let receiver = Receiver::start(&[]).await;
    let (id, received) = receiver.due(&store).await;
    let worker = receiver.worker(&store);
    // All places are taken.
    let mut taken = Vec::new();
    for _ in 0..worker.destination.concurrency {
        taken.push(worker.places.take(NO_PLACE).await.unwrap());
    }
    let copy = Received {
        redelivered: true,
        ..received
    };
    let batch = [copy];
    let waiting = handle(&worker, &batch);
    tokio::pin!(waiting);
    // Long enough to find the delivery due, and far shorter than the knowledge about a first copy
    // lasts.
    let looked_up = tokio::time::timeout(Duration::from_millis(200), &mut waiting);
    assert!(looked_up.await.is_err());
    let made = Attempt {
        key: DeliveryKey {
            event: id,
            destination: CRM.to_owned(),
            generation: 0,
        },
        attempt: 1,
        started_at: now(),
        duration_ms: 1,
        status_code: Some(200),
        error: None,
        response_excerpt: None,
        delivered: true,
    };
    store.record_attempts(&[made]).await.unwrap();
    drop(taken);
    assert_eq!(waiting.await, [Outcome::Done]);
    assert!(receiver.calls().is_empty(), "{:?}", receiver.calls());
}

#[tokio::test]
async fn a_failed_attempt_is_written_down_and_the_next_one_has_the_same_id() {
    let store = testbed::store().await;
    let receiver = Receiver::start(&[500]).await;
    let (id, mut received) = receiver.due(&store).await;
    let worker = receiver.worker(&store);
    let outcomes = handle(&worker, std::slice::from_ref(&received)).await;
    match &outcomes[..] {
        [Outcome::Retry { failure, .. }] => assert_eq!(failure.code, ReasonCode::ReceiverFailing),
        other => panic!("expected a retry, found {other:?}"),
    }
    let found = status(&store, id).await;
    assert_eq!(found.status, Standing::Delivering);
    let error = found.deliveries[0].error.as_deref().unwrap_or_default();
    assert!(error.contains("500"), "{error}");

    received.trail.attempt = 1;
    let outcomes = handle(&worker, &[received]).await;
    assert_eq!(outcomes, [Outcome::Done]);
    let found = status(&store, id).await;
    assert_eq!(found.status, Standing::Completed);
    assert_eq!(found.deliveries[0].attempts, 2);
    assert_eq!(receiver.calls(), [id.to_string(), id.to_string()]);
}

#[tokio::test]
async fn what_the_receiver_will_never_take_is_dead_at_once() {
    let store = testbed::store().await;
    let receiver = Receiver::start(&[422]).await;
    let (id, received) = receiver.due(&store).await;
    let outcomes = handle(&receiver.worker(&store), &[received]).await;
    match &outcomes[..] {
        [Outcome::Dead(failure)] => assert_eq!(failure.code, ReasonCode::ReceiverRefused),
        other => panic!("expected a dead letter, found {other:?}"),
    }
    // It is the archive that marks it as dead.
    let key = DeliveryKey {
        event: id,
        destination: CRM.to_owned(),
        generation: 0,
    };
    assert_eq!(record(&store, key).await.unwrap().state, DeliveryState::Due);
}

#[tokio::test]
async fn while_the_database_cannot_say_what_is_due_nothing_is_sent() {
    let receiver = Receiver::start(&[]).await;
    let worker = receiver.worker(&testbed::down());
    let fresh = signup(EventId::born(), "ada@example.com");
    let copy = Received {
        redelivered: true,
        ..fresh.clone()
    };
    for message in [fresh, copy] {
        let outcomes = handle(&worker, &[message]).await;
        assert!(
            matches!(outcomes[..], [Outcome::Hold { .. }]),
            "{outcomes:?}"
        );
    }
    assert_eq!(receiver.calls(), [""; 0]);
    assert!(worker.probe().await.is_err());
}

async fn record(store: &Arc<dyn Store>, key: DeliveryKey) -> Option<DeliveryRecord> {
    store.deliveries(&[key]).await.unwrap().remove(0)
}

#[tokio::test]
async fn a_second_copy_of_an_attempt_is_dropped_and_one_that_came_back_goes_on() {
    let store = testbed::store().await;
    let receiver = Receiver::start(&[503]).await;
    let (id, received) = receiver.due(&store).await;
    let worker = receiver.worker(&store);
    let first = handle(&worker, std::slice::from_ref(&received)).await;
    assert!(matches!(first[..], [Outcome::Retry { .. }]), "{first:?}");

    // The process died before the next attempt was published, or just after: nobody can tell.
    let back = Received {
        redelivered: true,
        ..received.clone()
    };
    for worker in [&worker, &receiver.worker(&store)] {
        let outcomes = handle(worker, std::slice::from_ref(&back)).await;
        assert!(
            matches!(outcomes[..], [Outcome::Retry { .. }]),
            "{outcomes:?}"
        );
    }
    assert_eq!(receiver.calls().len(), 1, "it went on without a request");

    // So there are two messages of the second attempt. The first makes it.
    let mut second = received;
    second.trail.attempt = 1;
    for worker in [&worker, &worker, &receiver.worker(&store)] {
        let outcomes = handle(worker, std::slice::from_ref(&second)).await;
        assert_eq!(outcomes, [Outcome::Done]);
    }
    assert_eq!(receiver.calls().len(), 2);
    assert_eq!(status(&store, id).await.deliveries[0].attempts, 2);
}

#[tokio::test]
async fn the_receiver_knows_a_replay_by_the_same_id_unless_it_was_to_get_another() {
    let store = testbed::store().await;
    let receiver = Receiver::start(&[]).await;
    let (id, mut received) = receiver.due(&store).await;
    let worker = receiver.worker(&store);
    for (generation, new_id) in [(0, 0), (1, 0), (2, 2), (3, 2)] {
        received.trail.generation = generation;
        received.trail.new_id = new_id;
        let outcomes = handle(&worker, std::slice::from_ref(&received)).await;
        assert_eq!(outcomes, [Outcome::Done]);
    }
    let (old, new) = (id.to_string(), format!("{id}-r2"));
    assert_eq!(receiver.calls(), [old.as_str(), &old, &new, &new]);
}

#[tokio::test]
async fn what_the_destination_no_longer_takes_is_not_sent_and_no_longer_due() {
    let store = testbed::store().await;
    let receiver = Receiver::start(&[]).await;
    let (id, received) = receiver.due(&store).await;
    let mut narrowed = testbed::destination(&receiver.url);
    narrowed.types = vec!["processing.*".to_owned()];
    let worker = worker(narrowed, &store);
    let outcomes = handle(&worker, std::slice::from_ref(&received)).await;
    assert_eq!(outcomes, [Outcome::Done]);
    assert_eq!(receiver.calls(), [""; 0]);
    let key = DeliveryKey {
        event: id,
        destination: CRM.to_owned(),
        generation: 0,
    };
    assert_eq!(
        record(&store, key).await.unwrap().state,
        DeliveryState::Discarded
    );
    assert_eq!(status(&store, id).await.status, Standing::Completed);

    // An operator who replays it there means it.
    let mut replayed = received;
    replayed.trail.generation = 1;
    assert_eq!(handle(&worker, &[replayed]).await, [Outcome::Done]);
    assert_eq!(receiver.calls().len(), 1);
}

#[tokio::test]
async fn a_turn_that_is_far_away_is_waited_for_on_the_broker() {
    let store = testbed::store().await;
    let receiver = Receiver::start(&[]).await;
    let mut paced = testbed::destination(&receiver.url);
    paced.rate = Some("1/10min".parse().unwrap());
    let worker = worker(paced, &store);
    let mut outcomes = Vec::new();
    for _ in 0..3 {
        let (_, received) = receiver.due(&store).await;
        outcomes.extend(handle(&worker, &[received]).await);
    }
    let far = Duration::from_secs(590)..=Duration::from_secs(600);
    match &outcomes[..] {
        [Outcome::Done, Outcome::Snooze(one), Outcome::Snooze(other)] => {
            assert!(far.contains(one) && far.contains(other), "{outcomes:?}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(receiver.calls().len(), 1);
}

/// The event as its subject's number `number`, received as many seconds after the others.
fn numbered(number: u64) -> (EventId, Received) {
    let id = EventId::born();
    let mut received = signup(id, &format!("ada{number}@example.com"));
    let body = String::from_utf8(received.message.body.to_vec()).unwrap();
    received.message.body = body.replacen('{', r#"{"subject":"ada","#, 1).into();
    let at = time::OffsetDateTime::UNIX_EPOCH + Duration::from_secs(number);
    received.trail.received_at = Some(at);
    (id, received)
}

#[tokio::test]
async fn of_one_key_only_the_first_is_sent_and_then_the_next() {
    let store = testbed::store().await;
    let receiver = Receiver::start(&[503]).await;
    let destination = Destination {
        order: Some(common::config::Order {
            on_dead: common::config::OnDead::Hold,
            within: Duration::ZERO,
        }),
        ..testbed::destination(&receiver.url)
    };
    let ((one, first), (two, second)) = (numbered(1), numbered(2));
    let storing = StoreEvents::new(
        Arc::clone(&store),
        vec![destination.clone()],
        testbed::seal(),
    );
    handle(&storing, &[second.clone(), first.clone()]).await;
    let worker = worker(destination, &store);
    // Its message comes first, and goes: its row is due.
    assert_eq!(
        handle(&worker, std::slice::from_ref(&second)).await,
        [Outcome::Done]
    );
    assert_eq!(receiver.calls(), [""; 0]);
    let failed = handle(&worker, std::slice::from_ref(&first)).await;
    assert!(matches!(failed[..], [Outcome::Retry { .. }]), "{failed:?}");
    assert_eq!(
        handle(&worker, &[second]).await,
        [Outcome::Done],
        "it waits through retries"
    );
    let mut again = first;
    again.trail.attempt = 1;
    let made = handle(&worker, std::slice::from_ref(&again)).await;
    let [Outcome::Next(next)] = &made[..] else {
        panic!("{made:?}")
    };
    // One of several messages: it would send another next one each time.
    let extra = handle(&worker, std::slice::from_ref(&again)).await;
    assert_eq!(extra, [Outcome::Done]);
    // After a crash, and after a failure behind the record, it sends the next one again.
    let mut failed = again.clone();
    failed.trail.attempt = 2;
    let crashed = Received {
        redelivered: true,
        ..again
    };
    for message in [crashed, failed] {
        assert_eq!(handle(&worker, &[message]).await, made);
    }
    let trail = Trail::read(&next[0].message.headers);
    assert!(trail.turn && !trail.again);
    let next = Received {
        trail,
        message: next[0].message.clone(),
        ..testbed::signup(two, "any@example.com")
    };
    assert_eq!(handle(&worker, &[next]).await, [Outcome::Done]);
    assert_eq!(receiver.calls(), [one, one, two].map(|id| id.to_string()));
    assert_eq!(status(&store, two).await.status, Standing::Completed);
}
