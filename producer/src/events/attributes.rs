//! The context attributes of a structured event.

use std::collections::BTreeMap;

use common::event::CloudEvent;
use common::outcome::FieldError;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::admit::Refusal;
use crate::json::{self, Wrong};

/// What every event has.
const REQUIRED: [&str; 4] = ["specversion", "id", "source", "type"];

/// A structured event as it was read.
#[derive(Debug)]
pub(super) struct Read {
    pub event: CloudEvent,
    /// Whether every field that was written stands in the event: `null` means absent.
    pub as_written: bool,
}

/// An event with nothing in it yet.
pub(super) fn blank() -> CloudEvent {
    CloudEvent {
        specversion: String::new(),
        id: String::new(),
        source: String::new(),
        kind: String::new(),
        time: None,
        subject: None,
        datacontenttype: None,
        dataschema: None,
        data: None,
        data_base64: None,
        extensions: BTreeMap::new(),
    }
}

/// Reads the attributes and finds the data.
///
/// # Errors
/// It is no JSON object, or attributes are missing or of the wrong kind: all of them at once.
pub(super) fn read(text: &[u8]) -> Result<Read, Refusal> {
    let fields = json::fields(text).map_err(|wrong| Refusal::wrong("", wrong))?;
    let mut event = blank();
    let mut given = Vec::new();
    let mut errors = Vec::new();
    let mut as_written = true;
    for (name, raw) in fields {
        if name == "data" {
            as_written &= raw.get() != "null";
            event.data = Some(raw.to_owned()).filter(|raw| raw.get() != "null");
            continue;
        }
        let value = json::value(raw.get().as_bytes())
            .map_err(|wrong| Refusal::wrong(&pointer(&name), wrong))?;
        if value.is_null() {
            as_written = false;
            continue;
        }
        if let Err(error) = set(&mut event, &name, value) {
            errors.push(error);
        }
        given.push(name);
    }
    missing(&given, &mut errors);
    if errors.is_empty() {
        return Ok(Read { event, as_written });
    }
    Err(Refusal::invalid(errors))
}

/// Adds an error for each attribute that every event has and that is not among `given`.
pub(super) fn missing(given: &[String], errors: &mut Vec<FieldError>) {
    for name in REQUIRED {
        if !given.iter().any(|known| known == name) {
            errors.push(FieldError::new(
                pointer(name),
                "expected a text, found nothing",
            ));
        }
    }
}

/// Sets one attribute.
///
/// # Errors
/// It is of a kind that it cannot be.
pub(super) fn set(event: &mut CloudEvent, name: &str, value: Value) -> Result<(), FieldError> {
    let slot = match name {
        "specversion" => Slot::Always(&mut event.specversion),
        "id" => Slot::Always(&mut event.id),
        "source" => Slot::Always(&mut event.source),
        "type" => Slot::Always(&mut event.kind),
        "time" => Slot::Perhaps(&mut event.time),
        "subject" => Slot::Perhaps(&mut event.subject),
        "datacontenttype" => Slot::Perhaps(&mut event.datacontenttype),
        "dataschema" => Slot::Perhaps(&mut event.dataschema),
        "data_base64" => {
            let detail = "expected JSON in `data`, found binary data";
            return Err(FieldError::new(pointer(name), detail));
        }
        _ => return extend(event, name, value),
    };
    let Value::String(text) = value else {
        let detail = format!("expected a text, found {}", json::kind(&value));
        return Err(FieldError::new(pointer(name), detail));
    };
    match slot {
        Slot::Always(slot) => *slot = text,
        Slot::Perhaps(slot) => *slot = Some(text),
    }
    Ok(())
}

enum Slot<'a> {
    Always(&'a mut String),
    Perhaps(&'a mut Option<String>),
}

fn extend(event: &mut CloudEvent, name: &str, value: Value) -> Result<(), FieldError> {
    let fits = match &value {
        Value::String(text) => !text.contains('\0'),
        Value::Number(number) => number.is_i64() || number.is_u64(),
        Value::Bool(_) => true,
        _ => false,
    };
    if !fits {
        let detail = format!(
            "expected a text without NUL, a whole number or a truth value, found {}",
            json::kind(&value)
        );
        return Err(FieldError::new(pointer(name), detail));
    }
    event.extensions.insert(name.to_owned(), value);
    Ok(())
}

/// A JSON Pointer to the field called `name`, long names cut.
pub(super) fn pointer(name: &str) -> String {
    let name: String = name.chars().take(60).collect();
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// The data of an event, as it is written.
///
/// # Errors
/// It is no JSON.
pub(super) fn data(text: String) -> Result<Box<RawValue>, Refusal> {
    RawValue::from_string(text).map_err(|error| {
        // The reader of raw text has no errors that repeat it.
        let detail = format!("expected JSON data in the body: {error}");
        Refusal::wrong("/data", Wrong::Malformed(detail))
    })
}
