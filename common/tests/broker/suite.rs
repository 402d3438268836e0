//! The contract of `Broker`, one test a promise.
//!
//! Where engines differ, the tests ask for their common part. The differences, and their reasons:
//!
//! - Giving back counts as a return on RabbitMQ before 4.3 and on the embedded engine; from 4.3 on,
//!   RabbitMQ counts only what a lost or closed consumer held. So limits are tried with the latter.
//! - A delay for a missing queue is unroutable at once on the embedded engine. RabbitMQ learns of it when the delay is
//!   over.
//! - The embedded engine can list bindings, so `verify` names those that are missing. AMQP cannot.
//! - RabbitMQ keeps history in chunks and begins with a whole one, so it may begin a little earlier than
//!   asked; and over AMQP it does not tell when an entry was received.
//! - A look into a queue leaves no trace on the embedded engine and sees messages in hand. On RabbitMQ it counts as
//!   giving out and giving back.
//! - A delay beyond the declared levels is cut to their reach on RabbitMQ, and kept elsewhere.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::broker::{
    Address, BrokerError, Delivery, HistoryEntry, HistoryStart, Publication, PublishError,
    Settlement, declare_anew, declare_missing,
};
use common::event::{header, now, to_rfc3339};
use common::message::{HeaderValue, Message};
use common::topology::{DELIVERY_LIMIT, Fact, QueueKind, Topology};
use futures_util::StreamExt as _;
use futures_util::future::join_all;

use crate::world::{MOMENT, PATIENCE, World, id, next, publication, take};

pub async fn a_message_arrives_as_it_was_published(world: Arc<World>) {
    let table = [("inner", HeaderValue::Bool(true))].into_iter().collect();
    let message = Message {
        body: vec![0, 159, 146, 150].into(),
        content_type: Some("application/cloudevents+json".to_owned()),
        content_encoding: Some("identity".to_owned()),
        message_id: Some("0190a1b2".to_owned()),
        correlation_id: Some("17".to_owned()),
        // In force, one would end the message at once, and the other the channel.
        expiration: Some("0".to_owned()),
        reply_to: Some("amq.rabbitmq.reply-to".to_owned()),
        kind: Some("signup.requested".to_owned()),
        app_id: Some("https://example.com/signups".to_owned()),
        cluster_id: Some("east".to_owned()),
        priority: Some(3),
        timestamp: Some(1_700_000_000),
        headers: [
            ("longshore-attempt", HeaderValue::Int(3)),
            ("name", HeaderValue::from("Zoë")),
            ("bytes", HeaderValue::Bytes(vec![0xff, 0])),
            ("at", HeaderValue::Time(1_700_000_001)),
            (
                "list",
                HeaderValue::List(vec![HeaderValue::Null, HeaderValue::Float(0.5)]),
            ),
            ("table", HeaderValue::Table(table)),
            ("int8", HeaderValue::Int8(-8)),
            ("uint8", HeaderValue::UInt8(8)),
            ("int16", HeaderValue::Int16(-16)),
            ("uint16", HeaderValue::UInt16(16)),
            ("int32", HeaderValue::Int32(-32)),
            ("uint32", HeaderValue::UInt32(32)),
            ("float32", HeaderValue::Float32(0.5)),
            (
                "decimal",
                HeaderValue::Decimal {
                    scale: 2,
                    value: 150,
                },
            ),
            ("raw", HeaderValue::RawText(vec![0xe9])),
        ]
        .into_iter()
        .collect(),
        ..Message::default()
    };
    // Not through the exchange that the history listens to: a stream of RabbitMQ 3.10 takes no decimals.
    let to = Address::Fact {
        fact: Fact::Accepted,
        routing_key: "signup.requested".to_owned(),
    };
    world
        .broker
        .publish(Publication {
            to,
            message: message.clone(),
        })
        .await
        .expect("published");
    let queue = world.names.store();
    let mut subscription = world
        .broker
        .subscribe(&queue, 10)
        .await
        .expect("subscribed");
    let delivery = next(&mut subscription).await;
    assert_eq!(delivery.routing_key, "signup.requested");
    assert!(!delivery.redelivered);
    assert_eq!(delivery.returns, 0);
    assert_eq!(delivery.message.user_id.as_deref(), world.broker.user());
    // Headers are a table: their order is nobody's promise.
    for (name, value) in message.headers.iter() {
        assert_eq!(delivery.message.headers.get(name), Some(value), "{name}");
    }
    let expected = Message {
        user_id: delivery.message.user_id.clone(),
        headers: delivery.message.headers.clone(),
        ..message
    };
    assert_eq!(delivery.message, expected);
}

pub async fn an_unroutable_message_is_reported_and_no_other(world: Arc<World>) {
    let queue = world.names.store();
    let nowhere = format!("{}.nowhere", world.names.namespace());
    // Several times, because the fault is a race.
    for round in 0..5 {
        let publishes = (0..400).map(|number| {
            let lost = number % 7 == 0;
            let queue = if lost { &nowhere } else { &queue };
            let to = Address::Queue(queue.clone());
            let publish = world
                .broker
                .publish(publication(to, &format!("{round}-{number}")));
            async move { (number, lost, publish.await) }
        });
        for (number, lost, result) in join_all(publishes).await {
            match result {
                Ok(()) => assert!(!lost, "{number} went nowhere"),
                Err(PublishError::Unroutable { routing_key, .. }) => {
                    assert!(lost, "{number} was routable");
                    assert_eq!(routing_key, nowhere);
                }
                Err(error) => panic!("{number}: {error}"),
            }
        }
    }
    world.wait_for_depth(&queue, 5 * (400 - 58)).await;
}

