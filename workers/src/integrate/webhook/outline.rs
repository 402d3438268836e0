//! The outline of a webhook's requests: method, address, headers and signatures.

use bytes::Bytes;
use common::config;
use common::config::Secret;
use common::signature::SigningKeys;
use common::telemetry::trace;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::Full;
use url::Url;

use super::content::Payload;
use crate::integrate::transport::Parcel;

pub(super) const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("longshore/", env!("CARGO_PKG_VERSION")));
const ANY: HeaderValue = HeaderValue::from_static("*/*");
const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const EVENT_ID: HeaderName = HeaderName::from_static("longshore-event-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// Room for all headers that the system sets itself.
const HEADERS: usize = 16;

/// The equal parts of all requests to an endpoint.
pub(super) struct Outline {
    method: Method,
    uri: Uri,
    keys: Option<SigningKeys>,
    /// Those that the operator adds.
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Outline {
    /// The outline of requests to `url`, which holds neither user nor password.
    ///
    /// # Errors
    /// A part cannot be in a request.
    pub(super) fn new(webhook: &config::Webhook, url: &Url) -> Result<Self, String> {
        let method = webhook.method.as_str();
        let headers = webhook.headers.iter();
        let headers = headers.map(|(name, value)| header_of(name, value));
        Ok(Self {
            method: Method::from_bytes(method.as_bytes()).map_err(|error| error.to_string())?,
            uri: url
                .as_str()
                .parse()
                .map_err(|error| format!("the URL of its webhook: {error}"))?,
            keys: SigningKeys::parse(webhook.secrets.iter().map(Secret::expose))
                .map_err(|error| error.to_string())?,
            headers: headers.collect::<Result<_, _>>()?,
        })
    }

    /// The request for a delivery.
    pub(super) fn request(
        &self,
        parcel: Parcel<'_>,
        payload: &Payload,
        authorization: Option<HeaderValue>,
    ) -> Request<Full<Bytes>> {
        let Parcel {
            id,
            event,
            at,
            received,
        } = parcel;
        let timestamp = at.unix_timestamp();
        let body = payload.body.clone();
        let mut headers = HeaderMap::with_capacity(HEADERS + self.headers.len());
        for (name, value) in &self.headers {
            headers.insert(name.clone(), value.clone());
        }
        headers.insert(header::USER_AGENT, USER_AGENT);
        headers.insert(header::ACCEPT, ANY);
        headers.insert(WEBHOOK_TIMESTAMP, timestamp.into());
        if let Some(media_type) = &payload.media_type {
            headers.insert(header::CONTENT_TYPE, media_type.clone());
        }
        if let Some(authorization) = authorization {
            headers.insert(header::AUTHORIZATION, authorization);
        }
        let context = trace::outgoing(&received.message.headers);
        let keys = self.keys.as_ref();
        let signature = keys.map(|keys| keys.sign(id, timestamp, &body));
        for (name, text) in [
            (WEBHOOK_ID, Some(id)),
            (EVENT_ID, Some(&*event.to_string())),
            (WEBHOOK_SIGNATURE, signature.as_deref()),
            (TRACEPARENT, context.parent.as_deref()),
            (TRACESTATE, context.state.as_deref()),
        ] {
            // Only a trace context can fail to be a header, as it is a publisher's: then it is left out.
            if let Some(Ok(value)) = text.map(HeaderValue::from_str) {
                headers.insert(name, value);
            }
        }
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = headers;
        request
    }
}

fn header_of(name: &str, value: &Secret) -> Result<(HeaderName, HeaderValue), String> {
    let wrong = |what: &str| format!("expected {what} of webhook.headers that fits into a request");
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong("a name"))?;
    let mut value = HeaderValue::from_str(value.expose()).map_err(|_| wrong("a value"))?;
    value.set_sensitive(true);
    Ok((name, value))
}
