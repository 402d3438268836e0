//! What differs between two bodies, secrets masked.

use serde_json::Value;
use similar::TextDiff;

use crate::mask;

/// How many lines stand around a change.
const AROUND: usize = 3;

/// The differing lines, as `diff -u` shows them without its head; a sentence where none can be shown.
pub fn diff(before: &[u8], after: &[u8]) -> String {
    let (before, after) = (shown(before), shown(after));
    if before == after {
        return "what differs is a secret, or white space\n".to_owned();
    }
    let lines = TextDiff::from_lines(&before, &after);
    let mut unified = lines.unified_diff();
    unified
        .context_radius(AROUND)
        .missing_newline_hint(false)
        .to_string()
}

fn shown(body: &[u8]) -> String {
    let mut text = match mask::body(body) {
        Value::String(text) => text,
        json => serde_json::to_string_pretty(&json).unwrap_or_default(),
    };
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_lines_are_shown_and_no_secret_among_them() {
        let before = br#"{"name":"a","password":"hunter2"}"#;
        let after = br#"{"password":"hunter3","name":"b"}"#;
        let told = diff(before, after);
        assert!(!told.contains("hunter"), "{told}");
        assert!(
            told.contains("-  \"name\": \"a\"") && told.contains("+  \"name\": \"b\""),
            "{told}"
        );
    }

    #[test]
    fn what_cannot_be_shown_is_said_to_differ() {
        assert!(diff(br#"{"token":1}"#, br#"{"token":2}"#).contains("a secret"));
        assert!(diff(b"one\ntwo", b"one\nthree").contains("-two\n+three"));
    }
}
