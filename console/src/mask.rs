//! Hiding secrets in what is shown.

use serde_json::Value;

/// What stands in the place of a secret.
const MASK: &str = "***";

/// The longest text body that is shown, in characters.
const LONGEST: usize = 4000;

/// Words that a name which holds a secret has in it.
const SECRET_WORDS: [&str; 8] = [
    "password",
    "passwd",
    "secret",
    "token",
    "authorization",
    "cookie",
    "api-key",
    "api_key",
];

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// Masks the values of all members whose name says that they are secret, at any depth.
pub(crate) fn mask(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if is_secret(name) && !member.is_null() {
                    *member = Value::from(MASK);
                } else {
                    mask(member);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask),
        _ => {}
    }
}

/// A message body for showing: JSON with its secrets masked, else text with what follows a secret
/// word masked, else how many bytes it has.
pub(crate) fn body(bytes: &[u8]) -> Value {
    if let Ok(mut value) = serde_json::from_slice(bytes) {
        mask(&mut value);
        return value;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(mask_text(text)),
        Err(_) => Value::from(format!("{} bytes that are no text", bytes.len())),
    }
}

/// Masks, in a text of no known form, what stands after a secret word: all of the line, since
/// nothing says where the secret ends.
fn mask_text(text: &str) -> String {
    let end = text
        .char_indices()
        .nth(LONGEST)
        .map_or(text.len(), |(at, _)| at);
    let lines = text[..end].lines().map(|line| {
        // ASCII lower case keeps every byte where it is.
        let lower = line.to_ascii_lowercase();
        let after = |word: &str| lower.find(word).map(|at| at + word.len());
        match SECRET_WORDS.iter().filter_map(|word| after(word)).min() {
            Some(at) => format!("{}{MASK}", &line[..at]),
            None => line.to_owned(),
        }
    });
    let mut shown = lines.collect::<Vec<_>>().join("\n");
    if end < text.len() {
        shown.push_str(&format!("… ({} bytes in all)", text.len()));
    }
    shown
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
        mask(&mut value);
        assert!(!value.to_string().contains("hunter2"), "{value}");
        assert_eq!(value["data"]["email"], "a@example.com");
        assert_eq!(value["password"], Value::Null);
    }

    #[test]
    fn a_body_of_any_kind_can_be_shown_without_its_secrets() {
        for secret in [
            r#"{"password": "hunter2"}"#,
            r#"{"password": "hunter2", broken"#,
            "email=a&PassWord=hunter2",
            "ä password: hunter2 and hunter2 again",
        ] {
            let shown = body(secret.as_bytes()).to_string();
            assert!(!shown.contains("hunter2"), "{shown}");
        }
        assert_eq!(body(&[0xff, 0xfe]), "2 bytes that are no text");
        assert_eq!(body(b"just text"), "just text");
        let long = body("x".repeat(5000).as_bytes());
        assert!(
            long.as_str()
                .is_some_and(|text| text.ends_with("(5000 bytes in all)"))
        );
    }
}
