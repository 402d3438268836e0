//! The address of a mail server.

use percent_encoding::percent_decode_str;
use serde::Deserialize;
use url::{Host, Url};

/// A mail server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct MailServer {
    /// How the conversation begins.
    pub scheme: Scheme,
    /// The host: its certificate must have this name or address.
    pub host: Host,
    /// The port: 465 for `smtps://` and 587 for `smtp://` unless the URL has another one.
    pub port: u16,
    /// The user to log in as.
    pub user: Option<String>,
}

/// The scheme of a mail server's URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// In plain text, until `STARTTLS`.
    Smtp,
    /// With TLS from the first byte.
    Smtps,
}

impl TryFrom<String> for MailServer {
    type Error = String;

    /// Errors repeat nothing of the text: it may hold a password.
    fn try_from(text: String) -> Result<Self, String> {
        const EXPECTED: &str = "expected a URL such as smtps://user@mail.example.com, found";
        let url: Url = text
            .parse()
            .map_err(|error| format!("{EXPECTED} none: {error}"))?;
        let (scheme, port) = match url.scheme() {
            "smtp" => (Scheme::Smtp, 587),
            "smtps" => (Scheme::Smtps, 465),
            _ => return Err(format!("{EXPECTED} another scheme")),
        };
        if url.password().is_some() {
            return Err(
                "expected the mail server's password in `password`, found one in `url`".to_owned(),
            );
        }
        let host = url
            .host_str()
            .filter(|host| !host.is_empty())
            .ok_or_else(|| format!("{EXPECTED} no host"))?;
        // Such a scheme is unknown to the URL standard, so the host was left as it was written.
        let host = percent_decode_str(host).decode_utf8_lossy();
        let host = Host::parse(&host).map_err(|error| format!("{EXPECTED} no host: {error}"))?;
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(format!("{EXPECTED} more behind the host"));
        }
        let user = percent_decode_str(url.username())
            .decode_utf8()
            .map_err(|_| format!("{EXPECTED} a user that is not UTF-8"))?;
        if user.chars().any(char::is_control) {
            return Err(format!("{EXPECTED} a user with a control character"));
        }
        Ok(Self {
            scheme,
            host,
            port: url.port().unwrap_or(port),
            user: Some(user.into_owned()).filter(|user| !user.is_empty()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<MailServer, String> {
        text.to_owned().try_into()
    }

    #[test]
    fn a_url_names_host_port_and_user() {
        for (text, scheme, host, port, user) in [
            ("smtps://h.example", Scheme::Smtps, "h.example", 465, None),
            ("smtp://h.example/", Scheme::Smtp, "h.example", 587, None),
            (
                "smtp://127.0.0.1:2525",
                Scheme::Smtp,
                "127.0.0.1",
                2525,
                None,
            ),
            ("smtps://[::1]:25", Scheme::Smtps, "[::1]", 25, None),
            (
                "smtps://ada%40example.com@Bücher.example",
                Scheme::Smtps,
                "xn--bcher-kva.example",
                465,
                Some("ada@example.com"),
            ),
        ] {
            let server = read(text).unwrap();
            assert_eq!(server.scheme, scheme, "{text}");
            assert_eq!(server.host.to_string(), host, "{text}");
            assert_eq!(server.port, port, "{text}");
            assert_eq!(server.user.as_deref(), user, "{text}");
        }
    }

    #[test]
    fn a_url_that_is_not_one_is_an_error_that_repeats_nothing() {
        for (text, words) in [
            ("hunter2", "found none"),
            ("https://hunter2", "another scheme"),
            ("smtps://u:hunter2@h", "in `password`"),
            ("smtps://", "found no"),
            ("smtps://h/hunter2", "behind the host"),
            ("smtps://h?password=hunter2", "behind the host"),
            ("smtps://hunter2%0d%0a@h", "control character"),
            ("smtps://hun ter2", "found no"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
