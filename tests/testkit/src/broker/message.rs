//! Messages as an outsider publishes and finds them.

use anyhow::{Context, Result};
use lapin::{
    BasicProperties,
    message::Delivery,
    types::{AMQPValue, FieldTable},
};

/// A message to publish: anything at all, sensible or not.
#[derive(Clone, Debug, Default)]
pub struct Message {
    pub(super) properties: BasicProperties,
    pub(super) headers: FieldTable,
    pub(super) body: Vec<u8>,
}

impl Message {
    /// A persistent message with this body and no other property.
    #[must_use]
    pub fn new(body: impl Into<Vec<u8>>) -> Self {
        let properties = BasicProperties::default().with_delivery_mode(2);
        Self {
            properties,
            headers: FieldTable::default(),
            body: body.into(),
        }
    }

    /// A persistent message in the contract's third shape: plain `application/json`.
    #[must_use]
    pub fn json(body: &serde_json::Value) -> Self {
        Self::new(body.to_string()).content_type("application/json")
    }

    /// A persistent message in the contract's first shape: a structured CloudEvent.
    #[must_use]
    pub fn cloud_event(event: &serde_json::Value) -> Self {
        Self::new(event.to_string()).content_type("application/cloudevents+json")
    }

    /// Sets the content type.
    #[must_use]
    pub fn content_type(self, value: &str) -> Self {
        self.with(|properties| properties.with_content_type(value.into()))
    }

    /// Sets `message_id`.
    #[must_use]
    pub fn message_id(self, value: &str) -> Self {
        self.with(|properties| properties.with_message_id(value.into()))
    }

    /// Sets `app_id`.
    #[must_use]
    pub fn app_id(self, value: &str) -> Self {
        self.with(|properties| properties.with_app_id(value.into()))
    }

    /// Sets any other property.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(BasicProperties) -> BasicProperties) -> Self {
        self.properties = change(self.properties);
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: AMQPValue) -> Self {
        self.headers.insert(name.into(), value);
        self
    }

    /// Adds a text header.
    #[must_use]
    pub fn text_header(self, name: &str, value: &str) -> Self {
        self.header(name, AMQPValue::LongString(value.into()))
    }
}

/// A message taken or peeked from a queue.
#[derive(Clone, Debug)]
pub struct Received {
    /// The exchange it was published to.
    pub exchange: String,
    /// Its routing key.
    pub routing_key: String,
    /// Its properties, headers among them.
    pub properties: BasicProperties,
    /// Its body.
    pub body: Vec<u8>,
}

impl Received {
    /// A header as text; numbers and booleans are printed.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let value = self.properties.headers().as_ref()?.inner().get(name)?;
        Some(match value {
            AMQPValue::LongString(text) => text.to_string(),
            AMQPValue::ShortString(text) => text.to_string(),
            AMQPValue::LongLongInt(number) => number.to_string(),
            AMQPValue::LongInt(number) => number.to_string(),
            AMQPValue::LongUInt(number) => number.to_string(),
            AMQPValue::ShortInt(number) => number.to_string(),
            AMQPValue::ShortShortUInt(number) => number.to_string(),
            AMQPValue::Timestamp(number) => number.to_string(),
            AMQPValue::Boolean(flag) => flag.to_string(),
            other => format!("{other:?}"),
        })
    }

    /// The same message, to publish it once more.
    #[must_use]
    pub fn again(&self) -> Message {
        let headers = self.properties.headers().clone().unwrap_or_default();
        Message {
            properties: self.properties.clone(),
            headers,
            body: self.body.clone(),
        }
    }

    /// `message_id`, our event id.
    #[must_use]
    pub fn message_id(&self) -> Option<String> {
        self.properties
            .message_id()
            .as_ref()
            .map(ToString::to_string)
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// If it is not JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body).context("the message's body is no JSON")
    }
}

impl From<Delivery> for Received {
    fn from(delivery: Delivery) -> Self {
        Self {
            exchange: delivery.exchange.to_string(),
            routing_key: delivery.routing_key.to_string(),
            properties: delivery.properties,
            body: delivery.data,
        }
    }
}
