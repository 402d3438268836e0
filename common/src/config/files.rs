//! The texts that a configuration keeps in files of their own: schemas and templates. A relative path starts from the
//! folder of the configuration file.

use std::path::Path;

use super::{Config, ConfigError, Transport, WebhookBody};

/// Reads all of them, once.
///
/// # Errors
/// A file cannot be read, or has something else in it.
pub(super) fn read(config: &mut Config, folder: &Path) -> Result<(), ConfigError> {
    read_schemas(config, folder)?;
    read_templates(config, folder)
}

/// Reads the schemas. They are JSON, which has a value that TOML lacks: null.
fn read_schemas(config: &mut Config, folder: &Path) -> Result<(), ConfigError> {
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

/// Reads the templates of webhooks, and makes the paths of those of mails start from `folder`: a mail has several files.
fn read_templates(config: &mut Config, folder: &Path) -> Result<(), ConfigError> {
    for destination in &mut config.destinations {
        let webhook = match &mut destination.transport {
            Transport::Webhook(webhook) => webhook,
            Transport::Smtp(smtp) => {
                if !smtp.template.as_os_str().is_empty() {
                    smtp.template = folder.join(&smtp.template);
                }
                continue;
            }
        };
        let WebhookBody::Template(file) = &mut webhook.body else {
            continue;
        };
        file.read(folder).map_err(|(path, problem)| ConfigError {
            place: format!(
                "destination {:?}, webhook.body.template {}",
                destination.name,
                path.display()
            ),
            problem,
        })?;
    }
    Ok(())
}