pub async fn a_batch_is_answered_one_by_one_and_in_order(world: Arc<World>) {
    assert!(world.broker.publish_all(Vec::new()).await.is_empty());
    let queue = world.names.store();
    let nowhere = format!("{}.nowhere", world.names.namespace());
    // More than RabbitMQ's window of unconfirmed messages, of which some go nowhere and some cannot be
    // written down.
    let batch = (0..2500).map(|number| {
        let to = match number % 7 {
            0 => nowhere.clone(),
            1 => "x".repeat(300),
            _ => queue.clone(),
        };
        publication(Address::Queue(to), &number.to_string())
    });
    let answers = world.broker.publish_all(batch.collect()).await;
    assert_eq!(answers.len(), 2500);
    for (number, answer) in answers.into_iter().enumerate() {
        match number % 7 {
            0 => assert!(
                matches!(answer, Err(PublishError::Unroutable { .. })),
                "{number}: {answer:?}"
            ),
            1 => assert!(answer.is_err(), "{number}"),
            _ => assert!(answer.is_ok(), "{number}: {answer:?}"),
        }
    }
    world.wait_for_depth(&queue, 2500 - 358 - 357).await;
}

pub async fn nobody_needs_to_listen_to_what_is_stored(world: Arc<World>) {
    let to = |fact| Address::Fact {
        fact,
        routing_key: "nobody.cares".to_owned(),
    };
    let stored = world
        .broker
        .publish(publication(to(Fact::Stored), "1"))
        .await;
    assert!(stored.is_ok(), "{stored:?}");
}

pub async fn what_cannot_be_written_down_harms_nothing_else(world: Arc<World>) {
    let queue = world.names.store();
    let to = || Address::Queue(queue.clone());
    let long = "x".repeat(256);
    let mut named = publication(to(), "named");
    named.message.headers.set(long.clone(), "value");
    let invalid = [
        named,
        publication(to(), &long),
        publication(Address::Queue(long.clone()), "to"),
        publication(
            Address::Fact {
                fact: Fact::Received,
                routing_key: long.clone(),
            },
            "key",
        ),
    ];
    let good = world.fill(&queue, 100);
    let bad = async {
        for publication in invalid {
            match world.broker.publish(publication).await {
                Err(PublishError::Invalid(problem)) => {
                    assert!(problem.contains("expected"), "{problem}");
                }
                other => panic!("expected Invalid, found {other:?}"),
            }
        }
    };
    tokio::join!(good, bad);
    world.wait_for_depth(&queue, 100).await;
}

pub async fn a_message_too_full_to_publish_goes_without_its_largest_headers(world: Arc<World>) {
    let queue = world.names.store();
    let mut full = publication(Address::Queue(queue.clone()), "full");
    let headers = &mut full.message.headers;
    headers.set("large", HeaderValue::Bytes(vec![0; 200_000]));
    headers.set("small", "stays");
    world.broker.publish(full).await.expect("published");
    let mut subscription = world.broker.subscribe(&queue, 1).await.expect("subscribed");
    let delivery = next(&mut subscription).await;
    let headers = &delivery.message.headers;
    assert_eq!(headers.get("large"), None);
    assert_eq!(headers.text("small"), Some("stays"));
    let note = headers.text(header::NOTE).expect("a note");
    assert!(note.contains("\"large\""), "{note}");
}

pub async fn twenty_thousand_publishes_at_once_are_all_confirmed(world: Arc<World>) {
    const COUNT: usize = 20_000;
    let queue = world.names.store();
    let started = Instant::now();
    world.fill(&queue, COUNT).await;
    let rate = f64::from(COUNT as u32) / started.elapsed().as_secs_f64();
    eprintln!("{rate:.0} confirmed publishes/s");
    world.wait_for_depth(&queue, COUNT as u64).await;
}

pub async fn competing_consumers_share_the_work(world: Arc<World>) {
    let queue = world.names.store();
    let other = world.client();
    let mut one = world
        .broker
        .subscribe(&queue, 10)
        .await
        .expect("subscribed");
    let mut two = other.subscribe(&queue, 10).await.expect("subscribed");
    world.fill(&queue, 200).await;
    let mut seen = HashMap::new();
    let mut by = [0, 0];
    while seen.len() < 200 {
        let (who, subscription, delivery) = tokio::select! {
            delivery = next(&mut one) => (0, &one, delivery),
            delivery = next(&mut two) => (1, &two, delivery),
        };
        subscription.control.settle(delivery.tag, Settlement::Ack);
        by[who] += 1;
        *seen.entry(id(&delivery)).or_insert(0) += 1;
    }
    assert!(seen.values().all(|count| *count == 1), "each goes to one");
    assert!(by.iter().all(|count| *count > 0), "{by:?}");
    other.close().await;
}

pub async fn what_is_acked_is_gone_and_what_is_given_back_comes_again(world: Arc<World>) {
    let queue = world.names.store();
    world.fill(&queue, 10).await;
    let mut subscription = world
        .broker
        .subscribe(&queue, 10)
        .await
        .expect("subscribed");
    let mut given_back = HashSet::new();
    for number in 0..10 {
        let delivery = next(&mut subscription).await;
        let settlement = if number % 3 == 0 {
            given_back.insert(id(&delivery));
            Settlement::GiveBack
        } else {
            Settlement::Ack
        };
        subscription.control.settle(delivery.tag, settlement);
    }
    let again = take(&mut subscription, given_back.len()).await;
    assert!(again.iter().all(|delivery| delivery.redelivered));
    assert_eq!(again.iter().map(id).collect::<HashSet<_>>(), given_back);
    subscription.control.flush().await.expect("flushed");
    subscription.control.close().await;
    world.wait_for_depth(&queue, 0).await;
}

