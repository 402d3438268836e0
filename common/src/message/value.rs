//! The value of a header: every type that an AMQP 0-9-1 field table has, as RabbitMQ reads them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value};

use super::{HeaderTypes, Headers};

/// The value of one header. Each AMQP type has a variant, so that a message can be published again as it
/// came; the letter is AMQP's own name for the type.
#[derive(Debug, Clone, PartialEq)]
pub enum HeaderValue {
    /// No value (`V`).
    Null,
    /// A truth value (`t`).
    Bool(bool),
    /// A whole number of 8 bits (`b`).
    Int8(i8),
    /// A whole number of 8 bits from zero on (`B`).
    UInt8(u8),
    /// A whole number of 16 bits (`s`).
    Int16(i16),
    /// A whole number of 16 bits from zero on (`u`).
    UInt16(u16),
    /// A whole number of 32 bits (`I`).
    Int32(i32),
    /// A whole number of 32 bits from zero on (`i`).
    UInt32(u32),
    /// A whole number of 64 bits (`l`).
    Int(i64),
    /// A floating-point number of 32 bits (`f`).
    Float32(f32),
    /// A floating-point number of 64 bits (`d`).
    Float(f64),
    /// A decimal number (`D`): `value` divided by ten to the power of `scale`.
    Decimal {
        /// How many digits stand behind the point.
        scale: u8,
        /// The digits.
        value: u32,
    },
    /// A long string (`S`) that is valid UTF-8.
    Text(String),
    /// A long string (`S`) that is not.
    RawText(Vec<u8>),
    /// Bytes (`x`).
    Bytes(Vec<u8>),
    /// Seconds since 1970 (`T`).
    Time(u64),
    /// A list of values (`A`).
    List(Vec<HeaderValue>),
    /// A nested table (`F`).
    Table(Headers),
}

impl HeaderValue {
    /// The value where it is a whole number of any size.
    pub fn as_int(&self) -> Option<i64> {
        Some(match self {
            Self::Int8(value) => i64::from(*value),
            Self::UInt8(value) => i64::from(*value),
            Self::Int16(value) => i64::from(*value),
            Self::UInt16(value) => i64::from(*value),
            Self::Int32(value) => i64::from(*value),
            Self::UInt32(value) => i64::from(*value),
            Self::Int(value) => *value,
            _ => return None,
        })
    }

    /// The value as JSON, see [`Headers::to_json`].
    pub fn to_json(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Float32(value) => number(f64::from(*value)),
            Self::Float(value) => number(*value),
            Self::Decimal { scale, value } => Value::from(decimal(*scale, *value)),
            Self::Text(value) => Value::from(value.as_str()),
            Self::Time(value) => Value::from(*value),
            Self::Bytes(bytes) | Self::RawText(bytes) => {
                let text = Value::from(BASE64.encode(bytes));
                Value::Object(Map::from_iter([("base64".to_owned(), text)]))
            }
            Self::List(values) => values.iter().map(Self::to_json).collect(),
            Self::Table(table) => table.to_json(),
            whole => Value::from(whole.as_int()),
        }
    }

    /// The name of the value's type in [`HeaderTypes`], if its JSON form is read as another one.
    fn type_name(&self) -> Option<&'static str> {
        Some(match self {
            Self::Int8(_) => "int8",
            Self::UInt8(_) => "uint8",
            Self::Int16(_) => "int16",
            Self::UInt16(_) => "uint16",
            Self::Int32(_) => "int32",
            Self::UInt32(_) => "uint32",
            Self::Float32(_) => "float",
            Self::Float(value) if !is_plain(*value) => "double",
            Self::Decimal { .. } => "decimal",
            Self::RawText(_) => "text",
            Self::Time(_) => "timestamp",
            Self::Table(table) if table.len() == 1 && table.get("base64").is_some() => "table",
            _ => return None,
        })
    }

    pub(super) fn collect_types(&self, place: &str, types: &mut HeaderTypes) {
        if let Some(name) = self.type_name() {
            types.insert(place.to_owned(), name.to_owned());
        }
        match self {
            Self::List(values) => {
                for (number, value) in values.iter().enumerate() {
                    value.collect_types(&format!("{place}/{number}"), types);
                }
            }
            Self::Table(table) => table.collect_types(place, types),
            _ => {}
        }
    }

    pub(super) fn read_json(value: &Value, types: &HeaderTypes, place: &str) -> Self {
        let named = types.get(place).map(String::as_str);
        if let Some(typed) = named.and_then(|name| Self::of_type(name, value)) {
            return typed;
        }
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => match number.as_i64() {
                Some(number) => Self::Int(number),
                None => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => Self::Text(text.clone()),
            Value::Array(values) => {
                let each = values.iter().enumerate();
                let each = each.map(|(number, value)| {
                    Self::read_json(value, types, &format!("{place}/{number}"))
                });
                Self::List(each.collect())
            }
            Value::Object(_) => match bytes(value) {
                Some(bytes) if named != Some("table") => Self::Bytes(bytes),
                _ => Self::Table(Headers::read_json(value, types, place)),
            },
        }
    }

    /// `value` as the type of this name, if it can be that.
    fn of_type(name: &str, value: &Value) -> Option<Self> {
        let int = || value.as_i64();
        Some(match name {
            "int8" => Self::Int8(int()?.try_into().ok()?),
            "uint8" => Self::UInt8(int()?.try_into().ok()?),
            "int16" => Self::Int16(int()?.try_into().ok()?),
            "uint16" => Self::UInt16(int()?.try_into().ok()?),
            "int32" => Self::Int32(int()?.try_into().ok()?),
            "uint32" => Self::UInt32(int()?.try_into().ok()?),
            // It was a number of 32 bits when it was written.
            "float" => Self::Float32(float(value)? as f32),
            "double" => Self::Float(float(value)?),
            "decimal" => {
                let digits = value.as_str()?;
                let scale = digits.split_once('.').map_or(0, |(_, behind)| behind.len());
                Self::Decimal {
                    scale: scale.try_into().ok()?,
                    value: digits.replace('.', "").parse().ok()?,
                }
            }
            "text" => Self::RawText(bytes(value)?),
            "timestamp" => Self::Time(value.as_u64()?),
            _ => return None,
        })
    }
}

