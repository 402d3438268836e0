//! E-mail addresses: which ones are taken (RFC 5321 and, for other scripts, RFC 6531), and one form for
//! comparing.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// Maximum length of an address, in bytes (RFC 5321, 4.5.3.1.3).
const MAX_ADDRESS: usize = 254;
/// Maximum length of the part before the `@`, in bytes (RFC 5321, 4.5.3.1.1).
const MAX_LOCAL: usize = 64;

/// Why a text is not an e-mail address, for the person who typed it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an e-mail address such as ada@example.com")]
pub struct InvalidEmail;

/// The form in which two addresses are compared. The local part is in lower case and in NFKC, so that composed and
/// decomposed letters, full-width letters and ligatures equal their plain form. Unneeded quotes are left out. The
/// domain is in its ASCII form (UTS 46).
///
/// Most mail systems treat the part before the `@` as case-insensitive; a second signup that differs in
/// case alone is the same person.
///
/// # Errors
/// [`InvalidEmail`] if it is not an address.
pub fn normalise_email(text: &str) -> Result<String, InvalidEmail> {
    if text.len() > MAX_ADDRESS {
        return Err(InvalidEmail);
    }
    let (local, domain) = match text.strip_prefix('"') {
        Some(quoted) => {
            let (local, rest) = unquote(quoted)?;
            (fold(&local), rest.strip_prefix('@').ok_or(InvalidEmail)?)
        }
        None => {
            let (local, domain) = text.split_once('@').ok_or(InvalidEmail)?;
            let local = fold(local);
            if !is_dot_atom(&local) {
                return Err(InvalidEmail);
            }
            (local, domain)
        }
    };
    let written = text.len() - domain.len() - 1;
    if written > MAX_LOCAL || local.len() > MAX_LOCAL || !is_text(&local) {
        return Err(InvalidEmail);
    }
    let mut address = String::with_capacity(text.len());
    if is_dot_atom(&local) {
        address.push_str(&local);
    } else {
        address.push('"');
        for letter in local.chars() {
            if matches!(letter, '"' | '\\') {
                address.push('\\');
            }
            address.push(letter);
        }
        address.push('"');
    }
    if address.len() > MAX_LOCAL {
        return Err(InvalidEmail);
    }
    address.push('@');
    push_domain(&mut address, domain)?;
    (address.len() <= MAX_ADDRESS)
        .then_some(address)
        .ok_or(InvalidEmail)
}

/// The address that mail is sent to: the part before the `@` as it was written, and the domain in its ASCII form, which
/// every mail server knows. It has no angle bracket, and so ends where a mail server expects it to end.
///
/// # Errors
/// [`InvalidEmail`] if it is not an address.
pub fn delivery_address(text: &str) -> Result<String, InvalidEmail> {
    let normal = normalise_email(text)?;
    let parts = text.rsplit_once('@').zip(normal.rsplit_once('@'));
    let ((local, _), (_, domain)) = parts.ok_or(InvalidEmail)?;
    if local.contains(['<', '>']) {
        return Err(InvalidEmail);
    }
    Ok(format!("{local}@{domain}"))
}

/// The content of a quoted local part, and the text after its closing quote.
fn unquote(quoted: &str) -> Result<(String, &str), InvalidEmail> {
    let mut local = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Ok((local, &quoted[at + 1..])),
            '\\' => {
                let (_, escaped) = letters.next().ok_or(InvalidEmail)?;
                if !matches!(escaped, ' '..='~') {
                    return Err(InvalidEmail);
                }
                local.push(escaped);
            }
            letter => local.push(letter),
        }
    }
    Err(InvalidEmail)
}

/// Lower case in NFKC. Each step can undo the other for a few letters, so both are repeated until nothing
/// changes.
fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let mut folded: String = text.nfkc().collect();
    loop {
        // Letter by letter: the lower case of a whole text depends on where its words end.
        let lower = folded.chars().flat_map(char::to_lowercase);
        let lower = lower.map(|letter| if letter == 'ς' { 'σ' } else { letter });
        let next: String = lower.nfkc().collect();
        if next == folded {
            return folded;
        }
        folded = next;
    }
}

