//! Binary events: attributes in `ce-*` headers, the data in the body (CloudEvents HTTP binding
//! 1.0.2).

use std::borrow::Cow;

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use common::event::media::MediaType;
use common::event::{Attribute, binary};
use percent_encoding::percent_decode;
use serde_json::Value;

use super::complete;
use crate::admit::{Admitted, Origin, Refusal};
use crate::door::Door;
use crate::media;
use crate::problem::Problem;

const PREFIX: &str = "ce-";

/// Expects a binary event.
///
/// # Errors
/// The headers are not those of an event.
pub(super) fn expect(headers: &HeaderMap, media: Option<&MediaType<'_>>) -> Result<(), Problem> {
    let is_event = headers.keys().any(|name| name.as_str().starts_with(PREFIX));
    if media.is_some_and(MediaType::is_any_event) || !is_event {
        return Err(media::unsupported(
            "expected Content-Type: application/cloudevents+json, \
             application/cloudevents-batch+json, or that of the data with ce-* headers; found \
             none of these",
        ));
    }
    Ok(())
}

/// Reads a binary event. Pointers in errors go into the same event in structured form.
pub(super) fn read(
    door: &Door,
    origin: &Origin,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Admitted, Refusal> {
    let mut attributes: Vec<Attribute> = Vec::new();
    for name in headers.keys() {
        let Some(attribute) = name.as_str().strip_prefix(PREFIX) else {
            continue;
        };
        let mut values = headers.get_all(name).iter();
        let value = values.next().map_or(&b""[..], |value| value.as_bytes());
        let value = if values.next().is_some() {
            Err("expected the header once, found it twice".to_owned())
        } else {
            decode(value).map(Value::from)
        };
        attributes.push((attribute.to_owned(), value));
    }
    // In binary mode the content type is the data's own.
    let content_type = headers.get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let read = binary(attributes, content_type, body)?;
    complete(door, origin, read, None)
}

/// The text a header value stands for: unquoted, then percent-decoded, then read as UTF-8.
fn decode(value: &[u8]) -> Result<String, String> {
    let value = unquote(value)?;
    let is_printable = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
    if !value.iter().all(is_printable) {
        return Err("expected printable ASCII, everything else percent-encoded".to_owned());
    }
    let mut behind_percents = value.split(|byte| *byte == b'%').skip(1);
    if !behind_percents.all(begins_with_two_digits) {
        return Err("expected two hexadecimal digits after each '%'".to_owned());
    }
    let text = percent_decode(&value).decode_utf8();
    text.map(Cow::into_owned)
        .map_err(|_| "expected percent-encoded UTF-8".to_owned())
}

fn begins_with_two_digits(text: &[u8]) -> bool {
    text.get(..2)
        .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}

/// A quoted string without its quotes, as older publishers send it; anything else as it is.
fn unquote(value: &[u8]) -> Result<Vec<u8>, String> {
    let Some(inner) = value.strip_prefix(b"\"") else {
        return Ok(value.to_vec());
    };
    let wrong = || "expected a quoted string that ends with its quote".to_owned();
    let inner = inner.strip_suffix(b"\"").ok_or_else(wrong)?;
    let mut text = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => text.push(bytes.next().ok_or_else(wrong)?),
            b'"' => return Err(wrong()),
            other => text.push(other),
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn header_values_are_unquoted_and_percent_decoded_once() {
        for (value, expected) in [
            ("plain text", "plain text"),
            ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
            ("%2525", "%25"),
            ("\"a \\\"b\\\" %41\"", "a \"b\" A"),
            ("", ""),
        ] {
            assert_eq!(decode(value.as_bytes()).as_deref(), Ok(expected), "{value}");
        }
        for bad in [
            "%", "%4", "%zz", "%%41", "%4%41", "%ff", "\"open", "\"a\"b\"", "\"\\\"", "ü",
        ] {
            assert!(decode(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_comes_back(text in ".{0,30}") {
            let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
            prop_assert_eq!(decode(encoded.as_bytes()), Ok(text));
        }

        #[test]
        fn no_bytes_make_it_panic(value in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = decode(&value);
        }
    }
}
