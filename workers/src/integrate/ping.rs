//! A ping: one request to a destination, as a delivery would be, to see whether it answers.

use std::time::Instant;

use common::config::{Config, Destination};
use common::event::{EventId, Logins, now};
use common::message::{CLOUDEVENTS_JSON, Message};
use common::outcome::Failure;
use common::reason::ReasonCode;
use common::runtime::Received;
use serde::Serialize;
use serde_json::json;
use time::format_description::well_known::Rfc3339;

use super::preview::RequestLine;
use super::transport::{Means, Parcel, UnusableDestination, Verdict};
use super::transports::transport;

/// The type of the event that a ping sends. No event of it is stored.
const PING: &str = "longshore.ping";

/// What a ping has shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pinged {
    /// The destination.
    pub destination: String,
    /// What was sent: names and values, secrets masked.
    pub request: Vec<RequestLine>,
    /// The beginning of the body that was sent.
    pub body: String,
    /// Whether the receiver took it.
    pub taken: bool,
    /// The status of the answer, by the destination's protocol; `null` without an answer.
    pub status: Option<u16>,
    /// The beginning of the answer.
    pub answer: Option<String>,
    /// The reason code that a delivery with this result would get.
    pub code: Option<ReasonCode>,
    /// The expected and the found, where it was not taken.
    pub error: Option<String>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// Sends a ping to `destination`, once, as the programs of this configuration would. Nothing of it is recorded as a delivery.
///
/// # Errors
/// The destination cannot be used as configured.
pub async fn ping(
    destination: &Destination,
    config: &Config,
) -> Result<Pinged, UnusableDestination> {
    let transport = transport(destination, Means::of(config))?;
    let id = EventId::born();
    let at = now();
    let event = json!({
        "specversion": "1.0",
        "id": id.to_string(),
        "source": "/longshore",
        "type": PING,
        "time": at.format(&Rfc3339).unwrap_or_default(),
        "datacontenttype": "application/json",
        "data": { "destination": destination.name },
    });
    let message = Message {
        body: event.to_string().into(),
        content_type: Some(CLOUDEVENTS_JSON.to_owned()),
        ..Message::default()
    };
    let received = Received::at_the_door(message, PING.to_owned(), &Logins::default(), at);
    let webhook_id = id.to_string();
    let parcel = Parcel {
        id: &webhook_id,
        event: id,
        at,
        received: &received,
    };
    let preview = transport.preview(parcel);
    let began = Instant::now();
    let sent = transport.ping(parcel).await;
    let took = began.elapsed();
    let failure: Option<Failure> = match sent.verdict {
        Verdict::Delivered => None,
        Verdict::Later { failure, .. } | Verdict::Never(failure) | Verdict::NotMade(failure) => {
            Some(failure)
        }
    };
    Ok(Pinged {
        destination: destination.name.clone(),
        request: preview.lines,
        body: preview.body,
        taken: failure.is_none(),
        status: sent.status,
        answer: sent.excerpt,
        code: failure.as_ref().map(|failure| failure.code),
        error: failure.map(|failure| failure.error),
        took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    })
}

#[cfg(test)]
mod tests {
    use testkit::receiver::{Answer, Receiver};

    use super::*;
    use crate::testbed;

    fn config() -> Config {
        let mut config = Config::default();
        config.outbound.allow = vec!["127.0.0.0/8".parse().unwrap()];
        config
    }

    #[tokio::test]
    async fn a_ping_is_signed_as_a_delivery_is_and_tells_the_answer() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let receiver = Receiver::start().await.unwrap();
        let mut destination = testbed::destination(&receiver.url());
        let common::config::Transport::Webhook(webhook) = &mut destination.transport else {
            panic!("a webhook")
        };
        webhook.secrets = vec![common::config::Secret::new(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        )];
        let key = common::config::Secret::new("hunter2");
        webhook.headers.insert("X-Api-Key".to_owned(), key);
        let pinged = ping(&destination, &config()).await.unwrap();
        assert!(pinged.taken && pinged.status == Some(200), "{pinged:?}");
        let request = receiver.requests().remove(0);
        assert_eq!(request.json().unwrap()["type"], PING);
        assert_eq!(request.header("x-api-key"), "hunter2");
        for name in ["webhook-id", "webhook-signature", "content-type"] {
            let sent = RequestLine::new(name, request.header(name));
            assert!(pinged.request.contains(&sent), "{name}: {pinged:?}");
        }
        let shown = serde_json::to_string(&pinged).unwrap();
        assert!(
            !shown.contains("hunter2") && shown.contains("***"),
            "{shown}"
        );
        assert_eq!(pinged.body.as_bytes(), request.body);

        receiver.always(Answer::status(503));
        let pinged = ping(&destination, &config()).await.unwrap();
        assert!(!pinged.taken && pinged.status == Some(503));
        assert_eq!(pinged.code, Some(ReasonCode::ReceiverFailing));
    }

    #[tokio::test]
    async fn a_ping_goes_where_deliveries_may_go_and_nowhere_else() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let receiver = Receiver::start().await.unwrap();
        let destination = testbed::destination(&receiver.url());
        let pinged = ping(&destination, &Config::default()).await.unwrap();
        assert_eq!(pinged.code, Some(ReasonCode::DestinationForbidden));
        assert_eq!((pinged.status, receiver.count()), (None, 0));
    }
}