pub async fn acks_in_any_order_all_arrive(world: Arc<World>) {
    const COUNT: usize = 3_000;
    let queue = world.names.store();
    world.fill(&queue, COUNT).await;
    let mut subscription = world
        .broker
        .subscribe(&queue, 500)
        .await
        .expect("subscribed");
    let mut held = Vec::new();
    for number in 0..COUNT {
        held.push(next(&mut subscription).await.tag);
        if held.len() == 300 || number + 1 == COUNT {
            // From both ends, so that there are always gaps.
            held.sort_by_key(|tag| (tag.0 % 3, std::cmp::Reverse(tag.0)));
            for tag in held.drain(..) {
                subscription.control.settle(tag, Settlement::Ack);
            }
        }
    }
    subscription.control.flush().await.expect("flushed");
    subscription.control.close().await;
    world.wait_for_depth(&queue, 0).await;
}

pub async fn what_a_lost_consumer_held_comes_again_and_is_counted(world: Arc<World>) {
    let queue = world.names.store();
    world.fill(&queue, 3).await;
    for returns in 0..3 {
        let other = world.client();
        let mut subscription = other.subscribe(&queue, 10).await.expect("subscribed");
        for _ in 0..3 {
            let delivery = next(&mut subscription).await;
            assert_eq!(delivery.returns, returns);
            assert_eq!(delivery.redelivered, returns > 0);
        }
        // Gone without settling its messages.
        drop(subscription);
        other.close().await;
    }
    world.wait_for_depth(&queue, 3).await;
}

pub async fn a_subscription_is_ours_until_it_ends(world: Arc<World>) {
    let queue = world.names.store();
    world.fill(&queue, 1).await;
    let mut subscription = world
        .broker
        .subscribe(&queue, 10)
        .await
        .expect("subscribed");
    next(&mut subscription).await;
    assert!(subscription.control.owns().await, "as the broker just said");
    // Longer than that is believed: the broker is asked.
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    assert!(subscription.control.owns().await, "as the broker says");
    subscription.control.close().await;
    assert!(!subscription.control.owns().await, "it has ended");
}

pub async fn a_cancelled_subscription_ends_after_what_was_under_way(world: Arc<World>) {
    let queue = world.names.store();
    world.fill(&queue, 20).await;
    let mut subscription = world.broker.subscribe(&queue, 5).await.expect("subscribed");
    let first = next(&mut subscription).await;
    subscription.control.cancel().await.expect("cancelled");
    let mut taken = vec![first];
    while let Some(delivery) = tokio::time::timeout(PATIENCE, subscription.deliveries.next())
        .await
        .expect("the stream ends")
    {
        taken.push(delivery.expect("the link holds"));
    }
    assert!(taken.len() <= 5, "{}", taken.len());
    // Settling works after the end.
    for delivery in &taken {
        subscription.control.settle(delivery.tag, Settlement::Ack);
    }
    subscription.control.flush().await.expect("flushed");
    subscription.control.close().await;
    let left = 20 - taken.len() as u64;
    world.wait_for_depth(&queue, left).await;
}

pub async fn a_missing_queue_is_named(world: Arc<World>) {
    let missing = format!("{}.missing", world.names.namespace());
    for name in [missing, "x".repeat(256)] {
        let error = world.broker.subscribe(&name, 1).await.err();
        assert!(
            matches!(&error, Some(BrokerError::NoSuchQueue(found)) if *found == name),
            "{error:?}"
        );
        assert_eq!(world.broker.depth(&name).await.expect("asked"), None);
    }
    // Nothing else was harmed.
    let subscribed = world.broker.subscribe(&world.names.store(), 1).await;
    assert!(subscribed.is_ok());
}

pub async fn a_queue_is_looked_for_at_any_time(world: Arc<World>) {
    let queue = world.names.validate();
    let has = async |name: &str| world.broker.has_queue(name).await.expect("asked");
    // Each "no" costs a channel on some engines; the next look has to work all the same.
    for _ in 0..3 {
        assert!(has(&queue).await);
        assert!(!has(&format!("{queue}.missing")).await);
        assert!(!has(&"x".repeat(256)).await);
    }
    let asked = (0..50).map(|_| world.broker.has_queue(&queue));
    for found in join_all(asked).await {
        assert!(found.expect("asked"));
    }
    // Another program's doing is seen at once.
    let other = world.client();
    let around = world.topology.around(&world.names.exchange(Fact::Received));
    other.delete(&around).await.expect("deleted");
    assert!(!has(&queue).await);
    other.apply(&around).await.expect("applied");
    assert!(has(&queue).await);
    other.close().await;
}

