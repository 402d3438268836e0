//! RFC 9112's rules for the frame of every request: one `Host`, and a body with one unambiguous end. The rest of a bad
//! request is not read: the connection ends.

use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use axum::http::uri::Authority;
use axum::http::{HeaderValue, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::problem::{Code, Problem};

/// Answers 400 to a request with an ambiguous frame or address.
pub(crate) async fn framing(request: Request, next: Next) -> Response {
    let Some(detail) = objection(&request) else {
        return next.run(request).await;
    };
    Problem::new(Code::MalformedRequest, detail).into_response()
}

fn objection(request: &Request) -> Option<&'static str> {
    let headers = request.headers();
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if request.version() < Version::HTTP_11 => {}
        (None, _) => return Some("expected a Host header, found none"),
        (Some(_), Some(_)) => return Some("expected one Host header, found two"),
        (Some(host), None) if !is_host(host) => {
            return Some(
                "expected a host, and perhaps a port, in the Host header, found something else",
            );
        }
        (Some(_), None) => {}
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Some("expected Transfer-Encoding: chunked or none at all, found another");
        }
        if headers.contains_key(CONTENT_LENGTH) {
            return Some("expected Transfer-Encoding or Content-Length, found both");
        }
    }
    None
}

fn is_host(value: &HeaderValue) -> bool {
    let Some(authority) = value
        .to_str()
        .ok()
        .and_then(|text| text.parse::<Authority>().ok())
    else {
        return false;
    };
    let host = authority.host();
    let port = match authority.as_str().strip_prefix(host) {
        // No digit after the colon stands for the usual port.
        Some("" | ":") => true,
        Some(port) => port
            .strip_prefix(':')
            .is_some_and(|port| port.parse::<u16>().is_ok()),
        // A user stands before the host.
        None => false,
    };
    port && !host.is_empty()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn objection_to(version: Version, headers: &[(&str, &str)]) -> Option<&'static str> {
        let mut request = Request::get("/").version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        objection(&request.body(Body::empty()).unwrap())
    }

    #[test]
    fn a_request_names_one_host() {
        for host in [
            "x",
            "example.com:8080",
            "127.0.0.1",
            "[::1]:80",
            "x:",
            "xn--bcher-kva.example",
        ] {
            assert_eq!(
                objection_to(Version::HTTP_11, &[("host", host)]),
                None,
                "{host}"
            );
        }
        for host in [
            "", " ", "a b", "a/b", "u:p@h", "h:port", "h:99999", "[::1", "h?x",
        ] {
            let found = objection_to(Version::HTTP_11, &[("host", host)]);
            assert!(found.is_some(), "{host:?}");
        }
        let two = [("host", "x"), ("host", "x")];
        assert!(objection_to(Version::HTTP_11, &two).is_some());
        assert!(objection_to(Version::HTTP_10, &two).is_some());
        assert!(objection_to(Version::HTTP_11, &[]).is_some());
        assert_eq!(objection_to(Version::HTTP_10, &[]), None);
    }

    #[test]
    fn a_body_has_one_end() {
        let with = |more: &[(&str, &str)]| {
            let mut headers = vec![("host", "x")];
            headers.extend(more);
            objection_to(Version::HTTP_11, &headers)
        };
        assert_eq!(with(&[("transfer-encoding", "Chunked")]), None);
        for codings in [
            &["gzip, chunked"][..],
            &["chunked, chunked"],
            &["chunked", "chunked"],
            &["identity"],
        ] {
            let headers: Vec<_> = codings
                .iter()
                .map(|coding| ("transfer-encoding", *coding))
                .collect();
            assert!(with(&headers).is_some(), "{codings:?}");
        }
        assert!(with(&[("transfer-encoding", "chunked"), ("content-length", "3")]).is_some());
    }
}
