//! Secrets in the clear: recognised by the name of their field, and masked in the stored copy of a refused message.

mod coded;
mod mask;
mod names;

use serde_json::Value;

use super::json::pointer;
use super::types::MAX_ERRORS;
use crate::message::{HeaderValue, Headers, Message};
use crate::outcome::FieldError;

pub use mask::{holds_mask, mask};
pub use names::{
    ABOUT_SECRETS, AT_THE_END, HARMLESS_TOKENS, IN_NAMES, WHOLE_NAMES, WORDS, is_secret,
};

/// The mask in the place of a secret.
pub const MASK: &str = "***";

/// A field of one of these names may say which one the value beside it has.
const NAMES: [&str; 7] = ["name", "key", "field", "id", "label", "param", "header"];

/// And that value is under one of these.
const VALUES: [&str; 5] = ["value", "val", "values", "text", "content"];

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
                if may_hold_one(value) {
                    search(value, &format!("{path}/{index}"), found);
                }
            }
        }
        Value::Object(fields) => {
            let named = fields.iter().any(|(name, value)| is_pair(name, value));
            for (name, value) in fields {
                let is_one = is_secret(name) || named && VALUES.contains(&&*name.to_lowercase());
                if is_one && can_be_secret(value) {
                    found.push(FieldError::new(
                        format!("{path}{}", pointer(name)),
                        "expected no secret in the clear, found a field with the name of one",
                    ));
                } else if may_hold_one(value) {
                    search(value, &format!("{path}{}", pointer(name)), found);
                }
            }
        }
        Value::String(text) => {
            if let Ok(inner) = serde_json::from_str::<Value>(text) {
                let before = found.len();
                search(&inner, "", found);
                // Of all secrets in the text, only the text itself is reported.
                if found.len() > before {
                    found.truncate(before);
                    found.push(FieldError::new(
                        path,
                        "expected no secret in the clear, found JSON with one in a text",
                    ));
                }
            }
        }
        _ => {}
    }
}

/// Whether a search makes sense: a container, or a text that is itself JSON.
fn may_hold_one(value: &Value) -> bool {
    let is_json = |text: &str| text.trim_start().starts_with(['{', '[', '"']);
    value.is_object() || value.is_array() || value.as_str().is_some_and(is_json)
}

/// Whether a field says that the one beside it is a secret: `{"name": "password", "value": "…"}`.
fn is_pair(name: &str, value: &Value) -> bool {
    NAMES.contains(&&*name.to_lowercase()) && value.as_str().is_some_and(is_secret)
}

fn can_be_secret(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(_)) && value.as_str() != Some("")
}

/// Masks all that a message holds of secrets: in its body, its properties and its headers.
pub fn mask_message(message: &mut Message) {
    if let std::borrow::Cow::Owned(masked) = mask(&message.body) {
        message.body = masked.into();
    }
    let properties = [
        &mut message.content_type,
        &mut message.content_encoding,
        &mut message.message_id,
        &mut message.correlation_id,
        &mut message.reply_to,
        &mut message.kind,
        &mut message.app_id,
    ];
    for text in properties.into_iter().flatten() {
        *text = mask_text(text);
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

/// Masks the values of all members whose name says that they are secret, at any depth.
pub fn mask_value(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if is_secret(name) && !member.is_null() {
                    *member = Value::from(MASK);
                } else {
                    mask_value(member);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask_value),
        Value::String(text) => *text = mask_text(text),
        _ => {}
    }
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
    fn secrets_are_masked_at_any_depth() {
        let mut value = json!({
            "data": {"email": "a@example.com", "password_hash": "$argon2id$hunter2"},
            "list": [{"API_KEY": {"deep": "hunter2"}}],
            "Authorization": "Bearer hunter2",
            "password": null,
        });
        mask_value(&mut value);
        assert!(!value.to_string().contains("hunter2"), "{value}");
        assert_eq!(value["data"]["email"], "a@example.com");
        assert_eq!(value["password"], Value::Null);
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
        let pair =
            json!({"list": [{"Value": "x", "Name": "password"}, {"value": "x", "name": "plan"}]});
        let inner =
            json!({"note": json!({"a": [{"password": "x"}]}).to_string(), "text": "password=x"});
        for (value, pointer) in [(pair, "/list/0/Value"), (inner, "/note")] {
            let found = find(&value, "");
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(found[0].pointer, pointer);
        }
    }

    #[test]
    fn a_message_is_masked_in_body_and_headers() {
        let table = Headers::from_iter([("secret", "hunter2"), ("kept", "yes")]);
        let mut message = Message {
            body: r#"{"password":"hunter2"}"#.into(),
            headers: Headers::from_iter([
                ("ce-token", HeaderValue::from("hunter2")),
                ("ce-source", HeaderValue::from("https://u:hunter2@h/")),
                ("ce-id", HeaderValue::from("7")),
                ("note", HeaderValue::from(r#"{"pwd":"hunter2"}"#)),
                ("number", HeaderValue::Int(3)),
                ("table", HeaderValue::List(vec![HeaderValue::Table(table)])),
            ]),
            app_id: Some("https://h/?token=hunter2".to_owned()),
            reply_to: Some("amqp://u:hunter2@h/%2f".to_owned()),
            correlation_id: Some(r#"{"password":"hunter2"}"#.to_owned()),
            ..Message::default()
        };
        mask_message(&mut message);
        assert!(!format!("{message:?}").contains("hunter2"));
        assert_eq!(message.headers.text("ce-id"), Some("7"));
        assert_eq!(message.headers.int("number"), Some(3));
        assert!(format!("{message:?}").contains("yes"));
    }
}
