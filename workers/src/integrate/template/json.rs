//! Values as JSON, in a template. The engine's own way would write a [`Number`] as a text.

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value};

use super::number::Number;

/// Maximum depth of lists and objects inside each other: more than an event has.
const MAX_DEPTH: usize = 200;

/// A value as JSON. Characters that mean something to HTML are escaped.
///
/// # Errors
/// It is nested too deeply, or an error itself.
pub(super) fn text(value: &Value) -> Result<String, Error> {
    let mut text = String::new();
    write(&mut text, value, 0)?;
    Ok(text)
}

fn write(text: &mut String, value: &Value, depth: usize) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        let error = "expected a value that is not nested so deeply";
        return Err(Error::new(ErrorKind::InvalidOperation, error));
    }
    if let Some(number) = value.downcast_object_ref::<Number>() {
        text.push_str(number.as_str());
        return Ok(());
    }
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => text.push_str("null"),
        ValueKind::Bool => text.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => write_number(text, value),
        ValueKind::Map => write_map(text, value, depth)?,
        ValueKind::Seq | ValueKind::Iterable => {
            text.push('[');
            for (nth, item) in value.try_iter()?.enumerate() {
                separate(text, nth);
                write(text, &item, depth + 1)?;
            }
            text.push(']');
        }
        _ => write_string(text, value),
    }
    Ok(())
}

fn write_map(text: &mut String, map: &Value, depth: usize) -> Result<(), Error> {
    text.push('{');
    for (nth, name) in map.try_iter()?.enumerate() {
        separate(text, nth);
        write_string(text, &name);
        text.push(':');
        write(text, &map.get_item(&name)?, depth + 1)?;
    }
    text.push('}');
    Ok(())
}

fn separate(text: &mut String, nth: usize) {
    if nth > 0 {
        text.push(',');
    }
}

/// A number that is computed with. JSON has none that is infinite.
fn write_number(text: &mut String, value: &Value) {
    let written = value.to_string();
    let is_json = written
        .bytes()
        .all(|byte| !byte.is_ascii_alphabetic() || byte == b'e');
    text.push_str(if is_json { &written } else { "null" });
}

fn write_string(text: &mut String, value: &Value) {
    text.push('"');
    for c in value.to_string().chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '<' | '>' | '&' | '\'' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' | '\u{7f}' => {
                text.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => text.push(c),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use minijinja::context;

    use super::super::number;
    use super::*;

    #[test]
    fn every_value_is_json_and_numbers_are_as_they_were_sent() {
        let value = context! {
            price => number::value("1.50"),
            list => vec![Value::from(1), Value::from(2.5), Value::from(()), Value::from(true)],
            text => "a\"\\\n\u{1}</script>'ä",
        };
        let json = text(&value).unwrap();
        assert!(json.contains("\"price\":1.50"), "{json}");
        assert!(json.contains("[1,2.5,null,true]"), "{json}");
        assert!(!json.contains('<'), "{json}");
        let read: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(read["text"], "a\"\\\n\u{1}</script>'ä");
        assert_eq!(text(&Value::from(f64::INFINITY)).unwrap(), "null");
        assert_eq!(text(&Value::UNDEFINED).unwrap(), "null");
    }

    #[test]
    fn a_value_without_an_end_is_refused() {
        let mut value = Value::from(1);
        for _ in 0..300 {
            value = Value::from(vec![value]);
        }
        assert!(text(&value).is_err());
    }
}
