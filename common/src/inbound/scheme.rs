//! A scheme: everything that differs between the webhooks of one provider and those of another.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::place::is_header_name;
use super::{Encoding, KeyForm, MacDigest, Place, SignedText};

/// How a provider signs its webhooks, and where its events have their id, type and time.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scheme {
    /// The header of the signature.
    pub header: String,
    /// The character between entries, where the header may have several; otherwise the whole header is one.
    #[serde(default)]
    pub separator: Option<char>,
    /// How an entry with a signature begins. Entries that begin otherwise do not count.
    #[serde(default)]
    pub prefix: String,
    /// How the signature is written behind the prefix.
    pub encoding: Encoding,
    /// The hash function.
    #[serde(default)]
    pub digest: MacDigest,
    /// How a secret becomes a key.
    #[serde(default)]
    pub key: KeyForm,
    /// The signed text.
    pub signed: SignedText,
    /// Where the signed time stands, outside the body; set if the signed text has one.
    #[serde(default)]
    pub timestamp: Option<Place>,
    /// Where the provider's id of the event stands: the first of these places that has one.
    pub id: Vec<Place>,
    /// Where the provider's type of the event stands.
    #[serde(rename = "type")]
    pub kind: Vec<Place>,
    /// Where the time of the event stands. Without one, it is the time at which the event was received.
    #[serde(default)]
    pub time: Vec<Place>,
    /// Requests that are answered and are not events.
    #[serde(default, rename = "handshake")]
    pub handshakes: Vec<Handshake>,
}

/// A request by which a provider looks whether somebody answers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handshake {
    /// The place that tells it from an event.
    pub at: Place,
    /// The text there.
    pub is: String,
    /// Where the text stands that the provider wants back, if it does.
    #[serde(default)]
    pub answer: Option<Place>,
}

/// No scheme has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}, or a section that spells the scheme out, found another word")]
pub struct UnknownScheme(String);

/// The schemes that have a name, in the words of a configuration.
const NAMED: &str = include_str!("schemes.toml");

impl Scheme {
    /// The scheme called `name`.
    ///
    /// # Errors
    /// No scheme has this name.
    pub fn named(name: &str) -> Result<Self, UnknownScheme> {
        // The text is a part of the program, and a test reads it.
        let mut schemes: BTreeMap<String, Self> = toml::from_str(NAMED).unwrap_or_default();
        let scheme = schemes.remove(name);
        scheme.ok_or_else(|| {
            let names: Vec<_> = schemes.keys().map(|name| format!("{name:?}")).collect();
            UnknownScheme(names.join(", "))
        })
    }

    /// The entries of the header of the signature.
    pub(super) fn entries<'t>(&self, header: &'t str) -> impl Iterator<Item = &'t str> {
        let separator = self.separator;
        let entries = header.split(move |letter| Some(letter) == separator);
        entries.map(|entry| entry.trim_matches(' '))
    }

    /// An error, if any: the key, and the expected value.
    pub(super) fn problem(&self) -> Option<(&'static str, &'static str)> {
        let is_outside = |place: Option<&Place>| place.is_some_and(Place::is_in_head);
        if !is_header_name(&self.header) {
            return Some(("header", "expected the name of a header in lower case"));
        }
        if self.signed.has_timestamp() != self.timestamp.is_some() {
            let expected = "expected a time that is signed: {timestamp} in `signed`, and its place in `timestamp`";
            return Some(("timestamp", expected));
        }
        if self.timestamp.is_some() && !is_outside(self.timestamp.as_ref()) {
            let expected = "expected the place of the time outside the body: \"header:name\" or \"signature:prefix\"";
            return Some(("timestamp", expected));
        }
        if self.signed.has_id() && !(self.id.len() == 1 && is_outside(self.id.first())) {
            let expected = "expected one place outside the body, such as \"header:name\", as the signed text has {id}";
            return Some(("id", expected));
        }
        let empty = [("id", &self.id), ("type", &self.kind)];
        let empty = empty.into_iter().find(|(_, places)| places.is_empty());
        empty.map(|(key, _)| (key, "expected at least one place, found none"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_scheme_can_be_read_and_used() {
        let schemes: BTreeMap<String, Scheme> =
            toml::from_str(NAMED).unwrap_or_else(|error| panic!("{error}"));
        let names: Vec<_> = schemes.keys().map(String::as_str).collect();
        assert_eq!(names, ["github", "shopify", "slack", "standard", "stripe"]);
        for (name, scheme) in &schemes {
            assert_eq!(scheme.problem(), None, "{name}");
            assert_eq!(Scheme::named(name).as_ref(), Ok(scheme));
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = Scheme::named("hunter2")
            .map(|_| ())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("\"slack\", \"standard\"") && !error.contains("hunter2"),
            "{error}"
        );
    }

    #[test]
    fn a_scheme_that_proves_nothing_is_refused() {
        let change = |change: fn(&mut Scheme)| {
            let mut scheme = Scheme::named("standard").unwrap_or_else(|error| panic!("{error}"));
            change(&mut scheme);
            scheme.problem().map(|(key, _)| key)
        };
        assert_eq!(change(|_| {}), None);
        assert_eq!(
            change(|it| it.header = "X-Signature".to_owned()),
            Some("header")
        );
        assert_eq!(change(|it| it.timestamp = None), Some("timestamp"));
        assert_eq!(
            change(|it| it.timestamp = Some(Place::Body("/t".to_owned()))),
            Some("timestamp")
        );
        let unsigned = |it: &mut Scheme| {
            if let Ok(signed) = SignedText::try_from("{id}{body}".to_owned()) {
                it.signed = signed;
            }
        };
        assert_eq!(change(unsigned), Some("timestamp"));
        assert_eq!(
            change(|it| it.id = vec![Place::Body("/id".to_owned())]),
            Some("id")
        );
        assert_eq!(change(|it| it.id.push(Place::Digest)), Some("id"));
        assert_eq!(change(|it| it.kind.clear()), Some("type"));
    }
}
