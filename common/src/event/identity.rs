//! The identities that are made from a message. `docs/identity.md` explains them for people.
//!
//! Two messages that differ in anything that their publishers wrote never get one identity. Messages that are equal in
//! all of it always do.

use bytes::Bytes;
use uuid::Uuid;

use super::content::Content;
use super::id::{Digest, name_based};
use super::{EventId, Publisher, Trail, header};
use crate::message::{HeaderValue, Headers, Message, belongs_to_broker};

/// The event of a message, by our id for it. Only a message that came through our own door or was accepted by
/// validation carries that id as its `message_id`; a foreign one's names no event of ours.
pub fn event_of(message: &Message, trail: &Trail) -> Option<EventId> {
    if !trail.names_event() {
        return None;
    }
    message.message_id.as_deref()?.parse().ok()
}

/// The id of the dead letter that a message becomes when it dies in `queue`.
///
/// A message that is an event of ours dies once with one content in a queue and generation: its way there
/// may differ. Of every other message all counts that its publisher wrote.
pub fn letter_id(message: &Message, trail: &Trail, routing_key: &str, queue: &str) -> Uuid {
    let generation = trail.generation.to_be_bytes();
    match event_of(message, trail) {
        Some(event) => name_based(&[
            b"dead",
            event.uuid().as_bytes(),
            queue.as_bytes(),
            &generation,
            &content_of(&message.body),
        ]),
        None => name_based(&[
            b"dead message",
            queue.as_bytes(),
            &generation,
            trail
                .publisher
                .as_ref()
                .map_or("", Publisher::as_str)
                .as_bytes(),
            routing_key.as_bytes(),
            message_word(message).as_bytes(),
        ]),
    }
}

/// The history's key for a message that is not an event of ours, for every engine. It is made only of parts that come
/// out of a stream as they come out of a queue, also without the parts that [`in_stream`] leaves out.
///
/// Different messages may have the same key, so its users count (`docs/identity.md`).
pub fn entry_key(message: &Message, trail: &Trail, routing_key: &str) -> Uuid {
    let publisher = trail.publisher.as_ref().map_or("", Publisher::as_str);
    // Of a body that was cut, size and hash tell.
    let cut = match &message.damage {
        Some(damage) => damage.body.as_deref(),
        None => None,
    };
    let cut = cut.or_else(|| message.headers.text(header::CUT));
    let mut body = Digest::default();
    match cut {
        Some(cut) => body.marked(b'c', cut.as_bytes()),
        None => body.marked(b'b', &message.body),
    }
    name_based(&[
        b"entry",
        publisher.as_bytes(),
        routing_key.as_bytes(),
        &body.finish(),
    ])
}

/// A message as a stream of RabbitMQ 3.10 keeps it: without `cluster_id`, without headers that are lists or tables,
/// and with moments within their range. `None` for a message that a stream keeps as it is.
pub fn in_stream(message: &Message) -> Option<Message> {
    let is_changed = |value: &HeaderValue| match value {
        HeaderValue::List(_) | HeaderValue::Table(_) => true,
        HeaderValue::Time(seconds) => *seconds != in_milliseconds(*seconds),
        _ => false,
    };
    let timestamp = message.timestamp.map(in_milliseconds);
    if message.cluster_id.is_none()
        && timestamp == message.timestamp
        && !message.headers.iter().any(|(_, it)| is_changed(it))
    {
        return None;
    }
    let kept = message.headers.iter().filter_map(|(name, value)| {
        let value = match value {
            HeaderValue::List(_) | HeaderValue::Table(_) => return None,
            HeaderValue::Time(seconds) => HeaderValue::Time(in_milliseconds(*seconds)),
            other => other.clone(),
        };
        Some((name.to_owned(), value))
    });
    let headers: Headers = kept.collect();
    Some(Message {
        cluster_id: None,
        timestamp,
        headers,
        ..message.clone()
    })
}

/// Seconds as a stream gives them back, which keeps milliseconds in 64 bits with a sign.
fn in_milliseconds(seconds: u64) -> u64 {
    let milliseconds = seconds.wrapping_mul(1000).cast_signed();
    (milliseconds / 1000).cast_unsigned()
}

/// Whether no stream of RabbitMQ takes a message: it has a header of AMQP type decimal. Its queues do.
pub fn is_refused_by_streams(message: &Message) -> bool {
    let mut headers = message.headers.iter();
    headers.any(|(_, value)| matches!(value, HeaderValue::Decimal { .. }))
}

/// The publisher's id of a plain message that came without one: made from all that the message says. A
/// message that comes again is the same event; one that differs in anything is another.
///
/// A JSON message with nothing but a type, a source and a body has the id that it always had.
pub fn plain_id(message: &Message, routing_key: &str, kind: &str, source: &str) -> Uuid {
    let media = message.content_type.as_deref().unwrap_or_default();
    let essence = media.split(';').next().unwrap_or_default().trim();
    let rest = message_word(&Message {
        body: Bytes::new(),
        content_type: (!essence.eq_ignore_ascii_case("application/json")).then(|| media.to_owned()),
        // `kind` and `source` show both, and the third is missing.
        kind: None,
        app_id: None,
        message_id: None,
        ..message.clone()
    });
    let mut parts: Vec<&[u8]> = vec![kind.as_bytes(), source.as_bytes(), &message.body];
    if rest != message_word(&Message::default()) || routing_key != kind {
        parts.extend([routing_key.as_bytes(), rest.as_bytes()]);
    }
    name_based(&parts)
}

