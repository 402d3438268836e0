//! Secrets in the clear: how they are told by the name of their field, and how they are masked in what is
//! kept of a message that was refused.

mod mask;

use serde_json::Value;

use super::json::pointer;
use super::types::MAX_ERRORS;
use crate::message::{HeaderValue, Headers, Message};
use crate::outcome::FieldError;

pub use mask::mask;

/// What stands in the place of a secret.
pub const MASK: &str = "***";

/// A name is a secret's if it holds one of these, whatever case and separators it is written with.
pub const IN_NAMES: [&str; 11] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "apikey",
    "accesskey",
    "privatekey",
    "authorization",
    "credential",
    "creditcard",
    "cardnumber",
];

/// Or if it ends with one of these, digits behind it not counted.
pub const AT_THE_END: [&str; 2] = ["token", "pwd"];

/// Or if it is one of these.
pub const WHOLE_NAMES: [&str; 5] = ["pass", "cvv", "cvc", "cookie", "setcookie"];

/// Whether a field of this name holds a secret, by its name.
pub fn is_secret(name: &str) -> bool {
    let letters = name.chars().filter(|letter| letter.is_alphanumeric());
    let name: String = letters.flat_map(char::to_lowercase).collect();
    let bare = name.trim_end_matches(|digit: char| digit.is_ascii_digit());
    WHOLE_NAMES.contains(&bare)
        || AT_THE_END.iter().any(|word| bare.ends_with(word))
        || IN_NAMES.iter().any(|word| name.contains(word)) && !name.contains("secretar")
}

/// Every field below `value`, which stands at `path`, that holds a secret in the clear.
pub fn find(value: &Value, path: &str) -> Vec<FieldError> {
    let mut found = Vec::new();
    search(value, path, &mut found);
    found
}

fn search(value: &Value, path: &str, found: &mut Vec<FieldError>) {
    if found.len() >= MAX_ERRORS {
        return;
    }
    match value {
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                if value.is_object() || value.is_array() {
                    search(value, &format!("{path}/{index}"), found);
                }
            }
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                if can_be_secret(value) && is_secret(name) {
                    found.push(FieldError::new(
                        format!("{path}{}", pointer(name)),
                        "expected no secret in the clear, found a field with the name of one",
                    ));
                } else if value.is_object() || value.is_array() {
                    search(value, &format!("{path}{}", pointer(name)), found);
                }
            }
        }
        _ => {}
    }
}

fn can_be_secret(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(_)) && value.as_str() != Some("")
}

/// Whether a field below `value` holds a mask in the place of its secret: what was kept of a refused message.
pub fn is_masked(value: &Value) -> bool {
    match value {
        Value::Array(values) => values.iter().any(is_masked),
        Value::Object(fields) => fields.iter().any(|(name, value)| {
            is_masked(value) || value.as_str() == Some(MASK) && is_secret(name)
        }),
        _ => false,
    }
}

/// Masks all that a message holds of secrets: in its body and in its headers.
pub fn mask_message(message: &mut Message) {
    if let std::borrow::Cow::Owned(masked) = mask(&message.body) {
        message.body = masked.into();
    }
    mask_headers(&mut message.headers);
}

/// Masks secrets in headers.
pub fn mask_headers(headers: &mut Headers) {
    let masked = headers.iter().map(|(name, value)| {
        let value = match value {
            HeaderValue::Null | HeaderValue::Bool(_) => value.clone(),
            _ if is_secret(name) => HeaderValue::from(MASK),
            value => masked_value(value),
        };
        (name.to_owned(), value)
    });
    *headers = masked.collect();
}

/// Masks secrets in an error text.
pub fn mask_text(text: &str) -> String {
    String::from_utf8_lossy(&mask(text.as_bytes())).into_owned()
}

fn masked_value(value: &HeaderValue) -> HeaderValue {
    match value {
        HeaderValue::Text(text) => HeaderValue::Text(mask_text(text)),
        HeaderValue::RawText(bytes) => HeaderValue::RawText(mask(bytes).into_owned()),
        HeaderValue::Bytes(bytes) => HeaderValue::Bytes(mask(bytes).into_owned()),
        HeaderValue::List(values) => HeaderValue::List(values.iter().map(masked_value).collect()),
        HeaderValue::Table(table) => {
            let mut table = table.clone();
            mask_headers(&mut table);
            HeaderValue::Table(table)
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_told_by_their_names() {
        for name in [
            "password",
            "Password",
            "PASS-WORD",
            "userPassword",
            "password2",
            "db_passwd",
            "pwd",
            "old_pwd1",
            "token",
            "access_token",
            "refreshToken",
            "X-Api-Key",
            "api key",
            "client_secret",
            "secretKey",
            "Authorization",
            "ce-authorization",
            "private_key",
            "credit-card",
            "card_number",
            "cvv",
            "pass",
            "credentials",
            "passphrase",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in [
            "",
            "email",
            "name",
            "tokens",
            "max_tokens",
            "tokenizer",
            "secretary",
            "compass",
            "passenger",
            "key",
            "author",
            "card",
            "pin",
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }

    #[test]
    fn secrets_are_found_at_any_depth() {
        let value = json!({
            "a": [{"b": {"Api-Key": "x"}}], "token": null, "password": "", "secret": true, "pwd/~": 7,
            "credentials": {"user": "u"},
        });
        let pointers: Vec<_> = find(&value, "/payload")
            .into_iter()
            .map(|error| error.pointer)
            .collect();
        assert_eq!(
            pointers,
            [
                "/payload/a/0/b/Api-Key",
                "/payload/credentials",
                "/payload/pwd~1~0"
            ]
        );
        assert_eq!(find(&json!({"name": "password", "tokens": 7}), ""), []);
        assert!(is_masked(&json!([{"a": {"token": "***"}}])));
        assert!(!is_masked(&json!({"a": "***", "token": "x"})));
    }

    #[test]
    fn a_message_is_masked_in_body_and_headers() {
        let table = Headers::from_iter([("secret", "hunter2"), ("kept", "yes")]);
        let mut message = Message {
            body: r#"{"password":"hunter2"}"#.into(),
            headers: Headers::from_iter([
                ("ce-token", HeaderValue::from("hunter2")),
                ("ce-id", HeaderValue::from("7")),
                ("note", HeaderValue::from(r#"{"pwd":"hunter2"}"#)),
                ("number", HeaderValue::Int(3)),
                ("table", HeaderValue::List(vec![HeaderValue::Table(table)])),
            ]),
            ..Message::default()
        };
        mask_message(&mut message);
        assert!(!format!("{message:?}").contains("hunter2"));
        assert_eq!(message.headers.text("ce-id"), Some("7"));
        assert_eq!(message.headers.int("number"), Some(3));
        assert!(format!("{message:?}").contains("yes"));
    }
}
