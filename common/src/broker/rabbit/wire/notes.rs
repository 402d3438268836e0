//! Sentences about the unreadable parts of a message, together of bounded length.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// Maximum bytes of all sentences together.
const LONGEST: usize = 2000;
/// How many bytes of one value are quoted.
const QUOTED: usize = 255;

/// The faults found so far.
#[derive(Debug, Default)]
pub(super) struct Notes {
    text: String,
    /// How many sentences had no room.
    more: usize,
}

impl Notes {
    /// Adds a sentence.
    pub(super) fn add(&mut self, sentence: &str) {
        if self.text.len() + sentence.len() > LONGEST {
            self.more += 1;
            return;
        }
        if !self.text.is_empty() {
            self.text.push_str("; ");
        }
        self.text.push_str(sentence);
    }

    /// Adds that `what` differs from the expected value, and quotes it.
    pub(super) fn expected(&mut self, expected: &str, what: &str, found: &[u8]) {
        let quoted = BASE64.encode(&found[..found.len().min(QUOTED)]);
        let of = match found.len() {
            length if length > QUOTED => format!(", the first {QUOTED} of {length}"),
            _ => String::new(),
        };
        self.add(&format!(
            "{what}: expected {expected}, found the bytes {quoted} (base64{of})"
        ));
    }

    /// All of it, if there is anything.
    pub(super) fn finish(self) -> Option<String> {
        let Self { mut text, more } = self;
        if more > 0 {
            text.push_str(&format!("; and {more} more"));
        }
        (!text.is_empty()).then_some(text)
    }
}
