//! One CloudEvent in the JSON format (CloudEvents 1.0.2, "JSON Event Format").

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::media::MediaType;
use super::trail::from_rfc3339;

/// The extension attribute that names the moment before which nobody gets an event: RFC 3339.
pub const NOT_BEFORE: &str = "notbefore";

/// A CloudEvent. The context attributes stay as the publisher gave them; `data` is kept as the bytes
/// it came in, never taken apart and put together again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CloudEvent {
    /// Always `1.0`.
    pub specversion: String,
    /// The publisher's own id, unique together with `source`.
    pub id: String,
    /// Where the event happened: a URI reference.
    pub source: String,
    /// The event's type: `signup.requested`.
    #[serde(rename = "type")]
    pub kind: String,
    /// When it happened: RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// The event's subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Media type of `data`; JSON if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datacontenttype: Option<String>,
    /// Which schema `data` follows: a URI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataschema: Option<String>,
    /// The payload: JSON, or a text in the media type that `datacontenttype` names. `null` is a payload,
    /// too.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub data: Option<Box<RawValue>>,
    /// A binary payload, in base64. No built-in type takes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_base64: Option<String>,
    /// Extension attributes.
    #[serde(flatten)]
    pub extensions: BTreeMap<String, Value>,
}

/// A context attribute that CloudEvents or Longshore does not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("attribute `{attribute}`: {problem}")]
pub struct InvalidAttribute {
    /// The attribute.
    pub attribute: String,
    /// The expected and the found value.
    pub problem: Cow<'static, str>,
}

/// Maximum length of `id`, `type` and `datacontenttype`, in bytes: they travel in AMQP short strings (255
/// bytes).
pub const MAX_SHORT_ATTRIBUTE: usize = 200;
/// Maximum length of `source`, `subject` and `dataschema`, in bytes.
pub const MAX_ATTRIBUTE: usize = 2048;

/// Reads a field that is there, even if it is `null`.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::deserialize(deserializer).map(Some)
}

impl CloudEvent {
    /// An event with the attributes every event has.
    pub fn new(id: String, source: &str, kind: &str, time: String, data: Box<RawValue>) -> Self {
        Self {
            specversion: "1.0".to_owned(),
            id,
            source: source.to_owned(),
            kind: kind.to_owned(),
            time: Some(time),
            subject: None,
            datacontenttype: Some("application/json".to_owned()),
            dataschema: None,
            data: Some(data),
            data_base64: None,
            extensions: BTreeMap::new(),
        }
    }

    /// Checks the context attributes against CloudEvents 1.0 and our limits on length.
    ///
    /// # Errors
    /// The first attribute that does not fit.
    pub fn check_attributes(&self) -> Result<(), InvalidAttribute> {
        if self.specversion != "1.0" {
            let found = format!("expected \"1.0\", found {:?}", clip(&self.specversion));
            return unfit("specversion", found);
        }
        self.check_texts()?;
        if let Some(time) = &self.time
            && from_rfc3339(time).is_none()
        {
            let found = format!(
                "expected RFC 3339 within the years 0 to 9999 of UTC, found {:?}",
                clip(time)
            );
            return unfit("time", found);
        }
        for name in self.extensions.keys() {
            check_name(name)?;
        }
        if let Some(value) = self.extensions.get(NOT_BEFORE)
            && self.not_before().is_none()
        {
            let found = format!(
                "expected RFC 3339 within the years 0 to 9999 of UTC, found {}",
                clip(&value.to_string())
            );
            return unfit(NOT_BEFORE, found);
        }
        if let Some(media) = &self.datacontenttype
            && !MediaType::read(media).is_well_formed()
        {
            let found = format!(
                "expected a media type such as text/plain, found {:?}",
                clip(media)
            );
            return unfit("datacontenttype", found);
        }
        Ok(())
    }

    /// Checks the attributes that are any text.
    fn check_texts(&self) -> Result<(), InvalidAttribute> {
        let texts = [
            ("id", Some(&self.id), MAX_SHORT_ATTRIBUTE),
            ("source", Some(&self.source), MAX_ATTRIBUTE),
            ("type", Some(&self.kind), MAX_SHORT_ATTRIBUTE),
            ("subject", self.subject.as_ref(), MAX_ATTRIBUTE),
            (
                "datacontenttype",
                self.datacontenttype.as_ref(),
                MAX_SHORT_ATTRIBUTE,
            ),
            ("dataschema", self.dataschema.as_ref(), MAX_ATTRIBUTE),
        ];
        for (name, text, longest) in texts {
            let Some(text) = text else { continue };
            if text.is_empty() {
                return unfit(name, "expected a text that is not empty");
            }
            if text.len() > longest {
                let found = format!("expected at most {longest} bytes, found {}", text.len());
                return unfit(name, found);
            }
            if text.chars().any(char::is_control) {
                return unfit(name, "expected no control characters");
            }
        }
        Ok(())
    }

    /// The moment before which nobody gets it, if it names one that can be read.
    pub fn not_before(&self) -> Option<time::OffsetDateTime> {
        let moment = from_rfc3339(self.extensions.get(NOT_BEFORE)?.as_str()?)?;
        // Cut to the microseconds that PostgreSQL keeps.
        moment.replace_microsecond(moment.microsecond()).ok()
    }

    /// `data` as the JSON text it is; `null` if absent.
    pub fn data(&self) -> &str {
        self.data.as_deref().map_or("null", RawValue::get)
    }
}

fn unfit(attribute: &str, problem: impl Into<Cow<'static, str>>) -> Result<(), InvalidAttribute> {
    Err(InvalidAttribute {
        attribute: attribute.to_owned(),
        problem: problem.into(),
    })
}

/// Checks the name of an extension attribute.
pub(super) fn check_name(name: &str) -> Result<(), InvalidAttribute> {
    let mut letters = name.bytes();
    if !name.is_empty() && letters.all(|it| it.is_ascii_lowercase() || it.is_ascii_digit()) {
        return Ok(());
    }
    unfit(
        clip(name),
        "expected a name of lower-case letters and digits",
    )
}

/// Whether a media type is JSON.
pub(crate) fn is_json(media_type: &str) -> bool {
    MediaType::read(media_type).is_json()
}

/// The beginning of a text that somebody else wrote, for an error message.
pub(crate) fn clip(text: &str) -> &str {
    let end = text.char_indices().nth(60).map_or(text.len(), |(at, _)| at);
    &text[..end]
}
