//! A message that waits in a queue, as the files keep it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::broker::Received;

/// A message in a queue.
#[derive(Debug, Serialize, Deserialize)]
pub struct Waiting {
    pub(super) queue: String,
    pub(super) exchange: String,
    pub(super) routing_key: String,
    properties: BTreeMap<String, Value>,
    headers: BTreeMap<String, Header>,
    pub(super) body: String,
}

/// A header's value; its type on the wire matters to those who read it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Header {
    Text(String),
    Int(i64),
    Timestamp(u64),
    Flag(bool),
}

impl Waiting {
    /// A message as it was taken from `queue`.
    ///
    /// # Errors
    /// If it holds something that the files cannot say.
    pub fn new(queue: &str, message: &Received) -> Result<Self> {
        let known = &message.properties;
        let texts = [
            ("content_type", known.content_type()),
            ("content_encoding", known.content_encoding()),
            ("correlation_id", known.correlation_id()),
            ("message_id", known.message_id()),
            ("type", known.kind()),
            ("app_id", known.app_id()),
            ("user_id", known.user_id()),
        ];
        let mut properties: BTreeMap<String, Value> = texts
            .into_iter()
            .filter_map(|(name, text)| Some((name.to_owned(), text.as_ref()?.as_str().into())))
            .collect();
        if let Some(timestamp) = known.timestamp() {
            properties.insert("timestamp".to_owned(), (*timestamp).into());
        }
        let mut headers = BTreeMap::new();
        for (name, value) in known.headers().iter().flat_map(FieldTable::inner) {
            // The broker's own, about this copy of the message.
            if name.as_str().starts_with("x-") {
                continue;
            }
            let header = Header::new(value).with_context(|| format!("header {name}"))?;
            headers.insert(name.to_string(), header);
        }
        Ok(Self {
            queue: queue.to_owned(),
            exchange: message.exchange.clone(),
            routing_key: message.routing_key.clone(),
            properties,
            headers,
            body: String::from_utf8(message.body.clone()).context("its body is not text")?,
        })
    }

    /// The properties to publish it with, as `login`.
    pub(super) fn properties(&self, login: &str) -> Result<BasicProperties> {
        let mut properties = BasicProperties::default().with_delivery_mode(2);
        for (name, value) in &self.properties {
            if name == "timestamp" {
                properties = properties.with_timestamp(value.as_u64().context("a timestamp")?);
                continue;
            }
            let text = value.as_str().with_context(|| format!("{name} as text"))?;
            properties = match name.as_str() {
                "content_type" => properties.with_content_type(text.into()),
                "content_encoding" => properties.with_content_encoding(text.into()),
                "correlation_id" => properties.with_correlation_id(text.into()),
                "message_id" => properties.with_message_id(text.into()),
                "type" => properties.with_type(text.into()),
                "app_id" => properties.with_app_id(text.into()),
                "user_id" => properties.with_user_id(login.into()),
                other => bail!("there is no property {other}"),
            };
        }
        let mut headers = FieldTable::default();
        for (name, header) in &self.headers {
            headers.insert(name.as_str().into(), header.value());
        }
        Ok(properties.with_headers(headers))
    }
}

impl Header {
    fn new(value: &AMQPValue) -> Result<Self> {
        Ok(match value {
            AMQPValue::LongString(text) => Self::Text(text.to_string()),
            AMQPValue::LongLongInt(number) => Self::Int(*number),
            AMQPValue::Timestamp(seconds) => Self::Timestamp(*seconds),
            AMQPValue::Boolean(flag) => Self::Flag(*flag),
            other => bail!("{other:?} is of a type that is not recorded"),
        })
    }

    fn value(&self) -> AMQPValue {
        match self {
            Self::Text(text) => AMQPValue::LongString(text.as_str().into()),
            Self::Int(number) => AMQPValue::LongLongInt(*number),
            Self::Timestamp(seconds) => AMQPValue::Timestamp(*seconds),
            Self::Flag(flag) => AMQPValue::Boolean(*flag),
        }
    }
}
