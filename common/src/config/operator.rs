//! The key of the operator at a terminal. It belongs to a person and not to the system, so it is not a key of the
//! configuration.

use super::{ConfigError, Secret};

/// The variable that holds the key.
pub const OPERATOR_KEY: &str = "LONGSHORE_OPERATOR_KEY";

/// The key in the environment of this process, if there is one. An empty variable counts as not set.
///
/// # Errors
/// It is not UTF-8. It is not repeated.
pub fn operator_key() -> Result<Option<Secret>, ConfigError> {
    let Some(value) = std::env::var_os(OPERATOR_KEY).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    match value.into_string() {
        Ok(text) => Ok(Some(Secret::new(text))),
        Err(_) => Err(ConfigError {
            place: format!("variable {OPERATOR_KEY}"),
            problem: "expected a key, found bytes that are not UTF-8".to_owned(),
        }),
    }
}
