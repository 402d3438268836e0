//! Messages that the history spells otherwise than their queue.

use common::event::entry_key;
use common::message::HeaderValue;
use common::runtime::{Claim, Received};
use operate::history::{Reader, Verdict, Window};

use super::*;

#[tokio::test]
async fn a_letter_stands_for_as_many_entries_of_another_spelling_as_it_has_copies() {
    let post = post().await;
    let (validate, elsewhere) = (post.names.validate(), post.names.integrate(CRM));
    let receive = async |content_type: &str| {
        let message = Message {
            body: "no event".into(),
            content_type: Some(content_type.to_owned()),
            ..Message::default()
        };
        let to = Address::Fact {
            fact: Fact::Received,
            routing_key: "any".to_owned(),
        };
        let published = post.broker.publish(Publication { to, message }).await;
        published.unwrap();
    };
    receive("text/one").await;
    receive("text/two").await;
    let waits = waiting(&post, &validate).await.remove(0);
    let key = entry_key(&waits, &Trail::default(), "any");
    // Both are gone. One of them has died, under another id than its entry has.
    let gone = carry(&*post.broker, &validate, &elsewhere, 9, |_| true).await;
    assert_eq!(gone.unwrap().moved, 2);
    let letter = testbed::foreign_letter(&validate, key);
    post.store
        .keep_dead(std::slice::from_ref(&letter))
        .await
        .unwrap();
    let (mut queues, mut follower) = (Queues::default(), Follower::new(None));
    for _ in 0..6 {
        follow(&post, &mut queues, &mut follower).await;
    }
    let again = waiting(&post, &validate).await;
    assert_eq!(again.len(), 1, "the other one, once: {again:?}");
    // It has died as well.
    let open = follower.position();
    post.store.keep_dead(&[letter]).await.unwrap();
    follow(&post, &mut queues, &mut follower).await;
    assert!(follower.position() > open, "nothing is open");
}

/// Validation and the store stage take the last entry of the history, of which their queues had more: a list.
async fn store_altered(post: &Post) {
    let logins = post.judge.logins();
    let reader = Reader::open(&*post.broker, logins, Window::default(), None).await;
    let (mut reader, mut last) = (reader.unwrap(), None);
    while let Some(entry) = reader.next().await.unwrap() {
        last = Some(entry);
    }
    let mut entry = last.unwrap();
    let list = HeaderValue::List(vec![HeaderValue::from("x")]);
    entry.message.headers.set("tags", list);
    let entry = post.judge.judge(entry);
    let Verdict::Accepted(message) = entry.verdict else {
        panic!("expected an event, found {entry:?}")
    };
    let received = Received {
        trail: Trail::read(&message.headers),
        routing_key: "signup.requested".to_owned(),
        redelivered: false,
        claim: Claim::default(),
        message: *message,
    };
    let seal = common::seal::Seal::of(&post.config).unwrap();
    let worker = StoreEvents::new(Arc::clone(&post.store), Vec::new(), seal);
    handle(&worker, &[received]).await;
}

#[tokio::test]
async fn an_event_that_the_history_has_under_another_id_is_not_sent_again() {
    // Long enough that a busy machine stores the event before it counts as lost.
    let post = post_with_lag(Duration::from_secs(2)).await;
    let (validate, elsewhere) = (post.names.validate(), post.names.integrate(CRM));
    let to = Address::Fact {
        fact: Fact::Received,
        routing_key: "signup.requested".to_owned(),
    };
    // A plain event without an id of its own.
    let message = Message {
        body: r#"{"email":"a@b.example","name":"Ada"}"#.into(),
        content_type: Some("application/json".to_owned()),
        ..Message::default()
    };
    let published = post.broker.publish(Publication { to, message }).await;
    published.unwrap();
    let gone = carry(&*post.broker, &validate, &elsewhere, 9, |_| true).await;
    assert_eq!(gone.unwrap().moved, 1);
    let (mut queues, mut follower) = (Queues::default(), Follower::new(None));
    follow(&post, &mut queues, &mut follower).await;
    let open = follower.position();
    store_altered(&post).await;
    while follower.position() <= open {
        assert_eq!(follow(&post, &mut queues, &mut follower).await, []);
    }
    assert!(waiting(&post, &validate).await.is_empty());
}
