//! JSON as it is taken here: UTF-8 without a byte order mark, no name twice in an object, nested at
//! most 128 deep. Two readers can never disagree on what such a text says.

use std::collections::HashSet;
use std::fmt;

use common::outcome::FieldError;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// Why a text is not taken. Says where and what, but nothing of what was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// It is no JSON.
    Malformed(String),
    /// It is JSON of another kind.
    Kind(String),
}

/// Reads any value.
///
/// # Errors
/// It is no JSON as it is taken here.
pub(crate) fn value(text: &[u8]) -> Result<Value, Wrong> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Strict.deserialize(&mut reader).map_err(malformed(text))?;
    reader.end().map_err(malformed(text))?;
    Ok(value)
}

/// The fields of an object, in order, each as it is written. What is in them is not looked at.
///
/// # Errors
/// It is no JSON, or no object.
pub(crate) fn fields(text: &[u8]) -> Result<Vec<(String, &RawValue)>, Wrong> {
    if first(text) != Some(b'{') {
        let value = value(text)?;
        let found = kind(&value);
        return Err(Wrong::Kind(format!("expected an object, found {found}")));
    }
    let mut reader = serde_json::Deserializer::from_slice(text);
    let fields = reader.deserialize_map(Fields).map_err(malformed(text))?;
    reader.end().map_err(malformed(text))?;
    Ok(fields)
}

/// The elements of an array, each as it is written; `None` if there are more than `most`.
///
/// # Errors
/// It is no JSON, or no array.
pub(crate) fn elements(text: &[u8], most: usize) -> Result<Option<Vec<&RawValue>>, Wrong> {
    if first(text) != Some(b'[') {
        let found = kind(&value(text)?);
        return Err(Wrong::Kind(format!("expected an array, found {found}")));
    }
    let mut reader = serde_json::Deserializer::from_slice(text);
    match reader.deserialize_seq(Elements(most)) {
        Ok(elements) => {
            reader.end().map_err(malformed(text))?;
            Ok(Some(elements))
        }
        // The only error of the visitor's own.
        Err(error) if error.is_data() => Ok(None),
        Err(error) => Err(malformed(text)(error)),
    }
}

/// What a value is, in words.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Everywhere that `value` holds the character U+0000, which no database text can.
pub(crate) fn nul_characters(value: &Value) -> Vec<FieldError> {
    fn walk(value: &Value, path: &mut String, found: &mut Vec<FieldError>) {
        // One is enough to mend them all.
        if found.len() >= 10 {
            return;
        }
        match value {
            Value::String(text) if text.contains('\0') => {
                found.push(FieldError::new(
                    path.as_str(),
                    "expected no NUL character (\\u0000)",
                ));
            }
            Value::Array(values) => {
                for (index, value) in values.iter().enumerate() {
                    let length = path.len();
                    path.push_str(&format!("/{index}"));
                    walk(value, path, found);
                    path.truncate(length);
                }
            }
            Value::Object(map) => {
                for (name, value) in map {
                    if name.contains('\0') {
                        found.push(FieldError::new(
                            path.as_str(),
                            "expected no NUL character (\\u0000) in names",
                        ));
                    }
                    let length = path.len();
                    path.push('/');
                    path.push_str(&name.replace('~', "~0").replace('/', "~1"));
                    walk(value, path, found);
                    path.truncate(length);
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(value, &mut String::new(), &mut found);
    found
}

fn first(text: &[u8]) -> Option<u8> {
    text.iter().copied().find(|b| !b.is_ascii_whitespace())
}

fn malformed(text: &[u8]) -> impl Fn(serde_json::Error) -> Wrong {
    let marked = text.starts_with(b"\xef\xbb\xbf")
        || text.starts_with(b"\xff\xfe")
        || text.starts_with(b"\xfe\xff");
    move |error| {
        Wrong::Malformed(if marked {
            "expected UTF-8 without a byte order mark, found one".to_owned()
        } else {
            format!("expected JSON: {error}")
        })
    }
}

/// Builds a [`Value`], refusing names that come twice.
struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = access.next_element_seed(Strict)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            let value = access.next_value_seed(Strict)?;
            if map.insert(name, value).is_some() {
                return Err(A::Error::custom(TWICE));
            }
        }
        Ok(Value::Object(map))
    }
}

const TWICE: &str = "expected each name once in an object, found one twice";

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut fields: Self::Value = Vec::new();
        let mut names = HashSet::new();
        while let Some((name, value)) = access.next_entry::<String, &RawValue>()? {
            if !names.insert(name.clone()) {
                return Err(A::Error::custom(TWICE));
            }
            fields.push((name, value));
        }
        Ok(fields)
    }
}

