//! The answers as pages, for people. Programs get the same answers as the rest of the API gives them.

use std::sync::LazyLock;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCEPT, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, VARY,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use url::Url;

use crate::asset::HTML;
use crate::door::Door;
use crate::problem::Code;

const STYLE: &str = include_str!("page.css");
const PAGE: &str = include_str!("page.html");
const BUTTON: &str = include_str!("button.html");

/// The words of one page.
struct Words {
    title: &'static str,
    text: &'static str,
}

const ASKED: Words = Words {
    title: "Confirm your address",
    text: "One click, and your e-mail address is confirmed.",
};
const CONFIRMED: Words = Words {
    title: "Your address is confirmed",
    text: "Thank you. You can close this page.",
};
const EXPIRED: Words = Words {
    title: "This link has expired",
    text: "Links can be opened for some time only. Please ask for a new one.",
};
const UNKNOWN: Words = Words {
    title: "This link is not complete",
    text: "Please open it exactly as it stands in the mail. Some programs break long links in two.",
};
const LATER: Words = Words {
    title: "Not yet",
    text: "Your address could not be confirmed just now. Please open the link once more in a minute.",
};

/// The page with the button that confirms.
pub(super) fn ask(door: &Door) -> Response {
    page(StatusCode::OK, &ASKED, BUTTON, door)
}

/// Turns answers into pages where a page is asked for, and sends a browser on after the confirmation, where
/// `confirmation.page` says so.
pub(crate) async fn show(State(door): State<Door>, request: Request, next: Next) -> Response {
    let is_for_people = is_for_people(request.headers());
    let mut answer = next.run(request).await;
    let status = answer.status();
    let code = answer.extensions().get::<Code>().copied();
    if is_for_people && (code.is_some() || status == StatusCode::ACCEPTED) {
        let shown = match (code, &door.config.confirmation.page) {
            (None, Some(page)) => sent_on(page),
            _ => page(status, words(code), "", &door),
        };
        let (parts, body) = shown.into_parts();
        let headers = answer.headers_mut();
        headers.remove(CONTENT_LENGTH);
        headers.remove(CONTENT_TYPE);
        headers.extend(parts.headers);
        *answer.status_mut() = parts.status;
        *answer.body_mut() = body;
    }
    answer
        .headers_mut()
        .insert(VARY, HeaderValue::from_static("Accept"));
    answer
}

fn sent_on(to: &Url) -> Response {
    let mut answer = StatusCode::SEE_OTHER.into_response();
    if let Ok(to) = HeaderValue::from_str(to.as_str()) {
        answer.headers_mut().insert(LOCATION, to);
    }
    answer
}

fn words(code: Option<Code>) -> &'static Words {
    match code {
        None => &CONFIRMED,
        Some(Code::LinkExpired) => &EXPIRED,
        Some(Code::UnknownLink | Code::NotFound) => &UNKNOWN,
        Some(_) => &LATER,
    }
}

fn is_for_people(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter();
    accepted
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|range| range.trim_start().starts_with("text/html"))
}

fn page(status: StatusCode, words: &Words, button: &str, door: &Door) -> Response {
    let text = PAGE
        .replace("STYLE", STYLE)
        .replace("TITLE", words.title)
        .replace("TEXT", words.text)
        .replace("BUTTON", button);
    let mut answer = (status, [(CONTENT_TYPE, HTML)], Body::from(text)).into_response();
    if let Ok(policy) = HeaderValue::from_str(&policy(door.config.confirmation.page.as_ref())) {
        answer.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    }
    answer
}

/// The content security policy: the page's own style, and its own form, which a browser may be sent on from.
fn policy(page: Option<&Url>) -> String {
    static STYLE_HASH: LazyLock<String> =
        LazyLock::new(|| STANDARD.encode(digest(&SHA256, STYLE.as_bytes())));
    let origin = page.map(|page| format!(" {}", page.origin().ascii_serialization()));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; form-action 'self'{}; base-uri 'none'; frame-ancestors 'none'",
        *STYLE_HASH,
        origin.unwrap_or_default()
    )
}