pub async fn only_what_reaches_its_queue_counts_as_published(world: Arc<World>) {
    let (work, history) = (world.names.validate(), world.names.history());
    let number = AtomicUsize::new(0);
    let event = || {
        let to = Address::Fact {
            fact: Fact::Received,
            routing_key: "signup.requested".to_owned(),
        };
        publication(to, &number.fetch_add(1, Ordering::Relaxed).to_string())
    };
    let publish = async |queue: &str, count: usize| {
        let events = (0..count).map(|_| event()).collect();
        world.broker.publish_reaching(queue, events).await
    };
    for count in [0, 1, 100] {
        let answers = publish(&work, count).await;
        assert_eq!(answers.len(), count);
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    }
    let alone = world.topology.around(&world.names.exchange(Fact::Received));
    let alone = Topology {
        exchanges: Vec::new(),
        queues: Vec::from_iter(alone.queues.into_iter().filter(|queue| queue.name == work)),
        ..alone
    };
    // The history takes it still; and then everything works on, at once.
    for _ in 0..3 {
        world.broker.delete(&alone).await.expect("deleted");
        for count in [1, 100] {
            let answers = publish(&work, count).await;
            let missing = |answer| matches!(answer, &Err(PublishError::Unroutable { .. }));
            assert!(answers.iter().all(missing), "{answers:?}");
        }
        assert!(publish(&history, 2).await.iter().all(Result::is_ok));
        let nowhere = publish(&"x".repeat(256), 1).await;
        assert!(matches!(
            &nowhere[..],
            [Err(PublishError::Unroutable { .. })]
        ));
        world.broker.apply(&world.topology).await.expect("applied");
        // Many at once share looks, and each has its answer.
        let all = join_all((0..200).map(|_| publish(&work, 2))).await;
        assert!(all.iter().flatten().all(Result::is_ok), "{all:?}");
    }
    // A published message is there.
    world.wait_for_depth(&work, 400).await;
}

pub async fn a_deleted_queue_stays_missing_for_a_second(world: Arc<World>) {
    let second = Duration::from_secs(1);
    let begun = Instant::now();
    let declared = declare_missing(&*world.broker, &world.topology).await;
    assert_eq!(declared.expect("applied"), Vec::<String>::new());
    assert!(
        begun.elapsed() < second,
        "what is there makes nobody wait: {:?}",
        begun.elapsed()
    );
    for queue in [world.names.validate(), world.names.store()] {
        delete_alone(&world, &queue).await;
        let begun = Instant::now();
        let declare = declare_missing(&*world.broker, &world.topology);
        let missing = async {
            while begun.elapsed() < Duration::from_millis(900) {
                let found = world.broker.depth(&queue).await.expect("asked");
                assert_eq!(found, None, "after {:?}", begun.elapsed());
            }
        };
        let (declared, ()) = tokio::join!(declare, missing);
        assert_eq!(declared.expect("applied"), std::slice::from_ref(&queue));
        assert!(world.broker.depth(&queue).await.expect("asked").is_some());
    }
    // The other way to do it, at a start.
    delete_alone(&world, &world.names.store()).await;
    let begun = Instant::now();
    let declared = declare_anew(&*world.broker, &world.topology).await;
    declared.expect("applied");
    assert!(begun.elapsed() >= second, "{:?}", begun.elapsed());
    // All of them, while programs run.
    world.broker.delete(&world.topology).await.expect("deleted");
    let begun = Instant::now();
    let declared = declare_missing(&*world.broker, &world.topology).await;
    assert_eq!(
        declared.expect("applied").len(),
        world.topology.queues.len()
    );
    assert!(begun.elapsed() >= second, "{:?}", begun.elapsed());
    // Nobody uses what is new.
    world.broker.delete(&world.topology).await.expect("deleted");
    let begun = Instant::now();
    let declared = declare_anew(&*world.broker, &world.topology).await;
    declared.expect("applied");
    assert!(begun.elapsed() < second, "{:?}", begun.elapsed());
    let differences = world.broker.verify(&world.topology).await;
    assert_eq!(differences.expect("compared"), []);
}

pub async fn nobody_waits_for_a_queue_that_another_program_declares(world: Arc<World>) {
    let queue = world.names.store();
    delete_alone(&world, &queue).await;
    let other = world.client();
    let declare = declare_missing(&*world.broker, &world.topology);
    let (declared, applied) = tokio::join!(declare, other.apply(&world.topology));
    applied.expect("applied");
    assert_eq!(declared.expect("applied"), Vec::<String>::new());
    other.close().await;
}

/// RabbitMQ could go on with the new queue under the old subscription, and lose sight of what it gives out.
pub async fn a_queue_that_is_declared_again_is_another_queue(world: Arc<World>) {
    let queue = world.names.store();
    for _ in 0..3 {
        world.fill(&queue, 3).await;
        let mut before = world.broker.subscribe(&queue, 2).await.expect("subscribed");
        take(&mut before, 3).await;
        delete_alone(&world, &queue).await;
        let declared = declare_missing(&*world.broker, &world.topology).await;
        assert_eq!(declared.expect("applied"), std::slice::from_ref(&queue));
        world.fill(&queue, 3).await;
        let lost = tokio::time::timeout(PATIENCE, before.deliveries.next());
        let lost = lost.await.expect("it is noticed");
        assert!(matches!(&lost, Some(Err(_))), "{lost:?}");
        let mut after = world.broker.subscribe(&queue, 2).await.expect("subscribed");
        take(&mut after, 3).await;
        after.control.flush().await.expect("flushed");
        after.control.close().await;
    }
}

/// Another program deletes a queue, and nothing else.
async fn delete_alone(world: &World, queue: &str) {
    let mut alone = world.topology.clone();
    alone.exchanges.clear();
    alone.trust = None;
    alone.queues.retain(|it| it.name == queue);
    let other = world.client();
    other.delete(&alone).await.expect("deleted");
    other.close().await;
}

