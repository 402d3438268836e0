//! From a message to an event: the three shapes in which events arrive over AMQP.
//!
//! 1. `application/cloudevents+json`: a structured CloudEvent;
//! 2. binary: attributes in headers, the body is the data (see [`PREFIXES`]);
//! 3. plain `application/json`: the body is the data, the message's properties say the rest.
//!
//! The content type decides first: a structured event is read from its body alone, whatever headers stand
//! beside it. Nothing here panics, whatever the bytes: what is not an event leaves with a reason.

use bytes::Bytes;
use serde_json::Value;
use time::OffsetDateTime;

use super::cloud::clip;
use super::foreign::recognise;
use super::media::MediaType;
use super::read::{self, Attribute, Read, Unfit};
use super::{CloudEvent, EventId, Logins, Publisher, Trail, plain_id, to_rfc3339};
use crate::message::{CLOUDEVENTS_JSON, HeaderValue, Headers, Message};
use crate::reason::ReasonCode;

/// How the headers of a binary event begin, without regard to case: as the CloudEvents AMQP binding 1.0.2
/// has it, and as its bindings for RabbitMQ do, which took it from HTTP.
const PREFIXES: [&str; 4] = ["cloudEvents:", "cloudEvents_", "ce-", "ce_"];

/// Values of `content_encoding` that change nothing. Some libraries write the charset there, or that the body
/// is bytes.
const ENCODINGS: [&str; 6] = ["", "identity", "utf-8", "utf8", "us-ascii", "binary"];

/// Bounds on what is taken for an event at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Maximum size of an event, as it came and in its canonical form, in bytes.
    pub event_bytes: usize,
}

impl Limits {
    /// Maximum bytes of an accepted event in its canonical form: its data may be in base64 by then, and its
    /// attributes in the body.
    pub fn canonical_bytes(&self) -> usize {
        let data = self.event_bytes.saturating_add(self.event_bytes / 3);
        data.saturating_add(64 * 1024)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            event_bytes: 256 * 1024,
        }
    }
}

impl Limits {
    fn check(self, body: &[u8]) -> Result<(), Undecodable> {
        if body.len() <= self.event_bytes {
            return Ok(());
        }
        Err(Undecodable {
            code: ReasonCode::TooLarge,
            detail: format!(
                "expected an event of at most {} bytes, found {}",
                self.event_bytes,
                body.len()
            ),
        })
    }
}

/// An event read off a message.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// Our key for it.
    pub id: EventId,
    /// The event.
    pub event: CloudEvent,
    /// Its data as the schema of its type sees it, see [`Read::data`].
    pub data: Value,
    /// Its canonical form, a structured CloudEvent: the very bytes that came, where they are that.
    pub body: Bytes,
    /// What was known of it already, `publisher` and `received_at` always among it.
    pub trail: Trail,
}

/// Why a message is not an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Undecodable {
    /// [`ReasonCode::Undecodable`] or [`ReasonCode::TooLarge`].
    pub code: ReasonCode,
    /// What was expected and what was found.
    pub detail: String,
}

fn undecodable(detail: impl Into<String>) -> Undecodable {
    Undecodable {
        code: ReasonCode::Undecodable,
        detail: detail.into(),
    }
}

/// Reads the event off a message that arrived at `now` with `routing_key`.
///
/// Only a message under one of our own `logins` is believed what its `longshore-*` headers say; anybody
/// else's are ignored, so no publisher can pass for another.
///
/// # Errors
/// The message is too large or none of the three shapes.
pub fn decode(
    message: &Message,
    routing_key: &str,
    logins: &Logins,
    limits: Limits,
    now: OffsetDateTime,
) -> Result<Decoded, Undecodable> {
    limits.check(&message.body)?;
    let user = message.user_id.as_deref();
    let mut trail = if logins.trusts(user) {
        Trail::read(&message.headers)
    } else {
        Trail::of_foreign(user, now)
    };
    let publisher = trail
        .publisher
        .take()
        .unwrap_or_else(|| Publisher::amqp(user));
    let received_at = *trail.received_at.get_or_insert(now);

    let read = read_shape(message, routing_key, &publisher).map_err(|detail| {
        undecodable(match recognise(message) {
            Some(sight) => format!("{detail}; {sight}"),
            None => detail,
        })
    })?;
    let Read {
        mut event,
        data,
        as_written,
    } = read;
    let unchanged = as_written && event.time.is_some();
    event.time.get_or_insert_with(|| to_rfc3339(received_at));

    let id = if publisher.is_ourselves() {
        event
            .id
            .parse()
            .map_err(|_| undecodable("attribute `id`: expected a UUID"))?
    } else {
        EventId::derived(&publisher, &event.source, &event.id)
    };
    let body = if unchanged {
        message.body.clone()
    } else {
        let bytes = serde_json::to_vec(&event)
            .map_err(|error| undecodable(format!("the event cannot be written: {error}")))?;
        Bytes::from(bytes)
    };
    limits.check(&body)?;
    trail.publisher = Some(publisher);
    Ok(Decoded {
        id,
        event,
        data,
        body,
        trail,
    })
}

