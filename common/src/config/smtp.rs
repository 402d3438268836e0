//! `[[destination]] smtp`: a mail server through which events are sent as mail.

mod mailbox;
mod server;

use std::path::PathBuf;

use serde::Deserialize;

use super::{LinkTls, Secret};

pub use mailbox::Mailbox;
pub use server::{MailServer, Scheme};

/// A mail server, and the mail that is sent through it.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Table")]
pub struct Smtp {
    /// The server.
    pub server: MailServer,
    /// How the connection is protected.
    pub protection: Protection,
    /// The password of the server's user.
    pub password: Option<Secret>,
    /// The sender.
    pub from: Mailbox,
    /// The files of the template without their endings. Loading makes it relative to the configuration file.
    pub template: PathBuf,
    /// A template of the recipient's address; `data.email` unless set.
    pub to: Option<String>,
    /// Where answers go.
    pub reply_to: Option<Mailbox>,
    /// A template of the URL that ends a subscription.
    pub list_unsubscribe: Option<String>,
}

/// The protection of a connection to a mail server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protection {
    /// TLS from the first byte.
    Tls(LinkTls),
    /// `STARTTLS`. Nothing is sent to a server that does not offer it.
    StartTls(LinkTls),
    /// None: everybody on the way can read the mail. Only to addresses that `[outbound] allow` names.
    None,
}

/// `smtp` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    url: MailServer,
    password: Option<Secret>,
    from: Mailbox,
    template: PathBuf,
    to: Option<String>,
    reply_to: Option<Mailbox>,
    list_unsubscribe: Option<String>,
    tls: Option<TlsTable>,
}

/// `smtp.tls`: the word `none`, or certificates.
struct TlsTable(Option<LinkTls>);

impl<'de> Deserialize<'de> for TlsTable {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        match toml::Value::deserialize(deserializer)? {
            toml::Value::String(word) if word == "none" => Ok(Self(None)),
            toml::Value::Table(table) => {
                let tls = LinkTls::deserialize(table);
                tls.map(|tls| Self(Some(tls)))
                    .map_err(|error| D::Error::custom(error.message()))
            }
            _ => Err(D::Error::custom(
                "expected `tls` to be \"none\" or a section such as { ca = \"ca.pem\" }, found something else",
            )),
        }
    }
}

impl TryFrom<Table> for Smtp {
    type Error = String;

    fn try_from(table: Table) -> Result<Self, String> {
        let protection = match (table.tls, table.url.scheme) {
            (None, Scheme::Smtps) => Protection::Tls(LinkTls::default()),
            (None, Scheme::Smtp) => Protection::StartTls(LinkTls::default()),
            (Some(TlsTable(Some(tls))), Scheme::Smtps) => Protection::Tls(tls),
            (Some(TlsTable(Some(tls))), Scheme::Smtp) => Protection::StartTls(tls),
            (Some(TlsTable(None)), Scheme::Smtp) => Protection::None,
            (Some(TlsTable(None)), Scheme::Smtps) => {
                return Err("expected smtp:// beside tls = \"none\", found smtps://".to_owned());
            }
        };
        if table.password.is_some() && table.url.user.is_none() {
            return Err(
                "expected a user in `url` beside `password`, such as smtps://USER@HOST, found none"
                    .to_owned(),
            );
        }
        if table.url.user.is_some() && protection == Protection::None {
            return Err(
                "expected no user in `url` beside tls = \"none\", found one: a password is never sent without TLS"
                    .to_owned(),
            );
        }
        Ok(Self {
            server: table.url,
            protection,
            password: table.password,
            from: table.from,
            template: table.template,
            to: table.to,
            reply_to: table.reply_to,
            list_unsubscribe: table.list_unsubscribe,
        })
    }
}

impl Smtp {
    /// An error, if any: the key, and the expected value.
    pub(super) fn problem(&self) -> Option<(&'static str, String)> {
        if self.template.as_os_str().is_empty() {
            let problem = "expected a path such as \"templates/welcome\", found none".to_owned();
            return Some(("smtp.template", problem));
        }
        let (Protection::Tls(tls) | Protection::StartTls(tls)) = &self.protection else {
            return None;
        };
        let (_, problem) = tls.problem()?;
        Some(("smtp.tls", problem))
    }

    /// Whether the server has a user without a password.
    pub(super) fn lacks_password(&self) -> bool {
        self.server.user.is_some() && self.password.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(smtp: &str) -> Result<Smtp, String> {
        let text = format!(
            "{smtp}\n{}",
            if smtp.contains("from") {
                "template = \"t\""
            } else {
                "from = \"Shop <hello@example.com>\"\ntemplate = \"t\""
            }
        );
        toml::from_str(&text).map_err(|error: toml::de::Error| error.message().to_owned())
    }

    #[test]
    fn the_scheme_decides_how_a_connection_is_protected() {
        let ca = |scheme: &str| format!("url = \"{scheme}://h\"\ntls = {{ ca = \"ca.pem\" }}");
        let tls = LinkTls {
            ca: Some("ca.pem".into()),
            ..LinkTls::default()
        };
        for (text, expected) in [
            ("url = \"smtps://h\"", Protection::Tls(LinkTls::default())),
            (
                "url = \"smtp://h\"",
                Protection::StartTls(LinkTls::default()),
            ),
            (&ca("smtps"), Protection::Tls(tls.clone())),
            (&ca("smtp"), Protection::StartTls(tls)),
            ("url = \"smtp://h\"\ntls = \"none\"", Protection::None),
        ] {
            assert_eq!(
                read(text).map(|smtp| smtp.protection),
                Ok(expected),
                "{text}"
            );
        }
    }

    #[test]
    fn what_would_send_a_password_in_the_clear_is_an_error() {
        for (text, words) in [
            (
                "url = \"smtps://h\"\ntls = \"none\"",
                "expected smtp:// beside tls",
            ),
            (
                "url = \"smtp://u@h\"\npassword = \"hunter2\"\ntls = \"none\"",
                "never sent without TLS",
            ),
            (
                "url = \"smtp://h\"\npassword = \"hunter2\"",
                "expected a user",
            ),
            ("url = \"smtp://h\"\ntls = \"some\"", "to be \"none\""),
            ("url = \"smtp://h\"\ntls = { cb = \"x\" }", "unknown field"),
            ("url = \"smtp://u:hunter2@h\"", "in `password`"),
            ("url = \"smtp://h\"\nhunter = 1", "unknown field"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn no_password_shows() {
        let smtp = read("url = \"smtps://u@h\"\npassword = \"hunter2\"").unwrap();
        assert!(!format!("{smtp:?}").contains("hunter2"));
        assert!(!smtp.lacks_password());
        assert!(read("url = \"smtps://u@h\"").unwrap().lacks_password());
    }
}
