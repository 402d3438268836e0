//! `signup.requested`: somebody asks for an account.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::email::normalise_email;
use crate::outcome::FieldError;

/// The type's name.
pub const SIGNUP_REQUESTED: &str = "signup.requested";

/// The data of a `signup.requested` event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Signup {
    /// The e-mail address; one account each.
    #[schemars(length(min = 3, max = 254))]
    pub email: String,
    /// The person's name.
    #[schemars(length(min = 1, max = 200))]
    pub name: String,
    /// The plan asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub plan: Option<String>,
    /// The language to speak to the person: a BCP 47 tag such as `de-AT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,8}$"))]
    pub locale: Option<String>,
    /// An argon2id hash in PHC format. The plain password never leaves the door.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^\$argon2id\$[!-~]{1,300}$"))]
    pub password_hash: Option<String>,
    /// Anything else that is known of the person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<BTreeMap<String, Value>>,
}

/// The rules that a schema cannot say.
pub(super) fn rules(data: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if let Some(email) = data.get("email").and_then(Value::as_str)
        && let Err(problem) = normalise_email(email)
    {
        errors.push(FieldError::new("/email", problem.to_string()));
    }
    if let Some(name) = data.get("name").and_then(Value::as_str) {
        if name.trim().is_empty() {
            errors.push(FieldError::new(
                "/name",
                "expected a name, found only white space",
            ));
        }
        if name.chars().any(char::is_control) {
            errors.push(FieldError::new("/name", "expected no control characters"));
        }
    }
    if let Some(plan) = data.get("plan").and_then(Value::as_str)
        && plan.chars().any(char::is_control)
    {
        errors.push(FieldError::new("/plan", "expected no control characters"));
    }
    errors
}
