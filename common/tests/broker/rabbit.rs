//! The particulars of RabbitMQ: broken links, and faults that only AMQP can have.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::broker::rabbit::RabbitBroker;
use common::broker::{Address, Broker, BrokerError, PublishError, Settlement};
use common::config::{self, ServiceUrl};
use common::event::Limits;
use common::message::HeaderValue;
use common::topology::{Fact, Names, Plan, Topology, levels_for};
use futures_util::StreamExt as _;
use lapin::options::{BasicPublishOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection, ConnectionProperties};
use testkit::proxy::{Protocol, Proxy};

use crate::world::{self, Engine, PATIENCE, World, id, next, plan, publication};

fn url() -> String {
    std::env::var("LONGSHORE_BROKER_URL")
        .unwrap_or_else(|_| "amqp://guest:guest@127.0.0.1:5672/%2f".to_owned())
}

/// Quick enough for tests to wait for.
fn config(url: &str) -> config::Broker {
    config::Broker {
        url: ServiceUrl::parse(url).expect("a URL"),
        connect_timeout: Duration::from_secs(5),
        heartbeat: Duration::from_secs(2),
        ..config::Broker::default()
    }
}

fn connect(config: &config::Broker, plan: &Plan) -> Arc<RabbitBroker> {
    let levels = levels_for(plan.longest_delay);
    let names = Names::new(plan.namespace.clone());
    let broker = RabbitBroker::new(config, names, levels, Limits::default(), "conformance");
    Arc::new(broker.expect("a broker"))
}

/// The engine that the suite runs against.
pub fn engine() -> Engine {
    let mut config = config(&url());
    // Every test at once on one broker makes it slow.
    config.connect_timeout = PATIENCE;
    config.confirm_timeout = PATIENCE;
    Box::new(move |plan| connect(&config, plan))
}

/// Runs a test with one broker behind a proxy.
async fn behind_proxy<T, F>(adjust: impl FnOnce(&mut config::Broker), test: T)
where
    T: FnOnce(Arc<World>, Arc<RabbitBroker>, Proxy) -> F,
    F: Future<Output = ()>,
{
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let proxy = Proxy::start_at(local, target().to_string(), Protocol::Amqp)
        .await
        .expect("a proxy");
    let mut config = config(&behind(&proxy));
    adjust(&mut config);
    world::run(engine(), |world| async move {
        let plan = Plan {
            namespace: world.names.namespace().clone(),
            ..plan()
        };
        let broker = connect(&config, &plan);
        test(world, Arc::clone(&broker), proxy).await;
        broker.close().await;
    })
    .await;
}

/// Where the broker listens.
fn target() -> SocketAddr {
    let url = ServiceUrl::parse(&url()).expect("a URL");
    let host = url.parts().host_str().expect("a host").to_owned();
    let port = url.parts().port().unwrap_or(5672);
    std::net::ToSocketAddrs::to_socket_addrs(&(host, port))
        .expect("a known host")
        .next()
        .expect("an address")
}

fn behind(proxy: &Proxy) -> String {
    let mut url = ServiceUrl::parse(&url()).expect("a URL").parts().clone();
    url.set_host(Some("127.0.0.1")).expect("a host");
    url.set_port(Some(proxy.address().port())).expect("a port");
    url.to_string()
}

fn to(queue: &str) -> Address {
    Address::Queue(queue.to_owned())
}