/// A number as JSON, or as text where JSON would not give it back.
fn number(value: f64) -> Value {
    if is_plain(value) {
        Value::from(value)
    } else {
        Value::from(value.to_string())
    }
}

/// Whether a number survives JSON: JSON has no infinite ones, and its reader may miss the last bit of some others.
fn is_plain(value: f64) -> bool {
    let written = serde_json::to_string(&value).ok();
    written.and_then(|text| serde_json::from_str(&text).ok()) == Some(value)
}

fn float(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => text.parse().ok(),
        value => value.as_f64(),
    }
}

/// All digits of a decimal number.
fn decimal(scale: u8, value: u32) -> String {
    let scale = usize::from(scale);
    let digits = format!("{value:0>width$}", width = scale + 1);
    match digits.split_at_checked(digits.len() - scale) {
        Some((whole, behind)) if scale > 0 => format!("{whole}.{behind}"),
        _ => digits,
    }
}

/// The bytes in `{"base64": …}`.
fn bytes(value: &Value) -> Option<Vec<u8>> {
    let fields = value.as_object().filter(|fields| fields.len() == 1)?;
    BASE64.decode(fields.get("base64")?.as_str()?).ok()
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

/// Any header value, for property tests of codecs.
#[cfg(test)]
pub(crate) fn any_header() -> impl proptest::strategy::Strategy<Value = HeaderValue> {
    use proptest::prelude::*;

    let leaf = prop_oneof![
        Just(HeaderValue::Null),
        any::<bool>().prop_map(HeaderValue::Bool),
        any::<i8>().prop_map(HeaderValue::Int8),
        any::<u8>().prop_map(HeaderValue::UInt8),
        any::<i16>().prop_map(HeaderValue::Int16),
        any::<u16>().prop_map(HeaderValue::UInt16),
        any::<i32>().prop_map(HeaderValue::Int32),
        any::<u32>().prop_map(HeaderValue::UInt32),
        any::<i64>().prop_map(HeaderValue::Int),
        any::<f32>()
            .prop_filter("equal to itself", |value| !value.is_nan())
            .prop_map(HeaderValue::Float32),
        any::<f64>()
            .prop_filter("equal to itself", |value| !value.is_nan())
            .prop_map(HeaderValue::Float),
        any::<(u8, u32)>().prop_map(|(scale, value)| HeaderValue::Decimal { scale, value }),
        ".{0,20}".prop_map(HeaderValue::Text),
        prop::collection::vec(any::<u8>(), 1..20).prop_map(|mut bytes| {
            bytes.push(0xff);
            HeaderValue::RawText(bytes)
        }),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(HeaderValue::Bytes),
        any::<u64>().prop_map(HeaderValue::Time),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(HeaderValue::List),
            prop::collection::btree_map(".{1,8}", inner.clone(), 0..4)
                .prop_map(|map| HeaderValue::Table(map.into_iter().collect())),
            inner.prop_map(|value| HeaderValue::Table([("base64", value)].into_iter().collect())),
        ]
    })
}

/// Any message that a broker engine can carry as it is, for property tests of codecs.
#[cfg(test)]
pub(crate) fn any_message() -> impl proptest::strategy::Strategy<Value = super::Message> {
    use proptest::prelude::*;

    use super::Message;

    let text = || prop::option::of(".{0,50}");
    (
        prop::array::uniform8(text()),
        prop::option::of("[0-9]{1,10}"),
        prop::option::of(any::<u64>()),
        prop::option::of(any::<u8>()),
        prop::collection::btree_map("[^xCBl].{0,12}", any_header(), 0..6),
        prop::collection::vec(any::<u8>(), 0..50),
    )
        .prop_map(|(texts, expiration, timestamp, priority, headers, body)| {
            let [
                content_type,
                content_encoding,
                message_id,
                correlation_id,
                reply_to,
                kind,
                app_id,
                cluster_id,
            ] = texts;
            Message {
                body: body.into(),
                content_type,
                content_encoding,
                message_id,
                correlation_id,
                reply_to,
                kind,
                app_id,
                cluster_id,
                user_id: Some("us".to_owned()),
                timestamp,
                priority,
                expiration,
                headers: headers.into_iter().collect(),
                damage: None,
            }
        })
}
