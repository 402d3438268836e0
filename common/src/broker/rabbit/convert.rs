//! Our messages in AMQP's properties and field tables. The way back is [`super::wire::open`].

use lapin::BasicProperties;
use lapin::types::{
    AMQPValue, ByteArray, DecimalValue, FieldArray, FieldTable, LongString, ShortString,
};

use crate::broker::bounds;
use crate::event::header;
use crate::message::{HeaderValue, Message};

/// AMQP's delivery mode for messages that survive a restart of the broker.
const PERSISTENT: u8 = 2;

/// The address at which a broker answers requests of the publishing channel itself: it closes a channel that asks for
/// it without waiting for an answer.
const DIRECT_REPLY: &str = "amq.rabbitmq.reply-to";

/// A text as AMQP's short string, or why it cannot be one.
pub(super) fn short(what: &str, text: &str) -> Result<ShortString, String> {
    bounds::name(what, text)?;
    ShortString::try_new(text).map_err(|error| error.to_string())
}

/// The AMQP properties of a message that we publish as `user`: persistent, without the broker's own additions, and with
/// properties put aside that would be in force in our own queues. The error names a part that cannot be written down.
pub(super) fn to_amqp(message: &Message, user: Option<&str>) -> Result<BasicProperties, String> {
    let mut properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
    let mut table = FieldTable::default();
    let text = |what: &str, value: Option<&str>| value.map(|value| short(what, value)).transpose();
    if let Some(value) = text("content type", message.content_type.as_deref())? {
        properties = properties.with_content_type(value);
    }
    if let Some(value) = text("content encoding", message.content_encoding.as_deref())? {
        properties = properties.with_content_encoding(value);
    }
    if let Some(value) = text("message_id", message.message_id.as_deref())? {
        properties = properties.with_message_id(value);
    }
    if let Some(value) = text("correlation_id", message.correlation_id.as_deref())? {
        properties = properties.with_correlation_id(value);
    }
    if message.reply_to.as_deref() == Some(DIRECT_REPLY) {
        let value = AMQPValue::LongString(DIRECT_REPLY.into());
        table.insert(header::REPLY_TO.into(), value);
    } else if let Some(value) = text("reply_to", message.reply_to.as_deref())? {
        properties = properties.with_reply_to(value);
    }
    if let Some(value) = &message.expiration {
        let value = AMQPValue::LongString(value.as_str().into());
        table.insert(header::EXPIRATION.into(), value);
    }
    if let Some(value) = text("type", message.kind.as_deref())? {
        properties = properties.with_type(value);
    }
    if let Some(value) = text("app_id", message.app_id.as_deref())? {
        properties = properties.with_app_id(value);
    }
    if let Some(value) = text("cluster_id", message.cluster_id.as_deref())? {
        properties = properties.with_cluster_id(value);
    }
    if let Some(value) = text("user_id", user)? {
        properties = properties.with_user_id(value);
    }
    if let Some(timestamp) = message.timestamp {
        properties = properties.with_timestamp(timestamp);
    }
    if let Some(priority) = message.priority {
        properties = properties.with_priority(priority);
    }
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
        HeaderValue::Int8(value) => AMQPValue::ShortShortInt(*value),
        HeaderValue::UInt8(value) => AMQPValue::ShortShortUInt(*value),
        HeaderValue::Int16(value) => AMQPValue::ShortInt(*value),
        HeaderValue::UInt16(value) => AMQPValue::ShortUInt(*value),
        HeaderValue::Int32(value) => AMQPValue::LongInt(*value),
        HeaderValue::UInt32(value) => AMQPValue::LongUInt(*value),
        HeaderValue::Int(value) => AMQPValue::LongLongInt(*value),
        HeaderValue::Float32(value) => AMQPValue::Float(*value),
        HeaderValue::Float(value) => AMQPValue::Double(*value),
        HeaderValue::Decimal { scale, value } => AMQPValue::DecimalValue(DecimalValue {
            scale: *scale,
            value: *value,
        }),
        HeaderValue::Text(text) => AMQPValue::LongString(LongString::from(text.as_str())),
        HeaderValue::RawText(bytes) => AMQPValue::LongString(LongString::from(bytes.clone())),
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

#[cfg(test)]
mod tests {
    use lapin::protocol::basic::gen_properties;
    use proptest::prelude::*;

    use super::*;
    use crate::broker::bounds::MAX_BYTES;
    use crate::broker::rabbit::wire::{Sealed, open};
    use crate::message::any_message;

    /// The message that comes out of a queue which `message` was published to.
    fn delivered(message: &Message, user: Option<&str>) -> Message {
        let properties = to_amqp(message, user).expect("publishable");
        let mut written = vec![0; 4 * MAX_BYTES];
        let size = gen_properties(&properties)(written.as_mut_slice().into())
            .map(|context| context.into_inner().1)
            .expect("written");
        written.truncate(usize::try_from(size).expect("a size"));
        let sealed = Sealed {
            routing_key: b"key",
            body_size: u64::try_from(message.body.len()).expect("a size"),
            limit: 0,
            properties: &written,
        };
        let mut data = sealed.seal().expect("sealed");
        data.extend(&message.body);
        open(data).expect("opened").1
    }

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
        let back = delivered(&message, Some("guest"));
        assert_eq!(back.headers.len(), 1);
        assert_eq!(back.headers.int("longshore-attempt"), Some(2));
        assert_eq!(back.user_id.as_deref(), Some("guest"));
        let properties = to_amqp(&message, None).expect("publishable");
        assert_eq!(*properties.delivery_mode(), Some(PERSISTENT));
    }

    #[test]
    fn what_would_be_in_force_in_our_queues_is_put_aside_and_comes_back() {
        let message = Message {
            expiration: Some("60000".to_owned()),
            reply_to: Some(DIRECT_REPLY.to_owned()),
            ..Message::default()
        };
        let properties = to_amqp(&message, None).expect("publishable");
        assert_eq!(*properties.expiration(), None);
        assert_eq!(*properties.reply_to(), None);
        assert_eq!(delivered(&message, None), message);
    }

    proptest! {
        #[test]
        fn any_message_comes_back_as_it_went(message in any_message()) {
            let back = delivered(&message, Some("us"));
            // A table has no order.
            for (name, value) in message.headers.iter() {
                prop_assert_eq!(back.headers.get(name), Some(value));
            }
            let sorted = Message { headers: message.headers.clone(), ..back.clone() };
            prop_assert_eq!(back.headers.len(), message.headers.len());
            prop_assert_eq!(sorted, message);
        }
    }
}
