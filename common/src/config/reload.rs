//! Which sections of a configuration a running process takes up anew, and which need a restart.

use toml::{Table, Value};

use super::load::Base;
use super::{Config, ConfigError, Contents, Sources};

/// The sections that a running process takes up anew.
pub const RELOADED: [&str; 15] = [
    "secrets",
    "auth",
    "key",
    "confirmation",
    "issuer",
    "validate",
    "store",
    "integrate",
    "archive",
    "dead",
    "watch",
    "outbound",
    "destination",
    "source",
    "type",
];

/// The sections that stay as they were at the start. Connections, bounds and the history are made from them.
pub const FIXED: [&str; 9] = [
    "namespace",
    "listen",
    "broker",
    "database",
    "log",
    "limits",
    "producer",
    "worker",
    "history",
];

impl Config {
    /// This configuration, with the sections that need a restart as they are in `running`.
    #[must_use]
    pub(super) fn with_fixed_of(self, running: &Self) -> Self {
        let running = running.clone();
        // Each section is named, so that a new one has to be put somewhere.
        Self {
            namespace: running.namespace,
            listen: running.listen,
            broker: running.broker,
            database: running.database,
            log: running.log,
            limits: running.limits,
            producer: running.producer,
            worker: running.worker,
            history: running.history,
            secrets: self.secrets,
            auth: self.auth,
            keys: self.keys,
            confirmation: self.confirmation,
            issuers: self.issuers,
            validate: self.validate,
            store: self.store,
            integrate: self.integrate,
            archive: self.archive,
            dead: self.dead,
            watch: self.watch,
            outbound: self.outbound,
            destinations: self.destinations,
            sources: self.sources,
            types: self.types,
        }
    }
}

/// The sources of a configuration at one moment, with the contents of their files.
#[derive(Clone)]
pub struct Reading {
    /// The sources.
    pub sources: Sources,
    /// The contents of their files.
    pub contents: Contents,
}

impl Reading {
    /// Reads the file and the variables of this process again.
    ///
    /// # Errors
    /// The first mistake, see [`ConfigError`].
    pub fn again(before: &Sources) -> Result<Self, ConfigError> {
        if let Some(path) = before.file()
            && std::fs::metadata(path).is_ok_and(|it| !it.is_file())
        {
            return Err(ConfigError {
                place: format!("file {}", path.display()),
                problem: "expected a regular file, which can be read again, found another kind"
                    .to_owned(),
            });
        }
        Ok(Self::of(Sources::of_process()?))
    }

    /// The sources, and the contents of their files now.
    pub fn of(sources: Sources) -> Self {
        let contents = Contents::read(&sources.files());
        Self { sources, contents }
    }

    /// The whole configuration, checked, with the sections that need a restart as they are in `running`.
    ///
    /// # Errors
    /// The first mistake, see [`ConfigError`].
    pub fn config(&self, running: &Config) -> Result<Config, ConfigError> {
        let config = self.sources.config()?.with_fixed_of(running);
        self.sources.expect_usable(config)
    }

    /// Whether a running process would take up the same.
    pub fn takes_up_the_same(&self, other: &Self) -> bool {
        let contents = |reading: &Self| match reading.sources.file() {
            Some(file) => reading.contents.without(file),
            None => reading.contents.clone(),
        };
        let sections = |reading: &Self| RELOADED.map(|it| reading.sources.table.get(it).cloned());
        sections(self) == sections(other) && contents(self) == contents(other)
    }
}

impl Sources {
    /// The keys of sections that need a restart, where these sources say something else than those of the start.
    pub fn keys_that_need_a_restart(&self, start: &Self) -> Vec<String> {
        let mut keys = Vec::new();
        for section in FIXED {
            let [now, before] = [self, start].map(|it| it.table.get(section));
            compare(section, now, before, &mut keys);
        }
        keys
    }
}

