//! Recognising messages of other systems, so that a refusal names the system and the remedy.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::IgnoredAny;

use super::media::MediaType;
use crate::message::{HeaderValue, Headers, Message};

/// The first bytes of data that is not text, its name, and the remedy.
const MAGIC: [(&[u8], &str); 19] = [
    (b"\x1f\x8b", "gzip-compressed data"),
    (b"\x78\x01", "zlib-compressed data"),
    (b"\x78\x5e", "zlib-compressed data"),
    (b"\x78\x9c", "zlib-compressed data"),
    (b"\x78\xda", "zlib-compressed data"),
    (b"BZh", "bzip2-compressed data"),
    (b"\xfd7zXZ\0", "xz-compressed data"),
    (b"\x5d\0\0", "lzma-compressed data"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed data"),
    (b"\x04\x22\x4d\x18", "lz4-compressed data"),
    (b"\xff\x06\0\0sNaPpY", "snappy-compressed data"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x80\x02", "a Python pickle"),
    (b"\x80\x03", "a Python pickle"),
    (b"\x80\x04", "a Python pickle"),
    (b"\x80\x05", "a Python pickle"),
    (b"\xac\xed\0\x05", "a serialised Java object"),
    (b"\0\x01\0\0\0\xff\xff\xff\xff", "a serialised .NET object"),
    (b"Obj\x01", "an Avro file"),
];

/// Values of `compression` (kombu) and of the property `content_encoding`, and their names.
const ENCODINGS: [(&str, &str); 14] = [
    ("application/x-gzip", "zlib-compressed data"),
    ("application/x-bz2", "bzip2-compressed data"),
    ("application/x-lzma", "lzma-compressed data"),
    ("application/zstd", "zstd-compressed data"),
    ("gzip", "gzip-compressed data"),
    ("deflate", "zlib-compressed data"),
    ("br", "Brotli-compressed data"),
    ("zstd", "zstd-compressed data"),
    ("x-gzip", "gzip-compressed data"),
    ("zlib", "zlib-compressed data"),
    ("bzip2", "bzip2-compressed data"),
    ("lz4", "lz4-compressed data"),
    ("snappy", "snappy-compressed data"),
    ("compress", "LZW-compressed data"),
];

/// Content types of data in other formats than JSON (without `x-` before the subtype), and their names.
const FORMATS: [(&str, &str); 16] = [
    ("application/python-serialize", "a Python pickle"),
    ("application/pickle", "a Python pickle"),
    ("application/msgpack", "MessagePack"),
    ("application/vnd.msgpack", "MessagePack"),
    ("application/messagepack", "MessagePack"),
    ("application/protobuf", "Protocol Buffers"),
    ("application/vnd.google.protobuf", "Protocol Buffers"),
    ("application/grpc", "Protocol Buffers"),
    ("application/avro", "Avro"),
    ("avro/binary", "Avro"),
    ("application/vnd.apache.avro", "Avro"),
    ("application/thrift", "Thrift"),
    ("application/cbor", "CBOR"),
    ("application/bson", "BSON"),
    ("application/yaml", "YAML"),
    ("text/yaml", "YAML"),
];

/// Content types of compressed data.
const PACKED: [(&str, &str); 7] = [
    ("application/gzip", "gzip-compressed data"),
    ("application/zlib", "zlib-compressed data"),
    ("application/bzip2", "bzip2-compressed data"),
    ("application/xz", "xz-compressed data"),
    ("application/zstd", "zstd-compressed data"),
    ("application/snappy", "snappy-compressed data"),
    ("application/lzma", "lzma-compressed data"),
];

/// Header names by which a library is known.
const HEADERS: [(&[&str], &str); 8] = [
    (&["task", "id"], "a Celery task"),
    (
        &["NServiceBus.EnclosedMessageTypes"],
        "an NServiceBus message",
    ),
    (&["MT-Activity-Id"], "a MassTransit message"),
    (&["__TypeId__"], "a Spring AMQP message"),
    (&["rbs2-msg-type"], "a Rebus message"),
    (&["nameko.call_id_stack"], "a Nameko message"),
    (
        &["spring_json_header_types"],
        "a Spring Cloud Stream message",
    ),
    (&["cap-msg-id"], "a CAP message"),
];

/// Names in a JSON object by which a library's envelope is known.
const ENVELOPES: [(&[&str], &str); 17] = [
    (&["task", "id", "args", "kwargs"], "a Celery task"),
    (
        &["messageId", "messageType", "message"],
        "a MassTransit message",
    ),
    (&["class", "args", "jid"], "a Sidekiq job"),
    (&["job_class", "job_id", "arguments"], "an Active Job"),
    (&["uuid", "displayName", "job", "data"], "a Laravel job"),
    (&["actor_name", "args", "kwargs"], "a Dramatiq message"),
    (&["name", "data", "opts"], "a BullMQ job"),
    (&["schema", "payload"], "a Kafka Connect record"),
    (&["before", "after", "op"], "a Debezium change"),
    (
        &["Type", "MessageId", "TopicArn", "Message"],
        "an Amazon SNS notification",
    ),
    (&["pattern", "data"], "a NestJS message"),
    (&["class", "args"], "a Resque job"),
    (&["worker", "args", "queue"], "an Oban job"),
    (&["task_id", "task_name", "labels"], "a Taskiq message"),
    (&["jsonrpc", "method"], "a JSON-RPC call"),
    (
        &["detail-type", "source", "detail"],
        "an Amazon EventBridge event",
    ),
    (&["message", "subscription"], "a Google Pub/Sub push"),
];

/// Maximum length of a body that is searched for a library's envelope, in bytes.
const MAX_SEARCHED: usize = 1024 * 1024;

/// The likely kind of a refused message, and the publisher's remedy: a sentence for an error.
pub fn recognise(message: &Message) -> Option<String> {
    let Message { headers, body, .. } = message;
    let packed = encoding(message).or_else(|| magic(body));
    let form = packed.or_else(|| format(message));
    let library = library(headers).or_else(|| envelope(message));
    match (library, form) {
        (Some(what), None) => Some(format!(
            "it looks like {what}, and the envelope of a library is not an event. Publish its content alone, \
             as JSON, with the event's type as routing key"
        )),
        (Some(what), Some(form)) => Some(format!(
            "it looks like {what} ({form}), and the envelope of a library is not an event. Publish its content \
             alone, as uncompressed JSON, with the event's type as routing key"
        )),
        (None, Some(form)) => {
            let advice = if form.contains("-compressed") {
                "Nothing is unpacked here, so publish it uncompressed"
            } else {
                "Publish the data itself, as JSON, or as binary data of a CloudEvent"
            };
            Some(format!("it looks like {form}. {advice}"))
        }
        (None, None) => text(message).map(str::to_owned),
    }
}

fn encoding(message: &Message) -> Option<&'static str> {
    let headers = &message.headers;
    let said = message.content_encoding.as_deref();
    let said = headers.text("compression").or(said)?;
    let known = ENCODINGS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(said));
    known.map(|(_, what)| *what)
}

