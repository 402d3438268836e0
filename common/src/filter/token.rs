//! The tokens of an expression.

/// A mistake in an expression: the byte where it is, and the expected and the found part.
#[derive(Debug)]
pub(super) struct Mistake {
    pub(super) at: usize,
    pub(super) problem: String,
}

impl Mistake {
    pub(super) fn new(at: usize, problem: impl Into<String>) -> Self {
        let problem = problem.into();
        Self { at, problem }
    }
}

/// A token and its place.
#[derive(Debug)]
pub(super) struct Token<'s> {
    pub(super) word: Word<'s>,
    /// Its first byte.
    pub(super) at: usize,
    /// The byte behind it.
    pub(super) end: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Word<'s> {
    Name(&'s str),
    Text(String),
    /// Without a sign.
    Whole(i128),
    Decimal(f64),
    Sign(&'static str),
    End,
}

impl Word<'_> {
    /// For an error: a text may be a secret, so it is not repeated.
    pub(super) fn kind(&self) -> String {
        match self {
            Self::Name(name) => format!("`{name}`"),
            Self::Text(_) => "a text".to_owned(),
            Self::Whole(_) | Self::Decimal(_) => "a number".to_owned(),
            Self::Sign(sign) => format!("`{sign}`"),
            Self::End => "the end".to_owned(),
        }
    }
}

/// The marks of a text, the longer ones first.
pub(super) const MARKS: [&str; 4] = ["\"\"\"", "'''", "\"", "'"];

/// The longer ones first.
const SIGNS: [&str; 24] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":", ".", ",",
    "(", ")", "[", "]", "{", "}",
];

/// The tokens of `source`. The last one is the end.
pub(super) fn tokens(source: &str) -> Result<Vec<Token<'_>>, Mistake> {
    let mut scanner = Scanner { source, at: 0 };
    let mut tokens = Vec::new();
    loop {
        scanner.skip_space();
        let at = scanner.at;
        let word = scanner.word()?;
        let is_end = word == Word::End;
        tokens.push(Token {
            word,
            at,
            end: scanner.at,
        });
        if is_end {
            return Ok(tokens);
        }
    }
}

struct Scanner<'s> {
    source: &'s str,
    at: usize,
}

impl<'s> Scanner<'s> {
    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    /// White space, and comments to the end of their line.
    fn skip_space(&mut self) {
        loop {
            let rest = self.rest();
            let text = rest.trim_start_matches([' ', '\t', '\n', '\r', '\u{c}']);
            self.at += rest.len() - text.len();
            if !text.starts_with("//") {
                return;
            }
            self.at += text.find('\n').unwrap_or(text.len());
        }
    }

