//! A webhook's request as people may see it: secrets masked, the body cut.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;

use super::content::Payload;
use crate::integrate::preview::{Preview, RequestLine};

/// Maximum of the body that is shown, in bytes.
const MAX_BODY: usize = 4 * 1024;

const MASK: &str = "***";

/// What `request` to the address `shown` says, with the body of `payload`.
pub(super) fn preview(request: &Request<Full<Bytes>>, shown: &str, payload: &Payload) -> Preview {
    let method = RequestLine::new("method", request.method().as_str());
    let mut lines = vec![method, RequestLine::new("url", shown)];
    for (name, value) in request.headers() {
        let value = match value.to_str() {
            Ok(text) if !value.is_sensitive() => text,
            _ => MASK,
        };
        lines.push(RequestLine::new(name.as_str(), value));
    }
    let body = payload.body.get(..MAX_BODY).unwrap_or(&payload.body);
    Preview {
        lines,
        body: String::from_utf8_lossy(body).into_owned(),
    }
}
