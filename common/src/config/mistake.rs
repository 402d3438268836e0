//! An error in a configuration: the place, the key and the expected value. Never the line itself, nor a given value in
//! which a secret may have slipped: any line of a configuration may hold one.

use super::mask::{is_name, masked_text};

/// The finding of a TOML reader.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    /// The line, from 1, where the text it stands in is known.
    pub(super) line: Option<usize>,
    /// The section or key, such as `broker.heartbeat`.
    pub(super) key: Option<String>,
    /// The expected and the found value.
    pub(super) problem: String,
}

impl Mistake {
    /// Reads it off an error. `text` is the text that was read, if it was a text.
    pub(super) fn new(mut error: toml::de::Error, text: Option<&str>) -> Self {
        let line = text.zip(error.span()).map(|(text, span)| {
            let before = text.as_bytes().iter().take(span.start);
            1 + before.filter(|byte| **byte == b'\n').count()
        });
        // Its own way to show itself repeats the line.
        error.set_input(None);
        let message = error.message();
        let shown = error.to_string();
        let key = shown
            .strip_prefix(message)
            .and_then(|rest| rest.trim().strip_prefix("in `")?.strip_suffix('`'));
        Self {
            line,
            key: key.map(str::to_owned),
            problem: without_values(message),
        }
    }
}

/// A message of serde's without the value that it repeats, and without secrets.
fn without_values(message: &str) -> String {
    let message = message.trim();
    for kind in ["invalid type: ", "invalid value: "] {
        if let Some(rest) = message.strip_prefix(kind)
            && let Some((found, expected)) = rest.rsplit_once(", expected ")
        {
            let found = match found.split(' ').next().unwrap_or_default() {
                "string" | "character" => "a text",
                "integer" => "a whole number",
                "floating" => "a number",
                "boolean" => "a truth value",
                "sequence" => "a list",
                "map" => "a section",
                _ => "something else",
            };
            return format!("expected {}, found {found}", masked_text(expected));
        }
    }
    if let Some(rest) = message.strip_prefix("wanted ") {
        return format!("expected {}", masked_text(rest));
    }
    if let Some(rest) = message.strip_prefix("unknown variant `")
        && let Some((_, expected)) = rest.rsplit_once("`, expected ")
    {
        return format!("expected {expected}, found another word");
    }
    if let Some(rest) = message.strip_prefix("unknown field `")
        && let Some((name, expected)) = rest.rsplit_once("`, expected ")
        && !is_name(name)
    {
        return format!("unknown field, expected {expected}");
    }
    masked_text(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_is_told_by_its_kind() {
        for (message, told) in [
            (
                "invalid type: string \"hunter2, expected a b\", expected usize",
                "expected usize, found a text",
            ),
            (
                "invalid value: string \"h?token=x\", expected a URL",
                "expected a URL, found a text",
            ),
            (
                "invalid type: integer `12345`, expected a duration",
                "expected a duration, found a whole number",
            ),
            (
                "unknown variant `hunter2`, expected one of `text`, `json`",
                "expected one of `text`, `json`, found another word",
            ),
            (
                "expected a rate such as \"50/s\", found \"whsec_MDEyMzQ1\"",
                "expected a rate such as \"50/s\", found \"whsec_***\"",
            ),
            (
                "unknown field `windows`, expected `window`",
                "unknown field `windows`, expected `window`",
            ),
            (
                "unknown field `u:hunter2@h`, x`, expected one of `url`, `login`",
                "unknown field, expected one of `url`, `login`",
            ),
        ] {
            assert_eq!(without_values(message), told);
        }
    }
}
