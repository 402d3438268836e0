//! Reading the configuration: file, then environment over it, each mistake named where it stands.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::Config;
use super::kubernetes::is_of_kubernetes;
use super::mistake::Mistake;

/// What the names of our variables begin with.
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
const FILE: &str = "LONGSHORE_CONFIG";

/// What is wrong with the configuration, for the person who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct ConfigError {
    /// The file (and key) or the variable.
    pub place: String,
    /// What was expected and what was found.
    pub problem: String,
}

/// Reads the configuration of this process.
///
/// # Errors
/// The first mistake, see [`ConfigError`].
pub fn load() -> Result<Config, ConfigError> {
    load_from(texts(std::env::vars_os())?)
}

/// Our variables as texts.
fn texts(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Vec<(String, String)>, ConfigError> {
    let ours =
        |(name, _): &(OsString, OsString)| name.as_encoded_bytes().starts_with(PREFIX.as_bytes());
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
    let mut variables: BTreeMap<String, String> = variables
        .into_iter()
        // A variable set to nothing is one not set: so compose files pass on what they lack.
        .filter(|(name, value)| name.starts_with(PREFIX) && !value.is_empty())
        .collect();

    let file = variables.remove(FILE).map(PathBuf::from);
    let mut table = match &file {
        Some(path) => read_file(path)?,
        None => Table::new(),
    };
    let secrets = names_of_secrets(&Value::Table(table.clone()));
    for (name, text) in &variables {
        let Some((key, value)) = setting(name, text) else {
            if secrets.contains(name) || is_of_kubernetes(name, text) {
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
    }
    let mut config = parse(&table).map_err(|mistake| match &file {
        Some(path) => in_file(path, mistake),
        None => ConfigError {
            place: "configuration".to_owned(),
            problem: mistake.problem,
        },
    })?;
    let folder = file.as_deref().and_then(Path::parent);
    read_schema_files(&mut config, folder.unwrap_or(Path::new(".")))?;
    match config.problem() {
        None => Ok(config),
        Some((key, problem)) => {
            let place = match &file {
                Some(path) => format!("key {key} (file {} or environment)", path.display()),
                None => format!("key {key} (environment)"),
            };
            Err(ConfigError { place, problem })
        }
    }
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

/// Reads the schemas that stand in files of their own. They are JSON, which can say what TOML cannot: null.
fn read_schema_files(config: &mut Config, folder: &Path) -> Result<(), ConfigError> {
    for definition in &mut config.types {
        let Some(name) = definition.schema_file.take() else {
            continue;
        };
        let path = folder.join(name);
        let fail = |problem: String| ConfigError {
            place: format!("type {:?}, schema_file {}", definition.name, path.display()),
            problem,
        };
        if definition.schema.is_some() {
            return Err(fail(
                "expected `schema` or `schema_file`, found both".to_owned(),
            ));
        }
        let text = std::fs::read_to_string(&path)
            .map_err(|error| fail(format!("expected a file that can be read: {error}")))?;
        // Some editors begin a file with a byte order mark.
        let schema = serde_json::from_str(text.trim_start_matches('\u{feff}'))
            .map_err(|error| fail(format!("expected a JSON Schema: {error}")))?;
        definition.schema = Some(schema);
    }
    Ok(())
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
fn setting(name: &str, text: &str) -> Option<(Vec<String>, Value)> {
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

fn insert(table: &mut Table, key: &[String], value: Value) -> Result<(), String> {
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
        "expected {FILE}, {} or LONGSHORE__SECTION__KEY, found an unknown name",
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Secret;
    use super::*;

    fn with(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        load_from(
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        )
    }

    fn with_file(text: &str, pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
        let path = folder.path().join("longshore.toml");
        std::fs::write(&path, text).unwrap_or_else(|error| panic!("{error}"));
        let path = path.to_string_lossy().into_owned();
        let mut all = vec![(FILE, path.as_str())];
        all.extend(pairs);
        with(&all)
    }

    #[test]
    fn nothing_set_means_the_documented_defaults() {
        let config = with(&[]).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(config.namespace.as_str(), "longshore");
        assert_eq!(
            config.broker.url.to_string(),
            "sqlite:longshore-data/broker.db"
        );
        let database = config.database.url.to_string();
        assert_eq!(database, "sqlite:longshore-data/longshore.db");
        assert_eq!(config.listen, None);
    }

    #[test]
    fn the_environment_stands_over_the_file() {
        let file = "namespace = \"a\"\n[broker]\nheartbeat = \"20s\"\nwindow = 7\n";
        let config = with_file(
            file,
            &[
                ("LONGSHORE_NAMESPACE", "b"),
                ("LONGSHORE__BROKER__WINDOW", "9"),
            ],
        );
        let config = config.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(config.namespace.as_str(), "b");
        assert_eq!(config.broker.window, 9);
        assert_eq!(config.broker.heartbeat, Duration::from_secs(20));
    }

    #[test]
    fn mistakes_name_where_they_stand_and_what_was_expected() {
        type Case = (
            &'static str,
            &'static [(&'static str, &'static str)],
            &'static [&'static str],
        );
        let cases: [Case; 9] = [
            (
                "",
                &[("LONGSHORE_BROKER", "x")],
                &["LONGSHORE_BROKER", "LONGSHORE_BROKER_URL"],
            ),
            (
                "",
                &[("LONGSHORE__BROKER__WINDOWS", "1")],
                &["WINDOWS", "windows", "window"],
            ),
            (
                "",
                &[("LONGSHORE__BROKER__WINDOW", "many")],
                &["WINDOW", "usize", "a text"],
            ),
            (
                "",
                &[("LONGSHORE_BROKER_URL", "redis://h")],
                &["broker.url", "amqp://", "sqlite:PATH", "redis://"],
            ),
            (
                "",
                &[("LONGSHORE_NAMESPACE", "No")],
                &["LONGSHORE_NAMESPACE", "lower-case", "No"],
            ),
            ("[brokers]\n", &[], &["longshore.toml", "line 1", "brokers"]),
            (
                "[broker]\nheartbeat = 5\n",
                &[],
                &["longshore.toml", "line 2"],
            ),
            ("[store]\nbatch = 0\n", &[], &["store.batch", "at least 1"]),
            (
                "[[destination]]\nname = \"a\"\nwebhook = {url = \"ftp://h\"}\n",
                &[],
                &["webhook.url"],
            ),
        ];
        for (file, variables, words) in cases {
            match with_file(file, variables) {
                Ok(_) => panic!("expected an error about {words:?}"),
                Err(error) => {
                    for word in words {
                        let text = error.to_string();
                        assert!(text.contains(word), "{word:?} in {text}");
                    }
                }
            }
        }
    }

    #[test]
    fn no_mistake_shows_a_line_of_the_file() {
        let webhook =
            |inside: &str| format!("[[destination]]\nname = \"a\"\nwebhook = {{ {inside} }}\n");
        let url = "https://u:hunter2@h/x?token=hunter2";
        for (file, words) in [
            (
                webhook(&format!(
                    "url = \"{url}\", secret = \"whsec_hunter2\", sceret = 1"
                )),
                ["line 3", "destination.webhook", "sceret"],
            ),
            (
                "[database]\nurl = [\"postgres://u:hunter2@h/d\"]\n".to_owned(),
                ["line 2", "database.url", "expected a secret"],
            ),
            (
                "[database]\nurl = { env = \"postgres://u:hunter2@h/d\" }\n".to_owned(),
                ["line 2", "database.url", "name of a variable"],
            ),
            (
                "[database]\nurl = { env = \"A\", file = \"hunter2\" }\n".to_owned(),
                ["line 2", "database.url", "expected a secret"],
            ),
            (
                format!("[[destination]]\nname = \"a\"\nwebhook = \"{url}\"\n"),
                ["line 3", "destination.webhook", "a text"],
            ),
            (
                webhook("url = \"h.example/hook?key=hunter2\""),
                ["line 3", "webhook.url", "https://"],
            ),
            (
                webhook("url = \"u:hunter2@h.example/hook\""),
                ["destination.a.webhook.url", "http://", "found none"],
            ),
            (
                "[broker]\nwindow = \"hunter2\"\n".to_owned(),
                ["line 2", "broker.window", "usize"],
            ),
            (
                "[broker]\nurl = \"amqp://u:hunter2@h\n".to_owned(),
                ["line 2", "longshore.toml", "expected"],
            ),
            (
                "[log]\nformat = \"hunter2\"\n".to_owned(),
                ["line 2", "log.format", "json"],
            ),
            (
                "[secrets]\nseal = [\"hunter2\"]\n".to_owned(),
                ["secrets.seal", "16 bytes", "found one of 7"],
            ),
        ] {
            let error = with_file(&file, &[]).map(|_| ()).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
            for word in words {
                assert!(error.contains(word), "{word:?} in {error}");
            }
        }
    }

    #[test]
    fn no_variable_s_mistake_shows_its_value() {
        for (name, value) in [
            ("LONGSHORE_BROKER_URL", "hunter2"),
            ("LONGSHORE_BROKER_URL", "hunter2:hunter2@host"),
            ("LONGSHORE_DATABASE_URL", "mysql://u:hunter2@host"),
            ("LONGSHORE__BROKER__URL", "[\"amqp://u:hunter2@h\"]"),
            ("LONGSHORE__BROKER__WINDOW", "hunter2"),
            (
                "LONGSHORE__DESTINATION",
                "[{ name = \"a\", webhook = { url = \"hunter2\" } }]",
            ),
        ] {
            let error = with(&[(name, value)]).map(|_| ()).unwrap_err().to_string();
            assert!(
                !error.contains("hunter2") && error.contains("expected"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_schema_is_any_json_schema() {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
        let path = folder.path().join("longshore.toml");
        let schema = r#"{"type": ["string", "null"], "default": null, "maximum": 1e30}"#;
        for (file, text) in [
            (
                "longshore.toml",
                "[[type]]\nname = \"a.b\"\nschema_file = \"a.json\"\n[[type]]\nname = \"a.c\"\nschema = true\n",
            ),
            // With the byte order mark of some editors.
            ("a.json", &format!("\u{feff}{schema}")),
        ] {
            std::fs::write(folder.path().join(file), text)
                .unwrap_or_else(|error| panic!("{error}"));
        }
        let path = path.to_string_lossy().into_owned();
        let config = with(&[(FILE, &path)]).unwrap_or_else(|error| panic!("{error}"));
        let expected = serde_json::from_str(schema).ok();
        assert_eq!(config.types[0].schema, expected);
        assert_eq!(config.types[1].schema, Some(true.into()));
        for (text, word) in [("{", "JSON Schema"), ("{\"type\": 7}", "a.b")] {
            std::fs::write(folder.path().join("a.json"), text)
                .unwrap_or_else(|error| panic!("{error}"));
            let error = with(&[(FILE, &path)]).map(|_| ());
            assert!(
                error
                    .clone()
                    .is_err_and(|error| error.to_string().contains(word)),
                "{error:?}"
            );
        }
    }

    #[test]
    fn a_variable_that_is_not_utf8_is_named() {
        use std::os::unix::ffi::OsStringExt as _;
        let bytes = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        let url = "LONGSHORE_BROKER_URL";
        let error = texts([(url.into(), bytes(b"amqp://h\xff"))]).unwrap_err();
        assert_eq!(error.place, "variable LONGSHORE_BROKER_URL");
        assert!(error.problem.contains("UTF-8"), "{error}");
        let error = texts([(bytes(b"LONGSHORE_X\xff"), "1".into())]).unwrap_err();
        assert!(error.place.contains("LONGSHORE_X"), "{error}");
        let others = texts([
            ("PATH".into(), bytes(b"\xff")),
            (url.into(), "amqp://h".into()),
        ]);
        assert_eq!(others, Ok(vec![(url.to_owned(), "amqp://h".to_owned())]));
    }

    #[test]
    fn a_seal_is_one_secret_or_a_list() {
        let (one, two) = ("0123456789abcdef", "fedcba9876543210");
        for (value, expected) in [
            (one.to_owned(), vec![one]),
            (format!("[\"{one}\", \"{two}\"]"), vec![one, two]),
            ("[]".to_owned(), vec![]),
        ] {
            let config = with(&[("LONGSHORE__SECRETS__SEAL", &value)]).unwrap();
            let seal = config.secrets.seal.iter().map(Secret::expose);
            assert_eq!(seal.collect::<Vec<_>>(), expected);
            assert!(!format!("{config:?}").contains(one));
        }
    }

    #[test]
    fn a_destination_as_the_contract_writes_it() {
        let file = r#"
            [outbound]
            allow = ["127.0.0.0/8"]
            [[destination]]
            name = "crm"
            types = ["signup.requested"]
            webhook = { url = "https://crm.example.com/hooks", secret = { env = "LONGSHORE_TEST" } }
            retry = { attempts = 12, first = "1s", factor = 2.0, max = "6h", jitter = 0.2 }
            rate = "50/s"
            concurrency = 32
            timeout = "10s"
        "#;
        // The variable named by a secret is looked up in the real environment, where it is not set.
        let error = with_file(file, &[]).map(|_| ());
        assert!(error.is_err_and(|error| error.problem.contains("LONGSHORE_TEST")));
        let file = file.replace(
            "{ env = \"LONGSHORE_TEST\" }",
            "\"whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz\"",
        );
        let config = with_file(&file, &[]).unwrap_or_else(|error| panic!("{error}"));
        let crm = config
            .destination("crm")
            .cloned()
            .unwrap_or_else(|| panic!("no crm"));
        assert!(crm.takes("signup.requested") && !crm.takes("processing.requested"));
        assert!(
            !format!("{config:?}").contains("MDEy"),
            "secrets never show"
        );
    }
}
