//! Masking secrets in bytes of any kind: JSON, broken or cut JSON, forms, YAML, XML, header lines, and any of
//! them inside a JSON text.
//!
//! One scan without a grammar: wherever a name stands before a value, and the name is that of a secret, the
//! value is replaced. Everything else stays as it is, to the byte.

use std::borrow::Cow;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{MASK, is_secret};

/// Maximum depth of texts inside texts that are searched.
const MAX_LAYERS: usize = 8;
/// Minimum length of a text that is tried as base64, in bytes.
const MIN_BASE64: usize = 16;
/// Maximum length of a name, in bytes; what is longer does not name a field.
const MAX_NAME: usize = 256;
/// Maximum length of what is searched for the head of a part of a form, in bytes.
const MAX_HEAD: usize = 512;

/// Maximum number of scans over a text in which there are secrets.
const MAX_SCANS: usize = 16;

/// Masks every secret in `text`. What holds none is returned as it is. Masking again changes nothing: where
/// quotes and brackets do not match, a mask lets the rest be read in another way, so it is scanned until nothing
/// more is found.
pub fn mask(text: &[u8]) -> Cow<'_, [u8]> {
    let mut masked = mask_layer(text, 0);
    for _ in 1..MAX_SCANS {
        match mask_layer(&masked, 0) {
            Cow::Owned(again) if again != *masked => masked = Cow::Owned(again),
            _ => break,
        }
    }
    masked
}

fn mask_layer(text: &[u8], layer: usize) -> Cow<'_, [u8]> {
    match utf16(text) {
        Some(decode) => {
            let units = text.chunks_exact(2).map(|pair| decode([pair[0], pair[1]]));
            let decoded: String = char::decode_utf16(units)
                .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
                .collect();
            match Scan::new(decoded.as_bytes(), layer).run() {
                None => Cow::Borrowed(text),
                Some(masked) => {
                    let masked = String::from_utf8_lossy(&masked);
                    let is_little = decode([1, 0]) == 1;
                    let bytes = |unit: u16| {
                        if is_little {
                            unit.to_le_bytes()
                        } else {
                            unit.to_be_bytes()
                        }
                    };
                    Cow::Owned(masked.encode_utf16().flat_map(bytes).collect())
                }
            }
        }
        None => Scan::new(text, layer)
            .run()
            .map_or(Cow::Borrowed(text), Cow::Owned),
    }
}

/// How to read UTF-16, where the text is that: by its mark, or by the zeros between ASCII letters.
fn utf16(text: &[u8]) -> Option<fn([u8; 2]) -> u16> {
    match text {
        [0xff, 0xfe, ..] | [1..=255, 0, 1..=255, 0, ..] => Some(u16::from_le_bytes),
        [0xfe, 0xff, ..] | [0, 1..=255, 0, 1..=255, ..] => Some(u16::from_be_bytes),
        _ => None,
    }
}

struct Scan<'t> {
    text: &'t [u8],
    layer: usize,
    /// Where the scan stands.
    at: usize,
    /// How many braces are open.
    braces: usize,
    out: Vec<u8>,
    /// Up to where `text` is in `out`.
    copied: usize,
}

impl<'t> Scan<'t> {
    fn new(text: &'t [u8], layer: usize) -> Self {
        Self {
            text,
            layer,
            at: 0,
            braces: 0,
            out: Vec::new(),
            copied: 0,
        }
    }

    /// The masked text; `None` where there was nothing to mask.
    fn run(mut self) -> Option<Vec<u8>> {
        while let Some(byte) = self.byte(self.at) {
            match byte {
                b'"' => self.quoted(b'"'),
                b'\'' if self.opens_a_quote() => self.quoted(b'\''),
                b'<' => self.element(),
                b'{' | b'}' => {
                    self.braces = match byte {
                        b'{' => self.braces + 1,
                        _ => self.braces.saturating_sub(1),
                    };
                    self.at += 1;
                }
                byte if in_bare_name(byte) => self.bare(),
                _ => self.at += 1,
            }
        }
        if self.copied == 0 && self.out.is_empty() {
            return None;
        }
        self.out.extend_from_slice(&self.text[self.copied..]);
        Some(self.out)
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.get(at).copied()
    }

