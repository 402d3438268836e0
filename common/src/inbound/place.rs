//! Where a fact stands in a request.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Scheme, WebhookRequest};

/// A place in a request, as a configuration writes it: `header:NAME`, `body:/JSON/POINTER`, `signature:PREFIX` or `digest`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Place {
    /// A header.
    Header(String),
    /// A text or number in the body: a JSON Pointer.
    Body(String),
    /// The rest of the entry with this prefix, in the header of the signature.
    Signature(String),
    /// The SHA-256 of the body, for a provider that gives its events no id.
    Digest,
}

impl TryFrom<String> for Place {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let place = match text.split_once(':') {
            Some(("header", name)) if is_header_name(name) => Some(Self::Header(name.to_owned())),
            Some(("body", pointer)) if pointer.is_empty() || pointer.starts_with('/') => {
                Some(Self::Body(pointer.to_owned()))
            }
            Some(("signature", prefix)) if !prefix.is_empty() => {
                Some(Self::Signature(prefix.to_owned()))
            }
            None if text == "digest" => Some(Self::Digest),
            _ => None,
        };
        place.ok_or_else(|| {
            "expected a place: \"header:name\" in lower case, \"body:/json/pointer\", \"signature:prefix\" or \"digest\", \
             found another text"
                .to_owned()
        })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Body(pointer) => write!(f, "body:{pointer}"),
            Self::Signature(prefix) => write!(f, "signature:{prefix}"),
            Self::Digest => f.write_str("digest"),
        }
    }
}

impl Place {
    /// Whether it is outside the body, where it can be read before the body is believed.
    pub(super) fn is_in_head(&self) -> bool {
        matches!(self, Self::Header(_) | Self::Signature(_))
    }

    /// The text at a place outside the body; `None` if none is there, or two are.
    pub(super) fn in_head<'r>(
        &self,
        scheme: &Scheme,
        request: &WebhookRequest<'r>,
    ) -> Option<&'r str> {
        match self {
            Self::Header(name) => request.header(name),
            Self::Signature(prefix) => {
                let header = request.header(&scheme.header)?;
                let mut texts = scheme
                    .entries(header)
                    .filter_map(|entry| entry.strip_prefix(prefix.as_str()));
                let text = texts.next().filter(|text| !text.is_empty());
                text.filter(|_| texts.next().is_none())
            }
            Self::Body(_) | Self::Digest => None,
        }
    }

    /// The text at this place; a number counts as the text that it is written as.
    pub(super) fn text<'r>(
        &self,
        scheme: &Scheme,
        request: &WebhookRequest<'r>,
        data: &'r Value,
    ) -> Option<Cow<'r, str>> {
        match self {
            Self::Header(_) | Self::Signature(_) => {
                self.in_head(scheme, request).map(Cow::Borrowed)
            }
            Self::Digest => Some(digest(request.body).into()),
            Self::Body(pointer) => match data.pointer(pointer)? {
                Value::String(text) if !text.is_empty() => Some(Cow::Borrowed(text)),
                Value::Number(number) => Some(number.to_string().into()),
                _ => None,
            },
        }
    }
}

/// The SHA-256 of a body, in words that say what it is.
fn digest(body: &[u8]) -> String {
    let digits: String = Sha256::digest(body)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{digits}")
}

/// Whether it is the name of a header, as requests have it after HTTP has read them: in lower case.
pub(super) fn is_header_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_read_and_write() {
        for text in [
            "header:x-id",
            "body:/data/id",
            "body:",
            "signature:t=",
            "digest",
        ] {
            let place = Place::try_from(text.to_owned());
            assert_eq!(place.map(|place| place.to_string()).as_deref(), Ok(text));
        }
        for bad in [
            "",
            "x-id",
            "header:",
            "header:X-Id",
            "header:a b",
            "body:id",
            "signature:",
            "digest:",
            "query:id",
        ] {
            assert!(Place::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
    }
}
