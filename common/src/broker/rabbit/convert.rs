//! Our messages in AMQP's properties and field tables, and back.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, ByteArray, FieldArray, FieldTable, LongString, ShortString};

use crate::broker::bounds::{self, DEEPEST};
use crate::event::header;
use crate::message::{HeaderValue, Headers, Message};

/// AMQP's delivery mode for messages that survive a restart of the broker.
const PERSISTENT: u8 = 2;

/// A text as AMQP's short string, or why it cannot be one.
pub(super) fn short(what: &str, text: &str) -> Result<ShortString, String> {
    bounds::name(what, text)?;
    ShortString::try_new(text).map_err(|error| error.to_string())
}

/// The AMQP properties of a message that we publish as `user`: persistent, and without what the
/// broker itself had added. The error says what cannot be written down.
pub(super) fn to_amqp(message: &Message, user: Option<&str>) -> Result<BasicProperties, String> {
    bounds::check(message)?;
    let mut properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
    let text = |what: &str, value: Option<&str>| value.map(|value| short(what, value)).transpose();
    if let Some(value) = text("content type", message.content_type.as_deref())? {
        properties = properties.with_content_type(value);
    }
    if let Some(value) = text("message_id", message.message_id.as_deref())? {
        properties = properties.with_message_id(value);
    }
    if let Some(value) = text("type", message.kind.as_deref())? {
        properties = properties.with_type(value);
    }
    if let Some(value) = text("app_id", message.app_id.as_deref())? {
        properties = properties.with_app_id(value);
    }
    if let Some(value) = text("user_id", user)? {
        properties = properties.with_user_id(value);
    }
    if let Some(timestamp) = message.timestamp {
        properties = properties.with_timestamp(timestamp);
    }
    let mut table = FieldTable::default();
    for (name, value) in message.headers.iter() {
        if !bounds::belongs_to_broker(name) {
            table.insert(short("header name", name)?, value_to_amqp(value)?);
        }
    }
    if !table.inner().is_empty() {
        properties = properties.with_headers(table);
    }
    Ok(properties)
}

/// A value of a message that is within bounds.
fn value_to_amqp(value: &HeaderValue) -> Result<AMQPValue, String> {
    Ok(match value {
        HeaderValue::Null => AMQPValue::Void,
        HeaderValue::Bool(value) => AMQPValue::Boolean(*value),
        HeaderValue::Int(value) => AMQPValue::LongLongInt(*value),
        HeaderValue::Float(value) => AMQPValue::Double(*value),
        HeaderValue::Text(text) => AMQPValue::LongString(LongString::from(text.as_str())),
        HeaderValue::Bytes(bytes) => AMQPValue::ByteArray(ByteArray::from(bytes.as_slice())),
        HeaderValue::Time(seconds) => AMQPValue::Timestamp(*seconds),
        HeaderValue::List(values) => {
            let mut array = FieldArray::default();
            for value in values {
                array.push(value_to_amqp(value)?);
            }
            AMQPValue::FieldArray(array)
        }
        HeaderValue::Table(headers) => {
            let mut table = FieldTable::default();
            for (name, value) in headers.iter() {
                table.insert(short("header name", name)?, value_to_amqp(value)?);
            }
            AMQPValue::FieldTable(table)
        }
    })
}

/// A message that came from the broker, the broker's own headers included.
pub(super) fn from_amqp(properties: &BasicProperties, body: Vec<u8>) -> Message {
    let text = |value: &Option<ShortString>| value.as_ref().map(|text| text.as_str().to_owned());
    Message {
        body: body.into(),
        content_type: text(properties.content_type()),
        message_id: text(properties.message_id()),
        kind: text(properties.kind()),
        app_id: text(properties.app_id()),
        user_id: text(properties.user_id()),
        timestamp: *properties.timestamp(),
        headers: properties
            .headers()
            .as_ref()
            .map(|table| table_from_amqp(table, 1))
            .unwrap_or_default(),
    }
}

fn table_from_amqp(table: &FieldTable, depth: usize) -> Headers {
    table
        .into_iter()
        .map(|(name, value)| (header::name(name.as_str()), value_from_amqp(value, depth)))
        .collect()
}