struct Elements(usize);

impl<'de> Visitor<'de> for Elements {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = access.next_element()? {
            if elements.len() == self.0 {
                return Err(A::Error::custom("too many"));
            }
            elements.push(element);
        }
        Ok(elements)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn is_malformed(text: &[u8]) -> bool {
        matches!(value(text), Err(Wrong::Malformed(_)))
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        let deep = "[".repeat(100_000);
        for bad in [
            &b"{\"a\":1,\"a\":2}"[..],
            br#"[{"b":{"a":1,"a":1}}]"#,
            br#"{"a":1,"\u0061":2}"#,
            b"",
            b"{",
            b"{} {}",
            b"\xef\xbb\xbf{}",
            b"\xff\xfe{\0}\0",
            b"\"\xff\"",
            br#""\ud800""#,
            b"1e999",
            b"NaN",
            b"\"a\0b\"",
            deep.as_bytes(),
        ] {
            assert!(is_malformed(bad), "{:?}", String::from_utf8_lossy(bad));
        }
        assert!(matches!(
            fields(br#"{"a":1,"a":2}"#),
            Err(Wrong::Malformed(_))
        ));
    }

    #[test]
    fn errors_repeat_nothing_of_what_was_sent() {
        for bad in [
            &br#"{"password":"hunter2","password":"hunter2"}"#[..],
            br#""hunter2"#,
            br#""hunter2""#,
            b"hunter2",
            br#"{"hunter2"}"#,
        ] {
            if let Err(Wrong::Malformed(text) | Wrong::Kind(text)) = fields(bad) {
                assert!(!text.contains("hunter2"), "{text}");
            } else {
                panic!("expected an error");
            }
        }
    }

    #[test]
    fn objects_and_arrays_are_told_from_other_kinds() {
        assert!(matches!(fields(b" [1]"), Err(Wrong::Kind(text)) if text.contains("an array")));
        assert!(matches!(elements(b"{}", 1), Err(Wrong::Kind(text)) if text.contains("an object")));
        assert!(matches!(elements(b"[1,", 5), Err(Wrong::Malformed(_))));
        assert!(matches!(elements(b"[1,2]", 1), Ok(None)));
        assert!(matches!(elements(b"[1,2] ", 2), Ok(Some(elements)) if elements.len() == 2));
    }

    #[test]
    fn nul_characters_are_found_wherever_they_are() {
        let value = json!({"a": ["x", "\0"], "b/c": {"\0": 1}});
        let pointers: Vec<_> = nul_characters(&value)
            .into_iter()
            .map(|error| error.pointer)
            .collect();
        assert_eq!(pointers, ["/a/1", "/b~1c"]);
    }

    proptest! {
        #[test]
        fn a_value_is_read_as_serde_json_reads_it(text in ".{0,40}", number in any::<f64>()) {
            let json = json!({"text": text, "list": [number, null, true, -1, u64::MAX]});
            prop_assert_eq!(value(json.to_string().as_bytes()), Ok(json));
        }

        #[test]
        fn no_bytes_make_it_panic(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = value(&text);
            let _ = fields(&text);
            let _ = elements(&text, 3);
        }
    }
}
