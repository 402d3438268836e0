//! Everything of a message but its body as one text: JSON that says of each header which kind of
//! value it is, so that it comes back exactly, and so that a person can read it in the file.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::broker::bounds::belongs_to_broker;
use crate::message::{HeaderValue, Headers, Message};

#[derive(Serialize, Deserialize)]
struct Properties<'m> {
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    content_type: Option<Cow<'m, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    content_encoding: Option<Cow<'m, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    message_id: Option<Cow<'m, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    correlation_id: Option<Cow<'m, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    reply_to: Option<Cow<'m, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    kind: Option<Cow<'m, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    app_id: Option<Cow<'m, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    cluster_id: Option<Cow<'m, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    user_id: Option<Cow<'m, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timestamp: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    priority: Option<u8>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    expiration: Option<Cow<'m, str>>,
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    headers: Table<'m>,
}

type Table<'m> = Vec<(Cow<'m, str>, Value<'m>)>;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Value<'m> {
    Null,
    Bool(bool),
    Int8(i8),
    UInt8(u8),
    Int16(i16),
    UInt16(u16),
    Int32(i32),
    UInt32(u32),
    Int(i64),
    /// Its bits: JSON has neither all digits nor all numbers.
    Float(u64),
    /// Its bits.
    Float32(u32),
    /// Scale and digits.
    Decimal(u8, u32),
    #[serde(borrow)]
    Text(Cow<'m, str>),
    #[serde(borrow)]
    Base64(Cow<'m, str>),
    /// Text that is not UTF-8, in base64.
    #[serde(borrow)]
    RawText(Cow<'m, str>),
    Time(u64),
    #[serde(borrow)]
    List(Vec<Value<'m>>),
    #[serde(borrow)]
    Table(Table<'m>),
}

/// What the broker keeps of a message that `user` publishes: without what a broker had added.
pub(super) fn published(message: &Message, user: &str) -> Result<String, String> {
    let headers = message.headers.iter();
    let headers = headers.filter(|(name, _)| !belongs_to_broker(name));
    write(message, Some(user), headers)
}

/// All of a message, the broker's own headers included.
pub(super) fn whole(message: &Message) -> Result<String, String> {
    write(message, message.user_id.as_deref(), message.headers.iter())
}

fn write<'m>(
    message: &'m Message,
    user: Option<&'m str>,
    headers: impl Iterator<Item = (&'m str, &'m HeaderValue)>,
) -> Result<String, String> {
    fn text(text: &Option<String>) -> Option<Cow<'_, str>> {
        text.as_deref().map(Cow::Borrowed)
    }
    let properties = Properties {
        content_type: text(&message.content_type),
        content_encoding: text(&message.content_encoding),
        message_id: text(&message.message_id),
        correlation_id: text(&message.correlation_id),
        reply_to: text(&message.reply_to),
        kind: text(&message.kind),
        app_id: text(&message.app_id),
        cluster_id: text(&message.cluster_id),
        user_id: user.map(Cow::Borrowed),
        timestamp: message.timestamp,
        priority: message.priority,
        expiration: text(&message.expiration),
        headers: table(headers),
    };
    serde_json::to_string(&properties).map_err(|error| error.to_string())
}

/// The message that was written down as `properties`, with its body.
pub(super) fn read(properties: &str, body: Bytes) -> Result<Message, String> {
    let read: Properties<'_> = serde_json::from_str(properties).map_err(|error| {
        format!("expected a message's properties, found another text ({error}): {properties:.100}")
    })?;
    let text = |text: Option<Cow<'_, str>>| text.map(Cow::into_owned);
    Ok(Message {
        body,
        content_type: text(read.content_type),
        content_encoding: text(read.content_encoding),
        message_id: text(read.message_id),
        correlation_id: text(read.correlation_id),
        reply_to: text(read.reply_to),
        kind: text(read.kind),
        app_id: text(read.app_id),
        cluster_id: text(read.cluster_id),
        user_id: text(read.user_id),
        timestamp: read.timestamp,
        priority: read.priority,
        expiration: text(read.expiration),
        headers: headers(read.headers)?,
        damage: None,
    })
}

fn table<'m>(headers: impl Iterator<Item = (&'m str, &'m HeaderValue)>) -> Table<'m> {
    headers
        .map(|(name, held)| (Cow::Borrowed(name), value(held)))
        .collect()
}

fn value(value_of: &HeaderValue) -> Value<'_> {
    match value_of {
        HeaderValue::Null => Value::Null,
        HeaderValue::Bool(held) => Value::Bool(*held),
        HeaderValue::Int8(held) => Value::Int8(*held),
        HeaderValue::UInt8(held) => Value::UInt8(*held),
        HeaderValue::Int16(held) => Value::Int16(*held),
        HeaderValue::UInt16(held) => Value::UInt16(*held),
        HeaderValue::Int32(held) => Value::Int32(*held),
        HeaderValue::UInt32(held) => Value::UInt32(*held),
        HeaderValue::Int(held) => Value::Int(*held),
        HeaderValue::Float(held) => Value::Float(held.to_bits()),
        HeaderValue::Float32(held) => Value::Float32(held.to_bits()),
        HeaderValue::Decimal { scale, value } => Value::Decimal(*scale, *value),
        HeaderValue::Text(held) => Value::Text(Cow::Borrowed(held)),
        HeaderValue::Bytes(held) => Value::Base64(Cow::Owned(BASE64.encode(held))),
        HeaderValue::RawText(held) => Value::RawText(Cow::Owned(BASE64.encode(held))),
        HeaderValue::Time(held) => Value::Time(*held),
        HeaderValue::List(held) => Value::List(held.iter().map(value).collect()),
        HeaderValue::Table(held) => Value::Table(table(held.iter())),
    }
}

