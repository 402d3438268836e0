//! The watch on the embedded engines, look by look.

use std::sync::Arc;
use std::time::Duration;

use common::broker::Broker;
use common::broker::embedded::EmbeddedBroker;
use common::broker::{Address, Publication};
use common::config::{Config, Destination};
use common::event::{EventId, Trail, header};
use common::message::{CLOUDEVENTS_JSON, Message};
use common::runtime::carry;
use common::sqlite::Location;
use common::store::{
    DeadFilter, DeadLetter, DeliveryKey, DestinationState, Moment, Operation, OperationKind,
    PausedDestination,
};
use common::topology::Fact;
use serde_json::json;

use super::*;
use crate::store::StoreEvents;
use crate::testbed::{self, CRM, handle, signup};

mod altered;
mod order;

/// Short, for the sake of the test's time.
const LAG: Duration = Duration::from_millis(40);

async fn post() -> Post {
    post_with_lag(LAG).await
}

async fn post_with_lag(lag: Duration) -> Post {
    let mut crm = testbed::destination("https://crm.example");
    crm.timeout = Duration::from_millis(1);
    post_at(crm, lag).await
}

async fn post_at(destination: Destination, lag: Duration) -> Post {
    let mut config = Config::default();
    config.watch.lag = lag;
    config.destinations.push(destination);
    let names = Names::new(config.namespace.clone());
    let topology = Topology::new(&config.plan());
    let broker = EmbeddedBroker::at(Location::memory(), names.clone(), "test");
    broker.apply(&topology).await.unwrap();
    Post {
        judge: Judge::new(&config).unwrap(),
        broker: Arc::new(broker),
        store: testbed::store().await,
        topology,
        names,
        config: Arc::new(config),
        stop: CancellationToken::new(),
        holder: Uuid::now_v7(),
    }
}

async fn receive(post: &Post, name: &str) {
    let event = json!({
        "specversion": "1.0", "id": name, "source": "/test", "type": "signup.requested",
        "time": "2026-01-02T03:04:05Z", "data": {"email": format!("{name}@example.com"), "name": name},
    });
    let message = Message {
        body: event.to_string().into(),
        content_type: Some(CLOUDEVENTS_JSON.to_owned()),
        ..Message::default()
    };
    let to = Address::Fact {
        fact: Fact::Received,
        routing_key: "signup.requested".to_owned(),
    };
    let published = post.broker.publish(Publication { to, message }).await;
    published.unwrap();
}

async fn waiting(post: &Post, queue: &str) -> Vec<Message> {
    let mut messages = Vec::new();
    let mut note = |it: common::broker::Waiting| messages.push(it.message);
    post.broker.look(queue, 100, &mut note).await.unwrap();
    messages
}

/// One look at the queues and the history.
async fn follow(post: &Post, queues: &mut Queues, follower: &mut Follower) -> Vec<WatchFinding> {
    tokio::time::sleep(LAG).await;
    queues.look(post).await.unwrap();
    follower.look(post, queues).await.unwrap()
}

#[tokio::test]
async fn what_waits_is_left_alone_and_what_is_gone_is_sent_to_validation_once() {
    let post = post().await;
    let validate = post.names.validate();
    let (mut queues, mut follower) = (Queues::default(), Follower::new(None));
    receive(&post, "ada").await;
    for _ in 0..5 {
        assert_eq!(follow(&post, &mut queues, &mut follower).await, []);
        assert_eq!(waiting(&post, &validate).await.len(), 1);
    }
    assert_eq!(
        follower.position().map(|it| it > 0),
        Some(true),
        "before it"
    );

    // Somebody takes it, to where nobody looks for it.
    let elsewhere = post.names.integrate(CRM);
    let gone = carry(&*post.broker, &validate, &elsewhere, 9, |_| true).await;
    assert_eq!(gone.unwrap().moved, 1);
    for _ in 0..6 {
        follow(&post, &mut queues, &mut follower).await;
    }
    let again = waiting(&post, &validate).await;
    assert_eq!(again.len(), 1, "once");
    assert!(Trail::read(&again[0].headers).again);
    let key = again[0].headers.text(header::ROUTING_KEY);
    assert_eq!(key, Some("signup.requested"));
    let (events, deliveries) = post
        .store
        .watching()
        .repairs_since(OffsetDateTime::UNIX_EPOCH)
        .await
        .unwrap();
    assert_eq!((events, deliveries), (1, 0));

    // The event is gone again: that is reported, and it is not sent in a loop.
    let gone = carry(&*post.broker, &validate, &elsewhere, 9, |_| true).await;
    assert_eq!(gone.unwrap().moved, 1);
    let mut findings = Vec::new();
    for _ in 0..4 {
        findings = follow(&post, &mut queues, &mut follower).await;
    }
    assert_eq!(findings[0].finding, finding::LOST_EVENT);
    assert!(waiting(&post, &validate).await.is_empty());
}

