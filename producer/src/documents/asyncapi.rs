//! `/asyncapi.json`: the contract on the broker, AsyncAPI 3.0. It names exchanges and the history, and no host.
//!
//! Its schemas are of draft-07, the one draft that AsyncAPI 3.0 takes. A configured type may have a schema of another
//! draft, so its data is described by a link.

use common::dependency::EngineKind;
use common::event::{EventType, PROCESSING_REQUESTED, SIGNUP_CONFIRMED, SIGNUP_REQUESTED, header};
use common::message::CLOUDEVENTS_JSON;
use common::reason::ReasonCode;
use common::topology::{Fact, Names};
use serde_json::{Map, Value, json};

use super::facts::Facts;
use super::{examples, schemas};

/// The prefix of attributes in headers, of the CloudEvents AMQP binding.
const PREFIX: &str = "cloudEvents:";

/// The three shapes of a message that somebody publishes.
const SHAPES: [&str; 3] = ["structured", "binary", "plain"];

/// The document.
pub(super) fn document(facts: Facts<'_>) -> Value {
    let names = Names::new(facts.door.config.namespace.clone());
    let mut channels = Map::new();
    let mut operations = Map::new();
    for fact in Fact::ALL {
        let mut channel = exchange(&names, fact);
        channel["messages"] = messages(facts, fact);
        channels.insert(fact.as_str().to_owned(), channel);
        let (name, operation) = operation(fact);
        operations.insert(name.to_owned(), operation);
    }
    let mut history = history(&names);
    history["messages"] = messages(facts, Fact::Received);
    channels.insert("history".to_owned(), history);
    operations.insert(
        "keepHistory".to_owned(),
        json!({
            "action": "send", "channel": { "$ref": "#/channels/history" },
            "summary": "Every received event, as it came, for as long as `history.keep` says.",
        }),
    );
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Longshore",
            "version": env!("CARGO_PKG_VERSION"),
            "description": description(facts),
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "defaultContentType": CLOUDEVENTS_JSON,
        "channels": channels,
        "operations": operations,
        "components": { "messages": all_messages(facts), "schemas": all_schemas(facts) },
    })
}

fn description(facts: Facts<'_>) -> String {
    let reachable = match facts.door.health.broker.engine() {
        EngineKind::SqliteBroker => {
            "This system runs on the embedded engine, which nobody reaches over AMQP. The same system on RabbitMQ has \
             these exchanges."
        }
        _ => "The address and the login of the broker are the operator's to give.",
    };
    format!(
        "Events on the broker: one exchange for each state of an event, with the event's type as routing key. Publish \
         to `received` only: persistent, mandatory, with confirms. To listen, bind a queue of your own; never consume \
         Longshore's own queues. {reachable} /openapi.json of the door describes the same over HTTP."
    )
}

fn exchange(names: &Names, fact: Fact) -> Value {
    let name = names.exchange(fact);
    json!({
        "address": name,
        "description": summary(fact),
        "bindings": { "amqp": {
            "is": "routingKey",
            "exchange": { "name": name, "type": "topic", "durable": true, "autoDelete": false },
            "bindingVersion": "0.3.0",
        }},
    })
}

fn history(names: &Names) -> Value {
    json!({
        "address": names.history(),
        "description": "A stream of all received events.",
        "bindings": { "amqp": {
            "is": "queue",
            "queue": { "name": names.history(), "durable": true, "exclusive": false, "autoDelete": false },
            "bindingVersion": "0.3.0",
        }},
    })
}

fn summary(fact: Fact) -> &'static str {
    match fact {
        Fact::Received => "Events from every door. The one exchange that others publish to.",
        Fact::Accepted => "Well-formed events that follow every rule, in canonical form.",
        Fact::Rejected => "Events that break a rule.",
        Fact::Stored => "Events that are in the database.",
        Fact::Dead => "Messages that a stage or the broker gave up on.",
    }
}

/// The operation on the exchange of a fact, as Longshore does it, and its name.
fn operation(fact: Fact) -> (&'static str, Value) {
    let (name, action) = match fact {
        Fact::Received => ("receiveEvents", "receive"),
        Fact::Accepted => ("announceAccepted", "send"),
        Fact::Rejected => ("announceRejected", "send"),
        Fact::Stored => ("announceStored", "send"),
        Fact::Dead => ("announceDead", "send"),
    };
    let operation = json!({
        "action": action,
        "channel": { "$ref": format!("#/channels/{}", fact.as_str()) },
        "summary": summary(fact),
        "bindings": { "amqp": { "deliveryMode": 2, "mandatory": true, "bindingVersion": "0.3.0" } },
    });
    (name, operation)
}

/// The messages of a channel, as references.
fn messages(facts: Facts<'_>, fact: Fact) -> Value {
    let names: Vec<String> = match fact {
        Fact::Received => {
            let of = |kind: &&EventType| SHAPES.map(|shape| format!("{}.{shape}", kind.name()));
            facts.types.iter().flat_map(of).collect()
        }
        Fact::Accepted | Fact::Stored => {
            let of = |kind: &&EventType| format!("{}.canonical", kind.name());
            facts.types.iter().map(of).collect()
        }
        Fact::Rejected => vec!["rejected".to_owned()],
        Fact::Dead => vec!["dead".to_owned()],
    };
    let named = names.into_iter().map(|name| {
        let reference = json!({ "$ref": format!("#/components/messages/{name}") });
        (name, reference)
    });
    named.collect::<Map<_, _>>().into()
}

