use common::config::Config;
use common::event::Trail;
use common::message::{Damage, Message};
use common::runtime::Claim;
use common::topology::Plan;

use super::*;

const EVENT: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// A message as the lane hands it over: of a foreign one our headers are gone.
fn received(trail: Trail, headers: Headers) -> Received {
    Received {
        trail,
        message: Message {
            message_id: Some(EVENT.to_owned()),
            kind: Some("signup.requested".to_owned()),
            headers,
            ..Message::default()
        },
        routing_key: "signup.requested".to_owned(),
        redelivered: false,
        claim: Claim::default(),
    }
}

/// A worker's own message.
fn ours(headers: Headers) -> Received {
    received(Trail::read(&headers), headers)
}

fn foreign(headers: Headers) -> Received {
    received(Trail::of_foreign(Some("shop"), now()), headers)
}

fn places() -> Places {
    let plan = Plan {
        destinations: vec![("crm".to_owned(), vec!["#".to_owned()])],
        ..Config::default().plan()
    };
    let names = Names::new(plan.namespace.clone());
    Places::new(names, &Topology::new(&plan), crate::testbed::judge())
}

fn letter(received: &Received) -> DeadLetter {
    places().letter(received)
}

fn by_a_worker() -> Headers {
    Headers::from_iter([
        (header::QUEUE, HeaderValue::from("longshore.integrate.crm")),
        (header::REASON, HeaderValue::from("receiver_refused")),
        (header::ERROR, HeaderValue::from("422")),
        (header::FAILED_AT, HeaderValue::from("2026-01-02T03:04:05Z")),
        (
            header::ACCEPTED_AT,
            HeaderValue::from("2026-01-02T03:04:05Z"),
        ),
        (header::ATTEMPT, HeaderValue::Int(3)),
        (header::GENERATION, HeaderValue::Int(1)),
        ("theirs", HeaderValue::from("kept")),
    ])
}

/// The broker's header, or a forged one.
fn x_death(queue: &str, reason: &str) -> Headers {
    let death = Headers::from_iter([
        ("queue", HeaderValue::from(queue)),
        ("reason", HeaderValue::from(reason)),
        ("time", HeaderValue::Time(1_767_322_245)),
        (
            "routing-keys",
            HeaderValue::List(vec![HeaderValue::from("forged.key")]),
        ),
    ]);
    let list = HeaderValue::List(vec![HeaderValue::Table(death)]);
    Headers::from_iter([("x-death", list)])
}

#[test]
fn a_workers_dead_letter_tells_everything() {
    let letter = letter(&ours(by_a_worker()));
    assert_eq!(letter.queue, "longshore.integrate.crm");
    assert_eq!(
        (letter.stage.as_str(), letter.destination.as_deref()),
        ("integrate", Some("crm"))
    );
    assert_eq!(
        (letter.reason, letter.error.as_str()),
        (ReasonCode::ReceiverRefused, "422")
    );
    assert_eq!((letter.attempts, letter.generation), (3, 1));
    assert_eq!(
        letter.event.map(|id| id.to_string()).as_deref(),
        Some(EVENT)
    );
    assert_eq!(letter.message.headers.text("theirs"), Some("kept"));
    assert_eq!(letter.message.headers.get(header::REASON), None);
}

