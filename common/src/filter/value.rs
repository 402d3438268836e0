//! Values: of an event, and those that an expression makes of them.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::node::Shape;

/// A value. Its copy is cheap.
#[derive(Debug, Clone)]
pub(super) enum Value<'v> {
    Null,
    Truth(bool),
    /// A whole number from -2^63 to 2^64 - 1: CEL's `int` and `uint`.
    Whole(i128),
    /// Any other number.
    Decimal(f64),
    Text(Text<'v>),
    List(Arc<Vec<Value<'v>>>),
    /// Its members, in the order of their names.
    Object(Arc<Vec<(Text<'v>, Value<'v>)>>),
}

/// A text of the event or the expression, or one that was made of such.
#[derive(Debug, Clone)]
pub(super) enum Text<'v> {
    Borrowed(&'v str),
    Made(Arc<str>),
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Made(text) => text,
        }
    }
}

impl<'v> Value<'v> {
    /// A text that is not borrowed.
    pub(super) fn text(text: impl Into<Arc<str>>) -> Self {
        Self::Text(Text::Made(text.into()))
    }

    pub(super) fn shape(&self) -> Shape {
        match self {
            Self::Null => Shape::Null,
            Self::Truth(_) => Shape::Truth,
            Self::Whole(_) | Self::Decimal(_) => Shape::Number,
            Self::Text(_) => Shape::Text,
            Self::List(_) => Shape::List,
            Self::Object(_) => Shape::Object,
        }
    }

    /// The order of two numbers, two texts or two truth values. `None` for others, and for NaN.
    pub(super) fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Whole(one), Self::Whole(other)) => Some(one.cmp(other)),
            (Self::Decimal(one), Self::Decimal(other)) => one.partial_cmp(other),
            (Self::Whole(one), Self::Decimal(other)) => order_mixed(*one, *other),
            (Self::Decimal(one), Self::Whole(other)) => {
                order_mixed(*other, *one).map(Ordering::reverse)
            }
            (Self::Text(one), Self::Text(other)) => Some((**one).cmp(&**other)),
            (Self::Truth(one), Self::Truth(other)) => Some(one.cmp(other)),
            _ => None,
        }
    }
}

/// Where a whole number stands to a decimal one: exactly, without rounding either.
fn order_mixed(whole: i128, decimal: f64) -> Option<Ordering> {
    if decimal.is_nan() {
        return None;
    }
    // Beyond every whole number of ours, on either side.
    if decimal >= 2_f64.powi(64) {
        return Some(Ordering::Less);
    }
    if decimal < -(2_f64.powi(63)) {
        return Some(Ordering::Greater);
    }
    let floor = decimal.floor();
    let behind = if decimal > floor {
        Ordering::Less
    } else {
        Ordering::Equal
    };
    Some(whole.cmp(&(floor as i128)).then(behind))
}

/// The order of two members.
pub(super) fn by_name(
    (one, _): &(Text<'_>, Value<'_>),
    (other, _): &(Text<'_>, Value<'_>),
) -> Ordering {
    (**one).cmp(&**other)
}

/// The value of a member.
pub(super) fn member<'a, 'v>(
    members: &'a [(Text<'v>, Value<'v>)],
    name: &str,
) -> Option<&'a Value<'v>> {
    let place = members.binary_search_by(|(known, _)| (**known).cmp(name));
    Some(&members.get(place.ok()?)?.1)
}

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Json)
    }
}

/// Reads JSON. An integer is a whole number, if it is not too large; every other number is a decimal one.
struct Json;

impl<'de> Visitor<'de> for Json {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Value::Truth(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Value::Whole(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Value::Whole(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Value::Decimal(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Value::Text(Text::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Value::text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = access.next_element()? {
            values.push(value);
        }
        Ok(Value::List(Arc::new(values)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut members: Vec<(Text<'de>, Value<'de>)> = Vec::new();
        while let Some((Name(name), value)) = access.next_entry()? {
            members.push((name, value));
        }
        members.sort_unstable_by(by_name);
        if members.windows(2).any(|pair| *pair[0].0 == *pair[1].0) {
            return Err(A::Error::custom("expected each name once in an object"));
        }
        Ok(Value::Object(Arc::new(members)))
    }
}

/// The name of a member.
struct Name<'v>(Text<'v>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_str(Json)? {
            Value::Text(text) => Ok(Self(text)),
            _ => Err(D::Error::custom("expected a name")),
        }
    }
}
