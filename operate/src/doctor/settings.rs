//! The settings in force, and where each comes from.

use common::config::Config;
use serde::Serialize;

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Its key.
    pub key: &'static str,
    /// Its value, passwords masked.
    pub value: String,
    /// The variable, the file, or `default`.
    pub from: String,
}

/// The settings that decide where everything is.
pub fn in_force(config: &Config) -> Vec<Setting> {
    let file = std::env::var("LONGSHORE_CONFIG")
        .ok()
        .filter(|path| !path.is_empty());
    let table = file
        .as_ref()
        .and_then(|path| std::fs::read_to_string(path).ok());
    let table: toml::Table = table
        .and_then(|text| toml::from_str(&text).ok())
        .unwrap_or_default();
    let from = |variable: &str, path: &[&str]| {
        let long = format!("LONGSHORE__{}", path.join("__").to_uppercase());
        for name in [variable, &long] {
            if std::env::var(name).is_ok_and(|value| !value.is_empty()) {
                return name.to_owned();
            }
        }
        let (first, rest) = path.split_first().unwrap_or((&"", &[]));
        let found = rest
            .iter()
            .fold(table.get(*first), |at, key| at.and_then(|at| at.get(*key)));
        match (&file, found) {
            (Some(file), Some(_)) => file.clone(),
            _ => "default".to_owned(),
        }
    };
    let names = config
        .destinations
        .iter()
        .map(|destination| destination.name.as_str());
    let names: Vec<&str> = names.collect();
    let destinations = if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    };
    let setting = |key, value, from| Setting { key, value, from };
    vec![
        setting(
            "namespace",
            config.namespace.to_string(),
            from("LONGSHORE_NAMESPACE", &["namespace"]),
        ),
        setting(
            "broker.url",
            config.broker.url.to_string(),
            from("LONGSHORE_BROKER_URL", &["broker", "url"]),
        ),
        setting(
            "database.url",
            config.database.url.to_string(),
            from("LONGSHORE_DATABASE_URL", &["database", "url"]),
        ),
        setting("destinations", destinations, from("", &["destination"])),
    ]
}
