//! The namespace: the one word that every exchange, queue and schema name starts with.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The prefix of every name that Longshore uses on a broker, and the name of its database schema.
/// So two systems, or two tests, share one broker and one database without meeting.
///
/// Lower-case letters, digits, `_` and `-`, starting with a letter, 1 to 32 characters: valid as the
/// first word of a topic routing key and as a (quoted) PostgreSQL identifier.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Namespace(String);

/// Why a word cannot be a [`Namespace`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a namespace of 1 to 32 lower-case letters, digits, '_' or '-' that starts with a letter, found {0:?}"
)]
pub struct InvalidNamespace(String);

impl Namespace {
    /// The namespace as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self("longshore".to_owned())
    }
}

impl FromStr for Namespace {
    type Err = InvalidNamespace;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if is_name(text, 32) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidNamespace(text.to_owned()))
        }
    }
}

impl TryFrom<String> for Namespace {
    type Error = InvalidNamespace;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Namespace> for String {
    fn from(namespace: Namespace) -> Self {
        namespace.0
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether `text` is a plain name (of a namespace or a destination). It becomes one word of an AMQP
/// name, so it holds no dot, and it is short enough that derived names stay under AMQP's 255 bytes.
pub(crate) fn is_name(text: &str, longest: usize) -> bool {
    text.len() <= longest
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_word_is_a_namespace() {
        for good in ["longshore", "t1", "a-b_c9"] {
            assert_eq!(
                good.parse::<Namespace>().map(String::from),
                Ok(good.to_owned())
            );
        }
    }

    #[test]
    fn what_would_break_a_name_is_refused() {
        for bad in ["", "9a", "A", "a.b", "a b", "a\"b", "-a", &"a".repeat(33)] {
            assert!(bad.parse::<Namespace>().is_err(), "{bad:?}");
        }
    }
}
