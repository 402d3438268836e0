//! The address of a service, password included but never shown, or of an embedded engine's file.

use std::fmt;
use std::path::Path;

use percent_encoding::percent_decode_str;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::Secret;
use super::mask::masked;

/// The prefix of an embedded engine's address.
const SQLITE: &str = "sqlite:";

/// The prefix of the path of a database in memory alone, as tests use it.
const MEMORY: &str = ":memory:";

/// A URL that may hold a password, which `Display` and `Debug` leave out, or `sqlite:PATH`.
#[derive(Clone)]
pub struct ServiceUrl {
    whole: Secret,
    parsed: ::url::Url,
    /// Of an embedded engine.
    path: Option<String>,
}

impl ServiceUrl {
    /// Reads a URL, or `sqlite:PATH`. The path is taken as it stands, spaces, `%` and `?` included;
    /// `sqlite:///tmp/a.db` is `sqlite:/tmp/a.db`.
    ///
    /// # Errors
    /// The text is neither. The message does not repeat it: it may hold a password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let path = text.strip_prefix(SQLITE);
        let path = path.map(|rest| rest.strip_prefix("//").unwrap_or(rest));
        // A path does not count as part of a URL here, so that every file name can be written
        // plainly.
        let url = if path.is_some() { SQLITE } else { text };
        let parsed: ::url::Url = url
            .parse()
            .map_err(|error| format!("expected a URL, found none: {error}"))?;
        if path.is_none() && holds_a_login_behind_its_host(&parsed) {
            return Err(
                "expected `/`, `?` and `#` in a password to be written as %2F, %3F and %23, found an `@` behind \
                 the host"
                    .to_owned(),
            );
        }
        let nameless = |path: &str| path.is_empty() || path.ends_with('/') || path.contains('\0');
        if path.is_some_and(nameless) {
            return Err(format!(
                "expected {SQLITE}PATH with the path of a file, such as \
                 {SQLITE}longshore-data/longshore.db, found no file name"
            ));
        }
        Ok(Self {
            whole: Secret::new(text),
            parsed,
            path: path.map(str::to_owned),
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

    /// The URL in parts; of `sqlite:PATH` nothing but the scheme, for that see [`ServiceUrl::file`].
    pub fn parts(&self) -> &::url::Url {
        &self.parsed
    }

    /// Whether it is `sqlite:PATH`: an engine within this process, and no service of its own.
    pub fn is_embedded(&self) -> bool {
        self.path.is_some()
    }

    /// The file of an embedded engine, where it has one.
    pub fn file(&self) -> Option<&Path> {
        let path = self
            .path
            .as_deref()
            .filter(|path| !path.starts_with(MEMORY));
        path.map(Path::new)
    }

    /// The password of the login, as it is, where the URL has one.
    pub fn password(&self) -> Option<String> {
        let password = percent_decode_str(self.parsed.password()?);
        Some(password.decode_utf8_lossy().into_owned())
    }

    /// The virtual host of a RabbitMQ; `/` where the URL names none.
    pub fn virtual_host(&self) -> String {
        let path = self.parsed.path();
        match path.strip_prefix('/').unwrap_or(path) {
            "" => "/".to_owned(),
            name => percent_decode_str(name).decode_utf8_lossy().into_owned(),
        }
    }

    /// Host and port for people, `127.0.0.1:5672`, or the file.
    pub fn address(&self) -> String {
        if let Some(path) = &self.path {
            return path.clone();
        }
        let host = self.parsed.host_str().unwrap_or("localhost");
        match self.parsed.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }

    /// Checks that it is `sqlite:PATH` or has one of these schemes.
    pub(super) fn expect_scheme(&self, schemes: &[&str]) -> Result<(), String> {
        // Without the slashes, login and password would be read as something else, and be shown.
        let has_scheme = self.parsed.has_authority() && schemes.contains(&self.parsed.scheme());
        if self.is_embedded() || has_scheme {
            return Ok(());
        }
        let expected: Vec<String> = schemes
            .iter()
            .map(|scheme| format!("{scheme}://"))
            .collect();
        Err(format!(
            "expected {} or {SQLITE}PATH, found {}",
            expected.join(", "),
            scheme_of(&self.parsed)
        ))
    }
}

/// Whether `user:password@host` was read as something else, because the password holds a `/` or a `?`.
fn holds_a_login_behind_its_host(url: &::url::Url) -> bool {
    let query = url.query().unwrap_or_default();
    let mut parts = query.split('&').filter(|part| !part.contains('='));
    let is_whole = !url.cannot_be_a_base() && url.username().is_empty();
    is_whole && (url.path().contains('@') || parts.any(|part| part.contains('@')))
}

/// The scheme of a URL that has the wrong one, for people.
pub(super) fn scheme_of(url: &::url::Url) -> String {
    if !url.has_authority() {
        return "none of them".to_owned();
    }
    format!("{}://", url.scheme())
}

impl PartialEq for ServiceUrl {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl fmt::Display for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.path {
            return write!(f, "{SQLITE}{path}");
        }
        f.write_str(&masked(&self.parsed))
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
        assert_eq!(url.file(), None);
        let broken = ServiceUrl::parse("hunter2").map(|_| ());
        assert!(broken.is_err_and(|text| !text.contains("hunter2")));
    }

    #[test]
    fn the_password_is_read_as_it_is() {
        let url = ServiceUrl::preset("amqp://user:p%40ss@host");
        assert_eq!(url.password().as_deref(), Some("p@ss"));
        assert_eq!(ServiceUrl::preset("amqp://host").password(), None);
    }

    #[test]
    fn the_virtual_host_is_read_as_it_is() {
        for (url, host) in [
            ("amqp://h", "/"),
            ("amqp://h/", "/"),
            ("amqp://h/%2f", "/"),
            ("amqp://h/shop%2fa", "shop/a"),
        ] {
            assert_eq!(ServiceUrl::preset(url).virtual_host(), host, "{url}");
        }
    }

    #[test]
    fn a_path_is_taken_as_it_stands() {
        for (text, path) in [
            (
                "sqlite:longshore-data/broker.db",
                "longshore-data/broker.db",
            ),
            (
                "sqlite:/tmp/a b/Jürgen 100%?#.db",
                "/tmp/a b/Jürgen 100%?#.db",
            ),
            ("sqlite:///tmp/a.db", "/tmp/a.db"),
            ("sqlite://a.db", "a.db"),
        ] {
            let url = ServiceUrl::parse(text).unwrap();
            assert_eq!(url.file(), Some(Path::new(path)), "{text}");
            assert_eq!(url.to_string(), format!("sqlite:{path}"));
            assert_eq!(url.address(), path);
            assert_eq!(url.expect_scheme(&["amqp"]), Ok(()));
        }
        let memory = ServiceUrl::preset("sqlite::memory:a");
        assert!(memory.is_embedded() && memory.file().is_none());
    }

    #[test]
    fn an_address_of_no_known_kind_says_what_was_expected() {
        for (text, words) in [
            ("sqlite:", "PATH"),
            ("sqlite:///tmp/", "file name"),
            ("longshore.db", "expected a URL"),
            ("amqp://u:12/hunter2@h/d", "%2F"),
            ("postgres://u:1?hunter2@h/d", "%3F"),
        ] {
            let error = ServiceUrl::parse(text).map(|_| ());
            assert!(
                error.as_ref().is_err_and(|it| it.contains(words)),
                "{error:?}"
            );
        }
        for text in [
            "postgres://h/d?user=u@azure&password=p@w",
            "amqp://u:p@h/a@b",
        ] {
            assert!(ServiceUrl::parse(text).is_ok(), "{text}");
        }
        let flat = ServiceUrl::preset("amqp:u:hunter2@h").expect_scheme(&["amqp"]);
        assert!(flat.is_err_and(|it| it.contains("amqp://") && !it.contains("hunter2")));
        let other = ServiceUrl::preset("redis://h").expect_scheme(&["amqp", "amqps"]);
        assert_eq!(
            other,
            Err("expected amqp://, amqps:// or sqlite:PATH, found redis://".to_owned())
        );
        for text in ["amqp:u:hunter2@h", "amqp:/u:hunter2@h", "u:hunter2@h"] {
            let told = match ServiceUrl::parse(text) {
                Ok(url) => format!("{url} {}", url.expect_scheme(&["amqp"]).expect_err(text)),
                Err(error) => error,
            };
            assert!(!told.contains("hunter2"), "{told}");
        }
    }
}
