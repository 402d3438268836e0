use proptest::prelude::*;

use super::*;
use crate::event::{header, now};
use crate::message::{CLOUDEVENTS_JSON, Damage, Headers, any_header};

const EVENT: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// Any message that a foreign publisher can send, of so few values that equal ones come up.
fn any_message() -> impl Strategy<Value = Message> {
    (
        prop::array::uniform8(prop::option::of("[ab]?")),
        (
            prop::option::of("[12]"),
            prop::option::of(0..2_u64),
            prop::option::of(0..2_u8),
        ),
        prop::collection::btree_map("[ab]", any_header(), 0..2),
        "[ab]?",
        prop::option::of(prop_oneof![Just("one"), Just("other")]),
    )
        .prop_map(
            |(texts, (expiration, timestamp, priority), headers, body, damage)| {
                let [
                    content_type,
                    content_encoding,
                    message_id,
                    correlation_id,
                    reply_to,
                    kind,
                    app_id,
                    cluster_id,
                ] = texts;
                Message {
                    body: body.into(),
                    content_type,
                    content_encoding,
                    message_id,
                    correlation_id,
                    reply_to,
                    kind,
                    app_id,
                    cluster_id,
                    user_id: None,
                    timestamp,
                    priority,
                    expiration,
                    headers: headers.into_iter().collect(),
                    damage: damage.map(|detail| {
                        Box::new(Damage {
                            code: crate::reason::ReasonCode::Undecodable,
                            detail: detail.to_owned(),
                            body: None,
                        })
                    }),
                }
            },
        )
}

fn foreign(user: Option<&str>) -> Trail {
    Trail::of_foreign(user, now())
}

fn of(message: &Message) -> Uuid {
    letter_id(message, &foreign(None), "key", "longshore.validate")
}

/// The parts of a message that RabbitMQ 3.10 keeps in a stream.
fn in_a_stream(message: &Message) -> Message {
    let mut kept = message.clone();
    kept.cluster_id = None;
    // It keeps milliseconds in 64 bits, of which the first is a sign.
    let kept_of = |seconds: u64| {
        let bits = (u128::from(seconds) * 1000).to_be_bytes();
        let low: [u8; 8] = bits[8..].try_into().expect("eight bytes");
        let seconds = i64::from_be_bytes(low) / 1000;
        u64::from_be_bytes(seconds.to_be_bytes())
    };
    kept.timestamp = kept.timestamp.map(kept_of);
    kept.headers = kept
        .headers
        .iter()
        .map(|(name, value)| match value {
            HeaderValue::Time(seconds) => (name.to_owned(), HeaderValue::Time(kept_of(*seconds))),
            other => (name.to_owned(), other.clone()),
        })
        .collect();
    let mut lost = Vec::new();
    for (name, value) in kept.headers.iter() {
        if matches!(value, HeaderValue::List(_) | HeaderValue::Table(_)) {
            lost.push(name.to_owned());
        }
    }
    kept.headers
        .retain(|name| !lost.iter().any(|it| it == name));
    // Its fault may be lost with it; the fault of a cut body stays in any case.
    kept.damage = kept.damage.take_if(|damage| damage.body.is_some());
    kept
}

proptest! {
    #[test]
    fn the_entry_key_is_the_same_in_a_stream(message in any_message()) {
        let of = |message: &Message| entry_key(message, &foreign(None), "key");
        prop_assert_eq!(of(&in_a_stream(&message)), of(&message));
        let more = Message { body: [&message.body[..], b"+"].concat().into(), ..message.clone() };
        prop_assert_ne!(of(&more), of(&message));
        prop_assert_ne!(entry_key(&message, &foreign(Some("eve")), "key"), of(&message));
        prop_assert_ne!(entry_key(&message, &foreign(None), "other"), of(&message));
    }
}

proptest! {
    #[test]
    fn a_stream_drops_the_parts_that_are_told(message in any_message()) {
        let kept = in_stream(&message);
        let has_all = kept.is_none();
        let kept = Message { damage: None, ..kept.unwrap_or_else(|| message.clone()) };
        let expected = Message { damage: None, ..in_a_stream(&message) };
        prop_assert!(are_equal(&kept, &expected));
        let whole = Message { damage: None, ..message };
        prop_assert_eq!(has_all, are_equal(&kept, &whole));
        prop_assert!(in_stream(&kept).is_none());
    }
}