/// The content of the event in `body`; a body that is not an event is its own content.
fn content_of(body: &[u8]) -> [u8; 32] {
    let content = Content::read(body).and_then(|content| content.fingerprint());
    content.unwrap_or_else(|_| {
        let mut digest = Digest::default();
        digest.part(body);
        digest.finish()
    })
}

/// Everything that the publisher of a message wrote, in one word of fixed length, without the publisher's name. If the
/// message could not travel on unchanged, its word has come along.
pub(crate) fn message_word(message: &Message) -> String {
    use std::fmt::Write as _;

    if let Some(word) = message.headers.text(header::DIGEST) {
        return word.to_owned();
    }
    // Each is named, so that a new one is thought of here.
    let Message {
        body,
        content_type,
        content_encoding,
        message_id,
        correlation_id,
        reply_to,
        kind,
        app_id,
        cluster_id,
        user_id: _,
        timestamp,
        priority,
        expiration,
        headers,
        damage,
    } = message;
    let mut digest = Digest::default();
    for text in [
        content_type,
        content_encoding,
        message_id,
        correlation_id,
        reply_to,
        kind,
        app_id,
        cluster_id,
        expiration,
    ] {
        digest.optional(text.as_deref());
    }
    digest.optional(timestamp.map(u64::to_be_bytes).as_ref());
    digest.optional(priority.map(u8::to_be_bytes).as_ref());
    // Not ours, not the broker's, and not the trace's, which every program on the way rewrites.
    let theirs = headers.iter().filter(|(name, _)| {
        !name.starts_with(header::PREFIX)
            && !belongs_to_broker(name)
            && !matches!(*name, header::TRACEPARENT | header::TRACESTATE)
    });
    write_table(&mut digest, theirs.collect());
    digest.part(body);
    // It quotes the unreadable parts, and has the hash of a body that was cut.
    digest.optional(damage.as_ref().map(|damage| damage.detail.as_str()));
    digest
        .finish()
        .iter()
        .fold(String::new(), |mut word, byte| {
            // Writing to a text cannot fail.
            let _ = write!(word, "{byte:02x}");
            word
        })
}

/// In the order of their names: some engines keep no other.
fn write_table(digest: &mut Digest, mut table: Vec<(&str, &HeaderValue)>) {
    table.sort_by_key(|(name, _)| *name);
    digest.part(&(table.len() as u64).to_be_bytes());
    for (name, value) in table {
        digest.part(name.as_bytes());
        write_value(digest, value);
    }
}

/// Each type of value has a mark of its own, AMQP's where there is one, so that no text looks like a number.
fn write_value(digest: &mut Digest, value: &HeaderValue) {
    match value {
        HeaderValue::Null => digest.part(b"V"),
        HeaderValue::Bool(value) => digest.marked(b't', &[u8::from(*value)]),
        HeaderValue::Int8(value) => digest.marked(b'b', &value.to_be_bytes()),
        HeaderValue::UInt8(value) => digest.marked(b'B', &value.to_be_bytes()),
        HeaderValue::Int16(value) => digest.marked(b's', &value.to_be_bytes()),
        HeaderValue::UInt16(value) => digest.marked(b'u', &value.to_be_bytes()),
        HeaderValue::Int32(value) => digest.marked(b'I', &value.to_be_bytes()),
        HeaderValue::UInt32(value) => digest.marked(b'i', &value.to_be_bytes()),
        HeaderValue::Int(value) => digest.marked(b'l', &value.to_be_bytes()),
        HeaderValue::Float32(value) => digest.marked(b'f', &value.to_bits().to_be_bytes()),
        HeaderValue::Float(value) => digest.marked(b'd', &value.to_bits().to_be_bytes()),
        HeaderValue::Decimal { scale, value } => {
            digest.marked(b'D', &[*scale]);
            digest.part(&value.to_be_bytes());
        }
        HeaderValue::Text(text) => digest.marked(b'S', text.as_bytes()),
        HeaderValue::RawText(bytes) => digest.marked(b'R', bytes),
        HeaderValue::Bytes(bytes) => digest.marked(b'x', bytes),
        HeaderValue::Time(seconds) => digest.marked(b'T', &seconds.to_be_bytes()),
        HeaderValue::List(values) => {
            digest.marked(b'A', &(values.len() as u64).to_be_bytes());
            for value in values {
                write_value(digest, value);
            }
        }
        HeaderValue::Table(table) => {
            digest.part(b"F");
            write_table(digest, table.iter().collect());
        }
    }
}

#[cfg(test)]
mod tests;