fn magic(body: &[u8]) -> Option<&'static str> {
    let is_text = |text: &str| !text.chars().any(|c| c.is_control() && !c.is_whitespace());
    if std::str::from_utf8(body).is_ok_and(is_text) {
        return None;
    }
    let known = MAGIC.iter().find(|(start, _)| body.starts_with(start));
    known.map(|(_, what)| *what)
}

/// The content type's format, if it is known here and not read.
fn format(message: &Message) -> Option<&'static str> {
    let media = MediaType::read(message.content_type.as_deref()?);
    let (kind, subtype) = media.essence().split_once('/')?;
    let bare = format!("{kind}/{}", subtype.strip_prefix("x-").unwrap_or(subtype));
    let mut known = FORMATS.iter().chain(&PACKED);
    let suffix = |ends: &str| subtype.ends_with(ends);
    match known.find(|(name, _)| *name == bare) {
        Some((_, what)) => Some(what),
        None if suffix("+protobuf") || suffix("+proto") => Some("Protocol Buffers"),
        None if suffix("+avro") => Some("Avro"),
        None if suffix("+cbor") => Some("CBOR"),
        None if suffix("+yaml") => Some("YAML"),
        None if suffix("+gzip") => Some("gzip-compressed data"),
        None => None,
    }
}