fn bytes(base64: &str) -> Result<Vec<u8>, String> {
    let bytes = BASE64.decode(base64.as_bytes());
    bytes.map_err(|error| format!("expected base64: {error}"))
}

fn headers(table: Table<'_>) -> Result<Headers, String> {
    table
        .into_iter()
        .map(|(name, value)| Ok((name.into_owned(), header(value)?)))
        .collect::<Result<Headers, String>>()
}

fn header(value: Value<'_>) -> Result<HeaderValue, String> {
    Ok(match value {
        Value::Null => HeaderValue::Null,
        Value::Bool(held) => HeaderValue::Bool(held),
        Value::Int8(held) => HeaderValue::Int8(held),
        Value::UInt8(held) => HeaderValue::UInt8(held),
        Value::Int16(held) => HeaderValue::Int16(held),
        Value::UInt16(held) => HeaderValue::UInt16(held),
        Value::Int32(held) => HeaderValue::Int32(held),
        Value::UInt32(held) => HeaderValue::UInt32(held),
        Value::Int(held) => HeaderValue::Int(held),
        Value::Float(bits) => HeaderValue::Float(f64::from_bits(bits)),
        Value::Float32(bits) => HeaderValue::Float32(f32::from_bits(bits)),
        Value::Decimal(scale, value) => HeaderValue::Decimal { scale, value },
        Value::Text(held) => HeaderValue::Text(held.into_owned()),
        Value::Base64(held) => HeaderValue::Bytes(bytes(&held)?),
        Value::RawText(held) => HeaderValue::RawText(bytes(&held)?),
        Value::Time(held) => HeaderValue::Time(held),
        Value::List(held) => {
            HeaderValue::List(held.into_iter().map(header).collect::<Result<_, _>>()?)
        }
        Value::Table(held) => HeaderValue::Table(headers(held)?),
    })
}

/// A message as it was written down. An unreadable one is given out as well, and its consumer makes a dead letter of it.
pub(super) fn message(properties: &str, body: Bytes) -> Message {
    read(properties, body.clone()).unwrap_or_else(|problem| {
        tracing::error!(problem, "the properties of a message are damaged");
        Message {
            body,
            ..Message::default()
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::broker::bounds;
    use crate::message::any_message;

    proptest! {
        #[test]
        fn a_message_comes_back_as_it_went(message in any_message()) {
            let written = published(&message, "us").map_err(TestCaseError::fail)?;
            let back = read(&written, message.body.clone()).map_err(TestCaseError::fail)?;
            prop_assert_eq!(back, message);
        }
    }

    #[test]
    fn what_json_has_no_numbers_for_survives() {
        let numbers = [f64::NAN, f64::INFINITY, -0.0, f64::MIN_POSITIVE];
        let message = Message {
            headers: numbers.map(HeaderValue::Float).into_iter().zip(0..).fold(
                Headers::default(),
                |mut headers, (value, number)| {
                    headers.set(number.to_string(), value);
                    headers
                },
            ),
            ..Message::default()
        };
        let back = read(&whole(&message).expect("written"), Bytes::new()).expect("read");
        for (number, expected) in numbers.iter().enumerate() {
            let Some(HeaderValue::Float(found)) = back.headers.get(&number.to_string()) else {
                panic!("expected a number, found {back:?}")
            };
            assert_eq!(found.to_bits(), expected.to_bits());
        }
    }

    #[test]
    fn what_a_broker_added_is_not_published_again() {
        let mut message = Message::default();
        for name in ["x-death", "x-stream-offset", "CC"] {
            message.headers.set(name, "broker");
        }
        message.headers.set("ours", 1_i64);
        let kept = |text: String| read(&text, Bytes::new()).expect("read").headers.len();
        assert_eq!(kept(published(&message, "us").expect("written")), 1);
        assert_eq!(kept(whole(&message).expect("written")), 4);
    }

    #[test]
    fn a_deeply_nested_header_is_read_again() {
        let mut deep = HeaderValue::Int(1);
        for _ in 1..bounds::DEEPEST {
            deep = HeaderValue::List(vec![deep]);
        }
        let mut message = Message::default();
        message.headers.set("deep", deep);
        assert_eq!(bounds::fit(&mut message, bounds::MAX_BYTES), Ok(()));
        let written = whole(&message).expect("written");
        assert_eq!(read(&written, Bytes::new()).expect("read"), message);
    }
}
