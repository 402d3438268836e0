//! What can be mended of a letter beside its body, by names that are the same for every shape of an event.

use std::fmt;
use std::str::FromStr;

use common::event::{from_rfc3339, header};

/// A name that can be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Field {
    ContentType,
    ContentEncoding,
    RoutingKey,
    Specversion,
    Type,
    Source,
    Id,
    Time,
    Subject,
    Dataschema,
    /// A header of the message, whatever it holds.
    Header(String),
}

/// What the name of a header begins with on the command line.
const HEADER: &str = "header:";

impl Field {
    /// All that the editor shows, in the order in which they are set: content type and headers decide where
    /// others are.
    pub(super) const ALL: [Self; 10] = [
        Self::ContentType,
        Self::ContentEncoding,
        Self::RoutingKey,
        Self::Specversion,
        Self::Type,
        Self::Source,
        Self::Id,
        Self::Time,
        Self::Subject,
        Self::Dataschema,
    ];

    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::ContentType => "content_type",
            Self::ContentEncoding => "content_encoding",
            Self::RoutingKey => "routing_key",
            Self::Specversion => "specversion",
            Self::Type => "type",
            Self::Source => "source",
            Self::Id => "id",
            Self::Time => "time",
            Self::Subject => "subject",
            Self::Dataschema => "dataschema",
            Self::Header(name) => name,
        }
    }

    fn of(name: &str) -> Result<Self, String> {
        let name = name.trim();
        if let Some(name) = name.strip_prefix(HEADER) {
            if name.starts_with(header::PREFIX) {
                return Err(format!(
                    "expected a header of the publisher's, found {name:?}"
                ));
            }
            return Ok(Self::Header(name.to_owned()));
        }
        let field = Self::ALL.into_iter().find(|field| field.as_str() == name);
        field.ok_or_else(|| {
            let names = Self::ALL.each_ref().map(Self::as_str).join(", ");
            format!("expected one of {names} or {HEADER}NAME, found {name:?}")
        })
    }
}

/// `NAME=VALUE`; an empty value takes away what was there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    pub(super) field: Field,
    pub(super) value: Option<String>,
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| format!("expected NAME=VALUE, found {text:?}"))?;
        Self::new(name, value)
    }
}

impl Setting {
    /// A setting of `name`, as it is called on the command line and in the editor.
    pub fn new(name: &str, value: &str) -> Result<Self, String> {
        let field = Field::of(name)?;
        let value = value.trim();
        if field == Field::Time && !value.is_empty() && from_rfc3339(value).is_none() {
            return Err(format!(
                "expected a time as in RFC 3339, such as 2026-01-02T03:04:05Z, found {value:?}"
            ));
        }
        let value = Some(value.to_owned()).filter(|value| !value.is_empty());
        Ok(Self { field, value })
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_set_says_what_can() {
        for (text, word) in [
            ("type", "NAME=VALUE"),
            (
                "user_id=longshore",
                "content_type, content_encoding, routing_key",
            ),
            ("header:longshore-queue=x", "publisher's"),
            ("time=yesterday", "RFC 3339"),
        ] {
            let error = text.parse::<Setting>().unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }
}
