//! Event types: the built-in ones and those from the configuration, each with a JSON Schema.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Confirmation, PROCESSING_REQUESTED, Processing, SIGNUP_CONFIRMED, SIGNUP_REQUESTED, Signup,
    confirmation, json, secrets, signup,
};
use crate::outcome::{FieldError, Rejection};
use crate::reason::ReasonCode;

/// Maximum number of field errors that are listed: enough for any person, bounded for any header.
pub(super) const MAX_ERRORS: usize = 50;

/// One event type with its schema, compiled.
pub struct EventType {
    name: String,
    schema: Value,
    validator: jsonschema::Validator,
    rules: fn(&Value) -> Vec<FieldError>,
}

/// An event type as the configuration defines it (`[[type]]`).
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TypeDefinition {
    /// The type's name: dot-separated words, such as `invoice.paid`.
    pub name: String,
    /// The JSON Schema (draft 2020-12 unless `$schema` says otherwise) of `data`, in place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Value>,
    /// Or a file that holds the schema, relative to the configuration file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_file: Option<std::path::PathBuf>,
}

/// Why a configured type cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event type {name:?}: {problem}")]
pub struct InvalidType {
    /// The type's name.
    pub name: String,
    /// The expected and the found value.
    pub problem: String,
}

/// All event types that are known.
pub struct Types(BTreeMap<String, EventType>);

impl EventType {
    /// A type whose data follows `schema`.
    ///
    /// # Errors
    /// The name cannot be a routing key, or the schema is invalid.
    pub fn new(name: &str, schema: Value) -> Result<Self, InvalidType> {
        let invalid = |problem: String| InvalidType {
            name: name.to_owned(),
            problem,
        };
        if !is_type_name(name) {
            return Err(invalid(
                "expected 1 to 100 characters: words of letters, digits, '_' or '-' joined by dots"
                    .to_owned(),
            ));
        }
        let validator = jsonschema::validator_for(&schema)
            .map_err(|error| invalid(format!("its schema cannot be used: {}", unusable(&error))))?;
        Ok(Self {
            name: name.to_owned(),
            schema,
            validator,
            rules: |_| Vec::new(),
        })
    }

    /// The type's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The JSON Schema of its data, for its readers.
    pub fn schema(&self) -> &Value {
        &self.schema
    }

    /// Everything that is wrong with `data`, by schema, by rule, and because no database can keep it.
    pub fn errors(&self, data: &Value) -> Vec<FieldError> {
        let mut errors = if self.validator.is_valid(data) {
            // Nearly always, and found much faster than the list of faults.
            Vec::new()
        } else {
            self.schema_errors(data)
        };
        let more = (self.rules)(data)
            .into_iter()
            .chain(json::nul_characters(data));
        for error in more {
            if errors.iter().all(|known| known.pointer != error.pointer) {
                errors.push(error);
            }
        }
        errors.truncate(MAX_ERRORS);
        errors
    }

    fn schema_errors(&self, data: &Value) -> Vec<FieldError> {
        let errors = self.validator.iter_errors(data).take(MAX_ERRORS);
        // Values are masked: a wrong value may well be secret.
        let errors = errors.map(|error| {
            FieldError::new(
                error.instance_path().to_string().replace('\0', "\u{fffd}"),
                error.masked().to_string().replace('\0', "\u{fffd}"),
            )
        });
        errors.collect()
    }
}

impl Types {
    /// The built-in types alone.
    ///
    /// # Panics
    /// Never: the built-in schemas are made from our own types, and a test compiles them.
    #[expect(clippy::expect_used, reason = "no input reaches it and a test runs it")]
    pub fn built_in() -> Self {
        Self::with(&[]).expect("the built-in schemas compile")
    }

    /// The built-in types and configured ones (`schema` filled in).
    ///
    /// # Errors
    /// A definition that cannot be used, or that names a type twice.
    pub fn with(definitions: &[TypeDefinition]) -> Result<Self, InvalidType> {
        let mut types = Self(BTreeMap::new());
        let mut signup =
            EventType::new(SIGNUP_REQUESTED, schemars::schema_for!(Signup).to_value())?;
        signup.rules = signup::rules;
        signup::describe_rules(&mut signup.schema);
        types.add(signup)?;
        let mut confirmed = EventType::new(
            SIGNUP_CONFIRMED,
            schemars::schema_for!(Confirmation).to_value(),
        )?;
        confirmed.rules = confirmation::rules;
        confirmation::describe_rules(&mut confirmed.schema);
        types.add(confirmed)?;
        let processing = schemars::schema_for!(Processing).to_value();
        types.add(EventType::new(PROCESSING_REQUESTED, processing)?)?;
        for definition in definitions {
            let schema = definition.schema.clone().ok_or_else(|| InvalidType {
                name: definition.name.clone(),
                problem: "expected `schema` or `schema_file`, found neither".to_owned(),
            })?;
            types.add(EventType::new(&definition.name, schema)?)?;
        }
        Ok(types)
    }