fn all_messages(facts: Facts<'_>) -> Value {
    let mut messages = Map::new();
    for kind in facts.types {
        let name = kind.name();
        messages.insert(format!("{name}.structured"), structured(kind));
        messages.insert(format!("{name}.binary"), binary(kind));
        messages.insert(format!("{name}.plain"), plain(kind));
        messages.insert(format!("{name}.canonical"), canonical(kind));
    }
    messages.insert(
        "rejected".to_owned(),
        refused("An event that breaks a rule.", header::ERRORS),
    );
    messages.insert(
        "dead".to_owned(),
        refused("A dead letter: the message as it was.", header::ERROR),
    );
    messages.into()
}

/// The whole event in the body.
fn structured(kind: &EventType) -> Value {
    let mut message = json!({
        "name": kind.name(),
        "title": format!("{}, structured", kind.name()),
        "summary": "Shape 1: the body is the whole CloudEvent.",
        "contentType": CLOUDEVENTS_JSON,
        "payload": reference(&schemas::event_name(kind)),
    });
    let example = match kind.name() {
        SIGNUP_REQUESTED => examples::signup_event(),
        SIGNUP_CONFIRMED => examples::confirmation_event(),
        PROCESSING_REQUESTED => examples::processing_event(),
        _ => return message,
    };
    message["examples"] = json!([{ "payload": example }]);
    message
}

/// The attributes in headers, the data in the body.
fn binary(kind: &EventType) -> Value {
    let headers = examples::ATTRIBUTES.map(|(name, _)| format!("{PREFIX}{name}"));
    let text = json!({ "type": "string" });
    let mut properties: Map<_, _> = headers
        .iter()
        .map(|name| (name.clone(), text.clone()))
        .collect();
    properties.insert(format!("{PREFIX}type"), json!({ "const": kind.name() }));
    properties.insert(format!("{PREFIX}specversion"), json!({ "const": "1.0" }));
    let mut message = json!({
        "name": kind.name(),
        "title": format!("{}, binary", kind.name()),
        "summary": "Shape 2: the attributes are headers, the body is the data. Data of another media type than JSON has \
                    that as content type.",
        "contentType": "application/json",
        "headers": { "type": "object", "required": headers, "properties": properties },
        "payload": reference(&schemas::data_name(kind.name())),
    });
    if let Some(data) = example_data(kind) {
        let mut headers: Map<_, _> = examples::ATTRIBUTES
            .into_iter()
            .map(|(name, value)| (format!("{PREFIX}{name}"), value.into()))
            .collect();
        headers.insert(format!("{PREFIX}type"), kind.name().into());
        message["examples"] = json!([{ "headers": headers, "payload": data }]);
    }
    message
}

/// The data alone.
fn plain(kind: &EventType) -> Value {
    let mut message = json!({
        "name": kind.name(),
        "title": format!("{}, plain", kind.name()),
        "summary": "Shape 3: the body is the data.",
        "description": "Properties: `message_id` is the id, `type` or the routing key the type, `app_id` the source, \
                        `timestamp` the time. Without `message_id` the id is made from the whole message.",
        "contentType": "application/json",
        "payload": reference(&schemas::data_name(kind.name())),
    });
    if let Some(data) = example_data(kind) {
        message["examples"] = json!([{ "payload": data }]);
    }
    message
}

fn example_data(kind: &EventType) -> Option<Value> {
    match kind.name() {
        SIGNUP_REQUESTED => Some(examples::signup_data()),
        SIGNUP_CONFIRMED => Some(examples::confirmation()),
        PROCESSING_REQUESTED => Some(examples::processing()),
        _ => None,
    }
}

/// The event as Longshore passes it on.
fn canonical(kind: &EventType) -> Value {
    json!({
        "name": kind.name(),
        "title": format!("{}, as it is passed on", kind.name()),
        "summary": "The whole CloudEvent. The property `message_id` is Longshore's id of the event.",
        "contentType": CLOUDEVENTS_JSON,
        "headers": headers(&[header::PUBLISHER, header::RECEIVED_AT, header::ACCEPTED_AT]),
        "payload": reference(&schemas::event_name(kind)),
    })
}

/// A message that was refused or given up, with the reason in its headers.
fn refused(summary: &str, errors: &str) -> Value {
    let mut headers = headers(&[
        header::QUEUE,
        header::FAILED_AT,
        header::PUBLISHER,
        header::RECEIVED_AT,
        errors,
    ]);
    let codes: Vec<_> = ReasonCode::ALL.iter().map(|code| code.as_str()).collect();
    headers["properties"][header::REASON] = json!({ "type": "string", "enum": codes });
    json!({
        "summary": summary,
        "description": "The header `longshore-reason` has the stable code. Secrets are masked.",
        "headers": headers,
        "payload": {},
    })
}

fn headers(names: &[&str]) -> Value {
    let text = json!({ "type": "string" });
    let properties: Map<_, _> = names
        .iter()
        .map(|name| ((*name).to_owned(), text.clone()))
        .collect();
    json!({ "type": "object", "properties": properties })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn all_schemas(facts: Facts<'_>) -> Value {
    let mut all = Map::new();
    for kind in facts.types {
        let data = if facts.is_built_in(kind) {
            schemas::without_dialect(kind)
        } else {
            let description = format!(
                "Its JSON Schema is at `{}` of the door.",
                schemas::path(kind)
            );
            json!({ "description": description })
        };
        all.insert(schemas::data_name(kind.name()), data);
        all.insert(
            schemas::event_name(kind),
            schemas::event(kind, reference(&schemas::data_name(kind.name()))),
        );
    }
    all.into()
}