#[tokio::test]
async fn what_is_overtaken_is_sent_again_although_queues_are_full() {
    let post = post().await;
    let validate = post.names.validate();
    let (mut queues, mut follower) = (Queues::default(), Follower::new(None));
    receive(&post, "ada").await;
    let elsewhere = post.names.integrate(CRM);
    carry(&*post.broker, &validate, &elsewhere, 9, |_| true)
        .await
        .unwrap();
    // Others come all the time, and go on to the tables.
    let worker = StoreEvents::new(Arc::clone(&post.store), Vec::new(), testbed::seal());
    for number in 0..8 {
        let name = format!("other{number}");
        receive(&post, &name).await;
        let publisher = common::event::Publisher::amqp(Some("longshore"));
        let id = EventId::derived(&publisher, "/test", &name);
        let event = signup(id, &format!("{name}@example.com"));
        handle(&worker, &[event]).await;
        follow(&post, &mut queues, &mut follower).await;
    }
    let sent = waiting(&post, &validate).await;
    let again = sent.iter().filter(|it| Trail::read(&it.headers).again);
    assert_eq!(again.count(), 1, "the one that is in no table, once");
}

#[tokio::test]
async fn a_delivery_in_no_queue_is_sent_once_and_one_in_a_delay_is_not() {
    let post = post().await;
    let queue = post.names.integrate(CRM);
    let worker = StoreEvents::new(
        Arc::clone(&post.store),
        post.config.destinations.clone(),
        testbed::seal(),
    );
    let [gone, later] = [EventId::born(), EventId::born()];
    for (id, email) in [(gone, "ada@example.com"), (later, "bob@example.com")] {
        handle(&worker, &[signup(id, email)]).await;
    }
    let message = Message {
        message_id: Some(later.to_string()),
        ..Message::default()
    };
    let to = Address::Later {
        queue: queue.clone(),
        delay: Duration::from_secs(600),
    };
    post.broker
        .publish(Publication { to, message })
        .await
        .unwrap();
    let (mut queues, mut due) = (Queues::default(), DueWatch::default());
    for _ in 0..6 {
        tokio::time::sleep(LAG).await;
        queues.look(&post).await.unwrap();
        due.look(&post, &queues).await.unwrap();
    }
    let sent = waiting(&post, &queue).await;
    let sent: Vec<&Message> = sent.iter().filter(|it| !it.body.is_empty()).collect();
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert_eq!(sent[0].message_id, Some(gone.to_string()));
    assert!(Trail::read(&sent[0].headers).again);
    let key = DeliveryKey {
        event: gone,
        destination: CRM.to_owned(),
        generation: 0,
    };
    let bodies = post
        .store
        .watching()
        .stored_bodies(&[key.event])
        .await
        .unwrap();
    assert_eq!(sent[0].body, bodies[0].body.as_bytes());
}

#[tokio::test]
async fn a_delivery_that_was_replayed_under_a_new_id_is_sent_again_under_it() {
    let post = post().await;
    let queue = post.names.integrate(CRM);
    let worker = StoreEvents::new(
        Arc::clone(&post.store),
        post.config.destinations.clone(),
        testbed::seal(),
    );
    let event = EventId::born();
    handle(&worker, &[signup(event, "ada@example.com")]).await;
    let letter = DeadLetter {
        entry_key: None,
        event: Some(event),
        stage: "integrate".to_owned(),
        destination: Some(CRM.to_owned()),
        ..testbed::foreign_letter(&queue, Uuid::nil())
    };
    post.store
        .keep_dead(std::slice::from_ref(&letter))
        .await
        .unwrap();
    let replay = Operation {
        id: Uuid::now_v7(),
        kind: OperationKind::Replay,
        filter: DeadFilter::default(),
        to_queue: None,
        act: crate::testbed::act("ada"),
        rate: None,
        stop_when: None,
        slice: None,
        new_ids: true,
        resumes: None,
    };
    post.store
        .operations()
        .begin_operation(&replay)
        .await
        .unwrap();
    let claimed = post
        .store
        .operations()
        .claim_dead(replay.id, 10)
        .await
        .unwrap();
    assert_eq!(claimed.len(), 1);
    // It says that it was sent, and the message is nowhere.
    post.store
        .operations()
        .mark_replayed(replay.id, &[letter.id])
        .await
        .unwrap();
    let (mut queues, mut due) = (Queues::default(), DueWatch::default());
    for _ in 0..6 {
        tokio::time::sleep(LAG).await;
        queues.look(&post).await.unwrap();
        due.look(&post, &queues).await.unwrap();
    }
    let sent = waiting(&post, &queue).await;
    assert_eq!(sent.len(), 1, "{sent:?}");
    let trail = Trail::read(&sent[0].headers);
    assert_eq!((trail.generation, trail.new_id), (1, 1));
}

