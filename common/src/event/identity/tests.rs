use proptest::prelude::*;

use super::*;
use crate::event::{header, now};
use crate::message::{CLOUDEVENTS_JSON, any_header};

const EVENT: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// Any message that a foreign publisher can send, but for the body, which is one of a few.
fn any_message() -> impl Strategy<Value = Message> {
    (
        prop::array::uniform4(prop::option::of("[ab]{0,2}")),
        prop::option::of(0..3_u64),
        prop::collection::btree_map("[abc]", any_header(), 0..3),
        "[ab]{0,2}",
    )
        .prop_map(
            |([content_type, message_id, kind, app_id], timestamp, headers, body)| Message {
                body: body.into(),
                content_type,
                message_id,
                kind,
                app_id,
                timestamp,
                headers: headers.into_iter().collect(),
                ..Message::default()
            },
        )
}

fn foreign(user: Option<&str>) -> Trail {
    Trail::of_foreign(user, now())
}

fn of(message: &Message) -> Uuid {
    letter_id(message, &foreign(None), "key", "longshore.validate")
}

/// Whether two messages say the same: `NaN` is itself here.
fn are_equal(one: &Message, other: &Message) -> bool {
    format!("{one:?}") == format!("{other:?}")
}

proptest! {
    #[test]
    fn messages_share_a_letter_exactly_where_they_are_equal(
        one in any_message(),
        other in any_message(),
    ) {
        prop_assert_eq!(of(&one) == of(&other), are_equal(&one, &other));
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
        let id = |message| plain_id(message, "a.b", "a.b", "/shop");
        prop_assert_eq!(id(&one) == id(&other), are_equal(&one, &other));
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
        HeaderValue::Int(1),
        HeaderValue::Float(1.0),
        HeaderValue::Time(1),
        HeaderValue::from("1"),
        HeaderValue::Bytes(vec![b'1']),
        HeaderValue::List(vec![HeaderValue::from("1")]),
        HeaderValue::Table([("1", HeaderValue::Null)].into_iter().collect()),
    ];
    let words = values.map(|value| headers_word(&[("a", value)].into_iter().collect()));
    let distinct: std::collections::HashSet<_> = words.iter().collect();
    assert_eq!(distinct.len(), words.len());
}

#[test]
fn headers_that_were_left_out_count_as_those_that_came() {
    let mut message = Message::default();
    message.headers.set("theirs", "a lot");
    let id = of(&message);
    let word = headers_word(&message.headers);
    message.headers = [(header::LEFT_OUT, word)].into_iter().collect();
    assert_eq!(of(&message), id);
}

#[test]
fn the_order_of_headers_does_not_count() {
    let pairs = [("a", HeaderValue::Int(1)), ("b", HeaderValue::Int(2))];
    let there: Headers = pairs.clone().into_iter().collect();
    let back: Headers = pairs.into_iter().rev().collect();
    assert_eq!(headers_word(&there), headers_word(&back));
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
