//! What the watch does for ordered destinations.

use common::config::{OnDead, Order};
use common::runtime::Received;

use super::super::order;
use super::*;

/// A destination that skips dead letters, or keeps no order.
fn crm(is_ordered: bool) -> Destination {
    let order = Order {
        on_dead: OnDead::Skip,
        within: Duration::ZERO,
    };
    Destination {
        order: is_ordered.then_some(order),
        ..testbed::destination("https://crm.example")
    }
}

/// Stores three events of one key.
async fn stored(post: &Post) -> [EventId; 3] {
    let ids = [(); 3].map(|()| EventId::born());
    let event = |(number, id): (i64, EventId)| {
        let mut received = signup(id, &format!("ada{number}@example.com"));
        let body = String::from_utf8(received.message.body.to_vec()).unwrap();
        received.message.body = body.replacen('{', r#"{"subject":"ada","#, 1).into();
        let at = OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(number);
        received.trail.received_at = Some(at);
        received
    };
    let events: Vec<Received> = (0..).zip(ids).map(event).collect();
    let storing = StoreEvents::new(Arc::clone(&post.store), vec![crm(true)], testbed::seal());
    handle(&storing, &events).await;
    ids
}

async fn look(post: &Post) {
    let mut queues = Queues::default();
    queues.look(post).await.unwrap();
    order::look(post, &queues).await.unwrap();
}

async fn sent(post: &Post) -> Vec<String> {
    let messages = waiting(post, &post.names.integrate(CRM)).await;
    messages
        .into_iter()
        .filter_map(|it| it.message_id)
        .collect()
}

#[tokio::test]
async fn the_next_of_a_key_goes_on_when_the_first_ended_without_a_worker() {
    let post = post_at(crm(true), LAG).await;
    let [one, two, three] = stored(&post).await;
    look(&post).await;
    assert_eq!(sent(&post).await, [""; 0], "nothing has ended");
    let key = |event| DeliveryKey {
        event,
        destination: CRM.to_owned(),
        generation: 0,
    };
    post.store.discard_due(&[key(two)]).await.unwrap();
    look(&post).await;
    assert_eq!(sent(&post).await, [""; 0], "the first has not");
    post.store.discard_due(&[key(one)]).await.unwrap();
    look(&post).await;
    // The second has ended, so nothing is sent of it, and then it is the first.
    assert_eq!(sent(&post).await, [""; 0]);
    for _ in 0..2 {
        look(&post).await;
        assert_eq!(sent(&post).await, [three.to_string()]);
    }
}

#[tokio::test]
async fn what_waits_where_no_order_is_kept_any_more_is_sent() {
    let post = post_at(crm(false), LAG).await;
    let ids = stored(&post).await;
    look(&post).await;
    assert_eq!(
        sent(&post).await,
        [""; 0],
        "somebody may just begin with it"
    );
    order::disband(&post, CRM).await.unwrap();
    let mut messages = sent(&post).await;
    messages.sort();
    assert_eq!(messages, ids.map(|id| id.to_string()));
    assert_eq!(post.store.order().places(CRM, 9).await, Ok(vec![]));
}
