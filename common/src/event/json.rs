//! The JSON of both doors: UTF-8 without a byte order mark, no name twice in an object, nested at most [`MAX_DEPTH`]
//! deep, numbers within the range of a double. Two readers can never disagree on such a text.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::outcome::FieldError;

/// Maximum depth of lists and objects inside each other.
pub const MAX_DEPTH: usize = 127;

/// The reason for refusing a text. It gives place and fault, but no part of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// It is not JSON.
    Malformed(String),
    /// It is JSON of another kind.
    Kind(String),
}

/// Reads any value.
///
/// # Errors
/// It is not JSON as it is taken here.
pub fn value(text: &[u8]) -> Result<Value, Wrong> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Strict.deserialize(&mut reader).map_err(malformed(text))?;
    reader.end().map_err(malformed(text))?;
    Ok(value)
}

/// The fields of an object, in order, each as it is written. Their content is not read.
///
/// # Errors
/// It is not JSON, or not an object.
pub fn fields(text: &[u8]) -> Result<Vec<(String, &RawValue)>, Wrong> {
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
/// It is not JSON, or not an array.
pub fn elements(text: &[u8], most: usize) -> Result<Option<Vec<&RawValue>>, Wrong> {
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

/// The kind of a value, in words.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Everywhere that `value` holds the character U+0000, which no database text can; at most ten places.
pub(super) fn nul_characters(value: &Value) -> Vec<FieldError> {
    fn walk(value: &Value, path: &str, found: &mut Vec<FieldError>) {
        // One is enough to mend them all, and most values hold none.
        if found.len() >= 10 || !holds_nul(value) {
            return;
        }
        match value {
            Value::String(_) => {
                found.push(FieldError::new(path, "expected no NUL character (\\u0000)"));
            }
            Value::Array(values) => {
                for (index, value) in values.iter().enumerate() {
                    walk(value, &format!("{path}/{index}"), found);
                }
            }
            Value::Object(map) => {
                for (name, value) in map {
                    if name.contains('\0') {
                        found.push(FieldError::new(
                            path,
                            "expected no NUL character (\\u0000) in names",
                        ));
                    }
                    walk(value, &format!("{path}{}", pointer(name)), found);
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(value, "", &mut found);
    found
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(holds_nul),
        Value::Object(map) => map
            .iter()
            .any(|(name, value)| name.contains('\0') || holds_nul(value)),
        _ => false,
    }
}

/// A JSON Pointer to the field called `name`. Long names are cut, and NUL shows as U+FFFD: a pointer is
/// for people, and is kept in database texts.
pub fn pointer(name: &str) -> String {
    let name: String = name.chars().take(60).collect();
    let name = name.replace('\0', "\u{fffd}");
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
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
        let mut fields: Self::Value = Vec::with_capacity(10);
        while let Some(field) = access.next_entry()? {
            fields.push(field);
        }
        let mut names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(A::Error::custom(TWICE));
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

    #[test]
    fn the_depth_is_the_one_that_is_documented() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let nested = |depth| format!("{}1{}", open.repeat(depth), close.repeat(depth));
            assert!(value(nested(MAX_DEPTH).as_bytes()).is_ok());
            assert!(is_malformed(nested(MAX_DEPTH + 1).as_bytes()));
        }
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
