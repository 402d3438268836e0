//! Why an expression has no value for an event.

use std::ops::Range;

use super::MAX_STEPS;
use super::node::Shape;
use super::token::MARKS;

/// Maximum of characters of the expression that are repeated.
const MAX_QUOTED: usize = 60;

/// The end of an evaluation without a value.
#[derive(Debug)]
pub(super) enum Stop {
    /// Of this part. A part beside it may decide all the same: `fault || true` is true.
    Fault(Fault),
    /// Of the whole: it took too many steps.
    Spent,
}

/// A part of the expression that has no value.
#[derive(Debug)]
pub(super) struct Fault {
    /// Its place in the source.
    pub(super) at: Range<usize>,
    pub(super) what: What,
}

/// The reasons. None of them holds a value of the event.
#[derive(Debug)]
pub(super) enum What {
    NoMember,
    NoElement,
    Expected(&'static str, Shape),
    Incomparable(Shape, Shape),
    TooLarge,
    DividedByZero,
    NotANumber,
}

impl Stop {
    /// In words, with the part of the expression.
    pub(super) fn text(&self, source: &str) -> String {
        let Self::Fault(Fault { at, what }) = self else {
            return format!("took more than {MAX_STEPS} steps");
        };
        let part = source.get(at.clone()).unwrap_or_default();
        let part = without_texts(part);
        let words: Vec<&str> = part.split_whitespace().collect();
        let mut part = words.join(" ").replace(char::is_control, "\u{fffd}");
        if let Some((end, _)) = part.char_indices().nth(MAX_QUOTED) {
            part.truncate(end);
            part.push('…');
        }
        let what = match what {
            What::NoMember => "no such member".to_owned(),
            What::NoElement => "no such element".to_owned(),
            What::Expected(expected, found) => {
                format!("expected {expected}, found {}", found.words())
            }
            What::Incomparable(one, other) => {
                format!("cannot compare {} with {}", one.words(), other.words())
            }
            What::TooLarge => "beyond the range of numbers".to_owned(),
            What::DividedByZero => "divided by zero".to_owned(),
            What::NotANumber => "expected a number in the text".to_owned(),
        };
        format!("{part}: {what}")
    }
}

/// A part of an expression whose texts are left out: they may be secrets, and everybody who may see the event sees this.
fn without_texts(part: &str) -> String {
    let mut out = String::with_capacity(part.len());
    let mut rest = part;
    while let Some(start) = rest.find(['"', '\'']) {
        let (before, quoted) = rest.split_at(start);
        let is_raw = before.ends_with(['r', 'R']);
        let mark = MARKS.into_iter().find(|mark| quoted.starts_with(*mark));
        let mark = mark.unwrap_or("'");
        out.push_str(before);
        out.push_str(mark);
        out.push('…');
        out.push_str(mark);
        rest = behind_text(&quoted[mark.len()..], mark, is_raw);
    }
    out.push_str(rest);
    out
}

/// The rest behind a text that ends with `mark`.
fn behind_text<'t>(text: &'t str, mark: &str, is_raw: bool) -> &'t str {
    let mut rest = text;
    while !rest.is_empty() && !rest.starts_with(mark) {
        let is_escape = rest.starts_with('\\') && !is_raw;
        let mut letters = rest.chars();
        letters.next();
        if is_escape {
            letters.next();
        }
        rest = letters.as_str();
    }
    rest.strip_prefix(mark).unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_left_out() {
        for (part, shown) in [
            ("data.x > 'K7'", "data.x > '…'"),
            (r#"data.x == "a\"b" + 'c'"#, r#"data.x == "…" + '…'"#),
            (r"r'a\' == data.x", "r'…' == data.x"),
            (r#""""a"b""" == '''c'd'''"#, r#""""…""" == '''…'''"#),
            ("data['go' + 'ne']", "data['…' + '…']"),
            ("'' == ''", "'…' == '…'"),
            ("data.x", "data.x"),
            ("'not ended", "'…'"),
        ] {
            assert_eq!(without_texts(part), shown, "{part}");
        }
    }
}
