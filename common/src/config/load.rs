//! Reading the configuration: file, then environment over it, each mistake named where it stands.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::files;
use super::kubernetes::is_of_kubernetes;
use super::mask::masked_text;
use super::mistake::Mistake;
use super::operator::OPERATOR_KEY;
use super::source;
use super::{Config, ConfigHash, destination};

/// The prefix of our variables' names.
const PREFIX: &str = "LONGSHORE_";

/// Variables with names of their own, and the keys they set.
const SHORT_NAMES: [(&str, &[&str]); 6] = [
    ("LONGSHORE_BROKER_URL", &["broker", "url"]),
    ("LONGSHORE_DATABASE_URL", &["database", "url"]),
    ("LONGSHORE_NAMESPACE", &["namespace"]),
    ("LONGSHORE_LISTEN", &["listen"]),
    ("LONGSHORE_LOG", &["log", "filter"]),
    ("LONGSHORE_LOG_FORMAT", &["log", "format"]),
];

/// The variable that names the file.
pub(super) const FILE: &str = "LONGSHORE_CONFIG";

/// An error in the configuration, for the person who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", masked_text(place), masked_text(problem))]
pub struct ConfigError {
    /// The file (and key) or the variable.
    pub place: String,
    /// The expected and the found value.
    pub problem: String,
}

/// Reads the configuration of this process.
///
/// # Errors
/// The first mistake, see [`ConfigError`].
pub fn load() -> Result<Config, ConfigError> {
    Sources::of_process()?.config()
}

/// Our variables as texts.
fn texts(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Vec<(String, String)>, ConfigError> {
    let ours = |(name, _): &(OsString, OsString)| {
        name.as_encoded_bytes().starts_with(PREFIX.as_bytes()) && name != OPERATOR_KEY
    };
    let text = |(name, value): (OsString, OsString)| {
        let shown = name.to_string_lossy().into_owned();
        name.into_string()
            .ok()
            .zip(value.into_string().ok())
            .ok_or_else(|| ConfigError {
                place: format!("variable {shown}"),
                problem: "expected a name and a value in UTF-8, found bytes that are not"
                    .to_owned(),
            })
    };
    variables.into_iter().filter(ours).map(text).collect()
}

/// Reads the configuration from the given environment.
///
/// # Errors
/// The first mistake, see [`ConfigError`].
pub fn load_from(
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    Sources::read(variables)?.config()
}

/// What a configuration is read from, and which of it says what. It may hold secrets.
#[derive(Clone)]
pub struct Sources {
    /// What the variables stand over.
    pub(super) base: Base,
    /// What all of them say together.
    pub(super) table: Table,
    /// The variable that a key comes from.
    variables: BTreeMap<Vec<String>, String>,
    /// The variables that secrets are read from.
    pub(super) secrets: HashSet<String>,
    /// The hash that a running `longshore dev` has said.
    pub(super) said_hash: Option<ConfigHash>,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Sources");
        shown.field("base", &self.base).finish_non_exhaustive()
    }
}

/// What variables stand over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Base {
    /// The defaults alone.
    Defaults,
    /// This file.
    File(PathBuf),
    /// What the `longshore dev` of this process id runs with.
    Dev(u32),
}

impl Sources {
    /// The file and the variables of this process.
    ///
    /// # Errors
    /// The first mistake, see [`ConfigError`].
    pub fn of_process() -> Result<Self, ConfigError> {
        Self::read(variables_of_process()?)
    }

    /// The given variables, and the file that they name.
    ///
    /// # Errors
    /// The first mistake, see [`ConfigError`].
    pub fn read(
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut variables = ours(variables);
        let (base, table) = match variables.remove(FILE).map(PathBuf::from) {
            Some(path) => {
                let table = read_file(&path)?;
                (Base::File(path), table)
            }
            None => (Base::Defaults, Table::new()),
        };
        let secrets = names_of_secrets(&Value::Table(table.clone()));
        Self::over(base, table, secrets, variables)
    }

    /// Puts variables over what else there is.
    pub(super) fn over(
        base: Base,
        mut table: Table,
        secrets: HashSet<String>,
        variables: BTreeMap<String, String>,
    ) -> Result<Self, ConfigError> {
        let mut set = BTreeMap::new();
        for (name, text) in variables {
            let Some((key, value)) = setting(&name, &text) else {
                if secrets.contains(&name) || is_of_kubernetes(&name, &text) {
                    continue;
                }
                return Err(ConfigError {
                    place: format!("variable {name}"),
                    problem: known_names(),
                });
            };
            insert(&mut table, &key, value)
                .and_then(|()| parse(&table).map(|_| ()).map_err(|mistake| mistake.problem))
                .map_err(|problem| ConfigError {
                    place: format!("variable {name}"),
                    problem,
                })?;
            set.insert(key, name);
        }
        Ok(Self {
            base,
            table,
            variables: set,
            secrets,
            said_hash: None,
        })
    }

    /// The configuration.
    ///
    /// # Errors
    /// The first mistake, see [`ConfigError`].
    pub fn config(&self) -> Result<Config, ConfigError> {
        let mut config = parse(&self.table).map_err(|mistake| match &self.base {
            Base::File(path) => in_file(path, mistake),
            base => ConfigError {
                place: base.place(),
                problem: mistake.problem,
            },
        })?;
        files::read(&mut config, self.folder())?;
        self.expect_usable(config)
    }

