//! A message as any broker engine carries it: a body, a few properties, headers.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::{Map, Value};

/// The content type of a structured CloudEvent, the canonical form on the wire.
pub const CLOUDEVENTS_JSON: &str = "application/cloudevents+json";

/// One message, free of any broker's own types. The body is shared, never copied on its way.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Message {
    /// The payload, forwarded as it came.
    pub body: Bytes,
    /// Media type of the body.
    pub content_type: Option<String>,
    /// AMQP `message_id`: the event id on everything Longshore publishes.
    pub message_id: Option<String>,
    /// AMQP `type`: the event type.
    pub kind: Option<String>,
    /// AMQP `app_id`: the event source.
    pub app_id: Option<String>,
    /// AMQP `user_id`: who published, vouched for by the broker.
    pub user_id: Option<String>,
    /// AMQP `timestamp`, in seconds since 1970.
    pub timestamp: Option<u64>,
    /// Everything else.
    pub headers: Headers,
}

/// Message headers in the order they were set; names are unique. Our own names are not copied.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Headers(Vec<(Cow<'static, str>, HeaderValue)>);

/// The value of one header: what AMQP 0-9-1 field tables can hold, folded to a few kinds.
#[derive(Debug, Clone, PartialEq)]
pub enum HeaderValue {
    /// No value.
    Null,
    /// A truth value.
    Bool(bool),
    /// Any whole number.
    Int(i64),
    /// Any floating-point number.
    Float(f64),
    /// Valid UTF-8 text.
    Text(String),
    /// Bytes that are not text.
    Bytes(Vec<u8>),
    /// Seconds since 1970.
    Time(u64),
    /// A list of values.
    List(Vec<HeaderValue>),
    /// A nested table.
    Table(Headers),
}

impl Headers {
    /// The value of header `name`.
    pub fn get(&self, name: &str) -> Option<&HeaderValue> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value)
    }

    /// The value of header `name` where it is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(HeaderValue::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The value of header `name` where it is a whole number.
    pub fn int(&self, name: &str) -> Option<i64> {
        match self.get(name) {
            Some(HeaderValue::Int(number)) => Some(*number),
            _ => None,
        }
    }

    /// Sets header `name`, replacing what it held.
    pub fn set(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<HeaderValue>) {
        let name = name.into();
        let value = value.into();
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, held)) => *held = value,
            None => self.0.push((name, value)),
        }
    }

    /// Removes header `name`.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| known != name);
    }

    /// Keeps only the headers whose name `keep` accepts.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.0.retain(|(name, _)| keep(name));
    }

    /// All headers in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &HeaderValue)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value))
    }

    /// How many headers there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no headers.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The headers as a JSON object, for people and for the `dead_letters` table. Bytes become
    /// `{"base64": …}`.
    pub fn to_json(&self) -> Value {
        Value::Object(
            self.iter()
                .map(|(name, value)| (name.to_owned(), value.to_json()))
                .collect(),
        )
    }
}

impl<N: Into<Cow<'static, str>>, V: Into<HeaderValue>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut headers = Self::default();
        for (name, value) in pairs {
            headers.set(name, value);
        }
        headers
    }
}

impl HeaderValue {
    /// The value as JSON, see [`Headers::to_json`].
    pub fn to_json(&self) -> Value {
        use base64::Engine as _;
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(value) => Value::from(*value),
            Self::Float(value) => Value::from(*value),
            Self::Text(value) => Value::from(value.as_str()),
            Self::Time(value) => Value::from(*value),
            Self::Bytes(bytes) => {
                let text = base64::engine::general_purpose::STANDARD.encode(bytes);
                Value::Object(Map::from_iter([("base64".to_owned(), Value::from(text))]))
            }
            Self::List(values) => values.iter().map(Self::to_json).collect(),
            Self::Table(table) => table.to_json(),
        }
    }

    /// The inverse of [`HeaderValue::to_json`], as far as JSON can tell the kinds apart.
    pub fn from_json(value: &Value) -> Self {
        use base64::Engine as _;
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => match number.as_i64() {
                Some(number) => Self::Int(number),
                None => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => Self::Text(text.clone()),
            Value::Array(values) => Self::List(values.iter().map(Self::from_json).collect()),
            Value::Object(map) => {
                if let (1, Some(Value::String(text))) = (map.len(), map.get("base64"))
                    && let Ok(bytes) = base64::engine::general_purpose::STANDARD.decode(text)
                {
                    return Self::Bytes(bytes);
                }
                Self::Table(
                    map.iter()
                        .map(|(name, value)| (name.clone(), Self::from_json(value)))
                        .collect(),
                )
            }
        }
    }
}

/// Whether a header is the broker's own: readable on a delivery, never to be published again. A
/// leftover `x-death` makes RabbitMQ see a cycle and drop the message without a word, and `CC` and
/// `BCC` would route copies to wherever a foreign publisher liked.
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

impl From<&str> for HeaderValue {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for HeaderValue {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<i64> for HeaderValue {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<u32> for HeaderValue {
    fn from(value: u32) -> Self {
        Self::Int(value.into())
    }
}

/// Any header value, for property tests of the engines' codecs.
#[cfg(test)]
pub(crate) fn any_header() -> impl proptest::strategy::Strategy<Value = HeaderValue> {
    use proptest::prelude::*;

    let leaf = prop_oneof![
        Just(HeaderValue::Null),
        any::<bool>().prop_map(HeaderValue::Bool),
        any::<i64>().prop_map(HeaderValue::Int),
        (-1e300_f64..1e300).prop_map(HeaderValue::Float),
        ".{0,20}".prop_map(HeaderValue::Text),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(HeaderValue::Bytes),
        any::<u64>().prop_map(HeaderValue::Time),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(HeaderValue::List),
            prop::collection::btree_map(".{1,8}", inner, 0..4)
                .prop_map(|map| HeaderValue::Table(map.into_iter().collect())),
        ]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_twice_keeps_one() {
        let mut headers = Headers::default();
        headers.set("a", 1_i64);
        headers.set("a", "two");
        assert_eq!(headers.len(), 1);
        assert_eq!(headers.text("a"), Some("two"));
        assert_eq!(headers.int("a"), None);
    }

    #[test]
    fn headers_survive_json() {
        let headers: Headers = [
            ("text", HeaderValue::from("ä")),
            ("int", HeaderValue::Int(-3)),
            ("bytes", HeaderValue::Bytes(vec![0, 255])),
            (
                "list",
                HeaderValue::List(vec![HeaderValue::Bool(true), HeaderValue::Null]),
            ),
        ]
        .into_iter()
        .collect();
        // JSON objects are unordered here, so compare name by name.
        let HeaderValue::Table(back) = HeaderValue::from_json(&headers.to_json()) else {
            panic!("expected a table")
        };
        for (name, value) in headers.iter() {
            assert_eq!(back.get(name), Some(value));
        }
    }
}
