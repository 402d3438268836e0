//! Secrets: given in place, by environment variable or by file, and never shown.

use std::fmt;
use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// A text that never shows in logs, errors or debug output.
///
/// In the configuration: `"text"`, `{ env = "NAME" }` or `{ file = "/run/secrets/name" }`.
#[derive(Clone)]
pub struct Secret(SecretString);

#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Given {
    Plain(String),
    Env(FromEnv),
    File(FromFile),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FromEnv {
    env: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FromFile {
    file: PathBuf,
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
        let given = Given::deserialize(deserializer).map_err(|_| {
            D::Error::custom(
                "expected a secret: \"text\", { env = \"NAME\" } or { file = \"PATH\" }",
            )
        })?;
        match given {
            Given::Plain(text) => Ok(Self::new(text)),
            Given::Env(FromEnv { env }) => std::env::var(&env).map(Self::new).map_err(|_| {
                D::Error::custom(format!(
                    "expected the secret in variable {env}, which is not set"
                ))
            }),
            Given::File(FromFile { file }) => {
                let text = std::fs::read_to_string(&file).map_err(|error| {
                    D::Error::custom(format!(
                        "expected the secret in file {}: {error}",
                        file.display()
                    ))
                })?;
                Ok(Self::new(text.trim_end_matches(['\r', '\n'])))
            }
        }
    }
}
