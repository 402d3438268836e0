//! One webhook: a signed `POST`, bounded in time and in what is read of the answer.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use common::config;
use common::event::{EventId, now};
use common::message::CLOUDEVENTS_JSON;
use common::outcome::{Failure, chain};
use common::reason::ReasonCode;
use common::runtime::Received;
use common::signature::SigningKey;
use futures_util::StreamExt as _;
use http::header;
use ipnet::IpNet;
use reqwest::{Client, Response, redirect};
use time::OffsetDateTime;
use url::Url;

use super::answer::{Verdict, verdict};
use super::guard::{Forbidden, Guard};

/// So much of an answer is read, in bytes; what is over that is left unread.
const MOST_READ: usize = 16 * 1024;
/// How long the body of an answer is waited for once its status is there.
const BODY_PATIENCE: Duration = Duration::from_secs(1);
/// So much of it is kept, in bytes.
const EXCERPT: usize = 1024;

/// A webhook ready to be called.
pub(super) struct Webhook {
    url: Url,
    client: Client,
    guard: Guard,
    key: Option<SigningKey>,
    timeout: Duration,
}

/// Why a webhook cannot be called at all.
#[derive(Debug, thiserror::Error)]
#[error("the webhook cannot be used: {0}")]
pub struct UnusableWebhook(String);

/// What came of one call.
pub(super) struct Sent {
    pub(super) verdict: Verdict,
    pub(super) status: Option<u16>,
    pub(super) excerpt: Option<String>,
}

impl Webhook {
    pub(super) fn new(
        webhook: &config::Webhook,
        timeout: Duration,
        allow: Vec<IpNet>,
    ) -> Result<Self, UnusableWebhook> {
        let key = webhook
            .secret
            .as_ref()
            .map(|secret| SigningKey::parse(secret.expose()))
            .transpose()
            .map_err(|error| UnusableWebhook(error.to_string()))?;
        let guard = Guard::new(&webhook.url, allow);
        let client = Client::builder()
            .user_agent(concat!("longshore/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(guard.clone()))
            // A redirect or a proxy would lead around the guard.
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(timeout)
            .pool_idle_timeout(Duration::from_secs(30))
            .build()
            .map_err(|error| UnusableWebhook(chain(&error)))?;
        Ok(Self {
            url: webhook.url.clone(),
            client,
            guard,
            key,
            timeout,
        })
    }

    /// Sends an event, once.
    pub(super) async fn send(
        &self,
        id: &str,
        event: EventId,
        at: OffsetDateTime,
        received: &Received,
    ) -> Sent {
        if let Err(forbidden) = self.guard.check_url(&self.url) {
            return unanswered(ReasonCode::DestinationForbidden, forbidden.to_string());
        }
        let body = received.message.body.clone();
        let timestamp = at.unix_timestamp();
        let mut request = self
            .client
            .post(self.url.clone())
            .header(header::CONTENT_TYPE, CLOUDEVENTS_JSON)
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("longshore-event-id", event.to_string());
        if let Some(key) = &self.key {
            request = request.header("webhook-signature", key.sign(id, timestamp, &body));
        }
        if let Some(parent) = received.message.headers.text("traceparent") {
            request = request.header("traceparent", parent);
        }
        let exchange = async {
            let response = request.body(body).send().await?;
            Ok(read(response).await)
        };
        match tokio::time::timeout(self.timeout, exchange).await {
            Ok(Ok(sent)) => sent,
            Ok(Err(error)) => unsent(&error),
            Err(_) => {
                let error = format!("expected an answer within {:?}, found none", self.timeout);
                unanswered(ReasonCode::ReceiverFailing, error)
            }
        }
    }
}

/// The status says it all; the body is only read for people.
async fn read(response: Response) -> Sent {
    let status = response.status();
    let retry_after = response
        .headers()
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let empty = response.content_length() == Some(0);
    let mut text = Vec::new();
    // The status stands, however slowly the rest drips in. Reading a short answer to its end lets
    // the connection serve the next delivery.
    if !empty {
        let reading = async {
            let mut body = response.bytes_stream();
            while let Some(Ok(part)) = body.next().await {
                text.extend_from_slice(&part);
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
    }
}

/// The request did not get through. The URL is left out: it may hold a token.
fn unsent(error: &reqwest::Error) -> Sent {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(forbidden) = error.downcast_ref::<Forbidden>() {
            return unanswered(ReasonCode::DestinationForbidden, forbidden.to_string());
        }
        cause = error.source();
    }
    let what = if error.is_connect() {
        "cannot connect"
    } else {
        "the exchange broke off"
    };
    let why = error.source().map(chain).unwrap_or_default();
    unanswered(ReasonCode::ReceiverFailing, format!("{what}: {why}"))
}

fn unanswered(code: ReasonCode, error: String) -> Sent {
    let failure = Failure::new(code, error);
    Sent {
        verdict: Verdict::Later {
            after: None,
            failure,
        },
        status: None,
        excerpt: None,
    }
}
