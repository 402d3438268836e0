//! From a message to an event: the three shapes in which events arrive over AMQP.
//!
//! 1. `application/cloudevents+json`: a structured CloudEvent;
//! 2. binary: attributes in headers, the body is the data (see [`PREFIXES`]);
//! 3. plain `application/json`: the body is the data, the message's properties say the rest.
//!
//! The content type decides first: a structured event is read from its body alone, and headers beside it are ignored.
//! Nothing here panics, for any bytes: a message that is not an event leaves with a reason.

use bytes::Bytes;
use serde_json::Value;
use time::OffsetDateTime;

use super::cloud::clip;
use super::foreign::recognise;
use super::media::MediaType;
use super::read::{self, Attribute, Read, Unfit};
use super::{
    CloudEvent, EventId, Logins, Publisher, Trail, in_stream, is_refused_by_streams, plain_id,
    to_rfc3339,
};
use crate::message::{CLOUDEVENTS_JSON, HeaderValue, Headers, Message};
use crate::reason::ReasonCode;

/// The prefixes of a binary event's headers, without regard to case: those of the CloudEvents AMQP binding 1.0.2, and
/// those of its bindings for RabbitMQ, which took them from HTTP.
const PREFIXES: [&str; 4] = ["cloudEvents:", "cloudEvents_", "ce-", "ce_"];

/// Values of `content_encoding` that change nothing. Some libraries write the charset there, or that the body
/// is bytes.
const ENCODINGS: [&str; 6] = ["", "identity", "utf-8", "utf8", "us-ascii", "binary"];

/// Bounds on messages that can be events at all.
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
    /// The key that a stream makes of it, where that is another: see [`in_stream`]. [`EventId::NONE`] where the
    /// history need not have it at all.
    pub stream_id: Option<EventId>,
    /// The event.
    pub event: CloudEvent,
    /// Its data as the schema of its type sees it, see [`Read::data`].
    pub data: Value,
    /// Its canonical form, a structured CloudEvent: the very bytes that came, where they are that.
    pub body: Bytes,
    /// The facts known before, always with `publisher` and `received_at`.
    pub trail: Trail,
}

/// Why a message is not an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Undecodable {
    /// [`ReasonCode::Undecodable`] or [`ReasonCode::TooLarge`].
    pub code: ReasonCode,
    /// The expected and the found value.
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
/// `longshore-*` headers count only on a message under one of our own `logins`. On any other message they are ignored,
/// so no publisher can pass for another.
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

    let id = id_of(&event, &publisher)?;
    let stream_id = stream_id(message, routing_key, &publisher, &event)
        .filter(|it| *it != id)
        .or_else(|| is_not_in_history(message, &publisher, &trail).then_some(EventId::NONE));
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
        stream_id,
        event,
        data,
        body,
        trail,
    })
}

/// The id of an event: its own where it is ours, else one that is made of whose it is.
fn id_of(event: &CloudEvent, publisher: &Publisher) -> Result<EventId, Undecodable> {
    if !publisher.is_ourselves() {
        return Ok(EventId::derived(publisher, &event.source, &event.id));
    }
    let id = event.id.parse();
    id.map_err(|_| undecodable("attribute `id`: expected a UUID"))
}

/// The id of a plain event without an id of its own, made of the parts of its message that a stream keeps. `None` if a
/// stream drops no part, and for any other event.
fn stream_id(
    message: &Message,
    routing_key: &str,
    publisher: &Publisher,
    event: &CloudEvent,
) -> Option<EventId> {
    let kept = in_stream(message)?;
    let made_of = |message| plain_id(message, routing_key, &event.kind, &event.source).to_string();
    (event.id == made_of(message))
        .then(|| EventId::derived(publisher, &event.source, &made_of(&kept)))
}

/// Whether the history need not have the event under any id. That holds if no stream takes its message, or if it was
/// made of a dead letter that somebody may have mended.
fn is_not_in_history(message: &Message, publisher: &Publisher, trail: &Trail) -> bool {
    !publisher.is_ourselves() && (trail.generation > 0 || is_refused_by_streams(message))
}

/// Reads the event by its shape.
///
/// # Errors
/// The expected and the found value.
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

/// The prefix of a header, as it is written, and the attribute that it holds, in lower case; `None` where it is
/// another header.
pub fn split_attribute(header: &str) -> Option<(&str, String)> {
    PREFIXES.iter().find_map(|prefix| {
        let (start, attribute) = header.split_at_checked(prefix.len())?;
        start
            .eq_ignore_ascii_case(prefix)
            .then(|| (start, attribute.to_ascii_lowercase()))
    })
}

/// The attributes of shape 2; none where it is another shape.
fn attributes(headers: &Headers) -> Vec<Attribute> {
    let mut attributes: Vec<Attribute> = Vec::new();
    for (name, value) in headers.iter() {
        let Some((_, attribute)) = split_attribute(name) else {
            continue;
        };
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
        match attributes.iter_mut().find(|(known, _)| *known == attribute) {
            None => attributes.push((attribute, value)),
            // Some publishers write both prefixes.
            Some((_, known)) if *known == value => {}
            Some((_, known)) => {
                *known = Err("expected one value, found headers that differ".into());
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
    // Without an id the content is the id, so that a message sent twice is one event.
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

/// Seconds since 1970 as RFC 3339. A number beyond the calendar stays a number, and fails the check of the attribute
/// with a message of its own.
fn seconds_to_rfc3339(seconds: u64) -> String {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .map_or_else(|| seconds.to_string(), to_rfc3339)
}

#[cfg(test)]
mod tests;
