//! The address of a service, password included but never shown.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::Secret;

/// A URL that may hold a password. `Display` and `Debug` leave it out.
#[derive(Clone)]
pub struct ServiceUrl {
    whole: Secret,
    parsed: ::url::Url,
}

impl ServiceUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// The text is none. The message does not repeat it: it may hold a password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parsed: ::url::Url = text
            .parse()
            .map_err(|error| format!("expected a URL, found none: {error}"))?;
        Ok(Self {
            whole: Secret::new(text),
            parsed,
        })
    }

    /// A URL written in the code.
    #[expect(clippy::expect_used, reason = "for constants; a test reads each")]
    pub(super) fn preset(text: &'static str) -> Self {
        Self::parse(text).expect("a URL constant is a URL")
    }

    /// The whole URL with its password, for connecting.
    pub fn expose(&self) -> &str {
        self.whole.expose()
    }

    /// The URL in parts.
    pub fn parts(&self) -> &::url::Url {
        &self.parsed
    }

    /// Host and port for people: `127.0.0.1:5672`.
    pub fn address(&self) -> String {
        let host = self.parsed.host_str().unwrap_or("localhost");
        match self.parsed.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }

    pub(super) fn expect_scheme(&self, schemes: &[&str]) -> Result<(), String> {
        if schemes.contains(&self.parsed.scheme()) {
            return Ok(());
        }
        let expected: Vec<String> = schemes
            .iter()
            .map(|scheme| format!("{scheme}://"))
            .collect();
        Err(format!(
            "expected {}, found {}://",
            expected.join(" or "),
            self.parsed.scheme()
        ))
    }
}

impl fmt::Display for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.parsed.clone();
        if shown.password().is_some() {
            // Fails only for URLs that cannot have a password.
            let _ = shown.set_password(Some("***"));
        }
        shown.fmt(f)
    }
}

impl fmt::Debug for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'de> Deserialize<'de> for ServiceUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let secret = Secret::deserialize(deserializer)?;
        Self::parse(secret.expose()).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_never_shows() {
        let url = ServiceUrl::preset("amqp://user:hunter2@host:5672/%2f");
        assert_eq!(url.to_string(), "amqp://user:***@host:5672/%2f");
        assert!(!format!("{url:?}").contains("hunter2"));
        assert!(url.expose().contains("hunter2"));
        assert_eq!(url.address(), "host:5672");
        let broken = ServiceUrl::parse("hunter2").map(|_| ());
        assert!(broken.is_err_and(|text| !text.contains("hunter2")));
    }
}
