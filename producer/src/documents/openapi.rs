//! `/openapi.json`: the HTTP contract, OpenAPI 3.1.

use serde_json::{Map, Value, json};

use super::facts::Facts;
use super::operation::KEY;
use super::{operations, schemas};

/// The document.
pub(super) fn document(facts: Facts<'_>) -> Value {
    let mut paths = Map::new();
    for operation in operations::all(facts) {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method] = operation.to_json(facts);
    }
    let mut components = json!({ "schemas": schemas::components(facts) });
    if facts.door.auth.is_some() {
        components["securitySchemes"] = json!({ KEY: {
            "type": "http", "scheme": "bearer",
            "description": "A key, `lsk_…` (`longshore keys create` makes one), or a token (JWT) of an issuer that this door knows.",
        }});
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Longshore",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "The door: events over HTTP.",
            "description": description(facts),
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/", "description": "This door." }],
        "tags": tags(),
        "paths": paths,
        "components": components,
    })
}

fn description(facts: Facts<'_>) -> String {
    let keys = if facts.door.auth.is_some() {
        "This door asks for a key or a token (`Authorization: Bearer KEY`). It tells the configured event types to their holders \
         alone."
    } else {
        "This door is open: it asks for no key."
    };
    let types = facts.types.iter().map(|kind| {
        let (name, path) = (kind.name(), schemas::path(kind));
        format!("- [`{name}`]({path})")
    });
    let types = types.collect::<Vec<_>>().join("\n");
    format!(
        "Takes events and answers 202 once the broker has them safely. Errors are problem details (RFC 9457) with a \
         stable `code`. {keys}\n\n\
         Rules that no schema can say:\n\n\
         - Lengths of attributes count bytes of UTF-8.\n\
         - JSON is UTF-8. Each name appears once in an object, and no text holds U+0000.\n\
         - E-mail addresses follow RFC 5321 and RFC 6531.\n\
         - `attributes` and `payload` hold no field with the name of a secret.\n\n\
         Event types, each with the JSON Schema of its data:\n\n{types}\n\n\
         [/asyncapi.json](/asyncapi.json) describes the events on the broker."
    )
}

fn tags() -> Value {
    json!([
        { "name": "publish", "description": "Calls that publish events." },
        { "name": "follow", "description": "The status of an event." },
        { "name": "documents", "description": "The contract of this door." },
        { "name": "health", "description": "For load balancers and monitoring." },
        { "name": "page", "description": "For people." },
    ])
}