/// Adds the keys at which two values differ.
fn compare(key: &str, now: Option<&Value>, before: Option<&Value>, keys: &mut Vec<String>) {
    let empty = Table::new();
    let table = |value: Option<&Value>| match value {
        Some(Value::Table(table)) => Some(table.clone()),
        None => Some(empty.clone()),
        Some(_) => None,
    };
    if now == before {
        return;
    }
    match (table(now), table(before)) {
        (Some(now), Some(before)) => {
            let names = now
                .keys()
                .chain(before.keys().filter(|it| !now.contains_key(*it)));
            for name in names {
                let key = format!("{key}.{name}");
                compare(&key, now.get(name), before.get(name), keys);
            }
        }
        _ => keys.push(key.to_owned()),
    }
}

impl Base {
    /// Its name in an error about the configuration as a whole.
    pub(super) fn with_environment(&self) -> String {
        match self {
            Self::File(path) => format!("file {} or environment", path.display()),
            Self::Defaults => "environment".to_owned(),
            Self::Dev(_) => format!("{} or environment", self.place()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn sources(folder: &std::path::Path, toml: &str) -> Reading {
        let path = folder.join("longshore.toml");
        std::fs::write(&path, toml).unwrap();
        let variable = ("LONGSHORE_CONFIG".to_owned(), path.display().to_string());
        Reading::of(Sources::read([variable]).unwrap())
    }

    #[test]
    fn every_section_is_in_exactly_one_group() {
        let unknown = toml::from_str::<Config>("no_such_section = 1").unwrap_err();
        let message = unknown.message().to_owned();
        let (_, known) = message.split_once("expected one of ").unwrap();
        let known: Vec<&str> = known.split(", ").map(|it| it.trim_matches('`')).collect();
        let grouped: Vec<&str> = RELOADED.into_iter().chain(FIXED).collect();
        assert_eq!(
            grouped.iter().collect::<BTreeSet<_>>(),
            known.iter().collect::<BTreeSet<_>>()
        );
        assert_eq!(grouped.len(), known.len());
    }

    #[test]
    fn fixed_sections_stay_as_they_run() {
        let running: Config =
            toml::from_str("namespace = \"shop\"\n[worker]\ndrain = \"7s\"").unwrap();
        let read: Config =
            toml::from_str("namespace = \"other\"\n[[type]]\nname = \"a.b\"\nschema = true")
                .unwrap();
        let next = read.with_fixed_of(&running);
        assert_eq!(next.namespace.as_str(), "shop");
        assert_eq!(next.worker.drain.as_secs(), 7);
        assert_eq!(next.types.len(), 1);
    }

    #[test]
    fn keys_that_need_a_restart_are_named_without_their_values() {
        let folder = tempfile::tempdir().unwrap();
        let start = sources(
            folder.path(),
            "[broker]\nurl = \"amqp://h\"\n[limits]\nevent_bytes = 1000",
        );
        let now = sources(
            folder.path(),
            "namespace = \"shop\"\n[broker]\nurl = \"amqp://u:hunter2@h\"\nwindow = 7\n[[type]]\nname = \"a.b\"\nschema = true",
        );
        let keys = now.sources.keys_that_need_a_restart(&start.sources);
        assert_eq!(
            keys,
            [
                "namespace",
                "broker.url",
                "broker.window",
                "limits.event_bytes"
            ]
        );
        assert!(
            now.sources
                .keys_that_need_a_restart(&now.sources)
                .is_empty()
        );
    }

    #[test]
    fn what_changes_no_section_that_reloads_is_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let one = sources(folder.path(), "[[type]]\nname = \"a.b\"\nschema = true");
        let comment = sources(
            folder.path(),
            "# A comment.\n[[type]]\nname = \"a.b\"\nschema = true\n[log]\nfilter = \"warn\"",
        );
        assert!(one.takes_up_the_same(&comment));
        let other = sources(folder.path(), "[[type]]\nname = \"a.c\"");
        assert!(!one.takes_up_the_same(&other));
    }
}