    /// The configuration, if it is right as a whole.
    ///
    /// # Errors
    /// The first mistake, see [`ConfigError`].
    pub(super) fn expect_usable(&self, config: Config) -> Result<Config, ConfigError> {
        let is_handed_over = self.are_handed_over();
        let missing = || {
            source::missing_secret(&config.sources)
                .or_else(|| destination::missing_password(&config.destinations))
        };
        let incomplete = || missing().filter(|_| !is_handed_over);
        match config.problem().or_else(incomplete) {
            None => Ok(config),
            Some((key, problem)) => {
                let place = format!("key {key} ({})", self.base.with_environment());
                Err(ConfigError { place, problem })
            }
        }
    }

    /// What says the value of a key: the name of a variable, the path of the file, the running `longshore dev`,
    /// or `default`.
    pub fn origin(&self, key: &[&str]) -> String {
        let owned: Vec<String> = key.iter().map(|&word| word.to_owned()).collect();
        if let Some(name) = self.variables.get(&owned) {
            return name.clone();
        }
        match &self.base {
            Base::File(path) if find(&self.table, key).is_some() => path.display().to_string(),
            Base::Dev(_) => self.base.place(),
            _ => "default".to_owned(),
        }
    }

    /// The folder that relative paths in the file start from.
    pub(super) fn folder(&self) -> &Path {
        let file = match &self.base {
            Base::File(path) => path.parent(),
            _ => None,
        };
        file.unwrap_or(Path::new("."))
    }
}

impl Base {
    /// What it is called in an error.
    pub(super) fn place(&self) -> String {
        match self {
            Self::Defaults => "configuration".to_owned(),
            Self::File(path) => format!("file {}", path.display()),
            Self::Dev(process) => format!("`longshore dev` (process {process})"),
        }
    }
}

/// Our variables as texts.
///
/// # Errors
/// One of them is not UTF-8.
pub fn variables_of_process() -> Result<Vec<(String, String)>, ConfigError> {
    texts(std::env::vars_os())
}

/// Our variables among these, without the key of an operator. One that is set to nothing is not set: so compose files pass
/// on what they lack.
pub(super) fn ours(
    variables: impl IntoIterator<Item = (String, String)>,
) -> BTreeMap<String, String> {
    variables
        .into_iter()
        .filter(|(name, value)| {
            name.starts_with(PREFIX) && name != OPERATOR_KEY && !value.is_empty()
        })
        .collect()
}

/// What stands at a key.
pub(super) fn find<'t>(table: &'t Table, key: &[&str]) -> Option<&'t Value> {
    let (first, rest) = key.split_first()?;
    rest.iter()
        .try_fold(table.get(*first)?, |at, key| at.get(*key))
}

/// Reads the file alone first: only so can a mistake be shown with its line.
fn read_file(path: &Path) -> Result<Table, ConfigError> {
    let fail = |problem: String| ConfigError {
        place: format!("file {}", path.display()),
        problem,
    };
    let text = std::fs::read_to_string(path).map_err(|error| {
        fail(format!(
            "expected a configuration file that can be read (from {FILE}): {error}"
        ))
    })?;
    let wrong = |error| in_file(path, Mistake::new(error, Some(&text)));
    let _: Config = toml::from_str(&text).map_err(wrong)?;
    toml::from_str(&text).map_err(wrong)
}

fn parse(table: &Table) -> Result<Config, Mistake> {
    table
        .clone()
        .try_into()
        .map_err(|error| Mistake::new(error, None))
}

fn in_file(path: &Path, mistake: Mistake) -> ConfigError {
    let Mistake { line, key, problem } = mistake;
    let line = line
        .map(|line| format!(", line {line}"))
        .unwrap_or_default();
    let key = key.map(|key| format!(", key {key}")).unwrap_or_default();
    ConfigError {
        place: format!("file {}{line}{key}", path.display()),
        problem,
    }
}

/// Which key a variable sets, and to what.
pub(super) fn setting(name: &str, text: &str) -> Option<(Vec<String>, Value)> {
    if let Some((_, key)) = SHORT_NAMES.iter().find(|(short, _)| *short == name) {
        let key = key.iter().map(|&word| word.to_owned()).collect();
        return Some((key, Value::String(text.to_owned())));
    }
    let key: Vec<String> = name
        .strip_prefix("LONGSHORE__")?
        .split("__")
        .map(str::to_lowercase)
        .collect();
    // Numbers, truth values, lists and tables as TOML writes them; anything else is text.
    let value = toml::from_str::<Table>(&format!("value = {text}"))
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_owned()));
    Some((key, value))
}

/// Sets a key. Missing sections are added.
pub(super) fn insert(table: &mut Table, key: &[String], value: Value) -> Result<(), String> {
    let Some((last, sections)) = key.split_last() else {
        return Ok(());
    };
    let mut table = table;
    for section in sections {
        table = table
            .entry(section.clone())
            .or_insert_with(|| Value::Table(Table::new()))
            .as_table_mut()
            .ok_or_else(|| format!("expected a section, found the key {section}"))?;
    }
    table.insert(last.clone(), value);
    Ok(())
}

/// The variables that secrets are read from: these may be called as they like.
fn names_of_secrets(value: &Value) -> HashSet<String> {
    let mut names = HashSet::new();
    let mut rest = vec![value];
    while let Some(value) = rest.pop() {
        match value {
            Value::Table(table) => {
                if let Some(Value::String(name)) = table.get("env") {
                    names.insert(name.clone());
                }
                rest.extend(table.values());
            }
            Value::Array(values) => rest.extend(values),
            _ => {}
        }
    }
    names
}

fn known_names() -> String {
    let names: Vec<&str> = SHORT_NAMES.iter().map(|(name, _)| *name).collect();
    format!(
        "expected {FILE}, {OPERATOR_KEY}, {} or LONGSHORE__SECTION__KEY, found an unknown name",
        names.join(", ")
    )
}

#[cfg(test)]
mod tests;
