use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::event::{header, now};
use crate::message::Headers;

fn read(message: &Message) -> Result<Decoded, Undecodable> {
    let logins = Logins::new(["ours", "ours-too"]);
    decode(
        message,
        "signup.requested",
        &logins,
        Limits::default(),
        now(),
    )
}

fn good(message: &Message) -> Decoded {
    read(message).unwrap_or_else(|error| panic!("{error}"))
}

fn message(content_type: &str, body: impl Into<Bytes>) -> Message {
    Message {
        body: body.into(),
        content_type: Some(content_type.to_owned()),
        ..Message::default()
    }
}

fn structured() -> Message {
    let body = br#"{ "specversion":"1.0","id":"7","source":"/shop","type":"signup.requested",
        "time":"2026-01-02T03:04:05Z","tenant":"a","data":{"email": "a@b.example"} }"#;
    message("application/cloudevents+json; charset=utf-8", &body[..])
}

#[test]
fn a_structured_event_is_forwarded_byte_for_byte() {
    let decoded = good(&structured());
    assert_eq!(decoded.body, structured().body);
    assert_eq!(decoded.data, json!({"email": "a@b.example"}));
    assert_eq!(decoded.event.extensions["tenant"], json!("a"));
    let publisher = Publisher::amqp(None);
    assert_eq!(decoded.id, EventId::derived(&publisher, "/shop", "7"));
    assert_eq!(decoded.trail.publisher, Some(publisher));
}

