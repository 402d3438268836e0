//! Claims of tokens, as the configuration names them.

use std::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// Where a claim stands in a token: `"sub"`, `"realm_access.roles"`, or a list of names, for a name with a dot in it:
/// `["https://shop.example.com/roles"]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimPath(Vec<String>);

impl ClaimPath {
    /// The claim, if the token has it.
    pub fn find<'c>(&self, claims: &'c Map<String, Value>) -> Option<&'c Value> {
        let (first, rest) = self.0.split_first()?;
        rest.iter()
            .try_fold(claims.get(first)?, |value, name| value.get(name.as_str()))
    }
}

/// The claim that names the subject of a token (RFC 7519).
impl Default for ClaimPath {
    fn default() -> Self {
        Self(vec!["sub".to_owned()])
    }
}

impl<'de> Deserialize<'de> for ClaimPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = match deserializer.deserialize_any(TextOrList)? {
            Texts::One(path) => path.split('.').map(str::to_owned).collect(),
            Texts::Several(names) => names,
        };
        if names.is_empty() || names.iter().any(String::is_empty) {
            return Err(D::Error::custom(
                "expected the name of a claim, such as \"sub\" or \"realm_access.roles\", or a list of names, found an \
                 empty one",
            ));
        }
        Ok(Self(names))
    }
}

/// Reads one text or a list.
pub(super) fn one_or_more_texts<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<String>, D::Error> {
    Ok(match deserializer.deserialize_any(TextOrList)? {
        Texts::One(text) => vec![text],
        Texts::Several(texts) => texts,
    })
}

enum Texts {
    One(String),
    Several(Vec<String>),
}

struct TextOrList;

impl<'de> Visitor<'de> for TextOrList {
    type Value = Texts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a list of texts")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Texts, E> {
        Ok(Texts::One(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Texts, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = list.next_element()? {
            texts.push(text);
        }
        Ok(Texts::Several(texts))
    }
}
