//! The scan over one text: its names, wherever they stand before a value.

use std::ops::Range;

use percent_encoding::percent_decode;

use super::super::{MASK, coded, is_secret};
use super::{Found, mask_layer};

/// Maximum length of a name, in bytes; longer text does not name a field.
const MAX_NAME: usize = 256;
/// Maximum length of the text that is searched for the head of a part of a form, in bytes.
const MAX_HEAD: usize = 512;
/// Names before a value that is a whole line of prose to the eye, and a secret all the same.
const HEADER_LINES: [&str; 4] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
];

pub(super) struct Scan<'t> {
    pub(super) text: &'t [u8],
    pub(super) layer: usize,
    pub(super) found: &'t Found,
    /// Where the scan stands.
    pub(super) at: usize,
    /// How many braces are open.
    pub(super) braces: usize,
    /// The braces in which a field says that the one beside it is a secret.
    pub(super) pair: Option<usize>,
    /// The braces and the place of the last value that such a field may be about.
    pub(super) value_before: Option<(usize, usize)>,
    /// The end of the last value of a form.
    form_end: usize,
    out: Vec<u8>,
    /// Up to where `text` is in `out`.
    pub(super) copied: usize,
}

impl<'t> Scan<'t> {
    pub(super) fn new(text: &'t [u8], layer: usize, found: &'t Found) -> Self {
        Self {
            text,
            layer,
            found,
            at: 0,
            braces: 0,
            pair: None,
            value_before: None,
            form_end: 0,
            out: Vec::new(),
            copied: 0,
        }
    }

