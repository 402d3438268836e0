//! Canonical events: what every queue after validation holds.

use common::broker::{Address, Publication};
use common::event::{CloudEvent, EventId, Trail};
use common::message::{CLOUDEVENTS_JSON, Message};
use common::outcome::Failure;
use common::reason::ReasonCode;
use common::runtime::Received;
use common::topology::Fact;

/// Headers of the publisher's that travel with the event all the way.
const CARRIED: [&str; 2] = ["traceparent", "tracestate"];

/// An event as the stages after validation find it.
pub(crate) struct Canonical {
    pub(crate) id: EventId,
    pub(crate) event: CloudEvent,
}

/// Reads a canonical event. Only an outsider who publishes past the door can make this fail.
pub(crate) fn read(received: &Received) -> Result<Canonical, Failure> {
    let no_event = |detail: String| {
        Failure::new(
            ReasonCode::Undecodable,
            format!("no canonical event: {detail}"),
        )
    };
    let message = &received.message;
    if message.content_type.as_deref() != Some(CLOUDEVENTS_JSON) {
        return Err(no_event(format!(
            "expected content type {CLOUDEVENTS_JSON}"
        )));
    }
    let id = message.message_id.as_deref().unwrap_or_default();
    let id = id
        .parse()
        .map_err(|_| no_event("expected a UUID in message_id".to_owned()))?;
    let event: CloudEvent =
        serde_json::from_slice(&message.body).map_err(|error| no_event(error.to_string()))?;
    event
        .check_attributes()
        .map_err(|error| no_event(error.to_string()))?;
    Ok(Canonical { id, event })
}

/// An event on its way to the next stage: the bytes as they are, and the trail in headers.
pub(crate) fn onward(fact: Fact, message: &Message, kind: &str, trail: &Trail) -> Publication {
    let mut message = message.clone();
    message.headers.retain(|name| CARRIED.contains(&name));
    trail.write(&mut message.headers);
    message.kind = Some(kind.to_owned());
    Publication {
        to: Address::Fact {
            fact,
            routing_key: kind.to_owned(),
        },
        message,
    }
}
