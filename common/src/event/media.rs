//! Media types of an event's data.

use std::borrow::Cow;

use crate::message::CLOUDEVENTS_JSON;

/// Whether a text is a token of HTTP (RFC 9110, 5.6.2), such as the name of a header.
pub(crate) fn is_token(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(fits)
}

/// A media type, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaType<'a> {
    essence: Cow<'a, str>,
    charset: Option<&'a str>,
}

impl<'a> MediaType<'a> {
    /// Reads a media type. Anything can be read; [`MediaType::is_well_formed`] says whether it is one.
    pub fn read(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default();
        let charset = parts.find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            let is_charset = name.trim().eq_ignore_ascii_case("charset");
            is_charset.then(|| value.trim().trim_matches('"'))
        });
        let essence = if essence.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(essence.to_ascii_lowercase())
        } else {
            Cow::Borrowed(essence)
        };
        Self { essence, charset }
    }

    /// The type itself, without parameters, in lower case.
    pub fn essence(&self) -> &str {
        &self.essence
    }

    /// Whether it has the form of a media type: two tokens around a slash (RFC 9110, 8.3.1).
    pub fn is_well_formed(&self) -> bool {
        let halves = self.essence.split_once('/');
        halves.is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype))
    }

    /// Whether it is a structured CloudEvent in JSON.
    pub fn is_event(&self) -> bool {
        self.essence == CLOUDEVENTS_JSON
    }

    /// Whether it is a CloudEvent, or several, in any format.
    pub fn is_any_event(&self) -> bool {
        self.essence.starts_with("application/cloudevents")
    }

    /// Whether it is JSON: `application/json`, `text/json` or anything `+json`.
    pub fn is_json(&self) -> bool {
        let essence = self.essence();
        matches!(essence, "application/json" | "text/json") || essence.ends_with("+json")
    }

    /// Whether it is text for people or XML, which JSON can hold as a text.
    pub fn is_text(&self) -> bool {
        let essence = self.essence();
        essence.starts_with("text/") || essence == "application/xml" || essence.ends_with("+xml")
    }

    /// Whether the bytes are UTF-8: they are unless a charset says otherwise.
    pub fn is_utf8(&self) -> bool {
        self.charset.is_none_or(|charset| {
            ["utf-8", "utf8", "us-ascii"]
                .iter()
                .any(|known| charset.eq_ignore_ascii_case(known))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_type_is_taken_apart_without_regard_to_case() {
        let media = MediaType::read(" Application/Problem+JSON ; q=1; CharSet=\"UTF-8\"");
        assert_eq!(media.essence(), "application/problem+json");
        assert!(media.is_json() && media.is_utf8() && media.is_well_formed() && !media.is_text());
        assert!(!MediaType::read("text/plain; charset=latin1").is_utf8());
        assert!(MediaType::read("image/svg+xml").is_text());
        assert!(MediaType::read("application/cloudevents+json; a").is_event());
        assert!(MediaType::read("application/cloudevents-batch+json").is_any_event());
        for bad in ["", "json", "a/", "/b", "a/b/c", "a b/c", "ä/b", ";"] {
            assert!(!MediaType::read(bad).is_well_formed(), "{bad}");
        }
    }
}