/// Whether people can see and type all letters: not controls, not spaces other than the ASCII one, not marks of
/// direction or other invisible ones, nothing private.
fn is_text(text: &str) -> bool {
    let mut before = ' ';
    let starts_well = !text.starts_with(is_combining_mark);
    starts_well
        && text
            .chars()
            .all(|letter| match std::mem::replace(&mut before, letter) {
                // Some scripts and some pictures need joiners; between other letters nobody sees them.
                script if matches!(letter, '\u{200c}' | '\u{200d}') => script >= '\u{600}',
                _ => is_visible(letter),
            })
}

fn is_visible(letter: char) -> bool {
    match letter {
        ' '..='~' => true,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' => {
            false
        }
        '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' => false,
        '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' => false,
        '\u{ffa0}' | '\u{fff0}'..='\u{ffff}' | '\u{e000}'..='\u{f8ff}' => false,
        '\u{fdd0}'..='\u{fdef}' | '\u{e0000}'..='\u{10ffff}' => false,
        letter => {
            !letter.is_control() && !letter.is_whitespace() && u32::from(letter) & 0xfffe != 0xfffe
        }
    }
}

/// Whether a local part needs no quotes: atoms joined by single dots.
fn is_dot_atom(local: &str) -> bool {
    local.split('.').all(|atom| {
        !atom.is_empty()
            && atom.chars().all(|letter| {
                letter.is_ascii_alphanumeric()
                    || !letter.is_ascii()
                    || "!#$%&'*+-/=?^_`{|}~".contains(letter)
            })
    })
}