    /// The type called `name`.
    pub fn get(&self, name: &str) -> Option<&EventType> {
        self.0.get(name)
    }

    /// All types by name.
    pub fn iter(&self) -> impl Iterator<Item = &EventType> {
        self.0.values()
    }

    /// The full check of an event's data against the schema and rules of its type.
    ///
    /// # Errors
    /// [`Refused::Unknown`] for a type nobody defined; [`Refused::Rejected`] with every field error.
    pub fn check(&self, kind: &str, data: &Value) -> Result<(), Refused> {
        let Some(event_type) = self.get(kind) else {
            return Err(Refused::Unknown);
        };
        // A secret in the clear comes first: other errors must not hide it.
        let secrets = secrets_in_the_clear(kind, data);
        if !secrets.is_empty() {
            return Err(Refused::Rejected(Rejection {
                code: ReasonCode::PlaintextPassword,
                errors: secrets,
                event: None,
            }));
        }
        let errors = event_type.errors(data);
        if errors.is_empty() {
            return Ok(());
        }
        Err(Refused::Rejected(Rejection {
            code: ReasonCode::Invalid,
            errors,
            event: None,
        }))
    }

    fn add(&mut self, event_type: EventType) -> Result<(), InvalidType> {
        let name = event_type.name.clone();
        match self.0.insert(name.clone(), event_type) {
            None => Ok(()),
            Some(_) => Err(InvalidType {
                name,
                problem: "expected a new name, found one that is defined already".to_owned(),
            }),
        }
    }
}

impl std::fmt::Debug for Types {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Why data does not pass [`Types::check`].
#[derive(Debug, Clone, PartialEq)]
pub enum Refused {
    /// No such type.
    Unknown,
    /// The data is wrong.
    Rejected(Rejection),
}

/// Why a schema cannot be used.
fn unusable(error: &jsonschema::ValidationError<'_>) -> String {
    match error.kind() {
        jsonschema::error::ValidationErrorKind::Referencing(error)
            if error.to_string().contains("meta-schema") =>
        {
            "expected `$schema` to be one of JSON Schema's own drafts (4 to 2020-12), found another"
                .to_owned()
        }
        jsonschema::error::ValidationErrorKind::Referencing(error) => format!(
            "expected references into the schema itself, such as #/$defs/name, found another, and no other \
             document is fetched: {error}"
        ),
        // The value is not repeated: it may be from another file than the one meant.
        _ => format!(
            "at {:?}: {}",
            error.instance_path().to_string(),
            error.masked()
        ),
    }
}

/// The secrets in the clear in the data of a built-in type: a password, and fields with the name of a secret in its
/// free parts. The fields of other types are their owners' business.
fn secrets_in_the_clear(kind: &str, data: &Value) -> Vec<FieldError> {
    let (field, mut errors) = match kind {
        SIGNUP_REQUESTED => ("attributes", password(data)),
        PROCESSING_REQUESTED => ("payload", Vec::new()),
        _ => return Vec::new(),
    };
    if let Some(free) = data.get(field) {
        errors.extend(secrets::find(free, &json::pointer(field)));
        errors.truncate(MAX_ERRORS);
    }
    errors
}

fn password(data: &Value) -> Vec<FieldError> {
    let detail = "expected an argon2id hash in `password_hash`, found a password in the clear";
    let found = data.get("password").is_some();
    found
        .then(|| FieldError::new("/password", detail))
        .into_iter()
        .collect()
}

fn is_type_name(name: &str) -> bool {
    name.len() <= 100 && name.split('.').all(is_word)
}

/// Whether a text is an AMQP topic pattern of event types.
pub fn is_topic_pattern(pattern: &str) -> bool {
    let mut words = pattern.split('.');
    pattern.len() <= 200 && words.all(|word| matches!(word, "*" | "#") || is_word(word))
}

/// Whether a text is one word of an event type.
fn is_word(word: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    !word.is_empty() && word.bytes().all(fits)
}

/// Whether an AMQP topic pattern (`*` one word, `#` any number) matches an event type.
pub fn topic_matches(pattern: &str, kind: &str) -> bool {
    fn matches(pattern: &[&str], words: &[&str]) -> bool {
        match pattern.split_first() {
            None => words.is_empty(),
            Some((&"#", rest)) => (0..=words.len()).any(|skip| matches(rest, &words[skip..])),
            Some((&"*", rest)) => !words.is_empty() && matches(rest, &words[1..]),
            Some((word, rest)) => words.first() == Some(word) && matches(rest, &words[1..]),
        }
    }
    let pattern: Vec<&str> = pattern.split('.').collect();
    let words: Vec<&str> = kind.split('.').collect();
    matches(&pattern, &words)
}

#[cfg(test)]
mod tests;
