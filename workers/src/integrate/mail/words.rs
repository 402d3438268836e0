//! Texts of any script in a header, as encoded words (RFC 2047).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Maximum length of the text in one encoded word, in bytes: its base64 and its frame stay within 75.
const MAX_WORD: usize = 45;
/// Maximum length of a line that is left as it is, in bytes.
const MAX_LINE: usize = 66;

/// A text of one line for a header. Plain ASCII stays as it is where it is short, and does not look like an encoded
/// word itself.
pub(super) fn encoded(line: &str) -> String {
    let is_plain = line.bytes().all(|byte| matches!(byte, b' '..=b'~')) && !line.contains("=?");
    if is_plain && line.len() <= MAX_LINE {
        return line.to_owned();
    }
    let mut words = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let (word, after) = rest.split_at(rest.floor_char_boundary(MAX_WORD));
        words.push(format!("=?utf-8?B?{}?=", STANDARD.encode(word)));
        rest = after;
    }
    words.join("\r\n ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads encoded words, as a mail program does.
    pub(in crate::integrate::mail) fn decoded(text: &str) -> String {
        if !text.contains("=?utf-8?B?") {
            return text.to_owned();
        }
        let word = |word: &str| {
            let inner = word.strip_prefix("=?utf-8?B?").unwrap();
            STANDARD.decode(inner.strip_suffix("?=").unwrap()).unwrap()
        };
        let bytes: Vec<u8> = text.split("\r\n ").flat_map(word).collect();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn only_what_must_be_is_encoded() {
        assert_eq!(encoded("Hello Ada"), "Hello Ada");
        assert_eq!(encoded("Grüße"), "=?utf-8?B?R3LDvMOfZQ==?=");
        assert!(encoded("=?utf-8?Q?=0D=0A?=").starts_with("=?utf-8?B?PT91"));
        assert_eq!(encoded(""), "");
    }

    proptest! {
        #[test]
        fn any_text_comes_back_in_short_lines(text in "\\PC{0,200}") {
            let header = encoded(&text);
            prop_assert!(header.is_ascii());
            prop_assert!(header.split("\r\n ").all(|line| line.len() <= 75 && !line.contains(['\r', '\n'])));
            prop_assert_eq!(decoded(&header), text);
        }
    }
}
