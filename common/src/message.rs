//! A message as any broker engine carries it: a body, a few properties, headers.

mod headers;
mod value;

use bytes::Bytes;

pub use self::headers::{HeaderTypes, Headers};
pub use self::value::HeaderValue;
#[cfg(test)]
pub(crate) use self::value::{any_header, any_message};
use crate::reason::ReasonCode;

/// The content type of a structured CloudEvent, the canonical form on the wire.
pub const CLOUDEVENTS_JSON: &str = "application/cloudevents+json";

/// One message, free of any broker's own types. The body is shared, never copied on its way.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Message {
    /// The payload, forwarded as it came.
    pub body: Bytes,
    /// Media type of the body.
    pub content_type: Option<String>,
    /// AMQP `content_encoding`.
    pub content_encoding: Option<String>,
    /// AMQP `message_id`: the event id on everything Longshore publishes.
    pub message_id: Option<String>,
    /// AMQP `correlation_id`.
    pub correlation_id: Option<String>,
    /// AMQP `reply_to`.
    pub reply_to: Option<String>,
    /// AMQP `type`: the event type.
    pub kind: Option<String>,
    /// AMQP `app_id`: the event source.
    pub app_id: Option<String>,
    /// AMQP `cluster_id`.
    pub cluster_id: Option<String>,
    /// AMQP `user_id`: who published, vouched for by the broker.
    pub user_id: Option<String>,
    /// AMQP `timestamp`, in seconds since 1970.
    pub timestamp: Option<u64>,
    /// AMQP `priority`.
    pub priority: Option<u8>,
    /// AMQP `expiration`, in milliseconds, as text. Kept, but never in force on our own messages.
    pub expiration: Option<String>,
    /// Everything else.
    pub headers: Headers,
    /// Why this is not the whole message that was published, if so. Never published.
    pub damage: Option<Box<Damage>>,
}

/// The unreadable or omitted part of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The code of its dead letter.
    pub code: ReasonCode,
    /// The expected and the found value, for a person; bytes that are not text in base64.
    pub detail: String,
    /// Size and SHA-256 of the whole body, where only its beginning is here.
    pub body: Option<String>,
}

/// Whether a header is the broker's own: readable on a delivery, never to be published again. A
/// leftover `x-death` makes RabbitMQ see a cycle and drop the message silently. `CC` and `BCC`
/// would route copies to any queue of a foreign publisher's choice.
pub fn belongs_to_broker(name: &str) -> bool {
    (name.starts_with("x-") && name.contains("death"))
        || matches!(
            name,
            "x-delivery-count"
                | "x-acquired-count"
                | "x-stream-offset"
                | "x-opt-deaths"
                | "CC"
                | "BCC"
        )
}
