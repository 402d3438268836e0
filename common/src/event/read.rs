//! Reading an event. Both doors read with these functions, so the same event gets the same verdict
//! at each.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;
use serde_json::value::RawValue;

use super::CloudEvent;
use super::cloud::{InvalidAttribute, check_name, clip, is_json};
use super::json::{self, Wrong, pointer};
use super::media::MediaType;
use super::types::MAX_ERRORS;
use crate::outcome::FieldError;

/// The attributes that every event has.
const REQUIRED: [&str; 4] = ["specversion", "id", "source", "type"];

/// An event as it was read, its type not looked at yet.
#[derive(Debug, Clone)]
pub struct Read {
    /// The event.
    pub event: CloudEvent,
    /// Its data as the schema of its type sees it: JSON unchanged, text as a JSON text, binary data as the JSON text of
    /// its base64, absent data as `null`.
    pub data: Value,
    /// Whether the event says all that was written: an attribute that is `null` is left out of it.
    pub as_written: bool,
}

/// The reason that something is not an event. It repeats only names and the beginnings of attributes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", list(errors))]
pub struct Unfit {
    /// The kind of fault.
    pub kind: UnfitKind,
    /// The faults by place, as pointers into the structured form of the event.
    pub errors: Vec<FieldError>,
}

/// The kind of fault of something that is not an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnfitKind {
    /// Its media type is not one that is taken.
    MediaType,
    /// It is not JSON as it is taken here.
    Malformed,
    /// It can be read, but attributes are missing or wrong.
    Invalid,
}

/// An attribute in a header: its name, and its value or its fault.
pub type Attribute = (String, Result<Value, String>);

impl Unfit {
    fn new(kind: UnfitKind, pointer: &str, detail: impl Into<String>) -> Self {
        Self {
            kind,
            errors: vec![FieldError::new(pointer, detail)],
        }
    }

    /// The text at `pointer` is wrong.
    pub fn wrong(pointer: &str, wrong: Wrong) -> Self {
        match wrong {
            Wrong::Malformed(detail) => Self::new(UnfitKind::Malformed, pointer, detail),
            Wrong::Kind(detail) => Self::new(UnfitKind::Invalid, pointer, detail),
        }
    }

    /// Another media type is needed.
    pub fn media_type(detail: impl Into<String>) -> Self {
        Self::new(UnfitKind::MediaType, "", detail)
    }

    fn invalid(mut errors: Vec<FieldError>) -> Self {
        errors.truncate(MAX_ERRORS);
        let kind = UnfitKind::Invalid;
        Self { kind, errors }
    }
}

fn list(errors: &[FieldError]) -> String {
    let each = errors.iter().map(|FieldError { pointer, detail }| {
        if pointer.is_empty() {
            detail.clone()
        } else {
            format!("{pointer}: {detail}")
        }
    });
    each.collect::<Vec<_>>().join("; ")
}

/// Reads a structured event.
///
/// # Errors
/// It is not a JSON object, or attributes are missing or wrong: all of them at once.
pub fn structured(text: &[u8]) -> Result<Read, Unfit> {
    let fields = json::fields(text).map_err(|wrong| Unfit::wrong("", wrong))?;
    let mut event = blank();
    let mut given = Vec::with_capacity(fields.len());
    let mut errors = Vec::new();
    let mut as_written = true;
    for (name, raw) in fields {
        if name == "data" {
            event.data = Some(raw.to_owned());
            continue;
        }
        let value = value(raw).map_err(|wrong| Unfit::wrong(&pointer(&name), wrong))?;
        if value.is_null() {
            as_written = false;
            // It counts as absent, but no event has an attribute of such a name.
            if name != "data_base64"
                && let Err(invalid) = check_name(&name)
            {
                errors.push(invalid.into());
            }
            continue;
        }
        given.push(match set(&mut event, &name, value) {
            Ok(()) => name,
            Err(error) => {
                errors.push(error);
                name
            }
        });
    }
    missing(&given, &mut errors);
    if !errors.is_empty() {
        return Err(Unfit::invalid(errors));
    }
    if event.data_base64.is_some() && event.data.as_deref().is_some_and(|raw| raw.get() == "null") {
        event.data = None;
        as_written = false;
    }
    complete(event, as_written)
}