#[test]
fn the_entry_key_of_a_body_that_was_cut_is_made_of_the_whole() {
    let cut = |whole: &str| Message {
        body: "the beginning".into(),
        damage: Some(Box::new(Damage {
            code: crate::reason::ReasonCode::TooLarge,
            detail: "too large".to_owned(),
            body: Some(whole.to_owned()),
        })),
        ..Message::default()
    };
    let of = |message: &Message| entry_key(message, &foreign(None), "key");
    assert_ne!(of(&cut("one")), of(&cut("other")));
    // As it travels on to the archive.
    let mut dead = Message {
        damage: None,
        ..cut("one")
    };
    dead.headers.set(header::CUT, "one");
    assert_eq!(of(&dead), of(&cut("one")));
}

/// Whether two messages say the same: zero is not minus zero here.
fn are_equal(one: &Message, other: &Message) -> bool {
    format!("{one:?}") == format!("{other:?}")
}

/// Each way in which `message` can be made another one.
fn changed(message: &Message) -> Vec<Message> {
    let mut changed = Vec::new();
    let mut with = |change: fn(&mut Message)| {
        let mut other = message.clone();
        change(&mut other);
        changed.push(other);
    };
    fn text(text: &mut Option<String>) {
        *text = Some(format!("{}x", text.as_deref().unwrap_or_default()));
    }
    with(|it| text(&mut it.content_type));
    with(|it| text(&mut it.content_encoding));
    with(|it| text(&mut it.message_id));
    with(|it| text(&mut it.correlation_id));
    with(|it| text(&mut it.reply_to));
    with(|it| text(&mut it.kind));
    with(|it| text(&mut it.app_id));
    with(|it| text(&mut it.cluster_id));
    with(|it| text(&mut it.expiration));
    with(|it| it.timestamp = Some(it.timestamp.unwrap_or_default() + 1));
    with(|it| it.priority = Some(it.priority.unwrap_or_default() + 1));
    with(|it| it.body = [&it.body[..], b"x"].concat().into());
    with(|it| it.headers.set("x", HeaderValue::Null));
    changed
}

proptest! {
    #[test]
    fn messages_share_a_letter_exactly_where_they_are_equal(
        one in any_message(),
        other in any_message(),
    ) {
        prop_assert_eq!(of(&one) == of(&other), are_equal(&one, &other));
        prop_assert_eq!(of(&one), of(&one.clone()));
        for other in changed(&one) {
            prop_assert_ne!(of(&one), of(&other));
        }
    }

    #[test]
    fn plain_messages_without_an_id_are_one_event_exactly_where_they_are_equal(
        one in any_message(),
        other in any_message(),
    ) {
        let unnamed = |message: &Message| Message {
            message_id: None,
            kind: None,
            app_id: None,
            content_type: Some("application/json".to_owned()),
            ..message.clone()
        };
        let (one, other) = (unnamed(&one), unnamed(&other));
        let id = |message: &Message| plain_id(message, "a.b", "a.b", "/shop");
        prop_assert_eq!(id(&one) == id(&other), are_equal(&one, &other));
        for other in changed(&one) {
            let is_told_elsewhere = other.kind.is_some() || other.app_id.is_some();
            if !is_told_elsewhere && other.message_id.is_none() {
                prop_assert_ne!(id(&one), id(&other));
            }
        }
    }

    #[test]
    fn one_more_header_of_any_kind_makes_another_letter(
        message in any_message(),
        value in any_header(),
        other in any_header(),
    ) {
        let with = |value: &HeaderValue| {
            let mut message = message.clone();
            message.headers.set("subject", value.clone());
            message
        };
        prop_assert_ne!(of(&with(&value)), of(&message));
        let equal = format!("{value:?}") == format!("{other:?}");
        prop_assert_eq!(of(&with(&value)) == of(&with(&other)), equal);
    }

    #[test]
    fn what_the_way_adds_makes_no_other_letter(message in any_message(), value in any_header()) {
        let mut later = message.clone();
        later.user_id = Some("longshore-validate".to_owned());
        for name in [header::ATTEMPT, header::CRASHES, header::TRACEPARENT, "x-death", "CC"] {
            later.headers.set(name, value.clone());
        }
        prop_assert_eq!(of(&later), of(&message));
        let trail = Trail { attempt: 3, crashes: 2, again: true, ..foreign(None) };
        prop_assert_eq!(letter_id(&later, &trail, "key", "longshore.validate"), of(&message));
    }
}

#[test]
fn where_and_from_whom_a_message_came_counts() {
    let message = Message::default();
    let letters = [
        letter_id(&message, &foreign(None), "key", "longshore.validate"),
        letter_id(&message, &foreign(None), "other", "longshore.validate"),
        letter_id(&message, &foreign(None), "key", "longshore.dead"),
        letter_id(
            &message,
            &foreign(Some("shop")),
            "key",
            "longshore.validate",
        ),
        letter_id(
            &message,
            &Trail {
                generation: 1,
                ..foreign(None)
            },
            "key",
            "longshore.validate",
        ),
    ];
    let distinct: std::collections::HashSet<_> = letters.iter().collect();
    assert_eq!(distinct.len(), letters.len());
}

