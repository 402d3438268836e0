//! One webhook: a signed `POST`, bounded in time and in the length of the answer.

mod answer;
mod client;
mod tap;

use std::error::Error as _;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use common::config;
use common::event::now;
use common::message::CLOUDEVENTS_JSON;
use common::outcome::{Failure, chain};
use common::reason::ReasonCode;
use common::signature::SigningKey;
use common::telemetry::trace;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header,
};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper_util::client::legacy;
use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use time::OffsetDateTime;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};
use url::Url;

use self::answer::verdict;
use self::client::{Answer, Client};
use super::guard::{Forbidden, Guard};
use super::transport::{Parcel, Sent, Transport, Verdict};

/// Maximum of an answer's body that is read, in bytes; the rest is left unread.
const MOST_READ: usize = 16 * 1024;
/// How long the body of an answer is waited for once its status is there.
const BODY_PATIENCE: Duration = Duration::from_secs(1);
/// Maximum of it that is kept, in bytes.
const EXCERPT: usize = 1024;

const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("longshore/", env!("CARGO_PKG_VERSION")));
const ANY: HeaderValue = HeaderValue::from_static("*/*");
const CONTENT_TYPE: HeaderValue = HeaderValue::from_static(CLOUDEVENTS_JSON);
const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const EVENT_ID: HeaderName = HeaderName::from_static("longshore-event-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// Room for all headers of a request.
const HEADERS: usize = 16;

/// A webhook ready to be called.
pub(super) struct Webhook {
    url: Url,
    /// The URL without anything that may be a secret.
    shown: String,
    uri: Uri,
    /// From a user name and password in the URL.
    authorization: Option<HeaderValue>,
    client: Client,
    guard: Guard,
    key: Option<SigningKey>,
    timeout: Duration,
}

impl Webhook {
    pub(super) fn new(
        webhook: &config::Webhook,
        timeout: Duration,
        allow: Vec<IpNet>,
    ) -> Result<Self, String> {
        let key = webhook
            .secret
            .as_ref()
            .map(|secret| SigningKey::parse(secret.expose()))
            .transpose()
            .map_err(|error| error.to_string())?;
        let mut bare = webhook.url.clone();
        let authorization = authorization(&webhook.url);
        // Refused only where a URL has no host, and then it has neither.
        let _ = (bare.set_username(""), bare.set_password(None));
        let uri = bare
            .as_str()
            .parse()
            .map_err(|error| format!("the URL of its webhook: {error}"))?;
        let guard = Guard::new(&webhook.url, allow);
        let client = Client::new(guard.clone(), timeout)
            .map_err(|error| format!("the TLS of its webhook: {error}"))?;
        Ok(Self {
            url: webhook.url.clone(),
            shown: shown(bare.clone()),
            uri,
            authorization,
            client,
            guard,
            key,
            timeout,
        })
    }

    /// The span of one call.
    fn span(&self) -> Span {
        tracing::trace_span!(
            target: trace::TARGET,
            "POST",
            otel.kind = "client",
            otel.status_code = Empty,
            error.type = Empty,
            http.request.method = "POST",
            http.request.resend_count = Empty,
            http.response.status_code = Empty,
            server.address = self.url.host_str(),
            server.port = self.url.port_or_known_default(),
            url.full = self.shown,
        )
    }

    /// The request for a delivery.
    fn request(&self, parcel: Parcel<'_>) -> Request<Full<Bytes>> {
        let Parcel {
            id,
            event,
            at,
            received,
        } = parcel;
        let timestamp = at.unix_timestamp();
        let body = received.message.body.clone();
        let mut headers = HeaderMap::with_capacity(HEADERS);
        headers.insert(header::USER_AGENT, USER_AGENT);
        headers.insert(header::ACCEPT, ANY);
        headers.insert(header::CONTENT_TYPE, CONTENT_TYPE);
        headers.insert(WEBHOOK_TIMESTAMP, timestamp.into());
        if let Some(authorization) = &self.authorization {
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        let context = trace::outgoing(&received.message.headers);
        let signature = self.key.as_ref().map(|key| key.sign(id, timestamp, &body));
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
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = headers;
        request
    }
}

#[async_trait]
impl Transport for Webhook {
    async fn send(&self, parcel: Parcel<'_>) -> Sent {
        if let Err(forbidden) = self.guard.check_url(&self.url) {
            return Sent::unanswered(ReasonCode::DestinationForbidden, forbidden.to_string());
        }
        let span = self.span();
        let exchange = async {
            let request = || self.request(parcel);
            let answered = self.client.send(request).await?;
            let sent = match answered.answer {
                Answer::Whole(response) => read(response).await,
                Answer::StatusOnly(status) => Sent {
                    verdict: verdict(status, None, now()),
                    status: Some(status.as_u16()),
                    excerpt: None,
                    again: false,
                },
            };
            Ok(Sent {
                again: answered.again,
                ..sent
            })
        };
        let exchange = tokio::time::timeout(self.timeout, exchange);
        match exchange.instrument(span.clone()).await {
            Ok(Ok(sent)) => {
                if let Some(status) = sent.status {
                    trace::answered(&span, status, status >= StatusCode::BAD_REQUEST.as_u16());
                }
                if sent.again {
                    span.record("http.request.resend_count", 1);
                }
                sent
            }
            Ok(Err(error)) => {
                trace::failed(&span, "connection_error");
                unsent(&error)
            }
            Err(_) => {
                trace::failed(&span, "timeout");
                let error = format!("expected an answer within {:?}, found none", self.timeout);
                Sent::unanswered(ReasonCode::ReceiverFailing, error)
            }
        }
    }

    fn verdict_on(&self, status: u16, now: OffsetDateTime) -> Verdict {
        match StatusCode::from_u16(status) {
            Ok(status) => verdict(status, None, now),
            Err(_) => Verdict::Later {
                after: None,
                failure: Failure::new(
                    ReasonCode::ReceiverFailing,
                    format!("expected status 2xx, found {status}"),
                ),
            },
        }
    }
}

/// A URL as traces show it: without user and password, and with the names of its query alone.
fn shown(mut bare: Url) -> String {
    let names: Vec<String> = bare
        .query_pairs()
        .map(|(name, _)| name.into_owned())
        .collect();
    if !names.is_empty() {
        let hidden = names.iter().map(|name| (name.as_str(), "REDACTED"));
        bare.query_pairs_mut().clear().extend_pairs(hidden);
    }
    bare.set_fragment(None);
    bare.into()
}

/// Basic authentication (RFC 7617) for the user name and password of a URL.
fn authorization(url: &Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut credentials: Vec<u8> = percent_decode_str(url.username()).collect();
    credentials.push(b':');
    credentials.extend(percent_decode_str(url.password().unwrap_or_default()));
    let value = format!("Basic {}", STANDARD.encode(credentials));
    let mut value = HeaderValue::from_str(&value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The status says it all; the body is only read for people.
async fn read(response: Response<Incoming>) -> Sent {
    let (head, mut body) = response.into_parts();
    let status = head.status;
    let retry_after = head
        .headers
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let mut text = Vec::new();
    // The status stands, however slowly the rest drips in. Reading a short answer to its end lets
    // the connection serve the next delivery.
    if !body.is_end_stream() {
        let reading = async {
            while let Some(Ok(part)) = body.frame().await {
                if let Some(data) = part.data_ref() {
                    text.extend_from_slice(data);
                }
                if text.len() >= MOST_READ {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(BODY_PATIENCE, reading).await;
    }
    if status.is_success() {
        text.clear();
    }
    text.truncate(EXCERPT);
    let text = String::from_utf8_lossy(&text).replace('\0', "\u{fffd}");
    Sent {
        verdict: verdict(status, retry_after.as_deref(), now()),
        status: Some(status.as_u16()),
        excerpt: Some(text).filter(|text| !text.is_empty()),
        again: false,
    }
}

/// The request did not get through.
fn unsent(error: &legacy::Error) -> Sent {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(forbidden) = error.downcast_ref::<Forbidden>() {
            return Sent::unanswered(ReasonCode::DestinationForbidden, forbidden.to_string());
        }
        cause = error.source();
    }
    let what = if error.is_connect() {
        "cannot connect"
    } else {
        "the exchange broke off"
    };
    let why = error.source().map(chain).unwrap_or_default();
    Sent::unanswered(ReasonCode::ReceiverFailing, format!("{what}: {why}"))
}

#[cfg(test)]
mod tests {
    use common::message::Message;

    use common::event::EventId;
    use common::runtime::Received;

    use super::*;
    use crate::testbed::{self, signup};

    fn webhook(url: &str) -> Webhook {
        let config::Transport::Webhook(config) = testbed::destination(url).transport else {
            panic!("expected a webhook");
        };
        Webhook::new(&config, Duration::from_secs(1), Vec::new()).unwrap()
    }

    fn parcel(event: EventId, received: &Received) -> Parcel<'_> {
        Parcel {
            id: "an-id",
            event,
            at: OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1000),
            received,
        }
    }

    fn header<'r>(request: &'r Request<Full<Bytes>>, name: &str) -> Option<&'r str> {
        request.headers().get(name)?.to_str().ok()
    }

    #[tokio::test]
    async fn a_request_says_what_it_is_about() {
        let id = EventId::born();
        let mut received = signup(id, "ada@example.com");
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        received.message.headers.set("traceparent", parent);
        let request = webhook("https://crm.example/hook").request(parcel(id, &received));
        assert_eq!(request.method(), Method::POST);
        assert_eq!(request.uri(), "https://crm.example/hook");
        let event = id.to_string();
        for (name, value) in [
            ("content-type", CLOUDEVENTS_JSON),
            ("webhook-id", "an-id"),
            ("webhook-timestamp", "1000"),
            ("longshore-event-id", &event),
            ("traceparent", parent),
        ] {
            assert_eq!(header(&request, name), Some(value), "{name}");
        }
        let agent = header(&request, "user-agent").unwrap_or_default();
        assert!(agent.starts_with("longshore/"), "{agent}");
        assert_eq!(header(&request, "authorization"), None);
    }

    #[tokio::test]
    async fn a_context_that_can_be_no_header_stays_behind() {
        let id = EventId::born();
        let mut received = signup(id, "ada@example.com");
        received.message = Message {
            headers: [("traceparent", "a\r\nset-cookie: b")]
                .into_iter()
                .collect(),
            ..received.message
        };
        let request = webhook("https://crm.example/hook").request(parcel(id, &received));
        assert_eq!(header(&request, "traceparent"), None);
        assert_eq!(header(&request, "webhook-id"), Some("an-id"));
    }

    #[tokio::test]
    async fn the_state_of_a_trace_goes_with_its_parent() {
        let id = EventId::born();
        let mut received = signup(id, "ada@example.com");
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        received.message.headers.set("traceparent", parent);
        received.message.headers.set("tracestate", "shop=7");
        let request = webhook("https://crm.example/hook").request(parcel(id, &received));
        assert_eq!(header(&request, "tracestate"), Some("shop=7"));
    }

    #[test]
    fn a_trace_shows_no_secret_of_a_url() {
        let url = |text: &str| shown(text.parse().unwrap());
        assert_eq!(
            url("https://crm.example/hook?token=abc&a=b#c"),
            "https://crm.example/hook?token=REDACTED&a=REDACTED"
        );
        assert_eq!(url("https://crm.example/hook"), "https://crm.example/hook");
    }

    #[tokio::test]
    async fn a_user_and_a_password_in_the_url_go_into_a_header() {
        let webhook = webhook("https://ada:p%40ss@crm.example/hook?a=b");
        let id = EventId::born();
        let request = webhook.request(parcel(id, &signup(id, "ada@example.com")));
        assert_eq!(request.uri(), "https://crm.example/hook?a=b");
        let expected = format!("Basic {}", STANDARD.encode("ada:p@ss"));
        assert_eq!(header(&request, "authorization"), Some(&*expected));
        let value = request.headers().get("authorization");
        assert!(value.is_some_and(HeaderValue::is_sensitive));
    }
}
