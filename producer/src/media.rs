//! The media headers of a body: content type, charset, content encoding.

use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use common::event::media::MediaType;

use crate::problem::{Code, Problem};

/// The media type of a body; `None` where none is given.
///
/// # Errors
/// The header is there twice or unreadable, or the body is compressed.
pub(crate) fn given(headers: &HeaderMap) -> Result<Option<MediaType<'_>>, Problem> {
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
    Ok(Some(MediaType::read(text)))
}

/// Expects UTF-8.
///
/// # Errors
/// The charset is another.
pub(crate) fn expect_utf8(media: &MediaType<'_>) -> Result<(), Problem> {
    if media.is_utf8() {
        return Ok(());
    }
    Err(unsupported(
        "expected charset utf-8, found another; JSON is UTF-8",
    ))
}

/// Expects plain JSON.
///
/// # Errors
/// It is another type, or absent.
pub(crate) fn expect_json(headers: &HeaderMap) -> Result<(), Problem> {
    match given(headers)? {
        Some(media) if media.essence() == "application/json" => expect_utf8(&media),
        Some(_) => Err(unsupported(
            "expected Content-Type: application/json, found another",
        )),
        None => Err(unsupported(
            "expected Content-Type: application/json, found no Content-Type",
        )),
    }
}

/// The answer to a media type that is not taken.
pub(crate) fn unsupported(detail: &'static str) -> Problem {
    Problem::new(Code::UnsupportedMediaType, detail)
}