#[test]
fn a_kind_of_value_is_no_other_kind_that_looks_alike() {
    let values = [
        HeaderValue::Null,
        HeaderValue::Bool(true),
        HeaderValue::Int8(1),
        HeaderValue::UInt8(1),
        HeaderValue::Int16(1),
        HeaderValue::UInt16(1),
        HeaderValue::Int32(1),
        HeaderValue::UInt32(1),
        HeaderValue::Int(1),
        HeaderValue::Float32(1.0),
        HeaderValue::Float(1.0),
        HeaderValue::Decimal { scale: 0, value: 1 },
        HeaderValue::Time(1),
        HeaderValue::RawText(vec![b'1']),
        HeaderValue::from("1"),
        HeaderValue::Bytes(vec![b'1']),
        HeaderValue::List(vec![HeaderValue::from("1")]),
        HeaderValue::Table([("1", HeaderValue::Null)].into_iter().collect()),
    ];
    let words = values.map(|value| {
        message_word(&Message {
            headers: [("a", value)].into_iter().collect(),
            ..Message::default()
        })
    });
    let distinct: std::collections::HashSet<_> = words.iter().collect();
    assert_eq!(distinct.len(), words.len());
}

#[test]
fn what_could_not_travel_on_counts_as_what_came() {
    let mut message = Message {
        body: "all of it".into(),
        ..Message::default()
    };
    message.headers.set("theirs", "a lot");
    let id = of(&message);
    let word = message_word(&message);
    message.headers = [(header::DIGEST, word)].into_iter().collect();
    message.body = "all".into();
    assert_eq!(of(&message), id);
}

#[test]
fn the_order_of_headers_does_not_count() {
    let pairs = [("a", HeaderValue::Int(1)), ("b", HeaderValue::Int(2))];
    let with = |headers: Headers| Message {
        headers,
        ..Message::default()
    };
    let there = with(pairs.clone().into_iter().collect());
    let back = with(pairs.into_iter().rev().collect());
    assert_eq!(of(&there), of(&back));
}

/// An event of ours with this body, on its way.
fn accepted(body: &str) -> (Message, Trail) {
    let message = Message {
        body: body.to_owned().into(),
        content_type: Some(CLOUDEVENTS_JSON.to_owned()),
        message_id: Some(EVENT.to_owned()),
        ..Message::default()
    };
    let trail = Trail {
        accepted_at: Some(now()),
        ..foreign(None)
    };
    (message, trail)
}

fn event(data: &str, rest: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"7","source":"/s","type":"a.b","data":{data}{rest}}}"#)
}

#[test]
fn an_event_dies_once_with_one_content() {
    let letter = |body: &str| {
        let (message, trail) = accepted(body);
        letter_id(&message, &trail, "a.b", "longshore.store")
    };
    let first = event(r#"{"n":1.0}"#, "");
    let noon = r#","time":"2026-01-02T12:00:00Z""#;
    assert_eq!(letter(&first), letter(&event(r#"{"n":1.0}"#, noon)));
    for other in [
        event(r#"{"n":1.00}"#, ""),
        event(r#"{"n":1.0}"#, r#","subject":"s""#),
        "no event".to_owned(),
        String::new(),
    ] {
        assert_ne!(letter(&first), letter(&other), "{other}");
    }
}

#[test]
fn only_what_our_door_or_validation_vouches_for_names_an_event() {
    let (message, accepted) = accepted("{}");
    let of_door = Trail {
        publisher: Some(Publisher::http("crm")),
        ..Trail::default()
    };
    for trail in [accepted, of_door] {
        let named = event_of(&message, &trail).map(|id| id.to_string());
        assert_eq!(named.as_deref(), Some(EVENT));
    }
    for trail in [Trail::default(), foreign(None), foreign(Some("longshore"))] {
        assert_eq!(event_of(&message, &trail), None);
    }
}

#[test]
fn the_ids_of_plain_messages_are_fixed_for_ever() {
    let message = Message {
        body: r#"{"a":1}"#.into(),
        content_type: Some("application/json; charset=utf-8".to_owned()),
        kind: Some("a.b".to_owned()),
        app_id: Some("/shop".to_owned()),
        ..Message::default()
    };
    let id = plain_id(&message, "a.b", "a.b", "/shop");
    assert_eq!(id, name_based(&[b"a.b", b"/shop", br#"{"a":1}"#]));
    assert_ne!(id, plain_id(&message, "other", "a.b", "/shop"));
}