/// Reads a binary event: attributes in headers, the data in the body, of type `content_type`. An empty body counts as
/// absent data.
///
/// # Errors
/// Attributes are missing or wrong: all of them at once; or the body differs from its type.
pub fn binary(
    attributes: Vec<Attribute>,
    content_type: Option<&str>,
    body: &[u8],
) -> Result<Read, Unfit> {
    let media = content_type.map(MediaType::read);
    if media.is_some_and(|media| media.is_json() && !media.is_utf8()) {
        return Err(Unfit::media_type(
            "expected charset utf-8, found another; JSON is UTF-8",
        ));
    }
    let mut event = blank();
    event.datacontenttype = content_type.map(str::to_owned);
    let mut given = Vec::with_capacity(attributes.len());
    let mut errors = Vec::new();
    for (name, value) in attributes {
        let set = match value {
            Err(detail) => Err(FieldError::new(pointer(&name), detail)),
            Ok(_) if matches!(name.as_str(), "data" | "data_base64") => Err(FieldError::new(
                pointer(&name),
                "expected no such header: the data is the body",
            )),
            Ok(value) if name == "datacontenttype" => say_again(&mut event, value),
            Ok(value) => set(&mut event, &name, value),
        };
        errors.extend(set.err());
        given.push(name);
    }
    missing(&given, &mut errors);
    if !errors.is_empty() {
        return Err(Unfit::invalid(errors));
    }
    if !body.is_empty() {
        put_data(&mut event, body)?;
    }
    complete(event, false)
}

/// Reads an event whose attributes are known and whose body is its data, as JSON.
///
/// # Errors
/// The body is not JSON, or an attribute is wrong.
pub fn plain(mut event: CloudEvent, body: &[u8]) -> Result<Read, Unfit> {
    event.data = Some(raw(body)?);
    complete(event, false)
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

impl From<InvalidAttribute> for FieldError {
    fn from(invalid: InvalidAttribute) -> Self {
        Self::new(pointer(&invalid.attribute), invalid.problem)
    }
}

/// The last step of every reader: the rules for attributes, and the data as a schema sees it.
fn complete(event: CloudEvent, as_written: bool) -> Result<Read, Unfit> {
    if let Err(invalid) = event.check_attributes() {
        return Err(Unfit::invalid(vec![invalid.into()]));
    }
    let data = event.content()?;
    Ok(Read {
        event,
        data,
        as_written,
    })
}

impl CloudEvent {
    /// The data as the schema of the event's type sees it, see [`Read::data`].
    ///
    /// # Errors
    /// It differs from the event's attributes.
    pub fn content(&self) -> Result<Value, Unfit> {
        if let Some(text) = &self.data_base64 {
            if self.data.is_some() {
                let detail = "expected `data` or `data_base64`, found both";
                return Err(Unfit::new(UnfitKind::Invalid, "/data_base64", detail));
            }
            if BASE64.decode(text).is_err() {
                let detail = "expected base64 (RFC 4648, with padding)";
                return Err(Unfit::new(UnfitKind::Invalid, "/data_base64", detail));
            }
            return Ok(Value::String(text.clone()));
        }
        let Some(raw) = &self.data else {
            return Ok(Value::Null);
        };
        let data = value(raw).map_err(|wrong| Unfit::wrong("/data", wrong))?;
        let media = self.datacontenttype.as_deref();
        if media.is_none_or(is_json) || matches!(data, Value::String(_) | Value::Null) {
            return Ok(data);
        }
        let detail = format!(
            "expected a JSON media type for data that is {}, found {:?}",
            json::kind(&data),
            clip(media.unwrap_or_default())
        );
        Err(Unfit::new(UnfitKind::Invalid, "/datacontenttype", detail))
    }

    /// Where errors in the data point to in the structured form of the event.
    pub fn data_pointer(&self) -> &'static str {
        match self.data_base64 {
            Some(_) => "/data_base64",
            None => "/data",
        }
    }
}