    /// The first place from `at` on where `stop` holds, or the end.
    fn find(&self, at: usize, stop: impl Fn(u8) -> bool) -> usize {
        let rest = self.text.get(at..).unwrap_or_default();
        let found = rest.iter().position(|&byte| stop(byte));
        at + found.unwrap_or(rest.len())
    }

    fn find_text(&self, at: usize, wanted: &[u8]) -> usize {
        let rest = self.text.get(at..).unwrap_or_default();
        let found = rest
            .windows(wanted.len())
            .position(|window| window == wanted);
        at + found.unwrap_or(rest.len())
    }

    fn skip_space(&self, at: usize) -> usize {
        self.find(at, |byte| !byte.is_ascii_whitespace())
    }

    fn replace(&mut self, range: Range<usize>, with: &[u8]) {
        self.out
            .extend_from_slice(&self.text[self.copied..range.start]);
        self.out.extend_from_slice(with);
        self.copied = range.end;
        self.at = self.at.max(range.end);
    }

    /// Whether the apostrophe here opens a quote, as in Python's dictionaries, and is not one of a word: it
    /// closes on the same line.
    fn opens_a_quote(&self) -> bool {
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
    fn end_of_quote(&self, at: usize, mark: u8) -> usize {
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
    fn quoted(&mut self, mark: u8) {
        let end = self.end_of_quote(self.at, mark);
        let inside = self.at + 1..end;
        let behind = (end + 1).min(self.text.len());
        let separator = self.skip_space(behind);
        match self.byte(separator) {
            Some(b':' | b'=') => {
                self.at = behind;
                if self.is_secret_name(inside) {
                    let colon = self.byte(separator) == Some(b':');
                    self.mask_value(self.behind_separator(separator), colon);
                }
            }
            // The colon is missing.
            Some(b'"') if self.is_secret_name(inside.clone()) => {
                self.at = behind;
                self.mask_value(separator, true);
            }
            _ => {
                self.inner(inside);
                self.at = self.at.max(behind);
            }
        }
    }

    /// The place of the value behind `:`, `=`, `=>` or `:=`.
    fn behind_separator(&self, separator: usize) -> usize {
        let behind = self.find(separator, |byte| !b":=>".contains(&byte));
        self.skip_space(behind)
    }

    fn is_secret_name(&self, name: Range<usize>) -> bool {
        name.len() <= MAX_NAME && is_secret(&String::from_utf8_lossy(&unescape(&self.text[name])))
    }

    /// Masks what a text holds that is a value: JSON, a form, base64 of either.
    fn inner(&mut self, inside: Range<usize>) {
        if self.layer >= MAX_LAYERS {
            return;
        }
        let written = &self.text[inside.clone()];
        let text = unescape(written);
        if let Cow::Owned(masked) = mask_layer(&text, self.layer + 1) {
            let quoted = serde_json::Value::from(String::from_utf8_lossy(&masked)).to_string();
            self.replace(inside, &quoted.as_bytes()[1..quoted.len() - 1]);
            return;
        }
        if text.len() >= MIN_BASE64
            && let Ok(decoded) = BASE64.decode(&*text)
            && let Cow::Owned(masked) = mask_layer(&decoded, self.layer + 1)
        {
            self.replace(inside, BASE64.encode(masked).as_bytes());
        }
    }

    /// Masks the value at `at`. Behind a colon it is JSON, or meant to be.
    fn mask_value(&mut self, at: usize, colon: bool) {
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

    /// The last byte of a value that seems to end at `end`. Where what follows cannot follow a value behind a
    /// colon, a quote was not escaped, and the value goes on to the next one.
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

    /// A name without quotes: of a form, of YAML, of a header line, of a script's object.
    fn bare(&mut self) {
        let end = self.find(self.at, |byte| !in_bare_name(byte));
        let name = self.at..end;
        self.at = end;
        let separator = self.find(end, |byte| byte != b' ' && byte != b'\t');
        let Some(sign @ (b':' | b'=')) = self.byte(separator) else {
            return;
        };
        if sign == b'=' && self.names_a_part(&name, separator) {
            self.part(separator);
            return;
        }
        let decoded = percent_decode(&self.text[name.clone()]);
        if name.len() > MAX_NAME || !is_secret(&String::from_utf8_lossy(&decoded)) {
            return;
        }
        let signs = self.find(separator, |byte| !b":=>".contains(&byte));
        let value = self.find(signs, |byte| byte != b' ' && byte != b'\t');
        match self.byte(value) {
            Some(b'"' | b'\'') => self.mask_value(value, sign == b':'),
            Some(b'{' | b'[') if sign == b':' => self.mask_value(value, true),
            Some(_) if self.braces > 0 && sign == b':' => self.mask_value(value, true),
            Some(_) => {
                let is_line = sign == b':' || separator > end || value > signs;
                // Prose inside a text is not a line of settings.
                if sign == b':' && self.layer > 0 {
                    return;
                }
                let stop = |byte: u8| match is_line {
                    true => b"\r\n".contains(&byte),
                    false => byte.is_ascii_whitespace() || b"&\"'<".contains(&byte),
                };
                let end = self.find(value, stop);
                if end > value {
                    self.replace(value..end, MASK.as_bytes());
                }
            }
            None => {}
        }
    }

    /// Whether this is `form-data; name="password"` at the head of a part of a form.
    fn names_a_part(&self, name: &Range<usize>, separator: usize) -> bool {
        let open = separator + 1;
        let before = &self.text[name.start.saturating_sub(MAX_HEAD)..name.start];
        self.text[name.clone()].eq_ignore_ascii_case(b"name")
            && self.byte(open) == Some(b'"')
            && before.windows(9).any(|word| word == b"form-data")
            && self.is_secret_name(open + 1..self.end_of_quote(open, b'"'))
    }

    /// Masks what stands behind the head of a part of a form, up to the next part.
    fn part(&mut self, separator: usize) {
        self.at = (self.end_of_quote(separator + 1, b'"') + 1).min(self.text.len());
        let head = &self.text[self.at..(self.at + MAX_HEAD).min(self.text.len())];
        let blank = |line: &[u8]| head.windows(line.len()).position(|window| window == line);
        let ends = [&b"\r\n\r\n"[..], b"\n\n"].map(|line| Some(blank(line)? + line.len()));
        let Some(end) = ends.into_iter().flatten().min() else {
            return;
        };
        let start = self.at + end;
        let end = self.find_text(start, b"\n--");
        let end = if end > start && self.text[end - 1] == b'\r' {
            end - 1
        } else {
            end
        };
        if end > start {
            self.replace(start..end, MASK.as_bytes());
        }
    }

    /// An element of XML: its text is the value.
    fn element(&mut self) {
        let name = self.at + 1..self.find(self.at + 1, |byte| !in_bare_name(byte) && byte != b':');
        self.at += 1;
        let close = self.find(name.end, |byte| byte == b'>' || byte == b'<');
        if name.is_empty() || self.byte(close) != Some(b'>') || !self.is_secret_name(name) {
            return;
        }
        let end = self.find_text(close + 1, b"</");
        if end > close + 1 && self.byte(close - 1) != Some(b'/') {
            self.replace(close + 1..end, MASK.as_bytes());
        }
    }
}

fn in_bare_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-.%[]$+".contains(&byte)
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

fn percent_decode(name: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let digit = |at: usize| tail.get(at).and_then(|&byte| char::from(byte).to_digit(16));
        match (byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                text.extend(u8::try_from(high * 16 + low));
                rest = &tail[2..];
            }
            _ => text.push(byte),
        }
    }
    text
}

#[cfg(test)]
mod tests;
