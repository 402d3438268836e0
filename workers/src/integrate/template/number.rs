//! Numbers of an event in a template: each is written as it was sent.

use std::fmt;
use std::sync::Arc;

use minijinja::Value;
use minijinja::value::{Object, ObjectRepr};

/// A number that would be written in another way if it were computed with: `1.50`, `1e3`, or one that has more digits
/// than a double.
pub(super) struct Number(Arc<str>);

impl Number {
    /// The number as it was sent.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The nearest number to compute with.
    pub(super) fn nearest(&self) -> f64 {
        self.0.parse().unwrap_or(f64::NAN)
    }
}

impl Object for Number {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn is_true(self: &Arc<Self>) -> bool {
        self.nearest() != 0.0
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The value of a number of JSON.
pub(super) fn value(text: &str) -> Value {
    let whole = || text.parse::<i128>().map(Value::from).ok();
    let double = || text.parse::<f64>().map(Value::from).ok();
    whole()
        .or_else(double)
        .filter(|value| value.to_string() == text)
        .unwrap_or_else(|| Value::from_object(Number(text.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_written_as_it_was_sent() {
        for (text, is_computed_with) in [
            ("0", true),
            ("-1", true),
            ("9223372036854775807", true),
            ("18446744073709551616", true),
            ("19.99", true),
            ("0.1", true),
            ("-0", false),
            ("1.50", false),
            ("1e3", false),
            ("1E+2", false),
            ("1234567890123456.78", false),
            ("123456789012345678901234567890123456789012", false),
            ("0.1000000000000000000000000001", false),
        ] {
            let value = value(text);
            assert_eq!(value.to_string(), text);
            assert_eq!(value.is_number(), is_computed_with, "{text}");
            assert_eq!(value.is_true(), !["0", "-0"].contains(&text), "{text}");
        }
    }
}
