//! `Idempotency-Key`: the same key from the same caller is the same event.

use axum::http::HeaderMap;

use crate::problem::{Code, Problem};

const NAME: &str = "idempotency-key";

/// The key of a request, if it has one.
///
/// # Errors
/// It is not 1 to 255 visible ASCII characters, or there are two.
pub(crate) fn key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut given = headers.get_all(NAME).iter();
    let Some(value) = given.next() else {
        return Ok(None);
    };
    let bytes = value.as_bytes();
    let fits = (1..=255).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
    match std::str::from_utf8(bytes) {
        Ok(key) if fits && given.next().is_none() => Ok(Some(key)),
        _ => Err(Problem::new(
            Code::IdempotencyKey,
            "expected one Idempotency-Key of 1 to 255 visible ASCII characters, found something \
             else; a UUID is a good key",
        )),
    }
}

/// Expects no key.
///
/// # Errors
/// There is one.
pub(crate) fn expect_none(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key(NAME) {
        return Err(Problem::new(
            Code::IdempotencyKey,
            "expected no Idempotency-Key: the key of a CloudEvent is its `source` and `id`; send \
             the same event again as it is",
        ));
    }
    Ok(())
}
