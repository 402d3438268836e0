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
    let names = config.destinations.iter();
    let names: Vec<&str> = names.map(|destination| destination.name.as_str()).collect();
    let destinations = Setting {
        key: "destinations",
        value: if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        },
        from: sources.origin(&["destination"]),
    };
    vec![
        setting("namespace", config.namespace.to_string()),
        setting("broker.url", config.broker.url.to_string()),
        setting("database.url", config.database.url.to_string()),
        destinations,
    ]
}
