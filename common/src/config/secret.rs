//! Secrets: given in place, by environment variable or by file, and never shown.

use std::env::VarError;
use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};
use serde::de::{Error, Expected, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A text that never shows in logs, errors or debug output.
///
/// In the configuration: `"text"`, `{ env = "NAME" }` or `{ file = "/run/secrets/name" }`.
#[derive(Clone)]
pub struct Secret(SecretString);

/// `[secrets]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Secrets {
    /// The key that seals the password hash of a signup on its way to the database: one secret or a list. The first one
    /// seals, all of them open. Unset: made from a secret that the programs on one broker share.
    #[serde(deserialize_with = "one_or_more")]
    pub seal: Vec<Secret>,
}

/// Minimum length of a secret that a key is made of, in bytes.
const MIN_LENGTH: usize = 16;

/// What is wrong with secrets that keys are made of, if anything is.
pub(super) fn too_short(secrets: &[Secret]) -> Option<String> {
    let lengths = secrets.iter().map(|secret| secret.expose().len());
    let short = lengths.into_iter().find(|length| *length < MIN_LENGTH)?;
    Some(format!(
        "expected secrets of at least {MIN_LENGTH} bytes, such as `openssl rand -base64 32` makes, found one of {short}"
    ))
}

impl Secrets {
    /// An error, if any.
    pub(super) fn problem(&self) -> Option<String> {
        too_short(&self.seal)
    }
}

/// Reads one secret or a list.
pub(super) fn one_or_more<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Secret>, D::Error> {
    let secret = |value| {
        Secret::deserialize::<toml::Value>(value).map_err(|error| D::Error::custom(error.message()))
    };
    match toml::Value::deserialize(deserializer)? {
        toml::Value::Array(values) => values.into_iter().map(secret).collect(),
        value => Ok(vec![secret(value)?]),
    }
}

impl Secret {
    /// A secret from a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }

    /// The secret itself. Let it go nowhere that is written down.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Given)
    }
}

/// Reads a secret as it is given. By hand: an error of a derived reader may repeat the value.
struct Given;

impl<'de> Visitor<'de> for Given {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a secret: \"text\", { env = \"NAME\" } or { file = \"PATH\" }")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Secret, E> {
        Ok(Secret::new(text))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Secret, A::Error> {
        let expected: &dyn Expected = &Given;
        let wrong = || A::Error::custom(format!("expected {expected}"));
        let (place, value): (String, String) = map.next_entry().ok().flatten().ok_or_else(wrong)?;
        if map.next_key::<String>()?.is_some() {
            return Err(wrong());
        }
        let secret = match &*place {
            "env" => from_variable(&value),
            "file" => from_file(&value),
            _ => return Err(wrong()),
        };
        secret.map_err(A::Error::custom)
    }
}

fn from_variable(name: &str) -> Result<Secret, String> {
    let is_name = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !is_name || name.is_empty() {
        return Err("expected `env` to be the name of a variable, found something else".to_owned());
    }
    std::env::var(name).map(Secret::new).map_err(|error| {
        let found = match error {
            VarError::NotPresent => "is not set",
            VarError::NotUnicode(_) => "is not UTF-8",
        };
        format!("expected the secret in variable {name}, which {found}")
    })
}

fn from_file(path: &str) -> Result<Secret, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("expected the secret in file {path}: {error}"))?;
    Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
}