#[test]
fn binary_headers_with_any_prefix_make_the_same_event() {
    for prefix in [
        "cloudEvents:",
        "cloudEvents_",
        "ce-",
        "ce_",
        "CE-",
        "CloudEvents:",
    ] {
        let mut binary = message("application/json", &br#"{"email": "a@b.example"}"#[..]);
        binary.headers = Headers::from_iter([
            (format!("{prefix}specversion"), HeaderValue::from("1.0")),
            (format!("{prefix}id"), HeaderValue::from("7")),
            (format!("{prefix}source"), HeaderValue::from("/shop")),
            (
                format!("{prefix}type"),
                HeaderValue::from("signup.requested"),
            ),
            (format!("{prefix}time"), HeaderValue::Time(1_767_322_245)),
        ]);
        let decoded = good(&binary);
        assert_eq!(decoded.id, good(&structured()).id);
        assert_eq!(decoded.event.time.as_deref(), Some("2026-01-02T02:50:45Z"));
        let canonical: Value = serde_json::from_slice(&decoded.body).unwrap_or_default();
        assert_eq!(canonical["data"], json!({"email": "a@b.example"}));
    }
}

#[test]
fn plain_json_takes_its_attributes_from_the_properties() {
    let mut plain = message("application/json", &br#"{"a":1}"#[..]);
    plain.message_id = Some("7".to_owned());
    plain.app_id = Some("/shop".to_owned());
    plain.timestamp = Some(0);
    let decoded = good(&plain);
    assert_eq!(decoded.id, good(&structured()).id);
    assert_eq!(decoded.event.kind, "signup.requested");
    assert_eq!(decoded.event.time.as_deref(), Some("1970-01-01T00:00:00Z"));
    plain.kind = Some("processing.requested".to_owned());
    assert_eq!(good(&plain).event.kind, "processing.requested");
}

#[test]
fn without_an_id_the_content_is_the_id() {
    let one = message("application/json", &br#"{"a":1}"#[..]);
    let other = message("application/json", &br#"{"a":2}"#[..]);
    assert_eq!(good(&one).id, good(&one).id);
    assert_ne!(good(&one).id, good(&other).id);
}

#[test]
fn only_a_broker_vouched_user_is_believed() {
    let mut forged = structured();
    forged.headers.set(header::PUBLISHER, "longshore");
    forged.headers.set(header::GENERATION, 7_i64);
    for user in [None, Some("mallory".to_owned())] {
        forged.user_id = user.clone();
        let decoded = good(&forged);
        assert_eq!(decoded.trail.generation, 0);
        assert_eq!(
            decoded.trail.publisher,
            Some(Publisher::amqp(user.as_deref()))
        );
    }
    for ours in ["ours", "ours-too"] {
        forged.user_id = Some(ours.to_owned());
        forged.headers.set(header::PUBLISHER, "http:crm");
        let decoded = good(&forged);
        assert_eq!(decoded.trail.generation, 7);
        assert_eq!(
            decoded.id,
            EventId::derived(&Publisher::http("crm"), "/shop", "7")
        );
    }
}

#[test]
fn what_is_no_event_says_what_was_expected() {
    let too_large = message("application/json", vec![b' '; 300 * 1024]);
    assert_eq!(
        read(&too_large).map(|_| ()).map_err(|e| e.code),
        Err(ReasonCode::TooLarge)
    );

    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let ce = |rest: &str| {
        let text = format!(
            r#"{{"specversion":"1.0","id":"7","source":"/s","type":"t","data":{{}}{rest}}}"#
        );
        message(CLOUDEVENTS_JSON, text)
    };
    for (bad, word) in [
        (message("text/plain", "hello"), "content type"),
        (
            message("application/cloudevents-batch+json", "[]"),
            "content type",
        ),
        (message("application/json; charset=latin1", "{}"), "UTF-8"),
        (
            message("application/cloudevents+json; charset=latin1", "{}"),
            "UTF-8",
        ),
        (message("application/json", "{"), "JSON"),
        (message("application/json", ""), "JSON"),
        (message("application/json", &b"\xff\xfe{\0}\0"[..]), "UTF-8"),
        (message("application/json", deep), "recursion"),
        (message(CLOUDEVENTS_JSON, "{}"), "specversion"),
        (message(CLOUDEVENTS_JSON, "[1]"), "CloudEvent"),
        (ce(r#","time":"noon""#), "time"),
        (ce(r#","Tenant":"a""#), "Tenant"),
        (ce(r#","data_base64":"AA==""#), "data_base64"),
        (ce(r#","subject":"""#), "subject"),
        (ce(r#","datacontenttype":"text/xml""#), "JSON media type"),
        (ce(r#","data":{}"#), "once"),
        (ce(r#","ext":1.5"#), "whole number"),
    ] {
        match read(&bad) {
            Err(error) => {
                assert_eq!(error.code, ReasonCode::Undecodable);
                assert!(error.detail.contains(word), "{word:?} in {error}");
            }
            Ok(decoded) => panic!("expected an error about {word}, found {decoded:?}"),
        }
    }
}

fn with_headers<const N: usize>(headers: [(&str, HeaderValue); N]) -> Message {
    let mut message = message("application/json", &b"{}"[..]);
    message.headers = Headers::from_iter([
        ("ce-specversion".to_owned(), HeaderValue::from("1.0")),
        ("ce-id".to_owned(), HeaderValue::from("7")),
        ("ce-source".to_owned(), HeaderValue::from("/shop")),
        ("ce-type".to_owned(), HeaderValue::from("signup.requested")),
    ]);
    for (name, value) in headers {
        message.headers.set(name.to_owned(), value);
    }
    message
}

#[test]
fn the_same_attribute_under_two_prefixes_has_one_value() {
    let both = with_headers([("cloudEvents:id", "7".into()), ("Ce-Id", "7".into())]);
    assert_eq!(good(&both).event.id, "7");
    let differ = with_headers([("cloudEvents_id", "8".into())]);
    assert!(read(&differ).is_err_and(|error| error.detail.contains("/id")));
}

#[test]
fn headers_beside_a_structured_event_say_nothing() {
    let mut both = with_headers([]);
    both.content_type = structured().content_type;
    both.body = structured().body;
    both.headers.set("ce-id", "8");
    let decoded = good(&both);
    assert_eq!(decoded.event.id, "7");
    assert_eq!(decoded.body, both.body);
}

#[test]
fn a_header_has_a_type_that_json_has() {
    let event = good(&with_headers([
        ("ce-count", HeaderValue::UInt8(7)),
        ("ce-none", HeaderValue::Null),
        ("ce-on", HeaderValue::Bool(true)),
    ]));
    assert_eq!(event.event.extensions["count"], json!(7));
    assert_eq!(event.event.extensions.len(), 2);
    for wrong in [
        HeaderValue::Float(1.5),
        HeaderValue::Float(f64::NAN),
        HeaderValue::Decimal { scale: 0, value: 1 },
        HeaderValue::RawText(vec![0xff]),
        HeaderValue::Bytes(vec![0xff]),
        HeaderValue::List(Vec::new()),
        HeaderValue::Table(Headers::default()),
    ] {
        assert!(
            read(&with_headers([("ce-ext", wrong.clone())])).is_err(),
            "{wrong:?}"
        );
    }
    assert!(read(&with_headers([("ce-id", HeaderValue::Int(7))])).is_err());
}

#[test]
fn a_content_encoding_is_refused_unless_it_changes_nothing() {
    for (encoding, is_taken) in [
        ("utf-8", true),
        ("identity", true),
        ("gzip", false),
        ("latin1", false),
    ] {
        let mut encoded = structured();
        encoded.content_encoding = Some(encoding.to_owned());
        assert_eq!(read(&encoded).is_ok(), is_taken, "{encoding}");
    }
}

#[test]
fn a_binary_event_may_have_no_data() {
    let mut bare = with_headers([]);
    bare.body = Bytes::new();
    let decoded = good(&bare);
    assert!(decoded.event.data.is_none() && decoded.data.is_null());
    let again = good(&message(CLOUDEVENTS_JSON, decoded.body));
    assert!(again.event.data.is_none());
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        body in prop::collection::vec(any::<u8>(), 0..400),
        content_type in prop::option::of("[ -~]{0,40}"),
        kind in prop::option::of(".{0,20}"),
        id in prop::option::of(".{0,300}"),
        header in ".{0,20}",
        timestamp in prop::option::of(any::<u64>()),
    ) {
        let mut message = message("application/json", body);
        message.kind = kind;
        message.message_id = id;
        message.timestamp = timestamp;
        message.headers.set(format!("cloudEvents:{header}"), 1_i64);
        let _ = read(&message);
        message.headers = Headers::default();
        let _ = read(&message);
        message.content_type = content_type;
        let _ = read(&message);
    }

    #[test]
    fn json_in_an_event_survives_canonical_form(text in ".{0,60}", number in any::<i64>()) {
        let data = json!({"text": text, "number": number});
        let decoded = good(&message("application/json", data.to_string()));
        prop_assert_eq!(&decoded.data, &data);
        let again = good(&message(CLOUDEVENTS_JSON, decoded.body.clone()));
        prop_assert_eq!(again.data, data);
        prop_assert_eq!(again.body, decoded.body);
    }
}

#[test]
fn a_plain_event_has_a_stream_id_where_a_stream_drops_what_its_id_is_made_of() {
    let plain = message("application/json", &br#"{"email": "a@b.example"}"#[..]);
    let mut listed = plain.clone();
    listed.headers.set("tags", HeaderValue::List(Vec::new()));
    let id = good(&plain).id;
    assert_eq!(good(&plain).stream_id, None);
    assert_eq!(good(&listed).stream_id, Some(id));
    assert_ne!(good(&listed).id, id);
    let in_cluster = Message {
        cluster_id: Some("east".to_owned()),
        ..plain.clone()
    };
    assert_eq!(good(&in_cluster).stream_id, Some(id));
    let mut long_ago = plain;
    long_ago.headers.set("at", HeaderValue::Time(1 << 62));
    assert!(good(&long_ago).stream_id.is_some_and(|it| it != id));
    // These have ids of their publishers'.
    let named = Message {
        message_id: Some("7".to_owned()),
        ..listed.clone()
    };
    assert_eq!(good(&named).stream_id, None);
    let structured = Message {
        headers: listed.headers,
        ..structured()
    };
    assert_eq!(good(&structured).stream_id, None);
}

#[test]
fn what_the_history_need_not_have_is_marked() {
    let mut decimal = structured();
    let value = HeaderValue::Decimal { scale: 2, value: 5 };
    decimal.headers.set("price", value.clone());
    assert_eq!(good(&decimal).stream_id, Some(EventId::NONE));
    // In a list it is dropped with the list.
    let mut listed = structured();
    listed.headers.set("prices", HeaderValue::List(vec![value]));
    assert_eq!(good(&listed).stream_id, None);
    // A dead letter may have been mended before it was sent again.
    let mut again = structured();
    again.headers.set(header::PUBLISHER, "amqp:shop");
    again.headers.set(header::GENERATION, 1_i64);
    assert_eq!(good(&again).stream_id, None, "nobody vouches for it");
    again.user_id = Some("ours".to_owned());
    assert_eq!(good(&again).stream_id, Some(EventId::NONE));
}
