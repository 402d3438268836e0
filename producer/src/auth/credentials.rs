//! What a request shows: `Authorization: Bearer`, and a key or a token behind it (RFC 6750).

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use common::key::Key;
use secrecy::SecretString;

use super::tokens::Refused;
use crate::problem::{Code, Problem};

/// The scheme that both are shown with; its case does not matter (RFC 9110).
const SCHEME: &str = "bearer";

/// The credentials of a request.
pub(super) enum Credentials {
    /// It shows none.
    None,
    /// A key of the right form. Nobody has looked whether it is known.
    Key(Key),
    /// A text of the form of a token. Nobody has looked whether it is one.
    Token(SecretString),
}

/// Reads the credentials.
///
/// # Errors
/// They are not one key or token of the right form.
pub(super) fn read(headers: &HeaderMap) -> Result<Credentials, Problem> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = given.next() else {
        return Ok(Credentials::None);
    };
    if given.next().is_some() {
        return Err(wrong("expected one Authorization header, found several"));
    }
    let text = value.to_str().unwrap_or_default();
    let token = text
        .split_once(' ')
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(SCHEME))
        .map(|(_, token)| token.trim_matches(' '))
        .ok_or_else(|| wrong("expected `Authorization: Bearer KEY`, found something else"))?;
    if has_form_of_token(token) {
        return Ok(Credentials::Token(SecretString::from(token)));
    }
    let key = Key::parse(token).map_err(|error| wrong(error.to_string()))?;
    Ok(Credentials::Key(key))
}

/// Whether a text is three parts in the letters of base64url, joined by dots. No key has a dot.
fn has_form_of_token(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(fits);
    text.split('.').count() == 3 && text.split('.').all(is_part)
}

/// The answer where a key is needed and none is shown.
pub(super) fn missing() -> Problem {
    Problem::new(
        Code::Unauthenticated,
        "expected `Authorization: Bearer KEY`, found none; `longshore keys create` makes a key",
    )
    .challenge("Bearer realm=\"longshore\"")
}

/// The answer to a key that opens nothing. It does not tell whether there ever was one.
pub(super) fn unknown() -> Problem {
    wrong("expected a key that this door knows, found one that is unknown, revoked or expired")
}

/// The answer to a token that opens nothing.
pub(super) fn refused(refused: Refused) -> Problem {
    wrong(refused.to_string())
}

fn wrong(detail: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    Problem::new(Code::Unauthenticated, detail)
        .challenge("Bearer realm=\"longshore\", error=\"invalid_token\"")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn read_one(value: &str) -> Result<Credentials, Problem> {
        let mut headers = HeaderMap::new();
        headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        read(&headers)
    }

    #[test]
    fn a_key_is_read_whatever_the_case_of_the_scheme() {
        let key = Key::generate().unwrap();
        for scheme in ["Bearer", "bearer", "BEARER"] {
            let read = read_one(&format!("{scheme} {}", key.expose()));
            assert!(matches!(read, Ok(Credentials::Key(found)) if found.hash() == key.hash()));
        }
        assert!(matches!(read(&HeaderMap::new()), Ok(Credentials::None)));
    }

    #[test]
    fn everything_else_is_refused_before_any_look_up() {
        let key = Key::generate().unwrap();
        let key = key.expose();
        for value in [
            key.to_owned(),
            format!("Basic {key}"),
            format!("Bearer{key}"),
            format!("Bearer {key}, Bearer {key}"),
            format!("Bearer {key}x"),
            format!("Bearer {}", &key[..40]),
            "Bearer".to_owned(),
            "Bearer ".to_owned(),
            "Bearer lsk_".to_owned(),
            "Bearer eyJhbGciOiJub25lIn0.e30.".to_owned(),
            "Bearer eyJhbGciOiJub25lIn0.e30".to_owned(),
            "Bearer .e30.e30".to_owned(),
            "Bearer a.b.c.d.e".to_owned(),
            "Bearer a.b.c=".to_owned(),
            "Bearer a.b.c a".to_owned(),
            format!("Bearer {key}.a"),
        ] {
            let problem = read_one(&value).err().unwrap();
            assert_eq!(problem.code(), Code::Unauthenticated, "{value}");
        }
        let mut two = HeaderMap::new();
        for _ in 0..2 {
            let value = HeaderValue::from_str(&format!("Bearer {key}")).unwrap();
            two.append(AUTHORIZATION, value);
        }
        assert!(read(&two).is_err());
    }
}
