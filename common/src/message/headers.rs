//! Headers, and the two columns that keep them: a JSON object for people, and beside it the types that JSON lacks.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use super::HeaderValue;

/// Message headers in the order they were set; names are unique. Our own names are not copied.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Headers(Vec<(Cow<'static, str>, HeaderValue)>);

/// The AMQP types that the JSON form of headers does not tell, by JSON Pointer (RFC 6901).
pub type HeaderTypes = BTreeMap<String, String>;

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

    /// The value of header `name` where it is a whole number of any size.
    pub fn int(&self, name: &str) -> Option<i64> {
        self.get(name)?.as_int()
    }

    /// Sets header `name`, replacing its value.
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

    /// Removes header `name` and returns its value.
    pub fn take(&mut self, name: &str) -> Option<HeaderValue> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.remove(at).1)
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

    /// The part that [`Headers::to_json`] leaves open: the type of each value that its JSON form does not imply.
    pub fn types(&self) -> HeaderTypes {
        let mut types = HeaderTypes::new();
        self.collect_types("", &mut types);
        types
    }

    /// The headers that were written as `object` and `types`. Other values are left out.
    pub fn from_json(object: &Value, types: &HeaderTypes) -> Self {
        Self::read_json(object, types, "")
    }

    pub(super) fn collect_types(&self, place: &str, types: &mut HeaderTypes) {
        for (name, value) in self.iter() {
            value.collect_types(&below(place, name), types);
        }
    }

    pub(super) fn read_json(object: &Value, types: &HeaderTypes, place: &str) -> Self {
        let Value::Object(fields) = object else {
            return Self::default();
        };
        fields
            .iter()
            .map(|(name, value)| {
                let place = below(place, name);
                (name.clone(), HeaderValue::read_json(value, types, &place))
            })
            .collect()
    }
}

/// The JSON Pointer of `name` in the object at `place`.
fn below(place: &str, name: &str) -> String {
    format!("{place}/{}", name.replace('~', "~0").replace('/', "~1"))
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::any_header;

    #[test]
    fn setting_twice_keeps_one() {
        let mut headers = Headers::default();
        headers.set("a", 1_i64);
        headers.set("a", "two");
        assert_eq!(headers.len(), 1);
        assert_eq!(headers.text("a"), Some("two"));
        assert_eq!(headers.int("a"), None);
        assert_eq!(headers.take("a"), Some(HeaderValue::from("two")));
        assert_eq!(headers.take("a"), None);
    }

    #[test]
    fn the_json_form_stays_pleasant_and_only_what_it_cannot_say_stands_beside_it() {
        let headers: Headers = [
            ("count", HeaderValue::Int(-3)),
            ("small", HeaderValue::Int32(7)),
            ("cloudEvents:time", HeaderValue::Time(1_767_322_245)),
            (
                "price",
                HeaderValue::Decimal {
                    scale: 2,
                    value: 150,
                },
            ),
            ("raw", HeaderValue::Bytes(vec![0, 255])),
            ("a/b", HeaderValue::List(vec![HeaderValue::Float32(0.5)])),
        ]
        .into_iter()
        .collect();
        assert_eq!(
            headers.to_json(),
            serde_json::json!({
                "count": -3,
                "small": 7,
                "cloudEvents:time": 1_767_322_245_u64,
                "price": "1.50",
                "raw": {"base64": "AP8="},
                "a/b": [0.5],
            })
        );
        let types: Vec<_> = headers.types().into_iter().collect();
        let types: Vec<_> = types.iter().map(|(at, is)| (&**at, &**is)).collect();
        assert_eq!(
            types,
            [
                ("/a~1b/0", "float"),
                ("/cloudEvents:time", "timestamp"),
                ("/price", "decimal"),
                ("/small", "int32"),
            ]
        );
    }

    #[test]
    fn headers_that_were_kept_without_types_are_read_as_before() {
        let kept = serde_json::json!({"n": 7, "f": 1.5, "b": {"base64": "AP8="}, "t": {"x": null}});
        let headers = Headers::from_json(&kept, &HeaderTypes::new());
        assert_eq!(headers.get("n"), Some(&HeaderValue::Int(7)));
        assert_eq!(headers.get("f"), Some(&HeaderValue::Float(1.5)));
        assert_eq!(headers.get("b"), Some(&HeaderValue::Bytes(vec![0, 255])));
        let table = Headers::from_iter([("x", HeaderValue::Null)]);
        assert_eq!(headers.get("t"), Some(&HeaderValue::Table(table)));
    }

    proptest! {
        #[test]
        fn headers_survive_both_columns(
            headers in prop::collection::btree_map("\\PC{0,12}", any_header(), 0..6),
        ) {
            let headers: Headers = headers.into_iter().collect();
            let object = headers.to_json().to_string();
            let types = serde_json::to_string(&headers.types()).unwrap();
            let back = Headers::from_json(
                &serde_json::from_str(&object).unwrap(),
                &serde_json::from_str(&types).unwrap(),
            );
            prop_assert_eq!(back, headers);
        }
    }
}