fn library(headers: &Headers) -> Option<&'static str> {
    let has = |name: &&str| !matches!(headers.get(name), None | Some(HeaderValue::Null));
    let known = HEADERS.iter().find(|(names, _)| names.iter().all(has));
    known.map(|(_, what)| *what)
}

fn envelope(message: &Message) -> Option<&'static str> {
    let content_type = message.content_type.as_deref().unwrap_or_default();
    if content_type.starts_with("application/vnd.masstransit") {
        return Some("a MassTransit message");
    }
    let body = Some(&message.body).filter(|body| body.len() <= MAX_SEARCHED)?;
    if let Ok(fields) = serde_json::from_slice::<BTreeMap<String, IgnoredAny>>(body) {
        let has = |name: &&str| fields.contains_key(*name);
        let known = ENVELOPES.iter().find(|(names, _)| names.iter().all(has));
        return known.map(|(_, what)| *what);
    }
    // Celery's second protocol: arguments, named arguments, and the calls to make afterwards.
    type Call = (
        Vec<IgnoredAny>,
        BTreeMap<String, IgnoredAny>,
        BTreeMap<String, IgnoredAny>,
    );
    let (_, _, after) = serde_json::from_slice::<Call>(body).ok()?;
    let is_celery = after.contains_key("callbacks") && after.contains_key("chord");
    is_celery.then_some("a Celery task")
}

/// The kind of a text that is not a JSON object.
fn text(message: &Message) -> Option<&'static str> {
    let content_type = message.content_type.as_deref().unwrap_or_default();
    let body = message.body.trim_ascii_start();
    if content_type.starts_with("application/cloudevents-batch") {
        return Some("it looks like a batch. Publish each of its events as a message of its own");
    }
    if message.body.starts_with(b"\xff\xfe") || message.body.starts_with(b"\xfe\xff") {
        return Some("it looks like UTF-16. Publish it in UTF-8");
    }
    if message.body.starts_with(b"\xef\xbb\xbf") {
        return Some("it begins with a byte order mark. Publish it without");
    }
    if let Ok(inner) = serde_json::from_slice::<String>(body)
        && serde_json::from_str::<BTreeMap<String, IgnoredAny>>(&inner).is_ok()
    {
        return Some("it looks like JSON that was encoded twice. Encode it once");
    }
    if content_type.starts_with("application/x-www-form-urlencoded") {
        return Some("it looks like a form. Publish its fields as a JSON object");
    }
    if body.starts_with(b"<") {
        return Some("it looks like XML. Publish the data as JSON");
    }
    if body.starts_with(b"{'") {
        return Some("it looks like a Python dictionary. Write it with json.dumps");
    }
    if matches!(body, [first, 0, second, 0, ..] if *first != 0 && *second != 0) {
        return Some("it looks like UTF-16. Publish it in UTF-8");
    }
    if BASE64
        .decode(body.trim_ascii_end())
        .is_ok_and(|inner| inner.starts_with(b"{\""))
    {
        return Some("it looks like JSON in base64. Publish the JSON itself");
    }
    if is_event(message) {
        return Some(
            "it looks like a structured CloudEvent that does not say so. Publish it with the content type \
             application/cloudevents+json",
        );
    }
    if content_type.is_empty() && serde_json::from_slice::<IgnoredAny>(body).is_ok() {
        return Some(
            "it is JSON that does not say so. Publish it with the content type application/json",
        );
    }
    let media = MediaType::read(content_type);
    if media.is_well_formed() && !media.is_json() && !media.is_any_event() {
        return Some(
            "data that is not JSON is taken as a CloudEvent with its attributes in headers",
        );
    }
    None
}

