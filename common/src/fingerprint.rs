//! The common part of errors of one kind: the text without its varying parts.
//!
//! Ten thousand dead letters are few problems. `connect to 10.0.0.7:443: refused after 31 ms` and `connect to
//! 10.0.0.9:443: refused after 4 ms` are one, and both have the fingerprint `connect to #:#: refused after
//! # ms`.
//!
//! - Numbers, UUIDs, hex, addresses of machines and other words that are mostly made of digits become `#`.
//! - Quoted texts become `"…"`.
//! - Addresses of mail become `@`.
//! - Of a URL the scheme and the host stay.
//! - White space that is more than one space becomes `…`.
//!
//! All other text stays unchanged.

/// The longest fingerprint, in characters.
pub const LONGEST: usize = 200;

/// How much of an error is read, in bytes: later text is an answer's body or a chain of many links, and distinguishes
/// nothing.
const LOOKED_AT: usize = 4096;

/// An alphanumeric word with digits in it that is as long as this is an id.
const ID_LENGTH: usize = 8;

/// The length of a UUID as text.
const UUID_LENGTH: usize = 36;

/// The fingerprint of an error: at most [`LONGEST`] characters on one line, without ASCII digits.
pub fn fingerprint(error: &str) -> String {
    let begin = &error[..error.floor_char_boundary(LOOKED_AT)];
    let unquoted = without_quotes(begin);
    let mut print = String::new();
    let mut rest = unquoted.trim();
    while let Some(begin) = rest.find(char::is_whitespace) {
        let (word, after) = rest.split_at(begin);
        rest = after.trim_start();
        push_word(&mut print, word);
        let space = &after[..after.len() - rest.len()];
        print.push(if space == " " { ' ' } else { '…' });
    }
    push_word(&mut print, rest);
    match print.char_indices().nth(LONGEST) {
        Some((end, _)) => {
            print.truncate(end);
            print
        }
        None => print,
    }
}

/// The text with each quoted part replaced. An apostrophe inside a word quotes nothing, and neither does a
/// quotation mark that is never closed.
fn without_quotes(text: &str) -> String {
    let mut rest = text;
    let mut out = String::with_capacity(text.len());
    let mut before = None;
    while let Some(first) = rest.chars().next() {
        let after = &rest[first.len_utf8()..];
        let opens = matches!(first, '"' | '\'' | '`') && !before.is_some_and(char::is_alphanumeric);
        match opens.then(|| closing(after, first)).flatten() {
            Some(end) => {
                out.push_str("\"…\"");
                rest = &after[end..];
                before = Some('"');
            }
            None => {
                out.push(first);
                rest = after;
                before = Some(first);
            }
        }
    }
    out
}

/// The place after the `mark` that closes the text behind an opening one. A mark escaped with a backslash closes
/// nothing.
fn closing(text: &str, mark: char) -> Option<usize> {
    let mut escaped = false;
    for (at, found) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if found == '\\' {
            escaped = true;
        } else if found == mark {
            return Some(at + found.len_utf8());
        }
    }
    None
}

fn push_word(print: &mut String, word: &str) {
    if let Some((scheme, rest)) = word.split_once("://") {
        push_plain(print, scheme);
        print.push_str("://");
        push_url(print, rest);
    } else if word.split_once('@').is_some_and(|(name, host)| {
        name.ends_with(char::is_alphanumeric) && host.starts_with(char::is_alphanumeric)
    }) {
        print.push('@');
    } else if let Some(tail) = after_ipv6(word) {
        print.push('#');
        print.push_str(tail);
    } else {
        push_plain(print, word);
    }
}

/// The part after `://`: the host, and that there is more. The login is left out.
fn push_url(print: &mut String, rest: &str) {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    push_plain(print, host);
    if path.len() > 1 {
        print.push_str("/…");
        // Marks that close a sentence or a bracket do not belong to the address.
        let tail = path.trim_end_matches([')', ']', '>', ',', ';', ':', '.']);
        print.push_str(&path[tail.len()..]);
    } else {
        print.push_str(path);
    }
}

/// The text after an IPv6 address, with or without a port, in `word`: marks that close a part of a sentence.
fn after_ipv6(word: &str) -> Option<&str> {
    let address = word.trim_end_matches([':', ',', '.', ';', ')']);
    let is_one = address.matches(':').count() >= 2
        && address.contains(|one: char| one.is_ascii_hexdigit())
        && address
            .chars()
            .all(|one| one.is_ascii_hexdigit() || matches!(one, ':' | '.' | '[' | ']'));
    is_one.then(|| &word[address.len()..])
}

