//! One webhook: a signed request, bounded in time and in the length of the answer.

mod answer;
mod authorization;
mod client;
mod content;
mod credentials;
mod outline;
mod preview;
mod problem;
mod tap;
mod tokens;

use std::time::Duration;

use async_trait::async_trait;
use common::config::{self, WebhookMethod};
use common::event::now;
use common::outcome::Failure;
use common::reason::ReasonCode;
use common::telemetry::trace;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use time::OffsetDateTime;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};
use url::Url;

use self::answer::verdict;
use self::authorization::Authorization;
use self::client::{Answer, Client};
use self::content::{Content, Payload};
use self::outline::Outline;
use self::problem::{Problem, problem_of};
use self::tokens::TokenError;
use super::guard::Guard;
use super::preview::Preview;
use super::transport::{Means, Parcel, Sent, Transport, Verdict};

/// Maximum of an answer's body that is read, in bytes; the rest is left unread.
const MOST_READ: usize = 16 * 1024;
/// How long the body of an answer is waited for once its status is there.
const BODY_PATIENCE: Duration = Duration::from_secs(1);
/// Maximum of it that is kept, in bytes.
const EXCERPT: usize = 1024;

/// A webhook ready to be called.
pub(super) struct Webhook {
    url: Url,
    /// The URL without anything that may be a secret.
    shown: String,
    method: WebhookMethod,
    outline: Outline,
    content: Content,
    authorization: Authorization,
    client: Client,
    guard: Guard,
    timeout: Duration,
}

impl Webhook {
    pub(super) fn new(
        webhook: &config::Webhook,
        timeout: Duration,
        means: Means,
    ) -> Result<Self, String> {
        let Means {
            allow,
            confirmations,
        } = means;
        let mut bare = webhook.url.clone();
        // Refused only where a URL has no host, and then it has neither.
        let _ = (bare.set_username(""), bare.set_password(None));
        let guard = Guard::new(&webhook.url, allow.clone());
        let client = Client::new(guard.clone(), timeout, &webhook.tls)
            .map_err(|error| format!("the TLS of its webhook: {error}"))?;
        Ok(Self {
            url: webhook.url.clone(),
            method: webhook.method,
            outline: Outline::new(webhook, &bare)?,
            shown: shown(bare),
            content: Content::new(webhook, confirmations)?,
            authorization: Authorization::new(webhook, timeout, allow)?,
            client,
            guard,
            timeout,
        })
    }

    /// The span of one call.
    fn span(&self) -> Span {
        // The name of a span is a constant.
        macro_rules! span {
            ($method:literal) => {
                tracing::trace_span!(
                    target: trace::TARGET,
                    $method,
                    otel.kind = "client",
                    otel.status_code = Empty,
                    error.type = Empty,
                    http.request.method = $method,
                    http.request.resend_count = Empty,
                    http.response.status_code = Empty,
                    server.address = self.url.host_str(),
                    server.port = self.url.port_or_known_default(),
                    url.full = self.shown,
                )
            };
        }
        match self.method {
            WebhookMethod::Post => span!("POST"),
            WebhookMethod::Put => span!("PUT"),
            WebhookMethod::Patch => span!("PATCH"),
        }
    }

    /// Sends a delivery. If the endpoint refuses a token, it is sent once more with another one.
    async fn exchange(&self, parcel: Parcel<'_>, payload: &Payload) -> Result<Sent, Problem> {
        let shown = self
            .authorization
            .shown()
            .await
            .map_err(TokenError::problem)?;
        let sent = self.send_once(parcel, payload, shown.header()).await?;
        if sent.status != Some(StatusCode::UNAUTHORIZED.as_u16()) {
            return Ok(sent);
        }
        match self
            .authorization
            .instead_of(&shown)
            .await
            .map_err(TokenError::problem)?
        {
            Some(other) => self.send_once(parcel, payload, other.header()).await,
            None => Ok(sent),
        }
    }

    async fn send_once(
        &self,
        parcel: Parcel<'_>,
        payload: &Payload,
        authorization: Option<HeaderValue>,
    ) -> Result<Sent, Problem> {
        let request = || self.outline.request(parcel, payload, authorization.clone());
        let answered = self.client.send(request).await;
        let answered = answered.map_err(|error| problem_of(&error))?;
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
    }
}

#[async_trait]
impl Transport for Webhook {
    async fn send(&self, parcel: Parcel<'_>) -> Sent {
        let payload = match self.content.payload(parcel.received) {
            Ok(payload) => payload,
            Err(failure) => return Sent::not_made(failure),
        };
        if let Err(forbidden) = self.guard.check_url(&self.url) {
            return Sent::unanswered(ReasonCode::DestinationForbidden, forbidden.to_string());
        }
        let span = self.span();
        let exchange = self.exchange(parcel, &payload);
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
            Ok(Err((code, problem))) => {
                trace::failed(&span, "connection_error");
                Sent::unanswered(code, problem)
            }
            Err(_) => {
                trace::failed(&span, "timeout");
                let error = format!("expected an answer within {:?}, found none", self.timeout);
                Sent::unanswered(ReasonCode::ReceiverFailing, error)
            }
        }
    }

    fn preview(&self, parcel: Parcel<'_>) -> Preview {
        let Ok(payload) = self.content.payload(parcel.received) else {
            return Preview::default();
        };
        let authorization = self.authorization.mask();
        let request = self.outline.request(parcel, &payload, authorization);
        preview::preview(&request, &self.shown, &payload)
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
    text.truncate(EXCERPT);
    let text = String::from_utf8_lossy(&text).replace('\0', "\u{fffd}");
    Sent {
        verdict: verdict(status, retry_after.as_deref(), now()),
        status: Some(status.as_u16()),
        excerpt: Some(text).filter(|text| !text.is_empty()),
        again: false,
    }
}

#[cfg(test)]
mod tests;
