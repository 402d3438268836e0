//! Errors as callers see them: RFC 9457 problem details with a stable code.

use std::borrow::Cow;

use axum::Json;
use axum::http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE,
};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use common::outcome::FieldError;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

/// Declares the codes once: variant, code, status.
macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $code:literal, $status:ident;)+) => {
        /// The kind of error, as a stable short code. Codes are never reused or renamed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Code {
            /// Every code there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The code as it is written in a problem.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }

            /// The code's meaning, in a sentence or two.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii(),)+ }
            }

            /// The HTTP status that goes with it.
            pub fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)+ }
            }
        }
    };
}

codes! {
    /// The body is not JSON: wrong syntax or encoding, nested too deeply, or a name given twice.
    MalformedJson = "malformed_json", BAD_REQUEST;
    /// The request broke off or cannot be read.
    MalformedRequest = "malformed_request", BAD_REQUEST;
    /// The id in the path is not a UUID.
    MalformedId = "malformed_id", BAD_REQUEST;
    /// `Idempotency-Key` is invalid, or not allowed on this call.
    IdempotencyKey = "idempotency_key", BAD_REQUEST;
    /// `Longshore-Not-Before` is not a moment, or not allowed on this call.
    NotBefore = "not_before", BAD_REQUEST;
    /// Nothing proves who sent the request: no key or token, or one that opens nothing, or no right signature.
    Unauthenticated = "unauthenticated", UNAUTHORIZED;
    /// The key or token does not open this.
    Forbidden = "forbidden", FORBIDDEN;
    /// There is nothing at this path.
    NotFound = "not_found", NOT_FOUND;
    /// Nothing is known of the event, perhaps only not yet.
    UnknownEvent = "unknown_event", NOT_FOUND;
    /// The link confirms nothing: it is not one that was sent, or not the whole of it.
    UnknownLink = "unknown_link", NOT_FOUND;
    /// The event was handed on before it could be cancelled, or names no moment to wait for.
    TooLate = "too_late", CONFLICT;
    /// The link was sent, and its time is over.
    LinkExpired = "link_expired", GONE;
    /// The path takes other methods: see `Allow`.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED;
    /// The request did not arrive in time.
    RequestTimeout = "request_timeout", REQUEST_TIMEOUT;
    /// The body, an event or a batch is over its limit.
    TooLarge = "too_large", PAYLOAD_TOO_LARGE;
    /// The path and query are over the limit.
    UriTooLong = "uri_too_long", URI_TOO_LONG;
    /// The content type, its charset or the content encoding is not supported.
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE;
    /// The event breaks its type's schema or a rule; every field error is listed.
    Invalid = "invalid", UNPROCESSABLE_ENTITY;
    /// No event type of this name is built in or configured.
    UnknownType = "unknown_type", UNPROCESSABLE_ENTITY;
    /// An event holds a password in the clear.
    PlaintextPassword = "plaintext_password", UNPROCESSABLE_ENTITY;
    /// The headers are over the limit.
    HeadersTooLarge = "headers_too_large", REQUEST_HEADER_FIELDS_TOO_LARGE;
    /// More than the rate of a caller or of an address allows.
    RateLimited = "rate_limited", TOO_MANY_REQUESTS;
    /// A fault of ours.
    Internal = "internal", INTERNAL_SERVER_ERROR;
    /// The broker did not confirm that it has the event.
    NotConfirmed = "not_confirmed", SERVICE_UNAVAILABLE;
    /// More is under way than can be done now.
    Overloaded = "overloaded", SERVICE_UNAVAILABLE;
    /// The answer took too long; the event may have been taken nevertheless.
    TimedOut = "timed_out", SERVICE_UNAVAILABLE;
    /// The door does not know its keys yet, or those of the token's issuer.
    KeysUnavailable = "keys_unavailable", SERVICE_UNAVAILABLE;
    /// The database cannot say where the event stands. Events are taken all the same.
    StatusUnavailable = "status_unavailable", SERVICE_UNAVAILABLE;
}

/// An error response: `application/problem+json`. Its `type` is `about:blank`, so the title is the
/// status. Programs go by `code`.
#[derive(Debug, Clone)]
pub struct Problem {
    code: Code,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    retry_after: Option<u32>,
    /// Further header fields.
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// An error: problem details (RFC 9457) with a stable code.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(crate) struct Page<'a> {
    /// Always `about:blank`: the title is the status. Programs go by `code`.
    r#type: &'static str,
    /// The name of the status.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// For a person: the expected value, the found value and the remedy.
    detail: &'a str,
    code: Code,
    /// Every field that is wrong.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schemars(with = "Vec<FieldError>")]
    errors: &'a [FieldError],
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl JsonSchema for Code {
    fn schema_name() -> Cow<'static, str> {
        "Code".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let codes: Vec<_> = Self::ALL.iter().map(|code| code.as_str()).collect();
        json_schema!({
            "description": "The kind of error, for programs. Codes are never reused or renamed.",
            "type": "string",
            "enum": codes,
        })
    }
}

impl Problem {
    /// A problem. `detail` gives the expected value, the found value and the remedy. It never holds
    /// a sent value that may be secret.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: None,
            headers: Vec::new(),
        }
    }

    /// Adds all errors of the body.
    #[must_use]
    pub fn with_errors(mut self, errors: Vec<FieldError>) -> Self {
        self.errors = errors;
        self
    }

    /// Adds the advice to come back after this number of seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The same, saying which content encodings would have been taken.
    #[must_use]
    pub(crate) fn accept_encoding(self, codings: &'static str) -> Self {
        self.header(ACCEPT_ENCODING, HeaderValue::from_static(codings))
    }

    /// The same, saying how to show a key.
    #[must_use]
    pub(crate) fn challenge(self, challenge: &'static str) -> Self {
        self.header(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
    }

    /// The same with one more header field.
    #[must_use]
    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The code.
    pub fn code(&self) -> Code {
        self.code
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.code.status();
        let page = Page {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            detail: &self.detail,
            code: self.code,
            errors: &self.errors,
        };
        let mut response = (status, Json(page)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        headers.extend(self.headers);
        if self.code == Code::MalformedRequest {
            // Nobody can tell where the next request begins.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        // For the log line of the request.
        response.extensions_mut().insert(self.code);
        response
    }
}
