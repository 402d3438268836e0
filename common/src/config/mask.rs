//! URLs for people: parts that may be secret are masked, anywhere in the URL.

use percent_encoding::percent_decode_str;
use url::Url;

/// The mask in the place of a secret.
const MASK: &str = "***";

/// Query parameters that are known, and hold no secret. The values of all others are masked.
const OPEN_PARAMETERS: [&str; 22] = [
    "application_name",
    "auth_mechanism",
    "cacertfile",
    "channel_max",
    "connect_timeout",
    "connection_timeout",
    "dbname",
    "frame_max",
    "heartbeat",
    "host",
    "hostaddr",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
    "verify",
];

/// Words in a name whose value is a secret.
const SECRET_WORDS: [&str; 14] = [
    "auth", "code", "cookie", "cred", "jwt", "key", "pass", "private", "pwd", "secret", "session",
    "sig", "ticket", "token",
];

/// Minimum length of a part of a path that may be a key, in bytes.
const MIN_KEY: usize = 16;

/// A URL for people: without passwords, tokens and keys, wherever in it they stand.
pub fn masked(url: &Url) -> String {
    if !url.has_authority() {
        // `user:password@host` without a scheme reads as the scheme `user`.
        return MASK.to_owned();
    }
    let is_web = matches!(url.scheme(), "http" | "https");
    let mut shown = url.clone();
    // These fail only for URLs that have no such part.
    if shown.username().to_ascii_lowercase().contains("%3a") {
        // A whole login in the place of the user.
        let _ = shown.set_username(MASK);
    }
    if shown.password().is_some() {
        let _ = shown.set_password(Some(MASK));
    } else if !shown.username().is_empty() && is_web {
        // A token in the place of a user; a user alone is nobody who calls a webhook.
        let _ = shown.set_username(MASK);
    }
    if is_web {
        let path: Vec<String> = url.path().split('/').map(masked_segment).collect();
        shown.set_path(&path.join("/"));
    }
    if url.path().contains(['@', ':']) {
        // A login that has slipped in there: of a second host, or behind one slash too many.
        shown.set_path(MASK);
    }
    let query = shown.query().map(masked_query);
    shown.set_query(query.as_deref());
    shown.set_fragment(None);
    shown.into()
}

/// A part of a webhook's path: some services put the key there.
fn masked_segment(segment: &str) -> String {
    let (name, parameters) = segment
        .split_once(';')
        .map_or((segment, ""), |(name, _)| (name, ";***"));
    let has = |is: fn(&u8) -> bool| name.as_bytes().iter().any(is);
    let is_key = name.len() >= MIN_KEY && has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic);
    let name = if is_key || name.contains("whsec_") {
        MASK
    } else {
        name
    };
    format!("{name}{parameters}")
}

fn masked_query(query: &str) -> String {
    let part = |part: &str| match part.split_once('=') {
        Some((name, value)) if OPEN_PARAMETERS.contains(&name) && is_plain(value) => {
            part.to_owned()
        }
        Some((name, _)) if is_name(name) => format!("{name}={MASK}"),
        // A value alone may be anything.
        _ if !part.is_empty() => MASK.to_owned(),
        _ => String::new(),
    };
    let parts: Vec<String> = query.split('&').map(part).collect();
    parts.join("&")
}

/// Whether it reads as a name: other text may be part of a value that was not escaped.
pub(super) fn is_name(name: &str) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.%".contains(&byte);
    (1..=64).contains(&name.len()) && name.bytes().all(is_of_name)
}

fn is_plain(value: &str) -> bool {
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/');
    value.bytes().all(is_plain)
}

fn is_secret(name: &str) -> bool {
    let name = percent_decode_str(name).decode_utf8_lossy().to_lowercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// A text with the URLs, signing secrets and values of secret names in it masked.
pub(super) fn masked_text(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(scheme_end) = rest.find("://") {
        let is_of_scheme =
            |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '+' | '-' | '.');
        let start = rest[..scheme_end].trim_end_matches(is_of_scheme).len();
        let (before, after) = rest.split_at(start);
        let url = &after[..end_of_url(before, after)];
        shown.push_str(&masked_words(before));
        shown.push_str(&masked_url(url));
        rest = &after[url.len()..];
    }
    shown.push_str(&masked_words(rest));
    shown
}

fn masked_url(text: &str) -> String {
    if text.ends_with("://") {
        // A scheme alone.
        return text.to_owned();
    }
    text.parse()
        .map_or_else(|_| MASK.to_owned(), |url| masked(&url))
}

/// Where the URL ends that `text` begins with: at the quote that closes the one before it, or with the word.
fn end_of_url(before: &str, text: &str) -> usize {
    let Some(quote) = before
        .chars()
        .next_back()
        .filter(|letter| matches!(letter, '"' | '\'' | '`'))
    else {
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        return text[..end]
            .trim_end_matches([',', ';', '.', '`', '"', '\''])
            .len();
    };
    let mut is_escaped = false;
    let closing = text.char_indices().find(|(_, letter)| {
        let closes = *letter == quote && !is_escaped;
        is_escaped = *letter == '\\' && !is_escaped;
        closes
    });
    closing.map_or(text.len(), |(at, _)| at)
}

