//! Certificates: what a link trusts and shows (`[broker.tls]`, `[database.tls]`, `webhook.tls`), and what the door shows
//! (`[producer.tls]`). All files are PEM.

use std::path::PathBuf;

use serde::Deserialize;

use super::ServiceUrl;

/// `[broker.tls]`, `[database.tls]`, and `webhook.tls` and `smtp.tls` of a destination.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinkTls {
    /// A file with the authorities that are trusted beside those of the machine.
    pub ca: Option<PathBuf>,
    /// The certificate that this program shows, its intermediates behind it.
    pub certificate: Option<PathBuf>,
    /// The private key of that certificate.
    pub key: Option<PathBuf>,
}

/// `[producer.tls]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DoorTls {
    /// The certificate of the door, its intermediates behind it. Unset: plain HTTP.
    pub certificate: Option<PathBuf>,
    /// The private key of that certificate.
    pub key: Option<PathBuf>,
}

/// The two files of a certificate that is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, its intermediates behind it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl LinkTls {
    /// Whether any key is set.
    pub fn is_set(&self) -> bool {
        self.ca.is_some() || self.certificate.is_some() || self.key.is_some()
    }

    /// The certificate to show, if any.
    pub fn identity(&self) -> Option<Identity> {
        identity(self.certificate.as_ref(), self.key.as_ref())
    }

    /// An error whatever the link: the key, and the expected and the found value.
    pub(super) fn problem(&self) -> Option<(&'static str, String)> {
        lonely(self.certificate.as_ref(), self.key.as_ref())
    }

    /// An error of `[broker.tls]`: the key, and the expected and the found value.
    pub(super) fn problem_at_broker(&self, url: &ServiceUrl) -> Option<(&'static str, String)> {
        if self.is_set() && url.parts().scheme() == "amqp" {
            let problem = "expected an amqps:// address, since [broker.tls] is set, found amqp://: it encrypts nothing";
            return Some(("url", problem.to_owned()));
        }
        self.problem()
    }

    /// An error of `webhook.tls`: the key, and the expected and the found value.
    pub(super) fn problem_at_webhook(&self, url: &url::Url) -> Option<(&'static str, String)> {
        if self.is_set() && url.scheme() != "https" {
            let problem = "expected an https:// address, since webhook.tls is set, found http://: it encrypts nothing";
            return Some(("webhook.url", problem.to_owned()));
        }
        let (missing, problem) = lonely(self.certificate.as_ref(), self.key.as_ref())?;
        let key = match missing {
            "tls.key" => "webhook.tls.key",
            _ => "webhook.tls.certificate",
        };
        Some((key, problem))
    }

    /// An error of `[database.tls]`: the key, and the expected and the found value.
    pub(super) fn problem_at_database(&self, url: &ServiceUrl) -> Option<(&'static str, String)> {
        if self.is_set() && !url.is_embedded() {
            for (name, value) in url.parts().query_pairs() {
                if let Some(problem) = contradiction(&name, &value) {
                    return Some(("url", problem));
                }
            }
        }
        self.problem()
    }
}

impl DoorTls {
    /// The certificate to show, if any.
    pub fn identity(&self) -> Option<Identity> {
        identity(self.certificate.as_ref(), self.key.as_ref())
    }

    /// An error: the key, and the expected and the found value.
    pub(super) fn problem(&self) -> Option<(&'static str, String)> {
        lonely(self.certificate.as_ref(), self.key.as_ref())
    }
}

fn identity(certificate: Option<&PathBuf>, key: Option<&PathBuf>) -> Option<Identity> {
    let (certificate, key) = certificate.cloned().zip(key.cloned())?;
    Some(Identity { certificate, key })
}

/// A certificate without its key, or a key without its certificate.
fn lonely(certificate: Option<&PathBuf>, key: Option<&PathBuf>) -> Option<(&'static str, String)> {
    let (missing, there) = match (certificate, key) {
        (Some(_), None) => ("tls.key", "certificate"),
        (None, Some(_)) => ("tls.certificate", "key"),
        _ => return None,
    };
    let problem = format!(
        "expected a file in PEM, found none: `certificate` and `key` go together, and `{there}` is set"
    );
    Some((missing, problem))
}

/// What is wrong with a parameter of the database's URL beside `[database.tls]`.
fn contradiction(name: &str, value: &str) -> Option<String> {
    match name {
        "sslmode" | "ssl-mode" if !["verify-full", "verify-ca"].contains(&value) => Some(format!(
            "expected sslmode=verify-full or verify-ca (or none, which means verify-full), since [database.tls] is \
             set, found {name}={value:?}: with it, nothing of the server's certificate is checked"
        )),
        "sslrootcert" | "ssl-root-cert" | "ssl-ca" | "sslcert" | "ssl-cert" | "sslkey"
        | "ssl-key" => Some(format!(
            "expected certificates in [database.tls] or in the URL, found both: take {name} out of the URL"
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::config::load_from;

    fn load(variables: &[(&str, &str)]) -> Result<crate::config::Config, String> {
        let variables = variables.iter();
        load_from(variables.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
            .map_err(|error| error.to_string())
    }

    const AMQPS: (&str, &str) = ("LONGSHORE_BROKER_URL", "amqps://u:p@h");
    const CA: (&str, &str) = ("LONGSHORE__BROKER__TLS__CA", "ca.pem");

    #[test]
    fn a_certificate_and_its_key_go_together() {
        for section in ["BROKER", "DATABASE", "PRODUCER"] {
            for (given, missing) in [("CERTIFICATE", "key"), ("KEY", "certificate")] {
                let variable = format!("LONGSHORE__{section}__TLS__{given}");
                let error = load(&[AMQPS, (&variable, "a.pem")]).unwrap_err();
                let key = format!("key {}.tls.{missing} ", section.to_lowercase());
                assert!(error.contains(&key), "{error}");
                assert!(error.contains("go together"), "{error}");
            }
        }
    }

    #[test]
    fn an_address_that_would_not_be_encrypted_is_refused() {
        let plain = ("LONGSHORE_BROKER_URL", "amqp://u:hunter2@h");
        let error = load(&[plain, CA]).unwrap_err();
        assert!(error.contains("expected an amqps:// address"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
        assert!(load(&[AMQPS, CA]).is_ok());
        // An embedded engine has no link.
        assert!(load(&[CA]).is_ok());
    }

    #[test]
    fn a_database_url_that_says_otherwise_is_refused() {
        let ca = ("LONGSHORE__DATABASE__TLS__CA", "ca.pem");
        for (query, words) in [
            ("sslmode=disable", "verify-full"),
            ("sslmode=prefer", "verify-full"),
            ("ssl-mode=require", "verify-full"),
            ("sslrootcert=a.pem", "sslrootcert"),
            ("sslmode=verify-full&sslkey=a.pem", "sslkey"),
        ] {
            let url = format!("postgres://u:hunter2@h/d?{query}");
            let url = ("LONGSHORE_DATABASE_URL", url.as_str());
            let error = load(&[url, ca]).unwrap_err();
            assert!(error.contains("key database.url"), "{error}");
            assert!(error.contains(words), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
            assert!(load(&[url]).is_ok(), "{query}");
        }
        for query in ["", "?sslmode=verify-ca", "?sslmode=verify-full"] {
            let url = format!("postgres://h/d{query}");
            assert!(
                load(&[("LONGSHORE_DATABASE_URL", &url), ca]).is_ok(),
                "{query}"
            );
        }
    }
}