#[test]
fn secrets_are_masked_in_what_was_refused_and_kept_in_what_was_not() {
    for (reason, is_kept) in [
        ("unknown_type", false),
        ("undecodable", false),
        ("too_large", false),
        ("receiver_refused", true),
        ("delivery_limit", true),
    ] {
        let mut headers = by_a_worker();
        headers.set(header::REASON, reason);
        headers.set(header::ERROR, r#"found {"password":"hunter2"}"#);
        headers.set("ce-token", "hunter2");
        let mut received = ours(headers);
        received.message.body = r#"{"password":"hunter2","email":"a",}"#.into();
        let letter = letter(&received);
        let shown = format!("{letter:?}");
        assert_eq!(shown.contains("hunter2"), is_kept, "{shown}");
        assert!(shown.contains("email"), "{shown}");
    }
}

#[test]
fn what_validation_would_refuse_is_masked_however_it_died() {
    let expired = |content_type: &str, body: &str| {
        let death = [("queue", "longshore.validate"), ("reason", "expired")];
        let death = HeaderValue::Table(Headers::from_iter(death));
        let headers = [("x-death", HeaderValue::List(vec![death]))];
        let mut received = foreign(Headers::from_iter(headers));
        received.message.content_type = Some(content_type.to_owned());
        received.message.body = body.to_owned().into();
        received.message.reply_to = Some("amqp://u:hunter2@h".to_owned());
        letter(&received)
    };
    let json = "application/json";
    for body in [
        r#"{"email":"a@b.example","name":"A","password":"hunter2"}"#,
        r#"{"email":"a@b.example","token":"hunter2"#,
    ] {
        let letter = expired(json, body);
        assert_eq!(letter.reason, ReasonCode::Expired);
        assert!(!format!("{letter:?}").contains("hunter2"), "{letter:?}");
    }
    let good = r#"{"email":"a@b.example","name":"password: hunter2"}"#;
    assert_eq!(expired(json, good).message.body, good.as_bytes());
    // A message that somebody publishes to the dead exchange by hand.
    let mut received = foreign(Headers::default());
    received.routing_key = "token=hunter2".to_owned();
    received.message.kind = None;
    received.message.body = r#"{"password":"hunter2"}"#.into();
    assert!(!format!("{:?}", letter(&received)).contains("hunter2"));
}

#[test]
fn what_differs_in_a_secret_alone_is_two_letters() {
    let refused = |password: &str| {
        let mut headers = by_a_worker();
        headers.remove(header::ACCEPTED_AT);
        headers.set(header::REASON, "undecodable");
        let mut received = ours(headers);
        received.message.body = format!(r#"{{"password":"{password}",}}"#).into();
        letter(&received)
    };
    let (one, other) = (refused("hunter2"), refused("hunter3"));
    assert_eq!(one.message.body, other.message.body);
    assert_ne!(one.id, other.id);
}

#[test]
fn one_death_is_one_letter_and_the_next_generation_another() {
    let again = letter(&ours(by_a_worker()));
    assert_eq!(letter(&ours(by_a_worker())).id, again.id);
    let mut headers = by_a_worker();
    headers.set(header::GENERATION, 2_i64);
    assert_ne!(letter(&ours(headers)).id, again.id);
}

#[test]
fn only_what_cannot_have_been_counted_before_is_counted() {
    let first = ours(by_a_worker());
    assert_eq!(letter(&first).copies, 1);
    let back = Received {
        redelivered: true,
        ..first
    };
    assert_eq!(letter(&back).copies, 0);
    let mut headers = by_a_worker();
    headers.set(header::CRASHES, 2_i64);
    assert_eq!(letter(&ours(headers)).copies, 0);
}

#[test]
fn the_brokers_dead_letters_are_understood() {
    let mut headers = x_death("longshore.store.suspect", "delivery_limit");
    headers.set(header::ACCEPTED_AT, "2026-01-02T03:04:05Z");
    let letter = letter(&ours(headers));
    assert_eq!(letter.queue, "longshore.store");
    assert_eq!(letter.reason, ReasonCode::DeliveryLimit);
    assert_eq!(letter.last_failed_at.unix_timestamp(), 1_767_322_245);
    assert_eq!(letter.routing_key, "signup.requested");
    assert!(letter.event.is_some());
}

#[test]
fn of_a_foreign_messages_death_only_what_cannot_be_forged_is_believed() {
    let letter = letter(&foreign(x_death("longshore.validate", "expired")));
    assert_eq!(letter.queue, "longshore.validate");
    assert_eq!(letter.reason, ReasonCode::Expired);
    assert_eq!(letter.event, None, "its message_id names no event of ours");
    assert_eq!(letter.routing_key, "signup.requested", "the delivery's own");
    assert!(letter.last_failed_at.unix_timestamp() > 1_767_322_245);
    assert_eq!((letter.attempts, letter.generation), (0, 0));
}

#[test]
fn a_queue_that_is_not_ours_is_neither_believed_nor_a_label() {
    let long = "x".repeat(6000);
    for queue in [
        "longshore.integrate.evil",
        "longshore.history",
        "other.store",
        "",
        &long,
    ] {
        let letter = letter(&foreign(x_death(queue, "delivery_limit")));
        assert_eq!(letter.queue, "longshore.dead", "{queue}");
        assert_eq!(letter.destination, None);
        assert_eq!(places().label(queue), "other");
    }
    let reason = letter(&foreign(x_death("longshore.store", &long)));
    assert!(reason.error.len() < 100, "{}", reason.error);
    assert_eq!(places().label("longshore.store"), "longshore.store");
}

#[test]
fn what_could_not_be_read_is_told_and_is_the_reason_where_there_is_no_other() {
    let damaged = |mut received: Received| {
        received.message.damage = Some(Box::new(Damage {
            code: ReasonCode::TooLarge,
            detail: "too long".to_owned(),
            body: Some("9 bytes, sha256 00".to_owned()),
        }));
        letter(&received)
    };
    let without = damaged(foreign(Headers::default()));
    assert_eq!(
        (without.reason, without.error.as_str()),
        (ReasonCode::TooLarge, "too long")
    );
    assert_eq!(
        without.message.headers.text(header::CUT),
        Some("9 bytes, sha256 00")
    );
    let with = damaged(ours(by_a_worker()));
    assert_eq!(
        (with.reason, with.error.as_str()),
        (ReasonCode::ReceiverRefused, "422; too long")
    );
}

#[test]
fn anything_else_is_kept_all_the_same() {
    for headers in [
        Headers::default(),
        Headers::from_iter([("x-death", HeaderValue::Int(1))]),
        Headers::from_iter([(header::QUEUE, HeaderValue::from("x"))]),
    ] {
        for received in [ours(headers.clone()), foreign(headers)] {
            let letter = letter(&received);
            assert_eq!(letter.queue, "longshore.dead");
            assert_eq!(letter.reason, ReasonCode::BrokerDeadLettered);
        }
    }
}

#[test]
fn a_message_names_an_event_where_our_door_or_validation_vouches_for_it() {
    let mut headers = by_a_worker();
    headers.remove(header::ACCEPTED_AT);
    for (publisher, accepted, known) in [
        ("amqp:-", None, false),
        ("amqp:-", Some("2026-01-02T03:04:05Z"), true),
        ("http:crm", None, true),
        ("longshore", None, true),
    ] {
        headers.set(header::PUBLISHER, publisher);
        match accepted {
            Some(at) => headers.set(header::ACCEPTED_AT, at),
            None => headers.remove(header::ACCEPTED_AT),
        }
        assert_eq!(letter(&ours(headers.clone())).event.is_some(), known);
    }
}