    fn word(&mut self) -> Result<Word<'s>, Mistake> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return Ok(Word::End);
        };
        if let Some(text) = self.text()? {
            return Ok(Word::Text(text));
        }
        let second = rest.as_bytes().get(1);
        if first.is_ascii_digit() || (first == '.' && second.is_some_and(u8::is_ascii_digit)) {
            return self.number();
        }
        if is_of_name(first) {
            let name = &rest[..end_of(rest, is_of_name)];
            self.at += name.len();
            return Ok(Word::Name(name));
        }
        if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            self.at += sign.len();
            return Ok(Word::Sign(sign));
        }
        let problem = format!("expected an expression, found the character {first:?}");
        Err(Mistake::new(self.at, problem))
    }

    fn number(&mut self) -> Result<Word<'s>, Mistake> {
        let rest = self.rest();
        let wrong = |expected: &str| Mistake::new(self.at, format!("expected {expected}"));
        let hexadecimal = ["0x", "0X"].iter().find_map(|it| rest.strip_prefix(*it));
        let digits = |text: &str| end_of(text, |it| it.is_ascii_digit());
        let (word, length) = if let Some(text) = hexadecimal {
            let length = end_of(text, |it| it.is_ascii_hexdigit());
            let whole = i128::from_str_radix(&text[..length], 16).ok();
            (whole.map(Word::Whole), length + 2)
        } else {
            let mut length = digits(rest);
            let is_whole = length;
            if rest[length..].starts_with('.') && digits(&rest[length + 1..]) > 0 {
                length += 1 + digits(&rest[length + 1..]);
            }
            if let Some(behind) = rest[length..].strip_prefix(['e', 'E']) {
                let exponent = behind.strip_prefix(['+', '-']).unwrap_or(behind);
                if digits(exponent) > 0 {
                    length += 1 + (behind.len() - exponent.len()) + digits(exponent);
                }
            }
            let text = &rest[..length];
            let word = if length == is_whole {
                text.parse().ok().map(Word::Whole)
            } else {
                let decimal = text.parse().ok();
                decimal.filter(|it: &f64| it.is_finite()).map(Word::Decimal)
            };
            (word, length)
        };
        let most = i128::from(u64::MAX);
        let word = match word {
            Some(Word::Whole(whole)) if whole > most => None,
            word => word,
        };
        let word = word.ok_or_else(|| {
            wrong("a whole number up to 18446744073709551615, or a decimal one up to 1.7e308")
        })?;
        let suffix = rest[length..].strip_prefix(['u', 'U']);
        let is_unsigned = suffix.is_some() && matches!(word, Word::Whole(_));
        let length = length + usize::from(is_unsigned);
        if rest[length..].starts_with(is_of_name) {
            return Err(wrong("a number, such as 10, 0x1f or 2.5e3"));
        }
        self.at += length;
        Ok(word)
    }

    /// A text in quotation marks, if there is one.
    fn text(&mut self) -> Result<Option<String>, Mistake> {
        let rest = self.rest();
        let (is_raw, quoted) = match rest.strip_prefix(['r', 'R']) {
            Some(quoted) => (true, quoted),
            None => (false, rest),
        };
        let Some(mark) = MARKS.into_iter().find(|mark| quoted.starts_with(*mark)) else {
            return Ok(None);
        };
        let start = self.at + (rest.len() - quoted.len()) + mark.len();
        let mut text = String::new();
        let mut at = start;
        loop {
            let ahead = &self.source[at..];
            if ahead.starts_with(mark) {
                self.at = at + mark.len();
                return Ok(Some(text));
            }
            match ahead.chars().next() {
                Some('\\') if !is_raw => {
                    let (escaped, length) = escape(&ahead[1..]).ok_or_else(|| {
                        Mistake::new(at, "expected an escape, such as \\n, \\\" or \\u00e9")
                    })?;
                    text.push(escaped);
                    at += 1 + length;
                }
                Some(letter) if mark.len() == 3 || letter != '\n' => {
                    text.push(letter);
                    at += letter.len_utf8();
                }
                _ => {
                    let problem = format!("expected the end of the text: {mark}");
                    return Err(Mistake::new(self.at, problem));
                }
            }
        }
    }
}

/// The character that an escape without its backslash means, and the length of the escape.
fn escape(text: &str) -> Option<(char, usize)> {
    let letter = text.chars().next()?;
    let number = |from: usize, digits: usize, radix: u32| {
        let text = text.get(from..from + digits)?;
        // It would also take a sign.
        let is_number = text.chars().all(|it| it.is_digit(radix));
        let code = u32::from_str_radix(text, radix).ok()?;
        Some((char::from_u32(code).filter(|_| is_number)?, from + digits))
    };
    let simple = match letter {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        '\\' | '\'' | '"' | '`' | '?' => letter,
        'x' | 'X' => return number(1, 2, 16),
        'u' => return number(1, 4, 16),
        'U' => return number(1, 8, 16),
        '0'..='3' => return number(0, 3, 8),
        _ => return None,
    };
    Some((simple, 1))
}

fn is_of_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

/// The length of the beginning of `text` whose characters are all `of` a kind.
fn end_of(text: &str, of: impl Fn(char) -> bool) -> usize {
    text.find(|letter| !of(letter)).unwrap_or(text.len())
}
