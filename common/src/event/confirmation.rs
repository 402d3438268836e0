//! `signup.confirmed`: somebody has opened the link that was sent to the address of a signup.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::EventId;
use super::signup::email_errors;
use crate::outcome::FieldError;

/// The type's name.
pub const SIGNUP_CONFIRMED: &str = "signup.confirmed";

/// The data of a `signup.confirmed` event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Confirmation {
    /// The id of the `signup.requested` event.
    #[schemars(with = "uuid::Uuid")]
    pub signup: EventId,
    /// The address that is confirmed.
    #[schemars(length(min = 3, max = 254))]
    pub email: String,
}

/// The rules beside the schema.
pub(super) fn rules(data: &Value) -> Vec<FieldError> {
    let mut errors = email_errors(data);
    // A schema's `format` is not checked.
    if let Some(id) = data.get("signup").and_then(Value::as_str)
        && id.parse::<EventId>().is_err()
    {
        let error = FieldError::new("/signup", "expected the id of an event, a UUID");
        errors.push(error);
    }
    errors
}

/// Adds the rule of addresses to the schema, as far as a schema can say it.
pub(super) fn describe_rules(schema: &mut Value) {
    if let Some(Value::Object(email)) = schema.pointer_mut("/properties/email") {
        email.insert("format".to_owned(), "idn-email".into());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Types;
    use super::*;

    #[test]
    fn it_names_a_signup_and_an_address() {
        let types = Types::built_in();
        let kind = types.get(SIGNUP_CONFIRMED).unwrap();
        let good = json!({"signup": EventId::born(), "email": "ada@example.com"});
        assert_eq!(kind.errors(&good), []);
        for (name, bad) in [
            ("signup", json!("4711")),
            ("signup", json!(7)),
            ("email", json!("ada")),
        ] {
            let mut data = good.clone();
            data[name] = bad;
            let errors = kind.errors(&data);
            assert_eq!(errors.len(), 1, "{data}");
            assert_eq!(errors[0].pointer, format!("/{name}"), "{data}");
        }
        let mut more = good;
        more["name"] = json!("Ada");
        assert_eq!(kind.errors(&more).len(), 1);
    }
}
