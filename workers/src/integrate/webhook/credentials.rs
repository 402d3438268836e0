//! Credentials as a header.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;

/// Basic authentication (RFC 7617).
pub(super) fn basic(user: &[u8], password: &[u8]) -> Option<HeaderValue> {
    let credentials = STANDARD.encode([user, b":", password].concat());
    sensitive(&format!("Basic {credentials}"))
}

/// A bearer token (RFC 6750).
pub(super) fn bearer(token: &str) -> Option<HeaderValue> {
    sensitive(&format!("Bearer {token}"))
}

pub(super) fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
