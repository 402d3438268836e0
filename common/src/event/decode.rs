//! From a message to an event: the three shapes in which events arrive over AMQP.
//!
//! 1. `application/cloudevents+json`: a structured CloudEvent;
//! 2. `cloudEvents:*` or `cloudEvents_*` headers (CloudEvents AMQP binding 1.0.2, whose attribute
//!    prefixes are used on AMQP 0-9-1 headers): the body is the data;
//! 3. plain `application/json`: the body is the data, the message's properties say the rest.
//!
//! Nothing here panics, whatever the bytes: what is no event leaves with a reason.

use bytes::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;
use time::OffsetDateTime;

use super::cloud::{clip, is_json};
use super::{CloudEvent, EventId, Logins, Publisher, Trail, plain_id, to_rfc3339};
use crate::message::{CLOUDEVENTS_JSON, HeaderValue, Message};
use crate::reason::ReasonCode;

/// Bounds on what is taken for an event at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest body, in bytes.
    pub event_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            event_bytes: 256 * 1024,
        }
    }
}

/// An event read off a message.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// Our key for it.
    pub id: EventId,
    /// The event.
    pub event: CloudEvent,
    /// Its data, parsed.
    pub data: Value,
    /// Its canonical form, a structured CloudEvent: the very bytes that came, where they are that.
    pub body: Bytes,
    /// What was known of it already, `publisher` and `received_at` always among it.
    pub trail: Trail,
}

/// Why a message is no event.
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
    if message.body.len() > limits.event_bytes {
        return Err(Undecodable {
            code: ReasonCode::TooLarge,
            detail: format!(
                "expected at most {} bytes, found {}",
                limits.event_bytes,
                message.body.len()
            ),
        });
    }
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

    let (mut event, unchanged) = read_shape(message, routing_key, &publisher)?;
    let unchanged = unchanged && event.time.is_some();
    event.time.get_or_insert_with(|| to_rfc3339(received_at));
    event
        .check_attributes()
        .map_err(|error| undecodable(error.to_string()))?;

    let id = if publisher.is_ourselves() {
        event
            .id
            .parse()
            .map_err(|_| undecodable("attribute `id`: expected a UUID"))?
    } else {
        EventId::derived(&publisher, &event.source, &event.id)
    };
    let data = serde_json::from_str(event.data())
        .map_err(|error| undecodable(format!("the data is no JSON that can be read: {error}")))?;
    let body = if unchanged {
        message.body.clone()
    } else {
        let bytes = serde_json::to_vec(&event)
            .map_err(|error| undecodable(format!("the event cannot be written: {error}")))?;
        Bytes::from(bytes)
    };
    trail.publisher = Some(publisher);
    Ok(Decoded {
        id,
        event,
        data,
        body,
        trail,
    })
}

/// The event, and whether the body is its canonical form already.
fn read_shape(
    message: &Message,
    routing_key: &str,
    publisher: &Publisher,
) -> Result<(CloudEvent, bool), Undecodable> {
    let content_type = message.content_type.as_deref().unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(CLOUDEVENTS_JSON) {
        let event = serde_json::from_slice(&message.body)
            .map_err(|error| undecodable(format!("expected a structured CloudEvent: {error}")))?;
        return Ok((event, true));
    }
    if let Some(event) = read_binary(message)? {
        return Ok((event, false));
    }
    if is_json(content_type) && !essence.starts_with("application/cloudevents") {
        return Ok((read_plain(message, routing_key, publisher)?, false));
    }
    Err(undecodable(format!(
        "expected content type {CLOUDEVENTS_JSON}, cloudEvents headers, or application/json, \
         found {:?}",
        clip(content_type)
    )))
}

/// Shape 2. `None` where no header is a CloudEvents attribute.
fn read_binary(message: &Message) -> Result<Option<CloudEvent>, Undecodable> {
    let mut attributes = serde_json::Map::new();
    for (name, value) in message.headers.iter() {
        let attribute = name
            .strip_prefix("cloudEvents:")
            .or(name.strip_prefix("cloudEvents_"));
        let Some(attribute) = attribute else { continue };
        let value = match value {
            // AMQP has a type for moments; CloudEvents' JSON format writes them as text.
            HeaderValue::Time(seconds) => Value::from(seconds_to_rfc3339(*seconds)),
            HeaderValue::Null => continue,
            HeaderValue::List(_) | HeaderValue::Table(_) | HeaderValue::Bytes(_) => {
                return Err(undecodable(format!(
                    "header {:?}: expected text, a number or a truth value",
                    clip(name)
                )));
            }
            other => other.to_json(),
        };
        if matches!(attribute, "data" | "data_base64") {
            return Err(undecodable(format!(
                "header {name:?}: the data belongs in the body"
            )));
        }
        attributes.insert(attribute.to_owned(), value);
    }
    if attributes.is_empty() {
        return Ok(None);
    }
    let mut event: CloudEvent = serde_json::from_value(Value::Object(attributes))
        .map_err(|error| undecodable(format!("the cloudEvents headers: {error}")))?;
    // In binary mode the content type is the data's own.
    event.datacontenttype.clone_from(&message.content_type);
    event.data = Some(read_data(&message.body)?);
    Ok(Some(event))
}

/// Shape 3.
fn read_plain(
    message: &Message,
    routing_key: &str,
    publisher: &Publisher,
) -> Result<CloudEvent, Undecodable> {
    let data = read_data(&message.body)?;
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let kind = given(&message.kind).unwrap_or_else(|| routing_key.to_owned());
    let source = given(&message.app_id).unwrap_or_else(|| publisher.as_str().to_owned());
    // With no id the content is the id, so that a message sent twice is no second event.
    let id = given(&message.message_id)
        .unwrap_or_else(|| plain_id(message, routing_key, &kind, &source).to_string());
    let mut event = CloudEvent::new(id, &source, &kind, String::new(), data);
    event.time = message.timestamp.map(seconds_to_rfc3339);
    Ok(event)
}

fn read_data(body: &[u8]) -> Result<Box<RawValue>, Undecodable> {
    serde_json::from_slice(body)
        .map_err(|error| undecodable(format!("expected JSON data in the body: {error}")))
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
    fn binary_headers_with_either_prefix_make_the_same_event() {
        for prefix in ["cloudEvents:", "cloudEvents_"] {
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
            (message("application/json", "{"), "JSON"),
            (message("application/json", &b"\xff\xfe{\0}\0"[..]), "JSON"),
            (message("application/json", deep), "recursion"),
            (message(CLOUDEVENTS_JSON, "{}"), "specversion"),
            (message(CLOUDEVENTS_JSON, "[1]"), "CloudEvent"),
            (ce(r#","time":"noon""#), "time"),
            (ce(r#","Tenant":"a""#), "Tenant"),
            (ce(r#","data_base64":"AA==""#), "data_base64"),
            (ce(r#","subject":"""#), "subject"),
            (ce(r#","datacontenttype":"text/xml""#), "JSON media type"),
            (ce(r#","data":{}"#), "duplicate"),
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
