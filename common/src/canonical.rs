//! Canonical events: the messages of every queue after validation.

use std::borrow::Cow;

use crate::event::{CloudEvent, EventId, Publisher, Trail, header};
use crate::message::{CLOUDEVENTS_JSON, Headers, Message};
use crate::outcome::Failure;
use crate::publication::{Address, Publication};
use crate::reason::ReasonCode;
use crate::runtime::Received;
use crate::topology::Fact;
use serde::Deserialize;

/// Headers of the publisher's that travel with the event all the way.
const CARRIED: [&str; 2] = ["traceparent", "tracestate"];

/// Headers of ours that nobody behind the store stage has any use for.
const FOR_STORE: [&str; 2] = [header::SEALED_PASSWORD_HASH, header::STREAM_ID];

/// The id that the history makes of an event, where that is another.
pub fn stream_id(message: &Message) -> Option<EventId> {
    message.headers.text(header::STREAM_ID)?.parse().ok()
}

/// An event as the stages after validation find it.
pub struct Canonical {
    /// Our id for it.
    pub id: EventId,
    /// The event itself.
    pub event: CloudEvent,
}

/// The attributes that every event has, as far as passing it on needs them.
#[derive(Deserialize)]
struct Envelope<'e> {
    #[serde(borrow)]
    specversion: Cow<'e, str>,
    #[serde(borrow)]
    id: Cow<'e, str>,
    #[serde(borrow)]
    source: Cow<'e, str>,
    #[serde(borrow, rename = "type")]
    kind: Cow<'e, str>,
}

/// Reads a canonical event. Only an outsider who publishes past the door can make this fail.
pub fn read(received: &Received) -> Result<Canonical, Failure> {
    let id = id(received)?;
    let event: CloudEvent = serde_json::from_slice(&received.message.body)
        .map_err(|error| no_event(&error.to_string()))?;
    event
        .check_attributes()
        .map_err(|error| no_event(&error.to_string()))?;
    Ok(Canonical { id, event })
}

/// Id and type of a canonical event that is passed on unchanged: its content is read, not copied. Fails as [`read`]
/// does.
pub fn passed_on(received: &Received) -> Result<(EventId, Cow<'_, str>), Failure> {
    let id = id(received)?;
    let event: Envelope<'_> = serde_json::from_slice(&received.message.body)
        .map_err(|error| no_event(&error.to_string()))?;
    let Envelope {
        specversion,
        id: own_id,
        source,
        kind,
    } = event;
    if specversion != "1.0" || [&own_id, &source, &kind].iter().any(|text| text.is_empty()) {
        return Err(no_event(
            "expected specversion 1.0, an id, a source and a type",
        ));
    }
    Ok((id, kind))
}

fn id(received: &Received) -> Result<EventId, Failure> {
    let message = &received.message;
    if message.content_type.as_deref() != Some(CLOUDEVENTS_JSON) {
        return Err(no_event(&format!(
            "expected content type {CLOUDEVENTS_JSON}"
        )));
    }
    if !received.trail.names_event() {
        let publisher = received.trail.publisher.as_ref();
        return Err(no_event(&format!(
            "expected a message that validation has accepted, found one that {} published past it",
            publisher.map_or("somebody", Publisher::as_str)
        )));
    }
    received
        .event()
        .ok_or_else(|| no_event("expected a UUID in message_id"))
}

fn no_event(detail: &str) -> Failure {
    Failure::new(
        ReasonCode::Undecodable,
        format!("no canonical event: {detail}"),
    )
}

/// An event on its way to the next stage: the bytes as they are, and the trail in headers.
pub fn onward(fact: Fact, message: &Message, kind: &str, trail: &Trail) -> Publication {
    let for_store = match fact {
        Fact::Accepted => &FOR_STORE[..],
        _ => &[],
    };
    let carried = CARRIED.iter().chain(for_store).filter_map(|name| {
        let value = message.headers.get(name)?;
        Some((*name, value.clone()))
    });
    let mut headers: Headers = carried.collect();
    trail.write(&mut headers);
    Publication {
        to: Address::Fact {
            fact,
            routing_key: kind.to_owned(),
        },
        message: Message {
            body: message.body.clone(),
            content_type: message.content_type.clone(),
            message_id: message.message_id.clone(),
            kind: Some(kind.to_owned()),
            app_id: message.app_id.clone(),
            timestamp: message.timestamp,
            headers,
            ..Message::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use crate::event::{Trail, now};
    use crate::runtime::Claim;

    use super::*;

    const ID: &str = "0190a1b2-0000-7000-8000-000000000001";

    fn received(content_type: &str, id: &str, body: &str) -> Received {
        Received {
            message: Message {
                body: body.to_owned().into(),
                content_type: Some(content_type.to_owned()),
                message_id: Some(id.to_owned()),
                ..Message::default()
            },
            routing_key: "signup.requested".to_owned(),
            redelivered: false,
            claim: Claim::default(),
            trail: Trail {
                accepted_at: Some(now()),
                ..Trail::default()
            },
        }
    }

    #[test]
    fn what_nobody_has_accepted_is_no_event_of_ours() {
        let body = r#"{"specversion":"1.0","id":"7","source":"/","type":"a"}"#;
        let forged = Received {
            trail: Trail::of_foreign(Some("mallory"), now()),
            ..received(CLOUDEVENTS_JSON, ID, body)
        };
        for refused in [passed_on(&forged).err(), read(&forged).err()] {
            let error = refused.map(|failure| failure.error).unwrap_or_default();
            assert!(error.contains("amqp:mallory"), "{error}");
        }
    }

    #[test]
    fn what_is_passed_on_is_an_event_and_keeps_its_id() {
        let body =
            r#"{"specversion":"1.0","id":"7","source":"/sh\u006fp","type":"a.b","data":{"x":[1]}}"#;
        let event = received(CLOUDEVENTS_JSON, ID, body);
        let (id, kind) = passed_on(&event).unwrap();
        assert_eq!((id.to_string().as_str(), &*kind), (ID, "a.b"));
        assert_eq!(read(&event).unwrap().id.to_string(), ID);
    }

    #[test]
    fn what_is_no_event_is_not_passed_on() {
        let good = r#"{"specversion":"1.0","id":"7","source":"/","type":"a"}"#;
        for (content_type, id, body) in [
            ("application/json", ID, good),
            (CLOUDEVENTS_JSON, "7", good),
            (CLOUDEVENTS_JSON, ID, ""),
            (CLOUDEVENTS_JSON, ID, "[]"),
            (CLOUDEVENTS_JSON, ID, &good[..good.len() - 1]),
            (CLOUDEVENTS_JSON, ID, &good.replace("1.0", "2.0")),
            (CLOUDEVENTS_JSON, ID, &good.replace("\"7\"", "\"\"")),
            (CLOUDEVENTS_JSON, ID, &good.replace("source", "sauce")),
        ] {
            let event = received(content_type, id, body);
            assert!(passed_on(&event).is_err(), "{content_type} {id} {body}");
            assert!(read(&event).is_err(), "{content_type} {id} {body}");
        }
    }
}
