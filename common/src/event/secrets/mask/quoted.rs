//! Texts in quotes, which are names or values, and the values that are masked.

use std::borrow::Cow;
use std::ops::Range;

use super::super::{MASK, NAMES, VALUES, is_secret};
use super::mask_layer;
use super::scan::Scan;

/// Maximum length of a comment between a name and its value, in bytes.
const MAX_COMMENT: usize = 512;

impl Scan<'_> {
    /// Whether the apostrophe here opens a quote, as in Python's dictionaries, and is not one of a word: it
    /// closes on the same line.
    pub(super) fn opens_a_quote(&self) -> bool {
        let before = self.at.checked_sub(1).and_then(|at| self.byte(at));
        if !before.is_none_or(|byte| b"{[(,:= \t\r\n>".contains(&byte)) {
            return false;
        }
        let mut at = self.at + 1;
        while let Some(byte) = self.byte(at) {
            match byte {
                b'\\' => at += 2,
                b'\'' => return true,
                b'\n' => return false,
                _ => at += 1,
            }
        }
        false
    }

    /// Where the quote that opens at `at` closes: at the closing mark, or at the end.
    pub(super) fn end_of_quote(&self, at: usize, mark: u8) -> usize {
        let mut at = at + 1;
        while let Some(byte) = self.byte(at) {
            match byte {
                b'\\' => at += 2,
                byte if byte == mark => return at,
                _ => at += 1,
            }
        }
        self.text.len()
    }

    /// A quoted text: a name before a value, or a value.
    pub(super) fn quoted(&mut self, mark: u8) {
        let end = self.end_of_quote(self.at, mark);
        let inside = self.at + 1..end;
        let behind = (end + 1).min(self.text.len());
        let separator = self.skip_gap(behind);
        match self.byte(separator) {
            Some(b':' | b'=') => {
                self.at = behind;
                let name = unescape(&self.text[inside]).into_owned();
                let value = self.behind_separator(separator);
                if self.is_secret_name(&name) {
                    let colon = self.byte(separator) == Some(b':');
                    self.mask_value(value, colon);
                } else {
                    self.beside(&name, value);
                }
            }
            // The colon is missing.
            Some(b'"') if self.is_secret_name(&unescape(&self.text[inside.clone()])) => {
                self.at = behind;
                self.mask_value(separator, true);
            }
            // PHP's serialisation: `s:8:"password";s:7:"hunter2";`.
            Some(b';') if self.is_secret_name(&self.text[inside.clone()]) => {
                self.at = behind;
                let value = self.find(separator + 1, |byte| {
                    !byte.is_ascii_alphanumeric() && byte != b':'
                });
                if self.byte(value) == Some(b'"') {
                    self.mask_value(value, false);
                }
            }
            _ => {
                self.inner(inside);
                self.at = self.at.max(behind);
            }
        }
    }

    /// The meaningless part between name and value: white space, and comments where a script has them.
    fn skip_gap(&self, at: usize) -> usize {
        let mut at = self.skip_space(at);
        loop {
            let end = (at + MAX_COMMENT).min(self.text.len());
            let rest = self.text.get(at..end).unwrap_or_default();
            let (begin, close) = match rest {
                [b'/', b'*', ..] => (2, &b"*/"[..]),
                [b'/', b'/', ..] => (2, &b"\n"[..]),
                _ => return at,
            };
            let closes = rest[begin..]
                .windows(close.len())
                .position(|it| it == close);
            let Some(closes) = closes else { return at };
            at = self.skip_space(at + begin + closes + close.len());
        }
    }

    /// The place of the value behind `:`, `=`, `=>` or `:=`.
    fn behind_separator(&self, separator: usize) -> usize {
        let behind = self.find(separator, |byte| !b":=>".contains(&byte));
        self.skip_gap(behind)
    }

    /// A field that names the value beside it, such as `{"name": "password", "value": "…"}` in either order, or that is
    /// this value. Returns whether it was masked.
    pub(super) fn beside(&mut self, name: &[u8], value: usize) -> bool {
        let is_one_of = |names: &[&str]| {
            let is_it = |known: &&str| name.eq_ignore_ascii_case(known.as_bytes());
            names.iter().any(is_it)
        };
        if is_one_of(&VALUES) {
            if self.pair == Some(self.braces) {
                self.found.name.set(true);
                self.mask_value(value, true);
                return true;
            }
            self.value_before = Some((self.braces, value));
        } else if is_one_of(&NAMES) && self.is_name_of_secret(value) {
            self.pair = Some(self.braces);
            if let Some((braces, place)) = self.value_before
                && braces == self.braces
                && self.copied <= place
            {
                self.found.name.set(true);
                self.mask_value(place, true);
                return true;
            }
        }
        false
    }

    /// Whether the value at `at` is a text that is the name of a secret.
    fn is_name_of_secret(&self, at: usize) -> bool {
        let Some(mark @ (b'"' | b'\'')) = self.byte(at) else {
            return false;
        };
        let text = &self.text[at + 1..self.end_of_quote(at, mark)];
        is_secret(&String::from_utf8_lossy(&unescape(text)))
    }

    /// After the end of an object, its fields are beside nothing.
    pub(super) fn forget_pair(&mut self) {
        self.pair = self.pair.filter(|braces| *braces != self.braces);
        self.value_before = None;
    }

    /// Masks the content of a text that is a value: JSON, a form, base64 of either.
    fn inner(&mut self, inside: Range<usize>) {
        let written = &self.text[inside.clone()];
        let text = unescape(written);
        let (layer, found) = (self.layer + 1, self.found);
        if let Cow::Owned(masked) = mask_layer(&text, layer, found) {
            let quoted = serde_json::Value::from(String::from_utf8_lossy(&masked)).to_string();
            self.replace(inside, &quoted.as_bytes()[1..quoted.len() - 1]);
        }
    }

    /// Masks the value at `at`. Behind a colon it is JSON, or meant to be.
    pub(super) fn mask_value(&mut self, at: usize, colon: bool) {
        match self.byte(at) {
            None => {}
            Some(mark @ (b'"' | b'\'')) => {
                let end = self.end_of_value(self.end_of_quote(at, mark), mark, colon);
                if end > at + 1 {
                    self.replace(at + 1..end, MASK.as_bytes());
                }
                self.at = self.at.max(end + 1).min(self.text.len());
            }
            Some(b'{' | b'[') => {
                let end = self.end_of_brackets(at);
                let end = self.end_of_value(end - 1, b'"', colon) + 1;
                let end = end.min(self.text.len());
                self.replace(at..end, format!("\"{MASK}\"").as_bytes());
            }
            Some(_) => {
                let end = self.find(at, |byte| b",}]\r\n".contains(&byte));
                let value = self.text[at..end].trim_ascii_end();
                if !value.is_empty() && !matches!(value, b"null" | b"true" | b"false") {
                    self.replace(at..at + value.len(), format!("\"{MASK}\"").as_bytes());
                }
            }
        }
    }

    /// The last byte of a value that seems to end at `end`. If the next bytes cannot follow a value after a colon, a
    /// quote was not escaped, and the value goes on to the next one.
    fn end_of_value(&self, mut end: usize, mark: u8, colon: bool) -> usize {
        while colon && end < self.text.len() && !self.ends_a_value(end + 1) {
            end = self.end_of_quote(end, mark);
        }
        end
    }

    fn ends_a_value(&self, at: usize) -> bool {
        let next = self.skip_space(at);
        self.text[at..next].contains(&b'\n')
            || self.byte(next).is_none_or(|byte| b",}]);&".contains(&byte))
    }

    /// Behind the bracket that closes the one at `at`, or the end.
    fn end_of_brackets(&self, mut at: usize) -> usize {
        let mut open = 0_usize;
        while let Some(byte) = self.byte(at) {
            match byte {
                b'"' => at = self.end_of_quote(at, b'"'),
                b'{' | b'[' => open += 1,
                b'}' | b']' => {
                    open -= 1;
                    if open == 0 {
                        return at + 1;
                    }
                }
                _ => {}
            }
            at += 1;
        }
        self.text.len()
    }
}

/// The text that a quoted text stands for, as far as its escapes are ones.
fn unescape(written: &[u8]) -> Cow<'_, [u8]> {
    if !written.contains(&b'\\') {
        return Cow::Borrowed(written);
    }
    let mut quoted = Vec::with_capacity(written.len() + 2);
    quoted.push(b'"');
    quoted.extend_from_slice(written);
    quoted.push(b'"');
    if let Ok(text) = serde_json::from_slice::<String>(&quoted) {
        return Cow::Owned(text.into_bytes());
    }
    let mut text = Vec::with_capacity(written.len());
    let mut bytes = written.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => match bytes.next() {
                Some(b'n') => text.push(b'\n'),
                Some(b't') => text.push(b'\t'),
                Some(other) => text.push(other),
                None => {}
            },
            byte => text.push(byte),
        }
    }
    Cow::Owned(text)
}
