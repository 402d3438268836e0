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

/// Texts without control characters.
const NO_CONTROLS: &str = r"^[^\u0000-\u001f\u007f-\u009f]*$";
/// The same, with a character that is not white space.
const VISIBLE: &str = concat!(
    r"^[^\u0000-\u001f\u007f-\u009f]*",
    r"[^\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]",
    r"[^\u0000-\u001f\u007f-\u009f]*$",
);

/// Adds the rules below to the schema, as far as a schema can say them. Data is not checked with these parts: the errors of
/// [`rules`] are plainer.
pub(super) fn describe_rules(schema: &mut Value) {
    for (field, keyword, value) in [
        ("email", "format", "idn-email"),
        ("name", "pattern", VISIBLE),
        ("plan", "pattern", NO_CONTROLS),
    ] {
        let field = schema
            .get_mut("properties")
            .and_then(|fields| fields.get_mut(field));
        if let Some(field) = field.and_then(Value::as_object_mut) {
            field.insert(keyword.to_owned(), value.into());
        }
    }
}

/// What is wrong with the address in `email`.
pub(super) fn email_errors(data: &Value) -> Vec<FieldError> {
    let email = data.get("email").and_then(Value::as_str);
    let problem = email.and_then(|email| normalise_email(email).err());
    problem
        .map(|problem| FieldError::new("/email", problem.to_string()))
        .into_iter()
        .collect()
}

/// The rules beside the schema.
pub(super) fn rules(data: &Value) -> Vec<FieldError> {
    let mut errors = email_errors(data);
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