    /// The masked text; `None` where there was nothing to mask.
    pub(super) fn run(mut self) -> Option<Vec<u8>> {
        while let Some(byte) = self.byte(self.at) {
            match byte {
                b'"' => self.quoted(b'"'),
                b'\'' if self.opens_a_quote() => self.quoted(b'\''),
                b'<' => self.element(),
                b':' if self.text[self.at..].starts_with(b"://") => self.login(),
                b'{' => {
                    self.braces += 1;
                    self.at += 1;
                }
                b'}' => {
                    self.forget_pair();
                    self.braces = self.braces.saturating_sub(1);
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

    pub(super) fn byte(&self, at: usize) -> Option<u8> {
        self.text.get(at).copied()
    }

    /// The first place from `at` on where `stop` holds, or the end.
    pub(super) fn find(&self, at: usize, stop: impl Fn(u8) -> bool) -> usize {
        let rest = self.text.get(at..).unwrap_or_default();
        let found = rest.iter().position(|&byte| stop(byte));
        at + found.unwrap_or(rest.len())
    }

    pub(super) fn find_text(&self, at: usize, wanted: &[u8]) -> usize {
        let rest = self.text.get(at..).unwrap_or_default();
        let found = rest
            .windows(wanted.len())
            .position(|window| window == wanted);
        at + found.unwrap_or(rest.len())
    }

    pub(super) fn skip_space(&self, at: usize) -> usize {
        self.find(at, |byte| !byte.is_ascii_whitespace())
    }

    pub(super) fn replace(&mut self, range: Range<usize>, with: &[u8]) {
        let before = &self.text[range.clone()];
        if before.trim_ascii() == MASK.as_bytes() || before.trim_ascii() == b"\"***\"" {
            self.found.mask.set(true);
        }
        self.out
            .extend_from_slice(&self.text[self.copied..range.start]);
        self.out.extend_from_slice(with);
        self.copied = range.end;
        self.at = self.at.max(range.end);
    }

    pub(super) fn is_secret_name(&self, name: &[u8]) -> bool {
        let is_one = name.len() <= MAX_NAME && is_secret(&String::from_utf8_lossy(name));
        if is_one {
            self.found.name.set(true);
        }
        is_one
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
        let signs = self.find(separator, |byte| !b":=>".contains(&byte));
        let value = self.find(signs, |byte| byte != b' ' && byte != b'\t');
        let decoded: Vec<u8> = percent_decode(&self.text[name.clone()]).collect();
        if !self.is_secret_name(&decoded) {
            let is_pair = self.beside(&decoded, value);
            if !is_pair && sign == b'=' {
                self.form_value(value);
            }
            return;
        }
        match self.byte(value) {
            Some(b'"' | b'\'') => self.mask_value(value, sign == b':'),
            Some(b'{' | b'[') if sign == b':' => self.mask_value(value, true),
            Some(_) if self.braces > 0 && sign == b':' => self.mask_value(value, true),
            Some(_) => {
                let is_line = sign == b':' || separator > end || value > signs;
                // Prose inside a text is not a line of settings.
                if sign == b':' && self.layer > 0 && !is_header_line(&decoded) {
                    return;
                }
                if sign == b':' && self.block(&name, value) {
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

    /// A value of a form, which may stand for a text in which there are secrets.
    fn form_value(&mut self, value: usize) {
        // Text that was scanned from its beginning is not scanned again from its middle.
        if value < self.form_end {
            return;
        }
        let end = self.find(value, |byte| {
            byte.is_ascii_whitespace() || b"&\"'<".contains(&byte)
        });
        self.form_end = end;
        let (layer, found) = (self.layer + 1, self.found);
        let written = &self.text[value..end];
        if let Some(masked) = coded::masked_percent(written, |text| mask_layer(text, layer, found))
        {
            self.replace(value..end, &masked);
        }
    }

    /// A block of YAML: the lines behind a name that stand further to the right. Whether there is one.
    fn block(&mut self, name: &Range<usize>, value: usize) -> bool {
        let end_of_line = self.find(value, |byte| byte == b'\n');
        let head = self.text[value..end_of_line].trim_ascii();
        if !matches!(head, b"" | b"|" | b">" | b"|-" | b">-" | b"|+" | b">+") {
            return false;
        }
        let line = self.text[..name.start]
            .iter()
            .rposition(|&byte| byte == b'\n');
        let indent = name.start - line.map_or(0, |line| line + 1);
        let start = (end_of_line + 1).min(self.text.len());
        let (mut at, mut end) = (start, start);
        while at < self.text.len() {
            let text = self.find(at, |byte| byte != b' ');
            let next = (self.find(at, |byte| byte == b'\n') + 1).min(self.text.len());
            let is_blank = self.text[at..next].trim_ascii().is_empty();
            if !is_blank && text - at <= indent {
                break;
            }
            at = next;
            end = if is_blank { end } else { next };
        }
        if end > start {
            let first = self.find(start, |byte| !byte.is_ascii_whitespace());
            let last = start + self.text[start..end].trim_ascii_end().len();
            self.replace(first..last, MASK.as_bytes());
        }
        end > start
    }

    /// The login in a URL: a password stands between user and host.
    fn login(&mut self) {
        let start = self.at + 3;
        let end = self.find(start, |byte| {
            byte.is_ascii_whitespace() || b"/?#\"'<>\\".contains(&byte)
        });
        let authority = &self.text[start..end];
        self.at = start;
        let Some(host) = authority.iter().rposition(|&byte| byte == b'@') else {
            return;
        };
        let Some(user) = authority[..host].iter().position(|&byte| byte == b':') else {
            return;
        };
        if user + 1 < host {
            self.replace(start + user + 1..start + host, MASK.as_bytes());
        }
    }

    /// Whether this is `form-data; name="password"` at the head of a part of a form.
    fn names_a_part(&self, name: &Range<usize>, separator: usize) -> bool {
        let open = separator + 1;
        let before = &self.text[name.start.saturating_sub(MAX_HEAD)..name.start];
        self.text[name.clone()].eq_ignore_ascii_case(b"name")
            && self.byte(open) == Some(b'"')
            && before.windows(9).any(|word| word == b"form-data")
            && self.is_secret_name(&self.text[open + 1..self.end_of_quote(open, b'"')])
    }

    /// Masks the text after the head of a part of a form, up to the next part.
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
        self.forget_pair();
        let name = self.at + 1..self.find(self.at + 1, |byte| !in_bare_name(byte) && byte != b':');
        self.at += 1;
        let close = self.find(name.end, |byte| byte == b'>' || byte == b'<');
        let is_one = !name.is_empty() && self.is_secret_name(&self.text[name]);
        if !is_one || self.byte(close) != Some(b'>') {
            return;
        }
        let end = self.find_text(close + 1, b"</");
        if end > close + 1 && self.byte(close - 1) != Some(b'/') {
            self.replace(close + 1..end, MASK.as_bytes());
        }
    }
}

fn is_header_line(name: &[u8]) -> bool {
    HEADER_LINES
        .iter()
        .any(|line| name.eq_ignore_ascii_case(line.as_bytes()))
}

fn in_bare_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || !byte.is_ascii() || b"_-.%[]$+".contains(&byte)
}