/// Whether the body is a structured CloudEvent, under any content type.
fn is_event(message: &Message) -> bool {
    let body = Some(&message.body).filter(|body| body.len() <= MAX_SEARCHED);
    let fields =
        body.and_then(|body| serde_json::from_slice::<BTreeMap<String, IgnoredAny>>(body).ok());
    let is_said =
        MediaType::read(message.content_type.as_deref().unwrap_or_default()).is_any_event();
    let attributes = ["specversion", "id", "source", "type"];
    !is_said
        && fields.is_some_and(|fields| attributes.iter().all(|name| fields.contains_key(*name)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sight(
        content_type: &str,
        body: impl Into<bytes::Bytes>,
        headers: &[(&str, &str)],
    ) -> String {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), *value))
            .collect();
        let message = Message {
            body: body.into(),
            content_type: Some(content_type.to_owned()).filter(|text| !text.is_empty()),
            headers,
            ..Message::default()
        };
        recognise(&message).unwrap_or_default()
    }

    #[test]
    fn what_others_send_is_named() {
        let celery = [("lang", "py"), ("task", "shop.add"), ("id", "1")];
        let json = "application/json";
        for (content_type, body, headers, word) in [
            (json, "[[1, 2], {}, {}]".into(), &celery[..], "a Celery task"),
            (
                json,
                json!([[1], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]).to_string(),
                &[],
                "a Celery task",
            ),
            (json, json!({"task": "a", "id": "1", "args": [], "kwargs": {}}).to_string(), &[], "a Celery task"),
            (json, json!({"class": "A", "args": [], "jid": "1"}).to_string(), &[], "a Sidekiq job"),
            (json, json!({"name": "a", "data": {}, "opts": {}}).to_string(), &[], "a BullMQ job"),
            ("application/vnd.masstransit+json", "{}".into(), &[], "a MassTransit message"),
            ("application/x-python-serialize", "(I1".into(), &[], "a Python pickle"),
            ("application/x-msgpack", "\u{1}".into(), &[], "MessagePack"),
            ("Application/X-Protobuf; messageType=a", "\u{1}".into(), &[], "Protocol Buffers"),
            ("application/vnd.a.b+protobuf", "\u{1}".into(), &[], "Protocol Buffers"),
            ("avro/binary", "\u{1}".into(), &[], "Avro"),
            ("application/x-yaml", "a: 1".into(), &[], "YAML"),
            ("application/cloudevents+avro", "\u{1}".into(), &[], "Avro"),
            ("application/gzip", "?".into(), &[], "gzip-compressed data"),
            (json, "whatever".into(), &[("compression", "application/x-gzip")], "zlib-compressed data"),
            (json, "\"{\\\"a\\\":1}\"".into(), &[], "encoded twice"),
            ("application/cloudevents-batch+json", "[]".into(), &[], "a batch"),
            ("application/x-www-form-urlencoded", "a=1".into(), &[], "a form"),
            ("", "{\"a\":1}".into(), &[], "application/json"),
            (json, "{'a': 1}".into(), &[], "json.dumps"),
            (json, "{\0\"\0a\0".into(), &[], "UTF-16"),
            (json, "eyJhIjoxfQ==\n".into(), &[], "base64"),
            (json, "<a/>".into(), &[], "XML"),
            (json, json!({"class": "A", "args": []}).to_string(), &[], "a Resque job"),
            (json, json!({"specversion": "1.0", "id": "1", "source": "/", "type": "a"}).to_string(), &[], "cloudevents+json"),
            ("text/plain", "abc".into(), &[], "attributes in headers"),
        ] {
            let told = sight(content_type, body, headers);
            assert!(told.contains(word), "{word:?} in {told:?}");
        }
        for (body, word) in [
            (&b"\x1f\x8b\x08\0"[..], "gzip-compressed"),
            (b"\x78\x9c\xab", "zlib-compressed"),
            (b"BZh91AY&SY\xff", "bzip2-compressed"),
            (b"\x80\x04\x95", "a Python pickle"),
            (b"\xff\xfe{\0}\0", "UTF-16"),
        ] {
            let told = sight(json, body, &[]);
            assert!(told.contains(word), "{word:?} in {told:?}");
        }
        let packed = sight("application/x-msgpack", &b"\x78\x9c\xab"[..], &celery);
        assert!(
            packed.contains("a Celery task (zlib-compressed data)"),
            "{packed}"
        );
        assert!(sight(json, "x^2 is text", &[]).is_empty());
        assert!(sight(json, "{\"email\":\"a@b.example\"}", &[]).is_empty());
    }

    #[test]
    fn the_advice_fits_what_was_seen() {
        assert!(sight("", &b"\x1f\x8b"[..], &[]).contains("uncompressed"));
        assert!(!sight("", &b"\x80\x04"[..], &[]).contains("uncompressed"));
    }
}
