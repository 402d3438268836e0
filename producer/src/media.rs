//! What a body says of itself: content type, charset, content encoding.

use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};

use crate::problem::{Code, Problem};

/// The media type of a body, without parameters, in lower case; `None` where none is given.
///
/// # Errors
/// The header is there twice or unreadable, or the body is encoded otherwise than as plain UTF-8.
pub(crate) fn essence(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    // Every line, and every coding in it.
    let encodings = headers.get_all(CONTENT_ENCODING).iter();
    let mut encodings = encodings.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    if !encodings.all(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"identity")) {
        let detail = "expected a body without content encoding, found one; send it uncompressed";
        return Err(unsupported(detail).accept_encoding("identity"));
    }
    let mut given = headers.get_all(CONTENT_TYPE).iter();
    let Some(value) = given.next() else {
        return Ok(None);
    };
    let Some(text) = value.to_str().ok().filter(|_| given.next().is_none()) else {
        return Err(unsupported(
            "expected one Content-Type header in plain ASCII",
        ));
    };
    let mut parts = text.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    for parameter in parts {
        let Some((name, value)) = parameter.split_once('=') else {
            continue;
        };
        let charset = value.trim().trim_matches('"');
        if name.trim().eq_ignore_ascii_case("charset")
            && !["utf-8", "utf8", "us-ascii"]
                .iter()
                .any(|known| charset.eq_ignore_ascii_case(known))
        {
            return Err(unsupported(
                "expected charset utf-8, found another; JSON is UTF-8",
            ));
        }
    }
    Ok(Some(essence))
}

/// Expects plain JSON.
///
/// # Errors
/// It is something else, or nothing is said.
pub(crate) fn expect_json(headers: &HeaderMap) -> Result<(), Problem> {
    match essence(headers)?.as_deref() {
        Some("application/json") => Ok(()),
        Some(_) => Err(unsupported(
            "expected Content-Type: application/json, found another",
        )),
        None => Err(unsupported(
            "expected Content-Type: application/json, found no Content-Type",
        )),
    }
}

/// Whether a media type (without parameters, in lower case) is JSON, and not an event around it.
pub(crate) fn is_json(essence: &str) -> bool {
    matches!(essence, "application/json" | "text/json") || essence.ends_with("+json")
}

/// The answer to a media type that is not taken.
pub(crate) fn unsupported(detail: &'static str) -> Problem {
    Problem::new(Code::UnsupportedMediaType, detail)
}
