//! What a door knows of a key.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{KeyHash, Scopes};
use crate::config::Rate;

/// The name of the caller that has a key: lower-case letters, digits, `.`, `_` and `-`, at most 64. Keys of one name belong
/// to one caller: event ids are made of the name, so a caller that changes its key sends no event a second time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyName(String);

/// The name of callers without a key: no key has it.
pub const ANONYMOUS: &str = "anonymous";

/// A key as a door knows it, and as `[[key]]` in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownKey {
    /// Who has it.
    pub name: KeyName,
    /// Its SHA-256, in hex: what `longshore keys create --offline` prints.
    #[serde(rename = "sha256")]
    pub hash: KeyHash,
    /// What it opens.
    pub scopes: Scopes,
    /// The rate of events it may send.
    #[serde(default)]
    pub rate: Option<Rate>,
    /// The events it may send at once; as many as `rate` counts unless set.
    #[serde(default)]
    pub burst: Option<NonZeroU32>,
    /// The networks it may be used from; any unless set.
    #[serde(default)]
    pub networks: Vec<IpNet>,
    /// When it ends (RFC 3339).
    #[serde(
        default,
        rename = "expires",
        deserialize_with = "time::serde::rfc3339::option::deserialize"
    )]
    pub expires_at: Option<OffsetDateTime>,
}

impl KnownKey {
    /// What is wrong with it, if anything.
    pub fn problem(&self) -> Option<(&'static str, String)> {
        if self.scopes.0.is_empty() {
            let problem = "expected at least one, such as \"events:write:signup.*\", found none";
            return Some(("scopes", problem.to_owned()));
        }
        if self.burst.is_some() && self.rate.is_none() {
            let problem = "expected a `rate` beside it, found none";
            return Some(("burst", problem.to_owned()));
        }
        None
    }

    /// Whether it has ended.
    pub fn has_expired(&self, now: OffsetDateTime) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}

impl KeyName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-')
        };
        if !(1..=64).contains(&text.len()) || !text.bytes().all(fits) {
            return Err(
                "expected a name of 1 to 64 lower-case letters, digits, `.`, `_` or `-`, such as `shop`, found \
                 another text"
                    .to_owned(),
            );
        }
        if text == ANONYMOUS {
            return Err(format!(
                "expected another name: `{ANONYMOUS}` stands for callers without a key"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for KeyName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<KeyName> for String {
    fn from(name: KeyName) -> Self {
        name.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
