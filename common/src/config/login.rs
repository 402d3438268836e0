//! Which broker logins are ours.

use super::Broker;
use crate::event::Logins;

/// The login of everything that writes an embedded broker's file.
pub(crate) const EMBEDDED_LOGIN: &str = "longshore";

/// The login that RabbitMQ takes a client for whose URL names none.
const PRESET: &str = "guest";

/// Maximum length of a login: AMQP's short string.
const MAX_LOGIN: usize = 255;

impl Broker {
    /// The login that the broker knows this program by. `None` where neither the configuration nor the URL
    /// can tell: with certificates, for one.
    pub fn own_login(&self) -> Option<String> {
        if self.url.is_embedded() {
            return Some(EMBEDDED_LOGIN.to_owned());
        }
        if self.login.is_some() {
            return self.login.clone();
        }
        let url = self.url.parts();
        let is_outside = url.query_pairs().any(|(key, mechanism)| {
            key == "auth_mechanism"
                && ["external", "anonymous"]
                    .iter()
                    .any(|outside| mechanism.eq_ignore_ascii_case(outside))
        });
        if is_outside {
            return None;
        }
        match url.username() {
            "" => Some(PRESET.to_owned()),
            // A user name may be escaped in any way that a form's field may be, but for the plus sign.
            name => {
                let name = name.replace('+', "%2B");
                let mut pairs = url::form_urlencoded::parse(name.as_bytes());
                pairs.next().map(|(name, _)| name.into_owned())
            }
        }
    }

    /// The logins whose messages are believed: the configured ones and the own one.
    pub fn logins(&self) -> Logins {
        let others = if self.url.is_embedded() {
            &[][..]
        } else {
            &self.logins[..]
        };
        Logins::new(others.iter().cloned().chain(self.own_login()))
    }

    /// An error of logins or certificates: the key, and the expected and the found value.
    pub(super) fn problem(&self) -> Option<(&'static str, String)> {
        let each = self.logins.iter().map(|login| ("logins", login));
        for (key, login) in each.chain(self.login.iter().map(|login| ("login", login))) {
            if login.is_empty() || login.len() > MAX_LOGIN {
                let found = format!(
                    "expected logins of 1 to {MAX_LOGIN} bytes, found one of {}",
                    login.len()
                );
                return Some((key, found));
            }
        }
        if let Some(problem) = self.tls.problem_at_broker(&self.url) {
            return Some(problem);
        }
        self.own_login().is_none().then(|| {
            let problem = "expected the login that the broker knows this program by, found none: \
                           broker.url leaves it to the authentication outside of AMQP. Set `[broker] \
                           login` (LONGSHORE__BROKER__LOGIN); without it this program's \
                           messages look like those of others";
            ("login", problem.to_owned())
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, ConfigError, load_from};

    fn with(url: &str, more: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let variables = [("LONGSHORE_BROKER_URL", url)];
        let variables = variables.iter().chain(more);
        load_from(variables.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    fn logins(url: &str, more: &[(&str, &str)]) -> String {
        let config = with(url, more).unwrap_or_else(|error| panic!("{error}"));
        config.broker.logins().to_string()
    }

    #[test]
    fn the_own_login_is_always_trusted() {
        let list = [("LONGSHORE__BROKER__LOGINS", r#"["store", "producer"]"#)];
        for (url, more, expected) in [
            ("amqp://h", &[][..], "guest"),
            ("amqp://store:pw@h/%2f", &[], "store"),
            ("amqp://a%40b+c:pw@h", &[], "a@b+c"),
            ("amqp://store:pw@h", &list, "producer, store"),
            ("amqp://own:pw@h", &list, "own, producer, store"),
            ("sqlite:a.db", &list, "longshore"),
            (
                "amqp://token@h",
                &[("LONGSHORE__BROKER__LOGIN", "own")],
                "own",
            ),
            (
                "amqps://h?auth_mechanism=EXTERNAL",
                &[("LONGSHORE__BROKER__LOGIN", "CN=own,O=us")],
                "CN=own,O=us",
            ),
        ] {
            assert_eq!(logins(url, more), expected, "{url}");
        }
    }

    #[test]
    fn a_login_that_nobody_can_tell_is_asked_for() {
        for (url, more) in [
            ("amqps://h?auth_mechanism=external", &[][..]),
            ("amqp://u:p@h?auth_mechanism=ANONYMOUS", &[]),
            ("amqp://h", &[("LONGSHORE__BROKER__LOGINS", r#"[""]"#)]),
        ] {
            let error = with(url, more).map(|_| ()).expect_err(url).to_string();
            assert!(error.contains("broker.login"), "{error}");
            assert!(error.contains("expected"), "{error}");
        }
    }
}