/// A word of no particular form: each run of letters and digits by itself, then numbers that belong
/// together as one.
fn push_plain(print: &mut String, word: &str) {
    let from = print.len();
    let mut rest = word;
    while !rest.is_empty() {
        if let Some(after) = after_uuid(rest) {
            print.push('#');
            rest = after;
            continue;
        }
        let run = rest
            .find(|one: char| !one.is_alphanumeric())
            .unwrap_or(rest.len());
        let (alphanumeric, after) = rest.split_at(run);
        push_run(print, alphanumeric);
        let other = after.find(char::is_alphanumeric).unwrap_or(after.len());
        let (separator, after) = after.split_at(other);
        print.push_str(separator);
        rest = after;
    }
    for together in ["#.#", "#-#", "#,#"] {
        while let Some(at) = print[from..].find(together) {
            print.replace_range(from + at..from + at + together.len(), "#");
        }
    }
}

/// The text after the UUID at its beginning.
fn after_uuid(text: &str) -> Option<&str> {
    let (begin, after) = text.split_at_checked(UUID_LENGTH)?;
    let is_one = begin.bytes().enumerate().all(|(at, one)| match at {
        8 | 13 | 18 | 23 => one == b'-',
        _ => one.is_ascii_hexdigit(),
    });
    is_one.then_some(after)
}

fn push_run(print: &mut String, run: &str) {
    let digits = run.bytes().filter(u8::is_ascii_digit).count();
    if digits == 0 {
        print.push_str(run);
    } else if run.len() >= ID_LENGTH || run.bytes().all(|one| one.is_ascii_hexdigit()) {
        print.push('#');
    } else {
        let mut in_number = false;
        for one in run.chars() {
            if !one.is_ascii_digit() {
                print.push(one);
            } else if !in_number {
                print.push('#');
            }
            in_number = one.is_ascii_digit();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("expected a 2xx, found 503", "expected a #xx, found #")]
    #[case("connect to 10.0.0.7:443: refused", "connect to #:#: refused")]
    #[case("connect to [2001:db8::ff00]:443: no", "connect to #: no")]
    #[case("order 4711 of 0.25 at 1,000", "order # of # at #")]
    #[case(
        "event 0198c5a1-7d3e-7cc0-8e9a-5b1f2d3c4e5f is unknown",
        "event # is unknown"
    )]
    #[case("deadbeef of 9f86d081884c7d65", "deadbeef of #")]
    #[case("at 2026-11-22T10:00:01.5Z", "at #T#:#:#Z")]
    #[case("no type \"signup.\\\"x\\\"\" here", "no type \"…\" here")]
    #[case("it couldn't, they can't", "it couldn't, they can't")]
    #[case(
        "the field 'name' of `user` is \"open",
        "the field \"…\" of \"…\" is \"open"
    )]
    #[case("mail to <ada@example.com>: no", "mail to @ no")]
    #[case(
        "POST (https://u:p@crm.example.com:8443/hooks/42?x=1): gone",
        "POST (https://crm.example.com:#/…): gone"
    )]
    #[case("GET http://crm/", "GET http://crm/")]
    #[case(" a\n  b\tc d ", "a…b…c d")]
    #[case("", "")]
    fn what_differs_from_one_error_to_the_next_is_taken_out(
        #[case] error: &str,
        #[case] expected: &str,
    ) {
        assert_eq!(fingerprint(error), expected);
    }

    #[test]
    fn it_is_short_however_long_the_error() {
        let long = "ä".repeat(10_000);
        assert_eq!(fingerprint(&long).chars().count(), LONGEST);
    }

    proptest! {
        #[test]
        fn any_text_has_one(error in any::<String>()) {
            let print = fingerprint(&error);
            prop_assert!(print.chars().count() <= LONGEST);
            prop_assert!(!print.contains(|one: char| one.is_ascii_digit()), "{}", print);
            prop_assert!(!print.contains('\n'));
            prop_assert_eq!(fingerprint(&error), print);
        }

        #[test]
        fn what_is_plain_in_it_is_in_the_error(
            error in "([a-z]{1,3}|[0-9]{1,4}|[ \\n\"'`@/#:.,?…-]|https?://|[0-9a-f]{8}){0,12}",
            from in any::<prop::sample::Index>(), to in any::<prop::sample::Index>(),
        ) {
            let print: Vec<char> = fingerprint(&error).chars().collect();
            let (from, to) = (from.index(print.len() + 1), to.index(print.len() + 1));
            let part: String = print[from.min(to)..from.max(to)].iter().collect();
            // It has none of the marks for varying parts.
            let is_plain = !part.contains(['#', '"', '…', '@', '/']);
            prop_assert!(!is_plain || error.contains(&part), "{part:?} of {error:?}");
        }

        #[test]
        fn numbers_and_ids_make_no_difference(
            one in any::<u32>(), other in any::<u32>(), id in any::<u128>(), another in any::<u128>()
        ) {
            let error = |number: u32, id: u128| {
                let id = uuid::Uuid::from_u128(id);
                format!("event {number}: answered {number}.{number} to (id={id}, n={number})")
            };
            prop_assert_eq!(fingerprint(&error(one, id)), fingerprint(&error(other, another)));
        }
    }
}
