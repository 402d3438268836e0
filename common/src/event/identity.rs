//! What tells messages apart: the identities that are made from a message. `docs/identity.md` says the same
//! for people.
//!
//! Two messages that differ in anything that their publishers wrote never get one identity; what is equal in
//! all of it always does.

use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::id::{Digest, name_based};
use super::{EventId, Publisher, Trail, header};
use crate::message::{HeaderValue, Headers, Message, belongs_to_broker};

/// The event that a message is, by our id for it. Only a message that came through our own door or was
/// accepted by validation carries that id as its `message_id`; a foreign one's names no event of ours.
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
            &content(&message.body),
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
            &properties(message),
            &message.body,
        ]),
    }
}

/// The publisher's id of a plain message that came without one: made from all that the message says. A
/// message that comes again is the same event; one that differs in anything is another.
///
/// A JSON message with nothing but a type, a source and a body has the id that it always had.
pub fn plain_id(message: &Message, routing_key: &str, kind: &str, source: &str) -> Uuid {
    let media = message.content_type.as_deref().unwrap_or_default();
    let essence = media.split(';').next().unwrap_or_default().trim();
    let rest = properties(&Message {
        content_type: (!essence.eq_ignore_ascii_case("application/json")).then(|| media.to_owned()),
        // Both are told by `kind` and `source`, and the third is missing.
        kind: None,
        app_id: None,
        message_id: None,
        ..message.clone()
    });
    let mut parts: Vec<&[u8]> = vec![kind.as_bytes(), source.as_bytes(), &message.body];
    if rest != properties(&Message::default()) || routing_key != kind {
        parts.extend([routing_key.as_bytes(), &rest]);
    }
    name_based(&parts)
}

/// What tells two contents under one event id apart: type, subject and data, to the byte. Not the time, which
/// is ours where the publisher gave none. A body that is no event is its own content.
pub fn content(body: &[u8]) -> [u8; 32] {
    #[derive(Deserialize)]
    struct Content<'e> {
        #[serde(rename = "type")]
        kind: String,
        #[serde(default)]
        subject: Option<String>,
        #[serde(borrow, default)]
        data: Option<&'e RawValue>,
        #[serde(default)]
        data_base64: Option<String>,
    }
    let mut digest = Digest::default();
    match serde_json::from_slice::<Content<'_>>(body) {
        Ok(event) => {
            digest.part(b"event");
            digest.part(event.kind.as_bytes());
            digest.optional(event.subject.as_deref());
            digest.optional(event.data.map(RawValue::get));
            digest.optional(event.data_base64.as_deref());
        }
        Err(_) => {
            digest.part(b"bytes");
            digest.part(body);
        }
    }
    digest.finish()
}

/// Every property and header that the publisher of a message wrote; who that was is told elsewhere.
fn properties(message: &Message) -> [u8; 32] {
    // Each is named, so that a new one is thought of here.
    let Message {
        body: _,
        content_type,
        message_id,
        kind,
        app_id,
        user_id: _,
        timestamp,
        headers,
    } = message;
    let mut digest = Digest::default();
    for text in [content_type, message_id, kind, app_id] {
        digest.optional(text.as_deref());
    }
    digest.optional(timestamp.map(u64::to_be_bytes).as_ref().map(|it| &it[..]));
    match headers.text(header::LEFT_OUT) {
        // They were too many to travel on: their digest does.
        Some(left_out) => digest.part(left_out.as_bytes()),
        None => digest.part(headers_word(headers).as_bytes()),
    }
    digest.finish()
}

/// The headers that the publisher wrote, in one word of fixed length: not ours, not the broker's, and not the
/// trace's, which every program on the way writes anew.
pub(crate) fn headers_word(headers: &Headers) -> String {
    use std::fmt::Write as _;

    let theirs = headers.iter().filter(|(name, _)| {
        !name.starts_with(header::PREFIX)
            && !belongs_to_broker(name)
            && !matches!(*name, header::TRACEPARENT | header::TRACESTATE)
    });
    let mut digest = Digest::default();
    write_table(&mut digest, theirs.collect());
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

/// Each kind of value has a mark of its own, so that no text looks like a number.
fn write_value(digest: &mut Digest, value: &HeaderValue) {
    match value {
        HeaderValue::Null => digest.part(b"V"),
        HeaderValue::Bool(value) => digest.part(&[b't', u8::from(*value)]),
        HeaderValue::Int(value) => digest.marked(b'l', &value.to_be_bytes()),
        HeaderValue::Float(value) => digest.marked(b'd', &value.to_bits().to_be_bytes()),
        HeaderValue::Text(text) => digest.marked(b'S', text.as_bytes()),
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
