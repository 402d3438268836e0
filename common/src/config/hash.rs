//! The hash of a configuration: whether two processes run with the same one.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::{Broker, Config, Database, Log, Producer, Transport, WebhookBody, Worker};

/// How many bytes of the SHA-256 are kept: enough to tell configurations apart.
const LENGTH: usize = 6;

/// A short hash of a configuration, in hexadecimal digits. Secrets are masked before they are hashed, so none can be
/// guessed from it; two configurations that differ in secrets alone have the same hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigHash(String);

impl ConfigHash {
    /// The hash that a text says.
    pub(super) fn said(text: String) -> Self {
        Self(text)
    }

    /// Its digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ConfigHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Config {
    /// The hash of the sections that all programs have in common. Settings of one process, such as its address, its logins
    /// and its log, are left out, and so are the folders of templates.
    pub fn hash(&self) -> ConfigHash {
        let digest = Sha256::digest(self.in_common().as_bytes());
        let mut digits = String::with_capacity(2 * LENGTH);
        for byte in digest.iter().take(LENGTH) {
            // Writing to a String cannot fail.
            let _ = write!(digits, "{byte:02x}");
        }
        ConfigHash(digits)
    }

    /// The text that is hashed. Debug output masks secrets everywhere in a configuration.
    fn in_common(&self) -> String {
        let mut common = Self {
            listen: None,
            broker: Broker::default(),
            database: Database::default(),
            log: Log::default(),
            producer: Producer::default(),
            worker: Worker::default(),
            ..self.clone()
        };
        for destination in &mut common.destinations {
            match &mut destination.transport {
                Transport::Smtp(smtp) => smtp.template = name(&smtp.template),
                Transport::Webhook(webhook) => {
                    if let WebhookBody::Template(file) = &mut webhook.body {
                        file.path = name(&file.path);
                    }
                }
            }
        }
        format!("{common:?}")
    }
}

/// The path without its folder.
fn name(path: &Path) -> PathBuf {
    path.file_name()
        .map_or_else(|| path.to_owned(), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(toml: &str) -> Config {
        toml::from_str(toml).unwrap()
    }

    /// A configuration with a secret in every place that takes one.
    const SECRETS: &str = r#"
        [secrets]
        seal = "hunter2-hunter2-hunter2"
        [confirmation]
        url = "https://shop.example.com"
        secret = "hunter2-hunter2-hunter2"
        [[destination]]
        name = "crm"
        [destination.webhook]
        url = "https://hunter2@crm.example.com/hook?key=hunter2"
        secret = "hunter2"
        headers = { X-Api-Key = "hunter2" }
        auth = { oauth2 = { token_url = "https://a.example.com/t?key=hunter2", client_id = "a", client_secret = "hunter2" } }
        [[destination]]
        name = "other"
        webhook = { url = "https://crm.example.com", auth = { basic = { user = "a", password = "hunter2" } } }
        [[destination]]
        name = "third"
        webhook = { url = "https://crm.example.com", auth = { bearer = "hunter2" } }
        [[destination]]
        name = "mail"
        smtp = { url = "smtps://u@h", password = "hunter2", from = "a@example.com", template = "welcome" }
        [[source]]
        name = "shop"
        scheme = "shopify"
        secret = ["hunter2-hunter2-hunter2"]
        type = "shop.{type}"
    "#;

    #[test]
    fn no_secret_is_hashed() {
        let text = config(SECRETS).in_common();
        assert!(text.contains("crm.example.com"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
        let others = config(&SECRETS.replace("hunter2", "hunter3"));
        assert_eq!(config(SECRETS).hash(), others.hash());
    }

    #[test]
    fn a_hash_tells_what_programs_must_agree_on_and_nothing_of_one_process() {
        let plain = config("");
        assert_eq!(plain.hash().as_str().len(), 12);
        assert_eq!(plain.hash(), config("").hash());
        for alike in [
            "listen = \"127.0.0.1:1\"",
            "[broker]\nurl = \"amqp://store:x@h\"",
            "[log]\nfilter = \"debug\"",
            "[producer]\nconcurrent_hashes = 7",
        ] {
            assert_eq!(config(alike).hash(), plain.hash(), "{alike}");
        }
        for other in [
            "namespace = \"shop\"",
            "[limits]\nevent_bytes = 1000",
            "[[destination]]\nname = \"crm\"\nwebhook = { url = \"https://h\" }",
        ] {
            assert_ne!(config(other).hash(), plain.hash(), "{other}");
        }
    }

    #[test]
    fn the_folder_of_a_template_does_not_count() {
        let with = |template: &str| {
            let smtp =
                format!("url = \"smtps://h\", from = \"a@example.com\", template = {template:?}");
            config(&format!(
                "[[destination]]\nname = \"mail\"\nsmtp = {{ {smtp} }}"
            ))
            .hash()
        };
        assert_eq!(with("/etc/longshore/welcome"), with("welcome"));
        assert_ne!(with("welcome"), with("goodbye"));
    }
}