/// Reads a value that is known to be JSON by its form. Nearly all attributes are texts without escapes.
fn value(raw: &RawValue) -> Result<Value, Wrong> {
    let text = raw.get();
    match text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    {
        Some(plain) if !plain.contains('\\') => Ok(Value::String(plain.to_owned())),
        _ => json::value(text.as_bytes()),
    }
}

/// A body that should be JSON.
fn raw(body: &[u8]) -> Result<Box<RawValue>, Unfit> {
    let unfit = |detail: String| Unfit::new(UnfitKind::Malformed, "/data", detail);
    let text = std::str::from_utf8(body).map_err(|error| {
        let at = error.valid_up_to();
        unfit(format!(
            "expected UTF-8, found other bytes after the first {at}"
        ))
    })?;
    if text.starts_with('\u{feff}') {
        let detail = "expected UTF-8 without a byte order mark, found one";
        return Err(unfit(detail.to_owned()));
    }
    // The reader of raw text has no errors that repeat it.
    let raw: Result<&RawValue, _> = serde_json::from_str(text);
    raw.map(ToOwned::to_owned)
        .map_err(|error| unfit(format!("expected JSON data in the body: {error}")))
}

/// Puts the body of a binary event where its type belongs.
fn put_data(event: &mut CloudEvent, body: &[u8]) -> Result<(), Unfit> {
    let content_type = event.datacontenttype.as_deref();
    let media = MediaType::read(content_type.unwrap_or("application/json"));
    if media.is_json() {
        event.data = Some(raw(body)?);
        return Ok(());
    }
    let text = std::str::from_utf8(body).ok();
    match text.filter(|_| media.is_text() && media.is_utf8()) {
        Some(text) => event.data = RawValue::from_string(Value::from(text).to_string()).ok(),
        None => event.data_base64 = Some(BASE64.encode(body)),
    }
    Ok(())
}

/// In binary mode the type of the data is the content type; a header may say it, but nothing else.
fn say_again(event: &mut CloudEvent, value: Value) -> Result<(), FieldError> {
    match (&event.datacontenttype, &value) {
        (Some(given), Value::String(text)) if given.eq_ignore_ascii_case(text) => Ok(()),
        (None, _) => set(event, "datacontenttype", value),
        _ => Err(FieldError::new(
            "/datacontenttype",
            "expected the content type of the message, found another",
        )),
    }
}

/// Adds an error for each attribute that every event has and that is not among `given`.
fn missing(given: &[String], errors: &mut Vec<FieldError>) {
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
fn set(event: &mut CloudEvent, name: &str, value: Value) -> Result<(), FieldError> {
    enum Slot<'a> {
        Always(&'a mut String),
        Perhaps(&'a mut Option<String>),
    }
    let slot = match name {
        "specversion" => Slot::Always(&mut event.specversion),
        "id" => Slot::Always(&mut event.id),
        "source" => Slot::Always(&mut event.source),
        "type" => Slot::Always(&mut event.kind),
        "time" => Slot::Perhaps(&mut event.time),
        "subject" => Slot::Perhaps(&mut event.subject),
        "datacontenttype" => Slot::Perhaps(&mut event.datacontenttype),
        "dataschema" => Slot::Perhaps(&mut event.dataschema),
        "data_base64" => Slot::Perhaps(&mut event.data_base64),
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

fn extend(event: &mut CloudEvent, name: &str, value: Value) -> Result<(), FieldError> {
    let found: Cow<'_, str> = match &value {
        Value::String(text) if text.contains('\0') => "a text with NUL".into(),
        Value::Number(number) if number.is_f64() => {
            "a number that is not whole, or does not fit into 64 bits".into()
        }
        Value::String(_) | Value::Number(_) | Value::Bool(_) => {
            event.extensions.insert(name.to_owned(), value);
            return Ok(());
        }
        other => json::kind(other).into(),
    };
    let detail =
        format!("expected a text without NUL, a whole number or a truth value, found {found}");
    Err(FieldError::new(pointer(name), detail))
}

#[cfg(test)]
mod tests;
