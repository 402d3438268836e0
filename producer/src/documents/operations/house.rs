//! The documents, health and the page.

use serde_json::{Value, json};

use crate::auth::Needs;
use crate::documents::answers;
use crate::documents::facts::Facts;
use crate::documents::operation::{Operation, in_header, in_path};
use crate::documents::schemas::SCHEMA_JSON;
use crate::paths;
use crate::problem::Code;

const DOCUMENTS: &str = "documents";
const HEALTH: &str = "health";

/// A file that browsers keep and ask for each time.
fn file(operation: Operation, media: &str) -> Operation {
    let mut known = answers::answer("It is as you know it.", media, Value::Null, Value::Null);
    if let Some(answer) = known.as_object_mut() {
        answer.remove("content");
    }
    let schema = if media.ends_with("json") {
        json!({ "type": ["object", "boolean"] })
    } else {
        json!({ "type": "string" })
    };
    operation
        .parameter(in_header(
            "If-None-Match",
            "The `ETag` of the file that you have.",
            json!({ "type": "string" }),
        ))
        .answers(
            200,
            answers::answer("The file.", media, schema, Value::Null),
        )
        .answers(304, known)
}

/// `GET /docs`
pub(super) fn docs() -> Operation {
    let operation = Operation::new("get", paths::DOCS, "getDocs", DOCUMENTS)
        .says(
            "This contract as a page",
            "Shows `/openapi.json`. It asks nobody but this door.",
        )
        .needs(Needs::Contract);
    file(operation, "text/html")
}

/// `GET /openapi.json`
pub(super) fn openapi() -> Operation {
    let operation = Operation::new("get", paths::OPENAPI, "getOpenApi", DOCUMENTS)
        .says(
            "This contract",
            "OpenAPI 3.1. At a door that asks for keys, it has the configured event types for holders of a key alone.",
        )
        .needs(Needs::Contract);
    file(operation, "application/json")
}

/// `GET /asyncapi.json`
pub(super) fn asyncapi() -> Operation {
    let operation = Operation::new("get", paths::ASYNCAPI, "getAsyncApi", DOCUMENTS)
        .says("The contract on the broker", "AsyncAPI 3.0.")
        .needs(Needs::Contract);
    file(operation, "application/json")
}

/// `GET /schemas/{type}`
pub(super) fn schema(facts: Facts<'_>) -> Operation {
    let names: Vec<_> = facts.types.iter().map(|kind| kind.name()).collect();
    let operation = Operation::new("get", paths::SCHEMA, "getSchema", DOCUMENTS)
        .says("The JSON Schema of an event type's data", "")
        .needs(Needs::Contract)
        .parameter(in_path(
            "type",
            "The event type.",
            json!({ "type": "string", "enum": names }),
            common::event::SIGNUP_REQUESTED,
        ))
        .refuses(&[Code::NotFound]);
    file(operation, SCHEMA_JSON)
}

/// `GET /livez`
pub(super) fn livez() -> Operation {
    let live = answers::answer(
        "It is.",
        "text/plain",
        json!({ "const": "live\n" }),
        "live\n".into(),
    );
    Operation::new("get", paths::LIVEZ, "getLiveness", HEALTH)
        .says("Whether the program is alive", "")
        .answers(200, live)
}

/// `GET /readyz`
pub(super) fn readyz() -> Operation {
    let schema = json!({
        "type": "object", "required": ["ready", "checks"],
        "properties": {
            "ready": { "type": "boolean" },
            "checks": {
                "description": "`ok`, or the problem, of each dependency.",
                "type": "object", "additionalProperties": { "type": "string" },
            },
        },
    });
    let answer = |description, ready: bool, broker: &str| {
        let example = json!({ "ready": ready, "checks": { "broker": broker, "database": "ok" } });
        answers::json_answer(description, schema.clone(), example)
    };
    Operation::new("get", paths::READYZ, "getReadiness", HEALTH)
        .says(
            "Whether the door can take events",
            "Asks broker and database for real.",
        )
        .answers(200, answer("It can.", true, "ok"))
        .answers(
            503,
            answer("It cannot.", false, "the broker cannot be reached"),
        )
}

/// `GET /metrics`
pub(super) fn metrics() -> Operation {
    let text = json!({ "type": "string" });
    Operation::new("get", paths::METRICS, "getMetrics", HEALTH)
        .says(
            "The metrics of the program",
            "The text format of Prometheus.",
        )
        .needs(Needs::Metrics)
        .answers(
            200,
            answers::answer("The metrics.", "text/plain", text, Value::Null),
        )
}

/// `GET /`
pub(super) fn page() -> Operation {
    let operation = Operation::new("get", paths::PAGE, "getPage", "page").says(
        "The signup form",
        "A page that signs somebody up, and follows the signup.",
    );
    file(operation, "text/html")
}
