//! The settings in force, and where each comes from.

use common::config::{Config, Sources};
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
pub fn in_force(config: &Config, sources: &Sources) -> Vec<Setting> {
    let setting = |key: &'static str, value: String| {
        let path: Vec<&str> = key.split('.').collect();
        let from = sources.origin(&path);
        Setting { key, value, from }
    };
    let list = |key: &'static str, section: &str, names: Vec<&str>| Setting {
        key,
        value: if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        },
        from: sources.origin(&[section]),
    };
    let destinations = config.destinations.iter().map(|it| it.name.as_str());
    let webhook_sources = config.sources.iter().map(|it| it.name.as_str());
    vec![
        setting("namespace", config.namespace.to_string()),
        setting("broker.url", config.broker.url.to_string()),
        setting("database.url", config.database.url.to_string()),
        list("destinations", "destination", destinations.collect()),
        list("sources", "source", webhook_sources.collect()),
    ]
}
