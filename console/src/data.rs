//! The files of the embedded engine.

use std::path::Path;

use anyhow::anyhow;
use common::bootstrap::Failure;
use common::config::{Config, ServiceUrl};

/// Moves broker and database into `folder` where no URL was given for them; `false` where both URLs were given.
///
/// # Errors
/// The path cannot be written in a URL.
pub(crate) fn keep_in(config: &mut Config, folder: &Path) -> Result<bool, Failure> {
    let preset = Config::default();
    let mut moved = false;
    for (url, preset) in [
        (&mut config.broker.url, preset.broker.url),
        (&mut config.database.url, preset.database.url),
    ] {
        let Some(name) = preset.file().and_then(Path::file_name) else {
            continue;
        };
        if *url == preset {
            let path = folder.join(name);
            let path = path.to_str().ok_or_else(|| {
                Failure::Usage(format!("expected a path in UTF-8, found {folder:?}"))
            })?;
            let placed = ServiceUrl::parse(&format!("sqlite:{path}"));
            *url = placed.map_err(|error| Failure::Failed(anyhow!(error)))?;
            moved = true;
        }
    }
    Ok(moved)
}

/// Checks that the file behind `url` is there, where `url` leads to a file. `variable` is the variable that names
/// it.
///
/// # Errors
/// The file is not there. The message says what to do.
pub(crate) fn expect_file(url: &ServiceUrl, variable: &str) -> Result<(), Failure> {
    match url.file() {
        Some(path) if !path.exists() => Err(Failure::Unreachable(format!(
            "there is no file {}: expected to run in the folder where `longshore dev` keeps its data, or \
             {variable} to say where that is",
            path.display()
        ))),
        _ => Ok(()),
    }
}

/// The engines behind the two URLs, for people: `embedded` or `RabbitMQ and PostgreSQL`, or one of each.
pub(crate) fn engines(config: &Config) -> String {
    let broker = name(&config.broker.url, "RabbitMQ");
    let database = name(&config.database.url, "PostgreSQL");
    match (broker, database) {
        (EMBEDDED, EMBEDDED) => "the embedded engine".to_owned(),
        (broker, EMBEDDED) => format!("{broker}, and the embedded database"),
        (EMBEDDED, database) => format!("the embedded broker, and {database}"),
        (broker, database) => format!("{broker} and {database}"),
    }
}

const EMBEDDED: &str = "embedded";

fn name(url: &ServiceUrl, service: &'static str) -> &'static str {
    if url.is_embedded() { EMBEDDED } else { service }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> Config {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        common::config::load_from(variables.iter().map(owned)).unwrap()
    }

    #[test]
    fn only_what_was_not_given_is_moved() {
        let mut config = with(&[]);
        assert!(keep_in(&mut config, Path::new("/tmp/a b")).unwrap());
        assert_eq!(config.broker.url.to_string(), "sqlite:/tmp/a b/broker.db");
        let database = config.database.url.to_string();
        assert_eq!(database, "sqlite:/tmp/a b/longshore.db");

        let broker = ("LONGSHORE_BROKER_URL", "amqp://h");
        let mut config = with(&[broker]);
        assert!(keep_in(&mut config, Path::new("/tmp")).unwrap());
        assert_eq!(config.broker.url.to_string(), "amqp://h");
        assert_eq!(config.database.url.to_string(), "sqlite:/tmp/longshore.db");

        let mut config = with(&[broker, ("LONGSHORE_DATABASE_URL", "sqlite:mine.db")]);
        assert!(!keep_in(&mut config, Path::new("/tmp")).unwrap());
        assert_eq!(config.database.url.to_string(), "sqlite:mine.db");
    }

    #[test]
    fn a_file_that_is_not_there_is_said_to_be_unreachable() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.db");
        let url = ServiceUrl::parse(&format!("sqlite:{}", path.display())).unwrap();
        let code = |url| expect_file(url, "LONGSHORE_BROKER_URL").map_err(|it| it.code());
        assert_eq!(code(&url), Err(3));
        std::fs::write(&path, "").unwrap();
        assert_eq!(code(&url), Ok(()));
        assert_eq!(code(&ServiceUrl::parse("amqp://h").unwrap()), Ok(()));
    }

    #[test]
    fn the_engines_are_named_for_people() {
        let broker = ("LONGSHORE_BROKER_URL", "amqp://h");
        let database = ("LONGSHORE_DATABASE_URL", "postgres://h/d");
        for (variables, name) in [
            (&[][..], "the embedded engine"),
            (&[broker], "RabbitMQ, and the embedded database"),
            (&[database], "the embedded broker, and PostgreSQL"),
            (&[broker, database], "RabbitMQ and PostgreSQL"),
        ] {
            assert_eq!(engines(&with(variables)), name);
        }
    }
}