pub async fn binding_again_makes_what_is_missing(world: Arc<World>) {
    let around = world.topology.around(&world.names.exchange(Fact::Received));
    let queues = [world.names.history(), world.names.validate()];
    let declared: HashSet<_> = around.queues.iter().map(|queue| &queue.name).collect();
    assert_eq!(declared, queues.iter().collect());
    assert_eq!(around.bindings.len(), 2);
    let bind = async || world.broker.bind(&around.bindings).await;
    assert!(matches!(bind().await, Ok(true)), "what is there stays");

    world.broker.delete(&around).await.expect("deleted");
    assert!(matches!(bind().await, Ok(false)), "without either end");
    let unbound = Topology {
        bindings: Vec::new(),
        ..around.clone()
    };
    world.broker.apply(&unbound).await.expect("applied");
    let to = || Address::Fact {
        fact: Fact::Received,
        routing_key: "signup.requested".to_owned(),
    };
    let published = world.broker.publish(publication(to(), "1")).await;
    assert!(
        matches!(published, Err(PublishError::Unroutable { .. })),
        "{published:?}"
    );
    assert!(matches!(bind().await, Ok(true)));
    let published = world.broker.publish(publication(to(), "2")).await;
    published.expect("published");
    world.wait_for_depth(&world.names.validate(), 1).await;
}

pub async fn delays_are_kept_under_load(world: Arc<World>) {
    let queue = world.names.store();
    let delays = [250_u64, 500, 750, 1000, 1750, 2500, 3000];
    let mut subscription = world
        .broker
        .subscribe(&queue, 500)
        .await
        .expect("subscribed");
    let publishes = (0..500).map(|number| {
        let delay = delays[number % delays.len()];
        let to = Address::Later {
            queue: queue.clone(),
            delay: Duration::from_millis(delay),
        };
        let mut publication = publication(to, &number.to_string());
        publication
            .message
            .headers
            .set("delay", HeaderValue::Int(delay.cast_signed()));
        let publish = world.broker.publish(publication);
        async move {
            let asked = Instant::now();
            publish.await.expect("published");
            (number.to_string(), asked)
        }
    });
    let started = Instant::now();
    let publishing = join_all(publishes);
    let consuming = async {
        let mut arrived = Vec::new();
        for _ in 0..500 {
            let delivery = next(&mut subscription).await;
            subscription.control.settle(delivery.tag, Settlement::Ack);
            arrived.push((delivery, Instant::now()));
        }
        arrived
    };
    let (asked, arrived) = tokio::join!(publishing, consuming);
    let asked: HashMap<String, Instant> = asked.into_iter().collect();
    let mut seen = HashSet::new();
    for (delivery, at) in arrived {
        let delay = delivery.message.headers.int("delay").unwrap_or_default();
        let delay = Duration::from_millis(delay.unsigned_abs());
        // Published at the earliest when the first was.
        let since = asked
            .get(&id(&delivery))
            .map_or(started, |asked| started.min(*asked));
        assert!(
            at.duration_since(since) + Duration::from_millis(50) >= delay,
            "{delay:?} took {:?}",
            at.duration_since(since)
        );
        assert!(!delivery.redelivered);
        assert!(seen.insert(id(&delivery)), "each comes once");
    }
    assert_eq!(seen.len(), 500);
}

pub async fn the_depth_of_a_queue_is_known(world: Arc<World>) {
    let queue = world.names.store();
    let depth = world
        .broker
        .depth(&queue)
        .await
        .expect("asked")
        .expect("there");
    assert_eq!((depth.messages, depth.consumers), (0, 0));
    world.fill(&queue, 7).await;
    world.wait_for_depth(&queue, 7).await;
    let subscription = world.broker.subscribe(&queue, 1).await.expect("subscribed");
    let depth = world
        .broker
        .depth(&queue)
        .await
        .expect("asked")
        .expect("there");
    assert_eq!(depth.consumers, 1);
    subscription.control.close().await;
}

pub async fn applying_twice_changes_nothing(world: Arc<World>) {
    let queue = world.names.store();
    world.fill(&queue, 1).await;
    let (one, two) = (world.client(), world.client());
    let (first, second) = tokio::join!(one.apply(&world.topology), two.apply(&world.topology));
    first.expect("applied");
    second.expect("applied at the same time");
    world.wait_for_depth(&queue, 1).await;
    let differences = one.verify(&world.topology).await.expect("verified");
    assert_eq!(differences, []);
    one.close().await;
    two.close().await;
}

pub async fn a_destination_that_is_narrowed_gets_less(world: Arc<World>) {
    let queue = world.names.integrate("crm");
    let wide = world.topology_with(&["#", "signup.requested"]);
    let narrow = world.topology_with(&["processing.*"]);
    let publish = async |id: &str| {
        let to = Address::Fact {
            fact: Fact::Stored,
            routing_key: "signup.requested".to_owned(),
        };
        world
            .broker
            .publish(publication(to, id))
            .await
            .expect("published");
    };
    world.broker.apply(&wide).await.expect("applied");
    publish("wide").await;
    world.wait_for_depth(&queue, 1).await;
    // `signup.*` was bound when the world began.
    world.broker.apply(&narrow).await.expect("applied");
    publish("narrow").await;
    tokio::time::sleep(MOMENT).await;
    world.wait_for_depth(&queue, 1).await;
    world.broker.apply(&wide).await.expect("applied");
    publish("wide again").await;
    world.wait_for_depth(&queue, 2).await;
}

