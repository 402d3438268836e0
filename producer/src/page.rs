//! `GET /`: the signup page, and the files it is made of. They are part of the program, so that one
//! file is all there is to install.
//!
//! The page holds no secrets and no rules of its own. It sends the form to `POST /v1/signups`,
//! shows the problems of the answer at their fields, and then the events of `GET
//! /v1/events/{id}/live`. Its content security policy allows only that. It forbids even the
//! browser's own way to send a form, which would put a password into an address if the script ever
//! failed to load.

use axum::Router;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use uuid::Uuid;

use crate::problem::{Code, Problem};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; form-action 'none'; base-uri 'none'; \
                      frame-ancestors 'none'";

/// One file of the page.
struct File {
    name: &'static str,
    media: &'static str,
    text: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! file {
    ($name:literal, $media:expr) => {
        File {
            name: $name,
            media: $media,
            text: include_str!(concat!("page/", $name)),
        }
    };
}

static INDEX: File = file!("index.html", HTML);
static FILES: [File; 6] = [
    file!("style.css", CSS),
    file!("main.js", JS),
    file!("form.js", JS),
    file!("progress.js", JS),
    file!("steps.js", JS),
    file!("icon.svg", SVG),
];

/// The page's routes.
pub(crate) fn router() -> Router {
    Router::new()
        .route("/", get(async |headers: HeaderMap| INDEX.answer(&headers)))
        .route("/page/{file}", get(file))
}

async fn file(
    name: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let name = name.map(|Path(name)| name).unwrap_or_default();
    let file = FILES.iter().find(|file| file.name == name);
    let missing = || Problem::new(Code::NotFound, "the signup page has no such file");
    Ok(file.ok_or_else(missing)?.answer(&headers))
}

impl File {
    /// The file, or 304 if the browser has it. Browsers keep the file and ask each time. So a new
    /// version of the program shows at once, and its files never mix with those of the previous
    /// version.
    fn answer(&self, asked: &HeaderMap) -> Response {
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
        (headers, [(CONTENT_TYPE, self.media)], self.text).into_response()
    }
}
