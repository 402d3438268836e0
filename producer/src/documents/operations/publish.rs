//! The calls that publish events.

use common::event::PROCESSING_REQUESTED;
use serde_json::{Value, json};

use crate::auth::Needs;
use crate::documents::answers::{self, BODY, BOUNDED};
use crate::documents::facts::Facts;
use crate::documents::operation::{Operation, idempotency_key, in_header, in_path, not_before};
use crate::documents::{examples, schemas};
use crate::paths;
use crate::problem::Code;

const TAG: &str = "publish";

/// `POST /v1/signups`
pub(super) fn signup() -> Operation {
    Operation::new("post", paths::SIGNUPS, "signUp", TAG)
        .says(
            "Sign up",
            "Publishes a `signup.requested` event. A password is hashed before it goes anywhere.",
        )
        .needs(Needs::Signup)
        .parameter(idempotency_key())
        .parameter(not_before())
        .body(json!({ "application/json": {
            "schema": schemas::reference("Signup"), "example": examples::signup(),
        }}))
        .answers(202, answers::accepted())
        .refuses(BOUNDED)
        .refuses(BODY)
        .refuses(&[
            Code::IdempotencyKey,
            Code::NotBefore,
            Code::PlaintextPassword,
        ])
}

/// `POST /v1/processing`
pub(super) fn processing() -> Operation {
    Operation::new("post", paths::PROCESSING, "requestProcessing", TAG)
        .says("Request processing", "Publishes a `processing.requested` event.")
        .needs(Needs::Write)
        .parameter(idempotency_key())
        .parameter(not_before())
        .body(json!({ "application/json": {
            "schema": schemas::reference(&schemas::data_name(PROCESSING_REQUESTED)), "example": examples::processing(),
        }}))
        .answers(202, answers::accepted())
        .refuses(BOUNDED)
        .refuses(BODY)
        .refuses(&[
            Code::IdempotencyKey,
            Code::NotBefore,
            Code::PlaintextPassword,
        ])
}

/// `POST /v1/events`
pub(super) fn events(facts: Facts<'_>) -> Operation {
    let mut operation = Operation::new("post", paths::EVENTS, "publishEvents", TAG)
        .says(
            "Publish CloudEvents",
            "Publishes one event of any known type, structured or binary, or a batch. A batch is accepted whole or not \
             at all. `source` and `id` are the key of an event: the same event sent again is stored once. An \
             `Idempotency-Key` is refused. The extension attribute `notbefore` (RFC 3339) names the moment before which \
             nobody gets the event.\n\n\
             Binary mode: the body is the data, of the media type that `Content-Type` names, and every attribute is a \
             header `ce-…`. Headers `ce-…` beside a structured event are ignored.",
        )
        .needs(Needs::Write);
    for parameter in binary_attributes() {
        operation = operation.parameter(parameter);
    }
    operation
        .body(bodies(facts))
        .answers(202, answers::accepted_some())
        .refuses(BOUNDED)
        .refuses(BODY)
        .refuses(&[
            Code::IdempotencyKey,
            Code::NotBefore,
            Code::UnknownType,
            Code::PlaintextPassword,
        ])
}

/// The three shapes. Binary data may have any media type that its event type takes; JSON stands for all.
fn bodies(facts: Facts<'_>) -> Value {
    let data = facts
        .types
        .iter()
        .map(|kind| schemas::reference(&schemas::data_name(kind.name())));
    let data: Vec<_> = data.collect();
    let most = facts.door.config.limits.batch_events;
    json!({
        "application/cloudevents+json": {
            "schema": schemas::reference("Event"),
            "examples": {
                "signup": { "value": examples::signup_event() },
                "processing": { "value": examples::processing_event() },
            },
        },
        "application/cloudevents-batch+json": {
            "schema": { "type": "array", "items": schemas::reference("Event"), "maxItems": most },
            "example": [examples::signup_event(), examples::processing_event()],
        },
        "application/json": {
            "schema": { "description": "Binary mode: the data of the event.", "anyOf": data },
            "example": examples::processing(),
        },
    })
}

/// The headers of a binary event. No schema says more of them than that they are texts: they mean nothing beside a
/// structured event.
fn binary_attributes() -> impl Iterator<Item = Value> {
    let further = [
        ("time", "RFC 3339."),
        ("subject", "What the event is about."),
        ("dataschema", "The schema of the data, as you know it."),
    ];
    let always = examples::ATTRIBUTES.into_iter().map(|(name, example)| {
        let mut parameter = attribute(name, "Needed in binary mode. Percent-encoded UTF-8.");
        parameter["example"] = example.into();
        parameter
    });
    always.chain(
        further
            .into_iter()
            .map(|(name, description)| attribute(name, description)),
    )
}

fn attribute(name: &str, description: &str) -> Value {
    in_header(
        &format!("ce-{name}"),
        description,
        json!({ "type": "string" }),
    )
}

/// `POST /v1/sources/{name}`
pub(super) fn source() -> Operation {
    let name = in_path(
        "name",
        "The name of the source, as it is configured.",
        json!({ "type": "string", "minLength": 1 }),
        "stripe",
    );
    Operation::new("post", paths::SOURCE, "receiveWebhook", TAG)
        .says(
            "Receive a provider's webhook",
            "The provider signs the body, as the scheme of the source says. No key is asked for. The event gets the \
             provider's id, so a repetition is stored once.",
        )
        .parameter(name)
        .body(json!({ "application/json": { "schema": {}, "example": examples::webhook() } }))
        .answers(202, answers::accepted())
        .answers(200, taken())
        .refuses(BOUNDED)
        .refuses(BODY)
        .refuses(&[Code::Unauthenticated, Code::NotFound, Code::UnknownType, Code::PlaintextPassword])
}

/// The answer to a webhook that is not an event to be published.
fn taken() -> Value {
    let schema = json!({
        "type": "object", "required": ["ignored"],
        "properties": { "ignored": { "description": "The type that the source leaves out.", "type": "string" } },
    });
    let example = json!({ "ignored": "stripe.customer.created" });
    let description = "The signature is right, and nothing is published: the source leaves the type out, or the \
                       request is a handshake, whose answer is a text.";
    let mut answer = answers::json_answer(description, schema, example);
    answer["content"]["text/plain"] = json!({ "schema": { "type": "string" }, "example": "ok" });
    answer
}