pub async fn verify_names_what_is_missing(world: Arc<World>) {
    world.broker.delete(&world.topology).await.expect("deleted");
    let differences = world
        .broker
        .verify(&world.topology)
        .await
        .expect("verified");
    let named: HashSet<&str> = differences
        .iter()
        .map(|found| found.name.as_str())
        .collect();
    for queue in &world.topology.queues {
        assert!(named.contains(queue.name.as_str()), "{}", queue.name);
    }
    for exchange in &world.topology.exchanges {
        assert!(named.contains(exchange.as_str()), "{exchange}");
    }
    assert!(
        differences
            .iter()
            .all(|found| found.problem.contains("topology apply"))
    );
    // Looking created nothing, and deleting missing parts is fine.
    assert_eq!(
        world
            .broker
            .depth(&world.names.store())
            .await
            .expect("asked"),
        None
    );
    world.broker.delete(&world.topology).await.expect("deleted");
}

pub async fn what_the_broker_gives_up_on_is_dead_lettered(world: Arc<World>) {
    let queue = world.names.store();
    world.fill(&queue, 1).await;
    let dead = world.names.dead();
    let died = async {
        loop {
            let mut subscription = world.broker.subscribe(&queue, 1).await.expect("subscribed");
            let delivery = tokio::time::timeout(MOMENT, subscription.deliveries.next()).await;
            subscription.control.close().await;
            if delivery.is_err() {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, died)
        .await
        .expect("given up");
    let mut subscription = world.broker.subscribe(&dead, 1).await.expect("subscribed");
    let delivery = next(&mut subscription).await;
    assert_eq!(id(&delivery), "0");
    // Published again, it takes its way as if it had never died.
    let again = Publication {
        to: Address::Later {
            queue: queue.clone(),
            delay: Duration::from_millis(250),
        },
        message: delivery.message,
    };
    world.broker.publish(again).await.expect("published");
    subscription.control.settle(delivery.tag, Settlement::Ack);
    subscription.control.close().await;
    world.wait_for_depth(&queue, 1).await;
}

pub async fn a_closed_broker_takes_nothing(world: Arc<World>) {
    let queue = world.names.store();
    world.fill(&queue, 10).await;
    world.broker.ready().await.expect("ready");
    world.broker.close().await;
    let late = world
        .broker
        .publish(publication(Address::Queue(queue.clone()), "late"))
        .await;
    assert!(
        matches!(late, Err(PublishError::Disconnected(_))),
        "{late:?}"
    );
    assert!(world.broker.ready().await.is_err());
    let other = world.client();
    let depth = other.depth(&queue).await.expect("asked").expect("there");
    assert_eq!(depth.messages, 10);
    other.close().await;
}

pub async fn a_hold_gives_back_what_is_in_hand_and_goes_on(world: Arc<World>) {
    let queue = world.names.store();
    world.fill(&queue, 50).await;
    let mut subscription = world
        .broker
        .subscribe(&queue, 20)
        .await
        .expect("subscribed");
    let mut held = vec![next(&mut subscription).await];
    subscription.control.cancel().await.expect("cancelled");
    while let Some(delivery) = subscription.deliveries.next().await {
        held.push(delivery.expect("the link holds"));
    }
    for delivery in &held {
        subscription
            .control
            .settle(delivery.tag, Settlement::GiveBack);
    }
    subscription.control.flush().await.expect("flushed");
    subscription.control.close().await;
    world.wait_for_depth(&queue, 50).await;

    let mut subscription = world
        .broker
        .subscribe(&queue, 20)
        .await
        .expect("subscribed");
    let all = take(&mut subscription, 50).await;
    let again: HashSet<String> = all
        .iter()
        .filter(|delivery| delivery.redelivered)
        .map(id)
        .collect();
    assert_eq!(again, held.iter().map(id).collect());
    assert_eq!(all.iter().map(id).collect::<HashSet<_>>().len(), 50);
    subscription.control.close().await;
    world.wait_for_depth(&queue, 0).await;
}

pub async fn delays_end_in_their_order(world: Arc<World>) {
    let queue = world.names.store();
    // The longest first, and one that does not wait at all.
    for delay in [2000_u64, 1500, 1000, 500] {
        let to = Address::Later {
            queue: queue.clone(),
            delay: Duration::from_millis(delay),
        };
        let publish = world.broker.publish(publication(to, &delay.to_string()));
        publish.await.expect("published");
    }
    let at_once = publication(Address::Queue(queue.clone()), "0");
    world.broker.publish(at_once).await.expect("published");
    let mut subscription = world
        .broker
        .subscribe(&queue, 10)
        .await
        .expect("subscribed");
    let arrived = take(&mut subscription, 5).await;
    let order: Vec<String> = arrived.iter().map(id).collect();
    assert_eq!(order, ["0", "500", "1000", "1500", "2000"]);
    assert!(arrived.iter().all(|delivery| delivery.returns == 0));
}

pub async fn what_is_delayed_is_somewhere(world: Arc<World>) {
    let queue = world.names.store();
    for number in 0..6 {
        let to = Address::Later {
            queue: queue.clone(),
            delay: Duration::from_secs(4),
        };
        let publish = world.broker.publish(publication(to, &number.to_string()));
        publish.await.expect("published");
    }
    // For every engine, the delay levels together hold the delayed messages.
    let all_delayed = async {
        while delayed(&world).await != 6 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(3), all_delayed)
        .await
        .expect("they are all delayed");
    let depth = world.broker.depth(&queue).await.expect("asked");
    assert_eq!(depth.expect("there").messages, 0);
    world.wait_for_depth(&queue, 6).await;
    assert_eq!(delayed(&world).await, 0);
}

/// How many messages the delay levels hold.
async fn delayed(world: &World) -> u64 {
    let mut sum = 0;
    for queue in &world.topology.queues {
        if matches!(queue.kind, QueueKind::Delay { .. }) {
            let depth = world.broker.depth(&queue.name).await.expect("asked");
            sum += depth.expect("there").messages;
        }
    }
    sum
}

pub async fn a_message_is_given_out_up_to_the_limit(world: Arc<World>) {
    let queue = world.names.store();
    let dead = world.names.dead();
    let to = Address::Fact {
        fact: Fact::Accepted,
        routing_key: "signup.requested".to_owned(),
    };
    let publish = world.broker.publish(publication(to, "poison"));
    publish.await.expect("published");
    // Given out once, and then as often as the limit says.
    for returns in 0..=DELIVERY_LIMIT {
        let delivery = hold_and_go(&world, &queue).await;
        assert_eq!(i64::from(delivery.returns), returns);
        assert_eq!(delivery.redelivered, returns > 0);
    }
    let mut letters = world.broker.subscribe(&dead, 1).await.expect("subscribed");
    let letter = next(&mut letters).await;
    assert_eq!(id(&letter), "poison");
    assert_eq!(&letter.message.body[..], b"body of poison");
    assert_eq!(letter.routing_key, "signup.requested");
    assert_eq!(letter.returns, 0);
    let Some(HeaderValue::List(deaths)) = letter.message.headers.get("x-death") else {
        panic!("expected deaths, found {:?}", letter.message.headers)
    };
    let [HeaderValue::Table(death)] = &deaths[..] else {
        panic!("expected one death, found {deaths:?}")
    };
    assert_eq!(death.text("queue"), Some(queue.as_str()));
    assert_eq!(death.text("reason"), Some("delivery_limit"));
    let keys = HeaderValue::List(vec![HeaderValue::from("signup.requested")]);
    assert_eq!(death.get("routing-keys"), Some(&keys));
    let Some(HeaderValue::Time(died)) = death.get("time") else {
        panic!("expected a time, found {death:?}")
    };
    let age = now().unix_timestamp().abs_diff(died.cast_signed());
    assert!(age < 60, "{age} s ago");
    letters.control.settle(letter.tag, Settlement::Ack);
    letters.control.close().await;
    world.wait_for_depth(&queue, 0).await;
}

/// Takes the next message of a queue and goes away without a word about it.
async fn hold_and_go(world: &World, queue: &str) -> Delivery {
    let mut subscription = world.broker.subscribe(queue, 1).await.expect("subscribed");
    let delivery = next(&mut subscription).await;
    subscription.control.close().await;
    delivery
}

pub async fn what_the_dead_queue_gives_up_on_is_parked(world: Arc<World>) {
    let dead = world.names.dead();
    let parked = world.names.parked();
    world.fill(&dead, 1).await;
    for _ in 0..=DELIVERY_LIMIT {
        hold_and_go(&world, &dead).await;
    }
    world.wait_for_depth(&parked, 1).await;
    world.wait_for_depth(&dead, 0).await;
}

pub async fn what_is_published_outlives_every_program(world: Arc<World>) {
    let queue = world.names.store();
    world.fill(&queue, 100).await;
    let later = Publication {
        to: Address::Later {
            queue: queue.clone(),
            delay: Duration::from_secs(1),
        },
        message: publication(Address::Queue(queue.clone()), "later").message,
    };
    world.broker.publish(later).await.expect("published");
    let mut subscription = world
        .broker
        .subscribe(&queue, 10)
        .await
        .expect("subscribed");
    let acked = take(&mut subscription, 30).await;
    subscription.control.flush().await.expect("flushed");
    world.broker.close().await;

    let other = world.client();
    let mut subscription = other.subscribe(&queue, 200).await.expect("subscribed");
    let mut left: HashSet<String> = take(&mut subscription, 71).await.iter().map(id).collect();
    assert!(left.remove("later"));
    let acked: HashSet<String> = acked.iter().map(id).collect();
    assert!(left.is_disjoint(&acked));
    assert_eq!(left.len() + acked.len(), 100);
    subscription.control.close().await;
    other.close().await;
}

pub async fn the_history_is_read_to_its_end(world: Arc<World>) {
    let receive = async |name: &str| {
        let to = Address::Fact {
            fact: Fact::Received,
            routing_key: "signup.requested".to_owned(),
        };
        let mut publication = publication(to, name);
        publication
            .message
            .headers
            .set(header::RECEIVED_AT, to_rfc3339(now()));
        world.broker.publish(publication).await.expect("published");
    };
    let read = async |from| {
        let history = world.broker.history(from).await.expect("readable");
        let entries: Vec<_> = history.collect().await;
        entries
            .into_iter()
            .map(|entry| entry.expect("the link holds"))
            .collect::<Vec<_>>()
    };
    let ids = |entries: &[HistoryEntry]| -> Vec<String> {
        entries
            .iter()
            .map(|entry| entry.message.message_id.clone().unwrap_or_default())
            .collect()
    };
    // Given out and acked, it stays in the history.
    for number in 0..5 {
        receive(&number.to_string()).await;
    }
    let queue = world.names.validate();
    let mut subscription = world.broker.subscribe(&queue, 9).await.expect("subscribed");
    take(&mut subscription, 5).await;
    subscription.control.close().await;
    // Messages between inner stages are not in it.
    world.fill(&world.names.store(), 1).await;
    let between = now();
    for number in 5..9 {
        receive(&number.to_string()).await;
    }

    let all = read(HistoryStart::First).await;
    assert_eq!(ids(&all), ["0", "1", "2", "3", "4", "5", "6", "7", "8"]);
    assert!(all.is_sorted_by_key(|entry| entry.offset));
    for entry in &all {
        assert_eq!(entry.routing_key, "signup.requested");
        assert_eq!(entry.message.user_id.as_deref(), world.broker.user());
        let earlier = ids(std::slice::from_ref(entry))[0].as_str() < "5";
        if let Some(time) = entry.time {
            assert_eq!(time < between, earlier, "{time} {between}");
        }
    }
    let from_third = read(HistoryStart::Offset(all[3].offset)).await;
    assert_eq!(from_third, all[3..]);
    let behind_the_end = read(HistoryStart::Offset(all[8].offset + 1)).await;
    assert_eq!(behind_the_end, []);
    // RabbitMQ may begin a little earlier.
    let lately = read(HistoryStart::Time(between)).await;
    assert!(lately.len() >= 4, "{lately:?}");
    assert_eq!(lately, all[9 - lately.len()..]);
    let future = now() + Duration::from_secs(3600);
    assert_eq!(read(HistoryStart::Time(future)).await, []);
}

pub async fn an_empty_history_ends_at_once(world: Arc<World>) {
    let mut history = world
        .broker
        .history(HistoryStart::First)
        .await
        .expect("readable");
    assert!(history.next().await.is_none());
    world.broker.delete(&world.topology).await.expect("deleted");
    let missing = world.broker.history(HistoryStart::First).await.err();
    assert!(
        matches!(missing, Some(BrokerError::NoSuchQueue(_))),
        "{missing:?}"
    );
}

pub async fn the_history_ends_at_what_was_there_under_any_traffic(world: Arc<World>) {
    let receive = async |world: &World, number: usize| {
        let to = Address::Fact {
            fact: Fact::Received,
            routing_key: "signup.requested".to_owned(),
        };
        let published = world.broker.publish(publication(to, &number.to_string()));
        published.await.expect("published");
    };
    for pause in [Duration::from_millis(2), Duration::from_millis(700)] {
        let published = Arc::new(AtomicUsize::new(0));
        let stop = tokio_util::sync::CancellationToken::new();
        let traffic = {
            let (world, published, stop) =
                (Arc::clone(&world), Arc::clone(&published), stop.clone());
            tokio::spawn(async move {
                while !stop.is_cancelled() {
                    let number = published.load(Ordering::SeqCst);
                    receive(&world, number).await;
                    published.store(number + 1, Ordering::SeqCst);
                    tokio::time::sleep(pause).await;
                }
            })
        };
        while published.load(Ordering::SeqCst) < 2 {
            tokio::time::sleep(pause).await;
        }
        for from in [HistoryStart::First, HistoryStart::Offset(0)] {
            let asked = published.load(Ordering::SeqCst);
            let history = world.broker.history(from).await.expect("readable");
            let read = tokio::time::timeout(PATIENCE, history.collect::<Vec<_>>());
            let entries = read.await.expect("it ends");
            assert!(entries.len() >= asked, "{} of {asked}", entries.len());
            for entry in entries {
                entry.expect("the link holds");
            }
        }
        stop.cancel();
        traffic.await.expect("no panic");
    }
}

pub async fn a_look_into_a_queue_takes_nothing(world: Arc<World>) {
    let queue = world.names.integrate("crm");
    let look = async |queue: &str, most| {
        let mut seen = Vec::new();
        let all = world
            .broker
            .look(queue, most, &mut |waiting| seen.push(waiting))
            .await;
        all.map(|all| (all, seen))
    };
    world.fill(&queue, 3).await;
    world.wait_for_depth(&queue, 3).await;
    let (all, seen) = look(&queue, 10).await.expect("looked");
    assert!(all);
    let ids: Vec<_> = seen
        .iter()
        .map(|it| it.message.message_id.clone())
        .collect();
    assert_eq!(ids, ["0", "1", "2"].map(|id| Some(id.to_owned())));
    assert!(seen.iter().all(|it| it.queue == queue));
    let (all, seen) = look(&queue, 2).await.expect("looked");
    assert_eq!((all, seen.len()), (false, 2));
    world.wait_for_depth(&queue, 3).await;
    let mut subscription = world.broker.subscribe(&queue, 9).await.expect("subscribed");
    // RabbitMQ gives back in an order of its own.
    let mut taken: Vec<String> = take(&mut subscription, 3).await.iter().map(id).collect();
    taken.sort();
    assert_eq!(taken, ["0", "1", "2"]);
    subscription.control.close().await;
    let missing = look("nowhere", 1).await.err();
    assert!(
        matches!(missing, Some(BrokerError::NoSuchQueue(_))),
        "{missing:?}"
    );

    // A delayed message tells where it comes back to, for every engine's place.
    let to = Address::Later {
        queue: queue.clone(),
        delay: Duration::from_secs(3),
    };
    world
        .broker
        .publish(publication(to, "later"))
        .await
        .expect("published");
    let mut found = Vec::new();
    for queue in &world.topology.queues {
        let is_delay = matches!(queue.kind, QueueKind::Delay { .. });
        if is_delay || world.broker.looks_leave_no_trace() && queue.is_work() {
            found.extend(look(&queue.name, 10).await.expect("looked").1);
        }
    }
    let found: Vec<_> = found
        .iter()
        .map(|it| (&*it.queue, it.message.message_id.as_deref()))
        .collect();
    assert_eq!(found, [(&*queue, Some("later"))]);
    world.wait_for_depth(&queue, 1).await;
}
