//! The contents of files that a configuration is read from, so that a change of them shows.
//!
//! Contents are compared, not times or events of the file system: Kubernetes puts other files in the place of the old ones by
//! changing a symbolic link above them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use toml::Value;

use super::Sources;
use super::load::Base;

/// Keys whose values are paths of files.
const PATHS: [&str; 6] = [
    "file",
    "schema_file",
    "template",
    "ca",
    "certificate",
    "key",
];

/// The endings of the files of a mail's template.
const ENDINGS: [&str; 3] = ["subject", "txt", "html"];

/// The contents of files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents(BTreeMap<PathBuf, Option<[u8; 32]>>);

impl Contents {
    /// Reads these files. One that is not there, or is not a regular file, has no contents.
    pub fn read(files: &BTreeSet<PathBuf>) -> Self {
        let one = |path: &PathBuf| (path.clone(), hash(path));
        Self(files.iter().map(one).collect())
    }

    /// Whether the files that both have read had the same contents.
    pub fn agree(&self, other: &Self) -> bool {
        let differs = |(path, hash)| other.0.get(path).is_some_and(|other| other != hash);
        !self.0.iter().any(differs)
    }

    /// The same without one file.
    pub(super) fn without(&self, path: &Path) -> Self {
        let mut rest = self.clone();
        rest.0.remove(path);
        rest
    }
}

fn hash(path: &Path) -> Option<[u8; 32]> {
    let is_file = std::fs::metadata(path).is_ok_and(|it| it.is_file());
    let bytes = is_file.then(|| std::fs::read(path).ok()).flatten()?;
    Some(Sha256::digest(bytes).into())
}

impl Sources {
    /// The configuration file, and the files that it names: schemas, templates, secrets, certificates.
    pub fn files(&self) -> BTreeSet<PathBuf> {
        let mut files = BTreeSet::new();
        let mut rest: Vec<(&str, &Value)> =
            self.table.iter().map(|(key, it)| (&**key, it)).collect();
        while let Some((key, value)) = rest.pop() {
            match value {
                Value::Table(table) => rest.extend(table.iter().map(|(key, it)| (&**key, it))),
                Value::Array(values) => rest.extend(values.iter().map(|it| (key, it))),
                Value::String(path) if PATHS.contains(&key) => self.add(key, path, &mut files),
                _ => {}
            }
        }
        files.extend(self.file().map(Path::to_owned));
        files
    }

    /// The configuration file.
    pub(super) fn file(&self) -> Option<&Path> {
        match &self.base {
            Base::File(path) => Some(path),
            _ => None,
        }
    }

    fn add(&self, key: &str, path: &str, files: &mut BTreeSet<PathBuf>) {
        // Templates and schemas start from the folder of the file, all others from the working directory.
        let path = match key {
            "template" | "schema_file" => self.folder().join(path),
            _ => PathBuf::from(path),
        };
        if key == "template" {
            let with = |ending: &str| PathBuf::from(format!("{}.{ending}", path.display()));
            files.extend(ENDINGS.map(with));
        }
        files.insert(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
        [[destination]]
        name = "crm"
        [destination.webhook]
        url = "https://h"
        secret = [{ file = "secret" }, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
        body = { template = "body.json" }
        [[destination]]
        name = "mail"
        smtp = { url = "smtps://h", from = "a@example.com", template = "mail/welcome" }
        [[type]]
        name = "a.b"
        schema_file = "a.json"
    "#;

    #[test]
    fn every_file_that_counts_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let secret = at("secret").display().to_string();
        std::fs::write(at("secret"), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        std::fs::write(
            at("longshore.toml"),
            FILE.replace("\"secret\" }", &format!("{secret:?} }}")),
        )
        .unwrap();
        let variable = (
            "LONGSHORE_CONFIG".to_owned(),
            at("longshore.toml").display().to_string(),
        );
        let sources = Sources::read([variable]).unwrap();
        let files = sources.files();
        for name in [
            "longshore.toml",
            "secret",
            "body.json",
            "mail/welcome.subject",
            "a.json",
        ] {
            assert!(files.contains(&at(name)), "{name}: {files:?}");
        }
        let before = Contents::read(&files);
        assert_eq!(before, Contents::read(&files));
        std::fs::write(at("a.json"), "true").unwrap();
        let after = Contents::read(&files);
        assert!(before != after && !before.agree(&after));
        assert_eq!(before.without(&at("a.json")), after.without(&at("a.json")));
        assert!(before.agree(&Contents::default()));
    }

    #[test]
    fn what_is_not_a_regular_file_is_not_read() {
        let files = BTreeSet::from([PathBuf::from("/dev/zero"), PathBuf::from("/nowhere")]);
        let contents = Contents::read(&files);
        assert!(contents.0.values().all(Option::is_none));
    }
}