/// Publishes until it works again.
async fn publish_until_it_works(broker: &RabbitBroker, queue: &str) {
    let works = async {
        while let Err(error) = broker.publish(publication(to(queue), "again")).await {
            assert!(
                matches!(
                    error,
                    PublishError::Disconnected(_) | PublishError::TimedOut(_)
                ),
                "{error}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, works)
        .await
        .expect("it works again");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_over_a_link_that_went_silent_is_not_ours() {
    let quick = |config: &mut config::Broker| {
        config.connect_timeout = Duration::from_secs(1);
        // Long after the echo: this is not about heartbeats.
        config.heartbeat = Duration::from_secs(60);
    };
    behind_proxy(quick, |world, broker, proxy| async move {
        let queue = world.names.store();
        world.fill(&queue, 1).await;
        let mut subscription = broker.subscribe(&queue, 10).await.expect("subscribed");
        next(&mut subscription).await;
        assert!(subscription.control.owns().await);
        proxy.stall();
        let denied = async {
            while subscription.control.owns().await {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(PATIENCE, denied)
            .await
            .expect("nobody answers for it");
        let end = tokio::time::timeout(PATIENCE, subscription.deliveries.next()).await;
        let end = end.expect("the stream ends as well");
        assert!(matches!(end, Some(Err(BrokerError::Lost(_)))), "{end:?}");
        proxy.heal();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_fails_at_once_while_the_link_is_cut_and_works_when_it_heals() {
    behind_proxy(
        |_| (),
        |world, broker, proxy| async move {
            let queue = world.names.store();
            let first = broker.publish(publication(to(&queue), "1")).await;
            first.expect("published");
            proxy.cut();
            let failing = async {
                // One publish may still believe in the link.
                while broker.publish(publication(to(&queue), "2")).await.is_ok() {}
                let started = Instant::now();
                let error = broker.publish(publication(to(&queue), "3")).await;
                assert!(
                    matches!(error, Err(PublishError::Disconnected(_))),
                    "{error:?}"
                );
                assert!(
                    started.elapsed() < Duration::from_secs(1),
                    "{:?}",
                    started.elapsed()
                );
            };
            tokio::time::timeout(PATIENCE, failing)
                .await
                .expect("it fails");
            let ready = broker.ready().await;
            // Lost as long as only the question has found out, unreachable once everybody knows.
            assert!(
                matches!(
                    ready,
                    Err(BrokerError::Unreachable { .. } | BrokerError::Lost(_))
                ),
                "{ready:?}"
            );
            proxy.heal();
            publish_until_it_works(&broker, &queue).await;
            broker.ready().await.expect("ready");
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_when_the_link_breaks_is_not_reported_as_published() {
    behind_proxy(
        |_| (),
        |world, broker, proxy| async move {
            let queue = world.names.store();
            broker.ready().await.expect("ready");
            proxy.stall();
            let publishes = (0..50).map(|number| {
                let broker = Arc::clone(&broker);
                let publication = publication(to(&queue), &number.to_string());
                tokio::spawn(async move { broker.publish(publication).await })
            });
            let publishes: Vec<_> = publishes.collect();
            tokio::task::yield_now().await;
            proxy.cut();
            for publish in publishes {
                let result = publish.await.expect("no panic");
                assert!(
                    matches!(result, Err(PublishError::Disconnected(_))),
                    "{result:?}"
                );
            }
            proxy.heal();
            publish_until_it_works(&broker, &queue).await;
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirm_that_does_not_come_times_out_and_another_channel_takes_over() {
    let quick = |config: &mut config::Broker| {
        config.confirm_timeout = Duration::from_millis(500);
        config.connect_timeout = Duration::from_millis(500);
        // The link must not be given up for lack of heartbeats first.
        config.heartbeat = Duration::from_secs(60);
    };
    behind_proxy(quick, |world, broker, proxy| async move {
        let queue = world.names.store();
        let first = broker.publish(publication(to(&queue), "1")).await;
        first.expect("published");
        proxy.stall();
        let stalled = broker.publish(publication(to(&queue), "2")).await;
        assert!(
            matches!(stalled, Err(PublishError::TimedOut(_))),
            "{stalled:?}"
        );
        proxy.heal();
        publish_until_it_works(&broker, &queue).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_broker_is_told_apart_and_resumed_without_connecting_again() {
    behind_proxy(
        |_| (),
        |world, broker, proxy| async move {
            let queue = world.names.store();
            let first = broker.publish(publication(to(&queue), "1")).await;
            first.expect("published");
            let connections = proxy.accepted();
            proxy.block("low on memory").expect("somebody is connected");
            let blocked = async { while broker.ready().await.is_ok() {} };
            tokio::time::timeout(PATIENCE, blocked)
                .await
                .expect("blocked");
            let ready = broker.ready().await;
            assert!(matches!(&ready, Err(BrokerError::Blocked(why)) if why == "low on memory"));
            let started = Instant::now();
            let refused = broker.publish(publication(to(&queue), "2")).await;
            assert!(
                matches!(&refused, Err(PublishError::Blocked(why)) if why == "low on memory"),
                "{refused:?}"
            );
            assert!(started.elapsed() < Duration::from_secs(1));
            proxy.unblock().expect("somebody is connected");
            let resumed = async {
                while broker.publish(publication(to(&queue), "3")).await.is_err() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            tokio::time::timeout(PATIENCE, resumed)
                .await
                .expect("resumed");
            assert_eq!(proxy.accepted(), connections);
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_when_the_broker_blocks_times_out_and_the_channel_stays() {
    let quick = |config: &mut config::Broker| {
        config.confirm_timeout = Duration::from_millis(300);
        config.heartbeat = Duration::from_secs(60);
    };
    behind_proxy(quick, |world, broker, proxy| async move {
        let queue = world.names.store();
        let first = broker.publish(publication(to(&queue), "1")).await;
        first.expect("published");
        let connections = proxy.accepted();
        proxy.stall();
        let stuck = tokio::spawn({
            let broker = Arc::clone(&broker);
            let publication = publication(to(&queue), "2");
            async move { broker.publish(publication).await }
        });
        // Let the publish go out, then answer nothing but that the broker is blocked.
        tokio::time::sleep(Duration::from_millis(50)).await;
        proxy.block("low on disk").expect("somebody is connected");
        proxy.heal();
        let stuck = stuck.await.expect("no panic");
        assert!(
            matches!(
                stuck,
                Ok(()) | Err(PublishError::TimedOut(_) | PublishError::Blocked(_))
            ),
            "{stuck:?}"
        );
        proxy.unblock().expect("somebody is connected");
        let resumed = async {
            while broker.publish(publication(to(&queue), "3")).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, resumed)
            .await
            .expect("resumed");
        assert_eq!(proxy.accepted(), connections);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_errs_when_the_link_is_lost_and_another_takes_its_place() {
    behind_proxy(
        |_| (),
        |world, broker, proxy| async move {
            let queue = world.names.store();
            world.fill(&queue, 5).await;
            let mut subscription = broker.subscribe(&queue, 2).await.expect("subscribed");
            let held = next(&mut subscription).await;
            next(&mut subscription).await;
            proxy.cut();
            let lost = tokio::time::timeout(PATIENCE, subscription.deliveries.next());
            let lost = lost.await.expect("it is noticed");
            assert!(matches!(lost, Some(Err(BrokerError::Lost(_)))), "{lost:?}");
            let end = subscription.deliveries.next().await;
            assert!(end.is_none(), "{end:?}");
            subscription.control.settle(held.tag, Settlement::Ack);
            let flushed = subscription.control.flush().await;
            assert!(matches!(flushed, Err(BrokerError::Lost(_))), "{flushed:?}");
            assert!(subscription.control.cancel().await.is_err());
            subscription.control.close().await;
            proxy.heal();
            let again = async {
                loop {
                    match broker.subscribe(&queue, 10).await {
                        Ok(subscription) => return subscription,
                        Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                    }
                }
            };
            let mut subscription = tokio::time::timeout(PATIENCE, again)
                .await
                .expect("subscribed again");
            let all = world::take(&mut subscription, 5).await;
            assert_eq!(
                all.iter().filter(|delivery| delivery.redelivered).count(),
                2
            );
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_queue_is_no_quiet_end() {
    world::run(engine(), |world| async move {
        let queue = world.names.store();
        let mut subscription = world.broker.subscribe(&queue, 2).await.expect("subscribed");
        let raw = raw().await;
        let channel = raw.create_channel().await.expect("a channel");
        channel
            .queue_delete(queue.as_str().into(), QueueDeleteOptions::default())
            .await
            .expect("deleted");
        let lost = tokio::time::timeout(PATIENCE, subscription.deliveries.next());
        let lost = lost.await.expect("it is noticed");
        assert!(
            matches!(&lost, Some(Err(BrokerError::Lost(why))) if why.contains("deleted")),
            "{lost:?}"
        );
    })
    .await;
}

async fn raw() -> Connection {
    Connection::connect(&url(), ConnectionProperties::default())
        .await
        .expect("a plain connection")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_with_other_arguments_is_explained() {
    let plan = plan();
    let topology = Topology::new(&plan);
    let names = Names::new(plan.namespace.clone());
    let broker = engine()(&plan);
    let raw = raw().await;
    let channel = raw.create_channel().await.expect("a channel");
    let mut arguments = FieldTable::default();
    arguments.insert(
        "x-queue-type".into(),
        AMQPValue::LongString("quorum".into()),
    );
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(7));
    channel
        .queue_declare(
            names.store().as_str().into(),
            QueueDeclareOptions::durable(),
            arguments,
        )
        .await
        .expect("declared otherwise");
    let applied = broker.apply(&topology).await;
    let differences = broker.verify(&topology).await;
    broker.delete(&topology).await.expect("deleted");
    broker.close().await;

    let Err(BrokerError::Mismatch(problem)) = applied else {
        panic!("expected a mismatch, found {applied:?}")
    };
    assert!(problem.contains(&names.store()), "{problem}");
    assert!(problem.contains("x-de"), "{problem}");
    assert!(problem.contains("topology apply"), "{problem}");
    let differences = differences.expect("verified");
    let found = differences
        .iter()
        .find(|difference| difference.name == names.store())
        .expect("verify sees it too");
    assert!(
        found.problem.contains("on the broker already"),
        "{}",
        found.problem
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_exchange_harms_no_channel_for_long() {
    let plan = plan();
    let broker = engine()(&plan);
    let fact = |key: &str| Address::Fact {
        fact: Fact::Received,
        routing_key: key.to_owned(),
    };
    for _ in 0..3 {
        let result = broker
            .publish(publication(fact("signup.requested"), "1"))
            .await;
        assert!(
            matches!(&result, Err(PublishError::Unroutable { reason, .. }) if reason.contains("no exchange")),
            "{result:?}"
        );
    }
    broker.ready().await.expect("ready");
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_may_start_before_its_broker() {
    let plan = plan();
    let free = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .expect("a port");
    let address = free.local_addr().expect("an address");
    drop(free);
    let broker = connect(&config(&format!("amqp://guest:guest@{address}/%2f")), &plan);
    let ready = broker.ready().await.expect_err("nobody listens");
    assert!(ready.to_string().contains(&address.to_string()), "{ready}");
    let refused = broker.publish(publication(to("anywhere"), "1")).await;
    assert!(
        matches!(refused, Err(PublishError::Disconnected(_))),
        "{refused:?}"
    );
    let _proxy = Proxy::start_at(address, target().to_string(), Protocol::Amqp)
        .await
        .expect("a proxy");
    let works = async {
        while broker.ready().await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, works)
        .await
        .expect("it connects");
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_refused_and_not_shown() {
    let plan = plan();
    let url = format!("amqp://guest:hunter2@{}/%2f", target());
    let broker = connect(&config(&url), &plan);
    let refused = broker.ready().await.expect_err("a wrong password");
    assert!(matches!(refused, BrokerError::Refused(_)), "{refused:?}");
    assert!(!format!("{refused:?} {refused}").contains("hunter2"));
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_message_is_read_whatever_its_headers() {
    world::run(engine(), |world| async move {
        let queue = world.names.store();
        let raw = raw().await;
        let channel = raw.create_channel().await.expect("a channel");
        let mut table = FieldTable::default();
        table.insert("short".into(), AMQPValue::ShortShortInt(-3));
        table.insert("long".into(), AMQPValue::LongUInt(7));
        table.insert(
            "bytes".into(),
            AMQPValue::LongString(vec![0xff_u8, 0xfe].into()),
        );
        table.insert("void".into(), AMQPValue::Void);
        let properties = BasicProperties::default()
            .with_headers(table)
            .with_message_id("foreign".into());
        channel
            .basic_publish(
                "".into(),
                queue.as_str().into(),
                BasicPublishOptions::default(),
                b"body",
                properties,
            )
            .await
            .expect("written");
        let mut subscription = world.broker.subscribe(&queue, 1).await.expect("subscribed");
        let delivery = next(&mut subscription).await;
        assert_eq!(id(&delivery), "foreign");
        let headers = &delivery.message.headers;
        assert_eq!(headers.get("short"), Some(&HeaderValue::Int8(-3)));
        assert_eq!(headers.get("long"), Some(&HeaderValue::UInt32(7)));
        assert_eq!(
            headers.get("bytes"),
            Some(&HeaderValue::RawText(vec![0xff, 0xfe]))
        );
        assert_eq!(headers.get("void"), Some(&HeaderValue::Null));
        assert_eq!(delivery.message.user_id, None);
    })
    .await;
}
