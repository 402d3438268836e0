//! Why an expression has no value for an event.

use std::ops::Range;

use super::MAX_STEPS;
use super::node::Shape;

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
