//! A dead letter as somebody edits it in an editor.

use anyhow::anyhow;
use bytes::Bytes;
use common::bootstrap::Failure;
use common::store::{DeadLetter, Editable};

use super::check::{Unfit, unfit};
use super::envelope::set;
use super::form::{form, read_form};
use super::layout::{compact, pretty};

/// What an editor shows of a letter. Of an event of ours that is the body alone: all else is settled.
#[derive(Debug)]
pub struct Draft {
    before: Editable,
    text: String,
    is_whole: bool,
    is_json: bool,
}

impl Draft {
    /// A draft of the letter as it is.
    ///
    /// # Errors
    /// Its body is not a text.
    pub(super) fn of(letter: &DeadLetter) -> Result<Self, Failure> {
        let before = Editable::from(letter);
        let body = readable(&before.message.body)?;
        let is_json = is_json(body);
        let mut text = if is_json {
            pretty(body)
        } else {
            body.to_owned()
        };
        let is_whole = letter.event.is_none();
        if is_whole {
            text = form(&before, &text);
        }
        Ok(Self {
            before,
            text,
            is_whole,
            is_json,
        })
    }

    /// What the editor shows.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the body is JSON, which is laid out to be read.
    pub fn is_json(&self) -> bool {
        self.is_json
    }

    /// The letter that an editor has left as `text`.
    ///
    /// # Errors
    /// What was expected and what was found.
    pub fn read(&self, text: &str) -> Result<Editable, Unfit> {
        if text == self.text {
            return Ok(self.before.clone());
        }
        if !self.is_whole {
            return Ok(with_body(&self.before, text));
        }
        let (settings, body) = read_form(&self.before, text).map_err(unfit)?;
        let with_body = with_body(&self.before, body);
        set(&with_body, &settings).map_err(|error| unfit(error.to_string()))
    }
}

/// The body as a text.
///
/// # Errors
/// It is not one.
pub(super) fn readable(body: &Bytes) -> Result<&str, Failure> {
    std::str::from_utf8(body).map_err(|_| {
        Failure::Failed(anyhow!(
            "expected a text to edit, found {} bytes of binary data; `longshore dead discard` puts away what \
             nobody can mend",
            body.len()
        ))
    })
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// The letter with the body that an editor has left. White space between the parts of JSON is its layout there;
/// a body that means what it meant before stays as it was.
pub(super) fn with_body(before: &Editable, text: &str) -> Editable {
    let mut after = before.clone();
    let is_json = is_json(text);
    let compact = |text: &str| {
        if is_json {
            compact(text)
        } else {
            text.to_owned()
        }
    };
    let was = std::str::from_utf8(&before.message.body).unwrap_or_default();
    if compact(was) != compact(text) {
        after.message.body = compact(text).into();
    }
    after
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testbed;

    /// A letter with this body.
    fn letter(body: &'static str) -> DeadLetter {
        let mut letter = testbed::letter("longshore.validate");
        letter.message.body = body.into();
        letter
    }

    #[test]
    fn a_layout_that_is_changed_alone_changes_nothing() {
        let draft = Draft::of(&letter(r#"{"a": 1,"b":2}"#)).unwrap();
        assert!(draft.is_json() && draft.text().contains("\n  \"a\": 1"));
        let same = draft.read(&draft.text().replace("  ", "\t")).unwrap();
        assert_eq!(same.message.body, r#"{"a": 1,"b":2}"#);
        let other = draft.read(&draft.text().replace('2', "3")).unwrap();
        assert_eq!(other.message.body, r#"{"a":1,"b":3}"#);
    }

    #[test]
    fn what_is_no_event_yet_is_shown_whole() {
        let mut letter = letter("hello");
        letter.event = None;
        let draft = Draft::of(&letter).unwrap();
        assert!(!draft.is_json() && draft.text().ends_with("hello"));
        let same = draft.read(draft.text()).unwrap();
        assert_eq!(same.message.body, "hello");
        let text = draft.text();
        let changed = text.replace("routing_key: signup.requested", "routing_key: a.b");
        assert_eq!(draft.read(&changed).unwrap().routing_key, "a.b");
        assert!(draft.read("hello").is_err());
    }
}
