//! `Longshore-Not-Before`: the moment before which nobody gets the event of a simple call.

use axum::http::HeaderMap;
use common::event::from_rfc3339;

use crate::problem::{Code, Problem};

const NAME: &str = "longshore-not-before";

/// The moment that a request names, if it names one.
///
/// # Errors
/// It is not a moment, or there are two.
pub(crate) fn of(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut given = headers.get_all(NAME).iter();
    let Some(value) = given.next() else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(text) if from_rfc3339(text).is_some() && given.next().is_none() => Ok(Some(text)),
        _ => Err(Problem::new(
            Code::NotBefore,
            "expected one Longshore-Not-Before such as 2030-01-31T08:00:00Z (RFC 3339, within the years 0 to 9999 of \
             UTC), found something else",
        )),
    }
}

/// Expects none; `why` says the reason.
///
/// # Errors
/// There is one.
pub(crate) fn expect_none(headers: &HeaderMap, why: &str) -> Result<(), Problem> {
    if headers.contains_key(NAME) {
        let detail = format!("expected no Longshore-Not-Before: {why}");
        return Err(Problem::new(Code::NotBefore, detail));
    }
    Ok(())
}
