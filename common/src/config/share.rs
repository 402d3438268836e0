//! The configuration of a running `longshore dev`, handed to the commands beside it.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::load::{Base, FILE, Sources, find, insert, ours, setting};
use super::{Config, ConfigError, ConfigHash};

/// The keys that say which system is meant.
const WHERE: [&[&str]; 3] = [&["namespace"], &["broker", "url"], &["database", "url"]];

/// A configuration on its way to a command, as TOML. It holds passwords and seals: only the user of `longshore dev`
/// may read it.
#[derive(Serialize, Deserialize)]
struct Shared {
    process: u32,
    /// The whole path of the configuration file.
    file: Option<PathBuf>,
    /// The variables that secrets are read from.
    secrets: HashSet<String>,
    /// The hash of the whole configuration, of which parts are left out here.
    hash: String,
    configuration: Table,
}

impl Sources {
    /// The text that hands `config`, which was read from here and may have been changed since, over to commands.
    /// What no command needs is left out: `listen`, `log`, `confirmation`, the secrets of webhooks, both ways, and
    /// passwords of mail servers.
    ///
    /// # Errors
    /// A path is not UTF-8.
    pub fn share(&self, config: &Config) -> Result<String, String> {
        let mut table = self.table.clone();
        for key in ["listen", "log", "secrets", "confirmation"] {
            table.remove(key);
        }
        let namespace = config.namespace.to_string();
        let urls = [&config.broker.url, &config.database.url].map(|url| url.expose().to_owned());
        let [broker, database] = urls;
        for (key, value) in WHERE.into_iter().zip([namespace, broker, database]) {
            let key: Vec<String> = key.iter().map(|&word| word.to_owned()).collect();
            insert(&mut table, &key, Value::String(value))?;
        }
        if !config.secrets.seal.is_empty() {
            let seal = config.secrets.seal.iter();
            let seal = seal.map(|secret| Value::String(secret.expose().to_owned()));
            let key = ["secrets".to_owned(), "seal".to_owned()];
            insert(&mut table, &key, Value::Array(seal.collect()))?;
        }
        for destination in tables(&mut table, "destination") {
            if let Some(Value::Table(webhook)) = destination.get_mut("webhook") {
                for key in ["secret", "headers", "auth"] {
                    webhook.remove(key);
                }
                let body = webhook.get_mut("body").and_then(Value::as_table_mut);
                if let Some(Value::String(file)) = body.and_then(|it| it.get_mut("template")) {
                    *file = text(&whole(&self.folder().join(&*file)))?;
                }
            }
            if let Some(Value::Table(smtp)) = destination.get_mut("smtp") {
                smtp.remove("password");
                if let Some(Value::String(template)) = smtp.get_mut("template") {
                    *template = text(&whole(&self.folder().join(&*template)))?;
                }
            }
        }
        for source in tables(&mut table, "source") {
            source.remove("secret");
        }
        for definition in tables(&mut table, "type") {
            if let Some(Value::String(file)) = definition.get_mut("schema_file") {
                *file = text(&whole(&self.folder().join(&*file)))?;
            }
        }
        let file = match &self.base {
            Base::File(path) => Some(whole(path)),
            _ => None,
        };
        let shared = Shared {
            process: std::process::id(),
            file,
            secrets: self.secrets.clone(),
            hash: config.hash().to_string(),
            configuration: table,
        };
        toml::to_string(&shared).map_err(|error| error.to_string())
    }

    /// What [`Sources::share`] handed over, with the given variables over it; `None` where these mean another
    /// system: they name another file, or another broker, database or namespace.
    ///
    /// # Errors
    /// The first mistake, see [`ConfigError`].
    pub fn shared(
        text: &str,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Option<Self>, ConfigError> {
        let shared: Shared = toml::from_str(text).map_err(|_| ConfigError {
            place: "`longshore dev` in this folder".to_owned(),
            problem:
                "expected a configuration as this version of `longshore` writes it, found another"
                    .to_owned(),
        })?;
        let mut variables = ours(variables);
        if shared.is_contradicted_by(&variables) {
            return Ok(None);
        }
        variables.remove(FILE);
        let base = Base::Dev(shared.process);
        let mut sources = Self::over(base, shared.configuration, shared.secrets, variables)?;
        sources.said_hash = Some(ConfigHash::said(shared.hash));
        Ok(Some(sources))
    }

    /// The hash of `config`, which was read from here: as the running `longshore dev` has it, where one has handed it over.
    pub fn hash(&self, config: &Config) -> ConfigHash {
        self.said_hash.clone().unwrap_or_else(|| config.hash())
    }
}

impl Sources {
    /// Whether a running `longshore dev` has handed them over.
    pub fn are_handed_over(&self) -> bool {
        matches!(self.base, Base::Dev(_))
    }
}

impl Shared {
    /// Whether variables say that another system is meant.
    fn is_contradicted_by(&self, variables: &BTreeMap<String, String>) -> bool {
        variables.iter().any(|(name, text)| {
            if name == FILE {
                return self.file != Some(whole(Path::new(text)));
            }
            let Some((key, value)) = setting(name, text) else {
                return false;
            };
            let key: Vec<&str> = key.iter().map(String::as_str).collect();
            WHERE.contains(&key.as_slice()) && find(&self.configuration, &key) != Some(&value)
        })
    }
}

/// The tables of a list of tables.
fn tables<'t>(table: &'t mut Table, key: &str) -> impl Iterator<Item = &'t mut Table> {
    let list = table.get_mut(key).and_then(Value::as_array_mut);
    list.into_iter().flatten().filter_map(Value::as_table_mut)
}

