//! Where the keys of an issuer are: a URL, or a file.

use std::fmt;
use std::path::PathBuf;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use url::{Host, Url};

use super::mask::masked;
use super::url::scheme_of;

/// The place of a key set (JWKS, RFC 7517): `"https://…"`, or `{ file = "PATH" }`.
#[derive(Clone, PartialEq, Eq)]
pub enum KeySetLocation {
    /// Answered by a server. The address may hold a token: for people it is [`masked`].
    Url(Url),
    /// A file, relative to the working directory of the program.
    File(PathBuf),
}

impl KeySetLocation {
    /// Whether the keys come over TLS.
    pub fn is_https(&self) -> bool {
        matches!(self, Self::Url(url) if url.scheme() == "https")
    }

    /// The expected and the found value, if it cannot be used.
    pub(super) fn problem(&self) -> Option<String> {
        let Self::Url(url) = self else {
            return None;
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Some("expected an address without a login, found one with it".to_owned());
        }
        match url.scheme() {
            "https" => None,
            "http" if is_loopback(url) => None,
            "http" => Some(
                "expected https://, as another key on the way could make tokens, found http:// to \
                 another than a loopback address"
                    .to_owned(),
            ),
            _ => Some(format!("expected https://, found {}", scheme_of(url))),
        }
    }
}

/// Whether nothing leaves this machine.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        None => false,
    }
}

/// For people.
impl fmt::Display for KeySetLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => f.write_str(&masked(url)),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl fmt::Debug for KeySetLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'de> Deserialize<'de> for KeySetLocation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Given)
    }
}

struct Given;

const EXPECTED: &str = "a URL such as \"https://id.example.com/jwks\", or { file = \"PATH\" }";

impl<'de> Visitor<'de> for Given {
    type Value = KeySetLocation;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<KeySetLocation, E> {
        // The parser's own way to report an error would repeat the text.
        let url = text.parse();
        url.map(KeySetLocation::Url).map_err(|error| {
            E::custom(format!("jwks: expected {EXPECTED}, found neither: {error}"))
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<KeySetLocation, A::Error> {
        let wrong =
            || A::Error::custom(format!("jwks: expected {EXPECTED}, found another section"));
        let entry: Option<(String, PathBuf)> = map.next_entry().ok().flatten();
        match entry {
            Some((key, path)) if key == "file" && map.next_key::<String>()?.is_none() => {
                Ok(KeySetLocation::File(path))
            }
            _ => Err(wrong()),
        }
    }
}