/// Reads the event in whichever shape it has.
///
/// # Errors
/// What was expected and what was found.
fn read_shape(message: &Message, routing_key: &str, publisher: &Publisher) -> Result<Read, String> {
    let told = |what: &'static str| move |unfit: Unfit| format!("expected {what}: {unfit}");
    if let Some(encoding) = message.content_encoding.as_deref()
        && !ENCODINGS
            .iter()
            .any(|known| known.eq_ignore_ascii_case(encoding))
    {
        return Err(format!(
            "expected no content encoding, found {:?}",
            clip(encoding)
        ));
    }
    let content_type = message.content_type.as_deref();
    let media = MediaType::read(content_type.unwrap_or_default());
    if media.is_event() && media.is_utf8() {
        return read::structured(&message.body).map_err(told("a structured CloudEvent"));
    }
    if !media.is_any_event() {
        let attributes = attributes(&message.headers);
        if !attributes.is_empty() {
            return read::binary(attributes, content_type, &message.body)
                .map_err(told("a CloudEvent with its attributes in headers"));
        }
        if media.is_json() && media.is_utf8() {
            let event = plain(message, routing_key, publisher);
            return read::plain(event, &message.body).map_err(told("plain JSON data"));
        }
    }
    Err(format!(
        "expected content type {CLOUDEVENTS_JSON}, CloudEvents headers, or application/json, each in \
         UTF-8, found {:?}",
        clip(content_type.unwrap_or_default())
    ))
}

/// The attributes of shape 2; none where it is another shape.
fn attributes(headers: &Headers) -> Vec<Attribute> {
    let mut attributes: Vec<Attribute> = Vec::new();
    for (name, value) in headers.iter() {
        let attribute = PREFIXES.iter().find_map(|prefix| {
            let (start, attribute) = name.split_at_checked(prefix.len())?;
            start.eq_ignore_ascii_case(prefix).then_some(attribute)
        });
        let Some(attribute) = attribute else { continue };
        let value = match value {
            HeaderValue::Null => continue,
            // AMQP has a type for moments; CloudEvents' JSON format writes them as text.
            HeaderValue::Time(seconds) => Ok(Value::from(seconds_to_rfc3339(*seconds))),
            HeaderValue::Text(_) | HeaderValue::Bool(_) => Ok(value.to_json()),
            other => match other.as_int() {
                Some(number) => Ok(Value::from(number)),
                None => {
                    Err("expected text, a whole number or a truth value in the header".to_owned())
                }
            },
        };
        let attribute = attribute.to_ascii_lowercase();
        match attributes.iter_mut().find(|(known, _)| *known == attribute) {
            None => attributes.push((attribute, value)),
            // Some publishers write both prefixes.
            Some((_, known)) if *known == value => {}
            Some((_, known)) => {
                *known = Err("expected one value, found headers that differ".into())
            }
        }
    }
    attributes
}

/// The attributes of shape 3.
fn plain(message: &Message, routing_key: &str, publisher: &Publisher) -> CloudEvent {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let kind = given(&message.kind).unwrap_or_else(|| routing_key.to_owned());
    let source = given(&message.app_id).unwrap_or_else(|| publisher.as_str().to_owned());
    // With no id the content is the id, so that a message sent twice is no second event.
    let id = given(&message.message_id)
        .unwrap_or_else(|| plain_id(message, routing_key, &kind, &source).to_string());
    CloudEvent {
        specversion: "1.0".to_owned(),
        id,
        source,
        kind,
        time: message.timestamp.map(seconds_to_rfc3339),
        datacontenttype: Some("application/json".to_owned()),
        ..read::blank()
    }
}

/// Seconds since 1970 as RFC 3339; what no calendar holds stays a number, and fails the check of the
/// attribute with a message of its own.
fn seconds_to_rfc3339(seconds: u64) -> String {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .map_or_else(|| seconds.to_string(), to_rfc3339)
}

#[cfg(test)]
mod tests {
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
}
