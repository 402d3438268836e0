//! `webhook.headers`: the headers that an operator adds to requests.

use std::collections::BTreeMap;

use crate::config::Secret;
use crate::event::media::{MediaType, is_token};

/// Maximum of headers that are added.
const MAX_HEADERS: usize = 32;
/// Maximum size of a header's value, in bytes.
const MAX_VALUE: usize = 8 * 1024;

/// Headers that the system sets itself, or that say where a request ends.
const RESERVED: [&str; 17] = [
    "accept",
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
];

/// Beginnings of the names of such headers.
const RESERVED_PREFIXES: [&str; 2] = ["webhook-", "longshore-"];

/// An error of the headers, if any. It repeats no value.
pub(super) fn problem(headers: &BTreeMap<String, Secret>) -> Option<String> {
    if headers.len() > MAX_HEADERS {
        let found = headers.len();
        return Some(format!(
            "expected up to {MAX_HEADERS} headers, found {found}"
        ));
    }
    let mut names: Vec<String> = headers.keys().map(|it| it.to_ascii_lowercase()).collect();
    names.sort_unstable();
    if let Some([name, _]) = names.array_windows().find(|[one, other]| one == other) {
        return Some(format!("expected each name once, found {name:?} twice"));
    }
    headers
        .iter()
        .find_map(|(name, value)| problem_of(name, value.expose()))
}

fn problem_of(name: &str, value: &str) -> Option<String> {
    if name.len() > 256 || !is_token(name) {
        let shown: String = name.chars().take(60).collect();
        return Some(format!(
            "expected the name of a header, such as X-Api-Key, found {shown:?}"
        ));
    }
    let lower = name.to_ascii_lowercase();
    let other_key = match &*lower {
        "authorization" => Some("webhook.auth"),
        "content-type" => Some("webhook.content_type"),
        _ => None,
    };
    if let Some(key) = other_key {
        return Some(format!("expected {name} in `{key}`, found it here"));
    }
    let is_reserved = RESERVED.contains(&&*lower)
        || RESERVED_PREFIXES
            .iter()
            .any(|prefix| lower.starts_with(prefix));
    if is_reserved {
        return Some(format!(
            "expected headers of your own, found {name}, which the system sets itself or which frames a request: \
             take it out"
        ));
    }
    if value.len() > MAX_VALUE {
        let found = value.len();
        return Some(format!(
            "expected a value of up to {MAX_VALUE} bytes for {name}, found {found}"
        ));
    }
    if !value.bytes().all(is_visible) || value.trim_matches([' ', '\t']) != value {
        return Some(format!(
            "expected a value in visible ASCII for {name}, found other characters (such as a line end, or white space \
             around it)"
        ));
    }
    None
}

/// An error of a media type, if any.
pub(super) fn problem_of_media_type(text: &str) -> Option<String> {
    let is_right = MediaType::read(text).is_well_formed() && text.bytes().all(is_visible);
    let shown: String = text.chars().take(60).collect();
    (!is_right).then(|| format!("expected a media type such as application/json, found {shown:?}"))
}

/// Whether a text can be a token after `Bearer` (RFC 6750): no white space, nothing invisible.
pub(super) fn is_bearer_token(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_VALUE && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_visible(byte: u8) -> bool {
    byte.is_ascii_graphic() || byte == b' ' || byte == b'\t'
}