fn push_domain(address: &mut String, domain: &str) -> Result<(), InvalidEmail> {
    if let Some(literal) = domain.strip_prefix('[') {
        let literal = literal.strip_suffix(']').ok_or(InvalidEmail)?;
        let written = match literal.split_at_checked(5) {
            Some((tag, ip)) if tag.eq_ignore_ascii_case("ipv6:") => {
                let ip: Ipv6Addr = ip.parse().map_err(|_| InvalidEmail)?;
                write!(address, "[ipv6:{ip}]")
            }
            _ => {
                let ip: Ipv4Addr = literal.parse().map_err(|_| InvalidEmail)?;
                write!(address, "[{ip}]")
            }
        };
        return written.map_err(|_| InvalidEmail);
    }
    let ascii = Uts46::new()
        .to_ascii(
            domain.as_bytes(),
            AsciiDenyList::STD3,
            Hyphens::CheckFirstLast,
            DnsLength::Verify,
        )
        .map_err(|_| InvalidEmail)?;
    // A name whose last label is a number would be an address of the internet protocol (RFC 3696, 2).
    let last = ascii.rsplit('.').next().unwrap_or_default();
    let hexadecimal = last.strip_prefix("0x");
    if last.bytes().all(|byte| byte.is_ascii_digit())
        || hexadecimal.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
    {
        return Err(InvalidEmail);
    }
    address.push_str(&ascii);
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_that_reach_one_mailbox_compare_equal() {
        for (text, expected) in [
            ("Ada.Lovelace@Example.COM", "ada.lovelace@example.com"),
            ("o'brien+tag@example.co.uk", "o'brien+tag@example.co.uk"),
            ("jürgen@bücher.example", "jürgen@xn--bcher-kva.example"),
            (
                "Jürgen@XN--Bcher-KVA.example",
                "jürgen@xn--bcher-kva.example",
            ),
            ("用户@例子.广告", "用户@xn--fsqu00a.xn--4rr70v"),
            ("नमस्ते@example.com", "नमस्ते@example.com"),
            ("jose\u{301}@example.com", "josé@example.com"),
            ("JOS\u{c9}@example.com", "josé@example.com"),
            ("ｆｕｌｌ@ｅｘａｍｐｌｅ．com", "full@example.com"),
            ("o\u{fb01}ce@example.com", "ofice@example.com"),
            ("\u{17f}am@example.com", "sam@example.com"),
            ("ΟΔΟΣ@example.com", "οδοσ@example.com"),
            ("οδος@example.com", "οδοσ@example.com"),
            ("\"x\"@d", "x@d"),
            ("\"X.\\y\"@d", "x.y@d"),
            ("\"a b\"@d", "\"a b\"@d"),
            ("\"a\\@\\\"b\"@d", "\"a@\\\"b\"@d"),
            ("\".a\"@d", "\".a\"@d"),
            ("a@[127.0.0.1]", "a@[127.0.0.1]"),
            ("a@[IPv6:2001:DB8:0::1]", "a@[ipv6:2001:db8::1]"),
            ("a@r3---sn.example", "a@r3---sn.example"),
            ("a@1a.example", "a@1a.example"),
            ("😀@example.com", "😀@example.com"),
        ] {
            assert_eq!(normalise_email(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_no_mail_can_reach_is_refused() {
        let long = format!("{}@example.com", "a".repeat(65));
        let longer = format!("a@{}com", "abcdefgh.".repeat(30));
        for text in [
            "",
            "ada",
            "@example.com",
            "ada@",
            "a b@example.com",
            "ada@exa mple.com",
            "a@b\n.com",
            "ada@ex%41mple.com",
            &long,
            &longer,
            "a@[]",
            "a@[1.2.3]",
            "a@[::1]",
            "a@[IPv6:]",
            "a@[1.2.3.4",
            "a@]",
            "a@exa=mple.com",
            "a@exa_mple.com",
            "a@1",
            "a@1.2.3.4",
            "a@0x7f000001",
            "a@example.1",
            "a@-a.example",
            "a@a-.example",
            "a@.example",
            "a@example..com",
            "a@example.com.",
            "a@xn--\u{e4}.example",
            "a@xn--zzzzzzzz.example",
            "a@b@c",
            "a..b@d",
            ".a@d",
            "a.@d",
            "a\"b@d",
            "\"a@d",
            "\"a\"b@d",
            "\"a\"",
            "\"a\"b\"@d",
            "\"a\u{1}\"@d",
            "a＠example.com",
            "a\u{200b}@d",
            "\u{202e}a@d",
            "a\u{a0}b@d",
            "\u{301}a@d",
            "ad\u{200d}a@d",
            "a\u{e000}@d",
            "a…b@d",
            "(a)@d",
            "a@(d)",
            "<a@d>",
            "a,b@d",
            "a@d,e",
            "mailto:a@d",
            "a@d>",
            "\"\u{ff02}\"",
        ] {
            assert_eq!(normalise_email(text), Err(InvalidEmail), "{text:?}");
        }
    }

    fn address() -> impl Strategy<Value = String> {
        let local = prop_oneof![
            "[A-Za-z0-9.+_-]{1,12}",
            "\"[ -~]{0,12}\"",
            "\\PC{1,10}",
            "[\u{c0}-\u{24f}\u{370}-\u{3ff}\u{ff21}-\u{ff5a}\u{fb00}-\u{fb06}\u{300}-\u{320}]{1,10}",
        ];
        let domain = prop_oneof![
            "[A-Za-z0-9.-]{1,12}",
            "[a-zäöüßı-ſ\u{ff41}-\u{ff5a}]{1,8}",
            "\\PC{1,10}",
            "\\[.{0,9}\\]"
        ];
        (local, domain).prop_map(|(local, domain)| format!("{local}@{domain}"))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn normalising_again_changes_nothing(text in address()) {
            if let Ok(once) = normalise_email(&text) {
                prop_assert_eq!(normalise_email(&once), Ok(once.clone()), "{}", text);
            }
        }

        #[test]
        fn spellings_of_one_address_are_equal(text in address()) {
            if let Ok(known) = normalise_email(&text) {
                let decomposed: String = text.nfd().collect();
                let wide: String = text
                    .chars()
                    .map(|letter| match letter {
                        'a'..='z' | 'A'..='Z' => char::from_u32(u32::from(letter) + 0xfee0).unwrap_or(letter),
                        other => other,
                    })
                    .collect();
                let wide = if text.contains(['[', '\\']) { text.clone() } else { wide };
                for other in [text.to_ascii_uppercase(), decomposed, wide] {
                    // Another spelling may be too long.
                    if other.len() <= 64 && !other.to_ascii_lowercase().contains("xn--") {
                        prop_assert_eq!(normalise_email(&other), Ok(known.clone()), "{} {}", text, other);
                    }
                }
            }
        }

        #[test]
        fn plain_ascii_addresses_are_their_own_form(text in "[a-z0-9+_-]{1,20}@[a-z][a-z0-9]{0,9}\\.[a-z]{2,6}") {
            prop_assert_eq!(normalise_email(&text), Ok(text.clone()));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,60}") {
            let _ = normalise_email(&text);
        }
    }
}
