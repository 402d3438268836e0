//! Files that are part of the program, so that one file is all there is to install.

use std::borrow::Cow;

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use uuid::Uuid;

use crate::problem::{Code, Problem};

/// The content security policy of every page. It forbids even the browser's own way to send a form, which would put a
/// password into an address if the script ever failed to load.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; form-action 'none'; base-uri 'none'; \
                      frame-ancestors 'none'";

pub(crate) const HTML: &str = "text/html; charset=utf-8";
pub(crate) const CSS: &str = "text/css; charset=utf-8";
pub(crate) const JS: &str = "text/javascript; charset=utf-8";
pub(crate) const SVG: &str = "image/svg+xml";

/// One file.
pub(crate) struct Asset {
    /// The last part of its path.
    pub name: &'static str,
    pub media: &'static str,
    pub text: Cow<'static, str>,
}

/// A file of the source folder `$folder`.
macro_rules! asset {
    ($folder:literal, $name:literal, $media:expr) => {
        $crate::asset::Asset {
            name: $name,
            media: $media,
            text: std::borrow::Cow::Borrowed(include_str!(concat!($folder, "/", $name))),
        }
    };
}
pub(crate) use asset;

/// One of the files of a page.
///
/// # Errors
/// The page has no file of this name.
pub(crate) fn file_of(
    files: &[Asset],
    name: Result<Path<String>, PathRejection>,
    asked: &HeaderMap,
) -> Result<Response, Problem> {
    let name = name.map(|Path(name)| name).unwrap_or_default();
    let file = files.iter().find(|file| file.name == name);
    let missing = || Problem::new(Code::NotFound, "the page has no such file");
    Ok(file.ok_or_else(missing)?.answer(asked))
}

impl Asset {
    /// The file, or 304 if the browser has it. Browsers keep the file and ask each time. So a new
    /// version of the program shows at once, and its files never mix with those of the previous
    /// version.
    pub(crate) fn answer(&self, asked: &HeaderMap) -> Response {
        let etag = format!(
            "\"{}\"",
            Uuid::new_v5(&Uuid::NAMESPACE_URL, self.text.as_bytes()).simple()
        );
        let known = asked
            .get_all(IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|tag| tag.trim().trim_start_matches("W/"))
            .any(|tag| tag == etag || tag == "*");
        let headers = [
            (CACHE_CONTROL, "no-cache".to_owned()),
            (CONTENT_SECURITY_POLICY, POLICY.to_owned()),
            (ETAG, etag),
        ];
        if known {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        (headers, [(CONTENT_TYPE, self.media)], self.text.to_string()).into_response()
    }
}