/// Folds AMQP's nineteen kinds of values to ours. What is nested too deeply becomes null: nobody
/// means it, and it must not cost us the stack.
fn value_from_amqp(value: &AMQPValue, depth: usize) -> HeaderValue {
    if depth > DEEPEST {
        return HeaderValue::Null;
    }
    match value {
        AMQPValue::Void => HeaderValue::Null,
        AMQPValue::Boolean(value) => HeaderValue::Bool(*value),
        AMQPValue::ShortShortInt(value) => HeaderValue::Int(i64::from(*value)),
        AMQPValue::ShortShortUInt(value) => HeaderValue::Int(i64::from(*value)),
        AMQPValue::ShortInt(value) => HeaderValue::Int(i64::from(*value)),
        AMQPValue::ShortUInt(value) => HeaderValue::Int(i64::from(*value)),
        AMQPValue::LongInt(value) => HeaderValue::Int(i64::from(*value)),
        AMQPValue::LongUInt(value) => HeaderValue::Int(i64::from(*value)),
        AMQPValue::LongLongInt(value) => HeaderValue::Int(*value),
        AMQPValue::Float(value) => HeaderValue::Float(f64::from(*value)),
        AMQPValue::Double(value) => HeaderValue::Float(*value),
        AMQPValue::DecimalValue(decimal) => {
            let scale = 10_f64.powi(i32::from(decimal.scale));
            HeaderValue::Float(f64::from(decimal.value) / scale)
        }
        AMQPValue::ShortString(text) => HeaderValue::from(text.as_str()),
        AMQPValue::LongString(text) => match std::str::from_utf8(text.as_bytes()) {
            Ok(text) => HeaderValue::from(text),
            Err(_) => HeaderValue::Bytes(text.as_bytes().to_vec()),
        },
        AMQPValue::ByteArray(bytes) => HeaderValue::Bytes(bytes.as_slice().to_vec()),
        AMQPValue::Timestamp(seconds) => HeaderValue::Time(*seconds),
        AMQPValue::FieldArray(values) => HeaderValue::List(
            values
                .as_slice()
                .iter()
                .map(|value| value_from_amqp(value, depth + 1))
                .collect(),
        ),
        AMQPValue::FieldTable(table) => HeaderValue::Table(table_from_amqp(table, depth + 1)),
    }
}

#[cfg(test)]
mod tests {
    use lapin::types::DecimalValue;
    use proptest::prelude::*;

    use super::*;
    use crate::message::any_header;

    #[test]
    fn what_the_broker_added_is_not_published_again() {
        let mut message = Message::default();
        message.headers.set("longshore-attempt", 2_i64);
        for name in [
            "x-death",
            "x-first-death-queue",
            "x-last-death-reason",
            "x-delivery-count",
            "x-acquired-count",
            "x-stream-offset",
            "CC",
            "BCC",
        ] {
            message.headers.set(name, "broker");
        }
        let properties = to_amqp(&message, Some("guest")).expect("publishable");
        let back = from_amqp(&properties, Vec::new());
        assert_eq!(back.headers.len(), 1);
        assert_eq!(back.headers.int("longshore-attempt"), Some(2));
        assert_eq!(back.user_id.as_deref(), Some("guest"));
        assert_eq!(*properties.delivery_mode(), Some(PERSISTENT));
    }

    #[test]
    fn every_kind_of_foreign_value_can_be_read() {
        let inner: AMQPValue = AMQPValue::FieldArray(vec![AMQPValue::Boolean(true)].into());
        let mut nested = FieldTable::default();
        nested.insert("inner".into(), inner);
        let cases = [
            (AMQPValue::Void, HeaderValue::Null),
            (AMQPValue::ShortShortInt(-1), HeaderValue::Int(-1)),
            (AMQPValue::ShortShortUInt(255), HeaderValue::Int(255)),
            (AMQPValue::ShortInt(-300), HeaderValue::Int(-300)),
            (AMQPValue::ShortUInt(60_000), HeaderValue::Int(60_000)),
            (AMQPValue::LongInt(-70_000), HeaderValue::Int(-70_000)),
            (
                AMQPValue::LongUInt(u32::MAX),
                HeaderValue::Int(4_294_967_295),
            ),
            (AMQPValue::LongLongInt(i64::MIN), HeaderValue::Int(i64::MIN)),
            (AMQPValue::Float(0.5), HeaderValue::Float(0.5)),
            (AMQPValue::Double(-0.25), HeaderValue::Float(-0.25)),
            (
                AMQPValue::DecimalValue(DecimalValue {
                    scale: 2,
                    value: 150,
                }),
                HeaderValue::Float(1.5),
            ),
            (AMQPValue::ShortString("a".into()), HeaderValue::from("a")),
            (AMQPValue::LongString("ä".into()), HeaderValue::from("ä")),
            (
                AMQPValue::LongString(LongString::from(vec![0xff_u8, 0])),
                HeaderValue::Bytes(vec![0xff, 0]),
            ),
            (
                AMQPValue::ByteArray(vec![1].into()),
                HeaderValue::Bytes(vec![1]),
            ),
            (AMQPValue::Timestamp(7), HeaderValue::Time(7)),
            (
                AMQPValue::FieldTable(nested),
                HeaderValue::Table(
                    [("inner", HeaderValue::List(vec![HeaderValue::Bool(true)]))]
                        .into_iter()
                        .collect(),
                ),
            ),
        ];
        for (foreign, ours) in cases {
            assert_eq!(value_from_amqp(&foreign, 1), ours, "{foreign:?}");
        }
    }

    proptest! {
        #[test]
        fn our_headers_come_back_as_they_went(
            headers in prop::collection::btree_map("[a-z]{1,12}", any_header(), 0..6),
            id in prop::option::of("[ -~]{0,255}"),
            timestamp in prop::option::of(any::<u64>()),
            body in prop::collection::vec(any::<u8>(), 0..50),
        ) {
            let message = Message {
                body: body.clone().into(),
                message_id: id,
                timestamp,
                headers: headers.into_iter().collect(),
                ..Message::default()
            };
            let properties = to_amqp(&message, None).map_err(TestCaseError::fail)?;
            prop_assert_eq!(from_amqp(&properties, body), message);
        }
    }
}