/// A path from the root, as far as that can be said.
fn whole(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn text(path: &Path) -> Result<String, String> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| format!("expected a path in UTF-8, found {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::super::{Transport, WebhookBody};
    use super::*;

    fn owned(variables: &[(&str, &str)]) -> Vec<(String, String)> {
        let pairs = variables.iter();
        pairs
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    /// What a `longshore dev` with this file hands over.
    fn share(folder: &Path, file: &str) -> String {
        let path = folder.join("longshore.toml");
        std::fs::write(&path, file).unwrap();
        std::fs::write(folder.join("a.json"), "true").unwrap();
        let sources =
            Sources::read(owned(&[("LONGSHORE_CONFIG", path.to_str().unwrap())])).unwrap();
        sources.share(&sources.config().unwrap()).unwrap()
    }

    const FILE_TEXT: &str = r#"
        listen = "127.0.0.1:9999"
        [broker]
        url = "amqp://u:hunter2@h"
        [secrets]
        seal = "a secret of sixteen bytes"
        [[destination]]
        name = "crm"
        [destination.webhook]
        url = "https://crm.example.com"
        secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        headers = { X-Api-Key = "key-of-nobody" }
        auth = { bearer = "token-of-nobody" }
        body = { template = "a.json" }
        [[destination]]
        name = "welcome"
        smtp = { url = "smtps://u@h", password = "hunter-two", from = "a@example.com", template = "t/welcome" }
        [[source]]
        name = "stripe"
        scheme = "standard"
        secret = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
        type = "a.{type}"
        [[type]]
        name = "a.b"
        schema_file = "a.json"
    "#;

    fn shared(text: &str, variables: &[(&str, &str)]) -> Option<Sources> {
        Sources::shared(text, owned(variables)).unwrap()
    }

    #[test]
    fn a_command_gets_all_it_needs_and_no_secret_that_it_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let text = share(folder.path(), FILE_TEXT);
        for unneeded in ["whsec_", "9999", "of-nobody", "hunter-two"] {
            assert!(!text.contains(unneeded), "{unneeded}: {text}");
        }
        let sources = shared(&text, &[("LONGSHORE__DEAD__RETENTION", "1h")]).unwrap();
        let config = sources.config().unwrap();
        assert_eq!(config.broker.url.expose(), "amqp://u:hunter2@h");
        assert_eq!(config.secrets.seal[0].expose(), "a secret of sixteen bytes");
        assert_eq!(config.destinations[0].name, "crm");
        assert!(matches!(
            &config.destinations[0].transport,
            Transport::Webhook(webhook) if matches!(
                &webhook.body,
                WebhookBody::Template(file) if file.source == "true" && file.path.is_absolute()
            )
        ));
        assert!(matches!(
            &config.destinations[1].transport,
            Transport::Smtp(smtp) if smtp.template == folder.path().join("t/welcome")
        ));
        assert!(config.sources[0].verifier.is_without_secret());
        assert!(config.types[0].schema.is_some());
        assert_eq!(config.listen, None);
        assert_eq!(config.dead.retention.as_secs(), 3600);
        let dev = format!("`longshore dev` (process {})", std::process::id());
        assert_eq!(sources.origin(&["broker", "url"]), dev);
        let own = sources.origin(&["dead", "retention"]);
        assert_eq!(own, "LONGSHORE__DEAD__RETENTION");
    }

    #[test]
    fn what_names_another_system_wins() {
        let folder = tempfile::tempdir().unwrap();
        let text = share(folder.path(), FILE_TEXT);
        let file = folder.path().join("longshore.toml");
        for alike in [
            ("LONGSHORE_CONFIG", file.to_str().unwrap()),
            ("LONGSHORE_BROKER_URL", "amqp://u:hunter2@h"),
            ("LONGSHORE__NAMESPACE", "longshore"),
            ("LONGSHORE_LOG", "debug"),
        ] {
            assert!(shared(&text, &[alike]).is_some(), "{alike:?}");
        }
        for other in [
            ("LONGSHORE_CONFIG", "other.toml"),
            ("LONGSHORE_BROKER_URL", "amqp://h"),
            ("LONGSHORE__DATABASE__URL", "sqlite:x.db"),
            ("LONGSHORE_NAMESPACE", "other"),
        ] {
            assert!(shared(&text, &[other]).is_none(), "{other:?}");
        }
    }

    #[test]
    fn the_variables_of_secrets_may_still_be_set() {
        let folder = tempfile::tempdir().unwrap();
        let mut text = share(folder.path(), FILE_TEXT);
        text = text.replace("secrets = []", "secrets = [\"LONGSHORE_CRM\"]");
        assert!(shared(&text, &[("LONGSHORE_CRM", "x")]).is_some());
        let unknown = Sources::shared(&text, owned(&[("LONGSHORE_OTHER", "x")]));
        assert!(unknown.is_err());
        assert!(Sources::shared("nonsense", []).is_err());
    }
}
