//! The layout of JSON text: for people and for the wire. Only white space changes, never a value.

/// JSON with one member a line. Anything else must not be given.
pub fn pretty(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0_usize;
    let mut chars = compact(json)
        .chars()
        .collect::<Vec<_>>()
        .into_iter()
        .peekable();
    let mut text = InText::default();
    while let Some(c) = chars.next() {
        if text.holds(c) {
            out.push(c);
            continue;
        }
        match c {
            '{' | '[' => {
                out.push(c);
                if chars.peek().is_some_and(|next| matches!(next, '}' | ']')) {
                    out.extend(chars.next());
                } else {
                    depth += 1;
                    new_line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ => out.push(c),
        }
    }
    out.push('\n');
    out
}

/// JSON without white space between its parts.
pub fn compact(json: &str) -> String {
    let mut text = InText::default();
    json.chars()
        .filter(|&c| text.holds(c) || !c.is_ascii_whitespace())
        .collect()
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

/// Whether a character belongs to a quoted text, quotation marks included.
#[derive(Default)]
struct InText {
    inside: bool,
    escaped: bool,
}

impl InText {
    fn holds(&mut self, c: char) -> bool {
        let held = self.inside || c == '"';
        if self.escaped {
            self.escaped = false;
        } else if self.inside && c == '\\' {
            self.escaped = true;
        } else if c == '"' {
            self.inside = !self.inside;
        }
        held
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn each_member_has_its_line_and_each_value_its_bytes() {
        let json = r#" {"a":1.10,"b":["x y",{}],"c":[],"d\"{":"},\\"} "#;
        let expected = "{\n  \"a\": 1.10,\n  \"b\": [\n    \"x y\",\n    {}\n  ],\n  \"c\": [],\n  \
                        \"d\\\"{\": \"},\\\\\"\n}\n";
        assert_eq!(pretty(json), expected);
        assert_eq!(compact(&pretty(json)), compact(json));
        assert_eq!(
            compact(json),
            r#"{"a":1.10,"b":["x y",{}],"c":[],"d\"{":"},\\"}"#
        );
    }

    proptest! {
        #[test]
        fn no_value_changes(text in ".*", name in ".*", number in any::<i64>()) {
            let value = serde_json::json!({ name: [text, number, {}, [[]], {"x": null}] });
            let json = value.to_string();
            prop_assert_eq!(compact(&pretty(&json)), json.clone());
            let again: Value = serde_json::from_str(&pretty(&json)).unwrap();
            prop_assert_eq!(again, value);
        }
    }
}