/// A text that holds no whole URL.
fn masked_words(text: &str) -> String {
    let is_end =
        |letter: char| letter.is_whitespace() || matches!(letter, '"' | '\'' | '`' | ',' | ';');
    let mut shown = String::with_capacity(text.len());
    for word in text.split_inclusive(is_end) {
        let bare = word.trim_end_matches(is_end);
        shown.push_str(&masked_word(bare));
        shown.push_str(&word[bare.len()..]);
    }
    shown
}

fn masked_word(word: &str) -> String {
    if let Some((before, _)) = word.split_once("whsec_") {
        return format!("{before}whsec_{MASK}");
    }
    // `user:password@host`, a URL without its scheme.
    if word
        .split_once('@')
        .is_some_and(|(login, _)| login.contains(':'))
    {
        return MASK.to_owned();
    }
    if let Some((path, query)) = word.split_once('?')
        && query.contains('=')
    {
        return format!("{path}?{}", masked_query(query));
    }
    match word.split_once('=') {
        Some((name, value)) if is_secret(name) && !value.is_empty() => format!("{name}={MASK}"),
        _ => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_in_any_part_shows() {
        for (text, shown) in [
            ("postgres://u:hunter2@h/d", "postgres://u:***@h/d"),
            ("postgres://u:x,;'%20hunter2@h/d", "postgres://u:***@h/d"),
            ("postgres://postgres@h/d", "postgres://postgres@h/d"),
            (
                "postgres://h/test?user=u&password=hunter2&sslmode=require",
                "postgres://h/test?user=u&password=***&sslmode=require",
            ),
            (
                "postgres://h/d?PassWord=hunter2&sslpassword=hunter2&pass%77ord=hunter2&pw=hunter2",
                "postgres://h/d?PassWord=***&sslpassword=***&pass%77ord=***&pw=***",
            ),
            (
                "postgres://h/d?user=1;password=hunter2",
                "postgres://h/d?user=***",
            ),
            (
                "postgres://h/d?options=-c%20x%3Dhunter2",
                "postgres://h/d?options=***",
            ),
            (
                "postgres://h/d?host=postgres://u:hunter2@h",
                "postgres://h/d?host=***",
            ),
            (
                "amqp://h/%2f?heartbeat=5&auth_mechanism=plain",
                "amqp://h/%2f?heartbeat=5&auth_mechanism=plain",
            ),
            ("https://hunter2@h/hook", "https://***@h/hook"),
            (
                "https://h/hook?hunter2&api_key=hunter2&a=b#hunter2",
                "https://h/hook?***&api_key=***&a=***",
            ),
            (
                "https://h/hook?next=https%3A%2F%2Fu%3Ahunter2%40h",
                "https://h/hook?next=***",
            ),
            (
                "https://h/hook?X-Amz-Signature=hunter2",
                "https://h/hook?X-Amz-Signature=***",
            ),
            (
                "https://h/hook;jsessionid=hunter2?b=",
                "https://h/hook;***?b=***",
            ),
            (
                "https://h/services/T0/hunter2hunter2hunter2",
                "https://h/services/T0/***",
            ),
            ("https://h/whsec_hunter2/a", "https://h/***/a"),
            ("amqp://h1,amqp://u:hunter2@h2/v", "amqp://h1,amqp/***"),
            ("amqp:///u:hunter2@h", "amqp:///***"),
            (
                "postgres://h/d?pasword=hunter2&hunter2@h=1&sslmode=require",
                "postgres://h/d?pasword=***&***&sslmode=require",
            ),
            ("amqp://u%3Ahunter2@h", "amqp://***@h"),
            ("u:hunter2@h/hook", "***"),
            ("postgres:u:hunter2@h/d", "***"),
            ("postgres:/u:hunter2@h/d", "***"),
        ] {
            assert_eq!(masked(&text.parse().unwrap()), shown, "{text}");
            for quote in ["", "\"", "'", "`"] {
                if text.contains('\'') && quote == "'" {
                    continue;
                }
                let told = masked_text(&format!("not {quote}{text}{quote}, but"));
                assert!(
                    !told.contains("hunter2") && told.ends_with(&format!("{quote}, but")),
                    "{told}"
                );
            }
        }
    }

    #[test]
    fn no_secret_in_a_text_shows() {
        for text in [
            "found \"postgres://u:a b, c hunter2@h/d\"",
            "found \"postgres://u:a\\\"hunter2@h/d\" there",
            "found h/x?token=hunter2",
            "host=h password=hunter2",
            "host=h;password=hunter2",
            "amqp://u:hunter2@h1,amqp://u:hunter2@h2",
            "whsec_hunter2",
        ] {
            assert!(
                !masked_text(text).contains("hunter2"),
                "{}",
                masked_text(text)
            );
        }
    }

    #[test]
    fn a_text_keeps_what_is_no_secret() {
        for text in [
            "expected amqp://, amqps:// or sqlite:PATH",
            "expected http:// or https://, found ftp://",
            "a 'b' \"c\"; d",
            "expected a list such as [\"a = b\"] or ada@example.com",
        ] {
            assert_eq!(masked_text(text), text);
        }
    }
}
