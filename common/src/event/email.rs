//! E-mail addresses: the same parser that sends, and one form for comparing.

use lettre::Address;

/// Why a text is no e-mail address, for the person who typed it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an e-mail address such as ada@example.com")]
pub struct InvalidEmail;

/// The form in which two addresses are compared: all lower case, the domain in its ASCII form (IDNA).
/// Most mail systems treat the part before the `@` as case-insensitive; a second signup that differs
/// in case alone is the same person.
///
/// # Errors
/// [`InvalidEmail`] if it is no address at all.
pub fn normalise_email(text: &str) -> Result<String, InvalidEmail> {
    // RFC 5321 bounds an address at 254 bytes; without a bound the parser's work has none either.
    // The parser of domains is one of URLs, which would read `%41` as `A`.
    if text.len() > 254 || text.chars().any(char::is_control) {
        return Err(InvalidEmail);
    }
    let address: Address = text.parse().map_err(|_| InvalidEmail)?;
    let domain = match address.domain() {
        literal if literal.starts_with('[') => literal.to_lowercase(),
        domain if domain.contains('%') => return Err(InvalidEmail),
        domain => url::Host::parse(domain)
            .map_err(|_| InvalidEmail)?
            .to_string(),
    };
    Ok(format!("{}@{domain}", address.user().to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_reach_one_mailbox_compare_equal() {
        for (text, expected) in [
            ("Ada.Lovelace@Example.COM", "ada.lovelace@example.com"),
            ("o'brien+tag@example.co.uk", "o'brien+tag@example.co.uk"),
            ("jürgen@bücher.example", "jürgen@xn--bcher-kva.example"),
            ("用户@例子.广告", "用户@xn--fsqu00a.xn--4rr70v"),
        ] {
            assert_eq!(normalise_email(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_no_mail_can_reach_is_refused() {
        let long = format!("{}@example.com", "a".repeat(300));
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
        ] {
            assert_eq!(normalise_email(text), Err(InvalidEmail), "{text:?}");
        }
    }
}
