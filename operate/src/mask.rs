//! Hiding secrets in what is shown.

use common::event::secrets;
pub use common::event::secrets::mask_value as mask;
use serde_json::Value;

/// The longest text body that is shown, in characters.
const LONGEST: usize = 4000;

/// A message body for showing, its secrets masked: JSON, else text, else how many bytes it has.
pub fn body(bytes: &[u8]) -> Value {
    let masked = secrets::mask(bytes);
    if let Ok(mut value) = serde_json::from_slice(&masked) {
        mask(&mut value);
        return value;
    }
    match std::str::from_utf8(&masked) {
        Ok(text) => Value::from(clipped(text)),
        Err(_) => Value::from(format!("{} bytes that are no text", bytes.len())),
    }
}

fn clipped(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}… ({} bytes in all)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