#[tokio::test]
async fn a_queue_that_nobody_consumes_is_told_also_while_nothing_waits_in_it() {
    let post = post().await;
    let store = post.names.store();
    let worker = post.broker.subscribe(&store, 1).await.unwrap();
    let mut queues = Queues::default();
    let unconsumed = async |queues: &mut Queues| {
        for _ in 0..2 {
            queues.look(&post).await.unwrap();
            tokio::time::sleep(LAG).await;
        }
        let found = queues.findings(&post, &[]).into_iter();
        let about_it = found.filter(|it| it.subject == store);
        about_it
            .map(|it| (it.finding, it.number))
            .collect::<Vec<_>>()
    };
    assert_eq!(unconsumed(&mut queues).await, []);
    drop(worker);
    let told = (finding::UNCONSUMED_QUEUE.to_owned(), 1);
    for _ in 0..100 {
        if unconsumed(&mut queues).await == [told.clone()] {
            return;
        }
    }
    panic!("it is not told");
}

#[tokio::test]
async fn the_queue_of_a_paused_destination_is_not_told_as_unconsumed() {
    let post = post().await;
    let mut queues = Queues::default();
    for _ in 0..2 {
        queues.look(&post).await.unwrap();
        tokio::time::sleep(LAG).await;
    }
    let queue = post.names.integrate(testbed::CRM);
    let told = |states: &[DestinationState]| {
        let found = queues.findings(&post, states);
        found.iter().any(|it| it.subject == queue)
    };
    let pause = PausedDestination {
        name: testbed::CRM.to_owned(),
        paused_at: Moment(common::event::now()),
        paused_by: "cli:ada".to_owned(),
        paused_why: "their deploy".to_owned(),
    };
    let state = DestinationState {
        name: testbed::CRM.to_owned(),
        pause: Some(pause),
        breaker: None,
        closed_for: None,
    };
    assert_eq!((told(&[]), told(&[state])), (true, false));
}

/// Foreign messages that a stream keeps less of: their letters have other ids than their entries.
#[tokio::test]
async fn what_is_parked_comes_back_when_the_archive_is_there_and_waits_when_it_comes_again() {
    // The wait that the end of the test must not outlast.
    let post = post_with_lag(Duration::from_secs(60)).await;
    let (parked, dead) = (post.names.parked(), post.names.dead());
    let to = Address::Queue(parked.clone());
    let message = Message {
        body: "letter".into(),
        ..Message::default()
    };
    post.broker
        .publish(Publication { to, message })
        .await
        .unwrap();
    let (mut queues, mut watch) = (Queues::default(), Parked::default());
    queues.look(&post).await.unwrap();
    watch.bring_back(&post, &queues).await.unwrap();
    assert_eq!(
        waiting(&post, &parked).await.len(),
        1,
        "nobody takes dead letters"
    );

    let archive = post.broker.subscribe(&dead, 1).await.unwrap();
    queues.look(&post).await.unwrap();
    watch.bring_back(&post, &queues).await.unwrap();
    assert!(waiting(&post, &parked).await.is_empty());
    let letters = waiting(&post, &dead).await;
    assert_eq!(letters[0].headers.int(header::PARKED), Some(1));

    // It is parked again: the next time takes longer.
    let back = Publication {
        to: Address::Queue(parked.clone()),
        message: letters[0].clone(),
    };
    post.broker.publish(back).await.unwrap();
    queues.look(&post).await.unwrap();
    watch.bring_back(&post, &queues).await.unwrap();
    post.broker
        .publish(Publication {
            to: Address::Queue(parked.clone()),
            message: letters[0].clone(),
        })
        .await
        .unwrap();
    queues.look(&post).await.unwrap();
    watch.bring_back(&post, &queues).await.unwrap();
    assert_eq!(waiting(&post, &parked).await.len(), 1, "not at once");
    drop(archive);
}
