//! The answers of operations: what is accepted, and the problems, by status.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{examples, schemas};
use crate::problem::Code;

/// Answers by status.
pub(super) type Answers = BTreeMap<u16, Value>;

/// The problems that every call of the API may have.
pub(super) const ANY: &[Code] = &[
    Code::MalformedRequest,
    Code::UriTooLong,
    Code::HeadersTooLarge,
    Code::Internal,
];
/// Those of a call that is bounded in number and time.
pub(super) const BOUNDED: &[Code] = &[Code::Overloaded, Code::TimedOut];
/// Those of a call that asks for a key.
pub(super) const KEYED: &[Code] = &[
    Code::Unauthenticated,
    Code::Forbidden,
    Code::RateLimited,
    Code::KeysUnavailable,
];
/// Those of a call that takes a body.
pub(super) const BODY: &[Code] = &[
    Code::MalformedJson,
    Code::RequestTimeout,
    Code::TooLarge,
    Code::UnsupportedMediaType,
    Code::Invalid,
    Code::NotConfirmed,
];

/// An answer with a JSON body.
pub(super) fn json_answer(description: &str, schema: Value, example: Value) -> Value {
    answer(description, "application/json", schema, example)
}

/// An answer of some media type.
pub(super) fn answer(description: &str, media: &str, schema: Value, example: Value) -> Value {
    let mut content = json!({ "schema": schema });
    if !example.is_null() {
        content["example"] = example;
    }
    json!({ "description": description, "headers": common_headers(), "content": { media: content } })
}

/// 202 for one event.
pub(super) fn accepted() -> Value {
    let mut answer = json_answer(
        "The event is safe: the broker has confirmed it, and its work queue exists.",
        schemas::reference("Receipt"),
        examples::receipt(),
    );
    answer["headers"]["Location"] = header("Where the status of the event is.", true);
    answer["links"] = json!({ "status": {
        "operationId": "getEvent", "parameters": { "id": "$response.body#/id" },
        "description": "The status of the event, as soon as it is stored.",
    }});
    answer
}

/// 202 for one event or for a batch.
pub(super) fn accepted_some() -> Value {
    let schema =
        json!({ "oneOf": [schemas::reference("Receipt"), schemas::reference("Receipts")] });
    let mut answer = json_answer(
        "The event, or every event of the batch, is safe: the broker has confirmed it, and its work queue exists.",
        schema,
        examples::receipt(),
    );
    answer["headers"]["Location"] =
        header("Where the status of the event is. A batch has none.", false);
    answer
}

/// The problems of an operation, one answer for each status.
pub(super) fn problems(codes: impl IntoIterator<Item = Code>) -> Answers {
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in codes {
        let codes = by_status.entry(code.status().as_u16()).or_default();
        if !codes.contains(&code) {
            codes.push(code);
        }
    }
    by_status
        .into_iter()
        .map(|(status, codes)| (status, problem(&codes)))
        .collect()
}

fn problem(codes: &[Code]) -> Value {
    let meanings = codes
        .iter()
        .map(|code| format!("- `{}`: {}", code.as_str(), code.meaning()));
    let names: Vec<_> = codes.iter().map(|code| code.as_str()).collect();
    let mut headers = common_headers();
    if codes.iter().any(|code| waits(*code)) {
        let must = codes.iter().all(|code| waits(*code));
        let schema = json!({ "type": "integer", "minimum": 1 });
        let retry = json!({ "description": "How many seconds to wait.", "required": must, "schema": schema });
        headers.insert("Retry-After".to_owned(), retry);
    }
    if codes.contains(&Code::Unauthenticated) {
        let challenge = header("How to prove who sends the request.", true);
        headers.insert("WWW-Authenticate".to_owned(), challenge);
    }
    let schema = json!({
        "allOf": [schemas::reference("Problem"), { "properties": { "code": { "enum": names } } }],
    });
    json!({
        "description": meanings.collect::<Vec<_>>().join("\n"),
        "headers": headers,
        "content": { "application/problem+json": { "schema": schema } },
    })
}

/// Whether a problem says when to come back.
fn waits(code: Code) -> bool {
    matches!(
        code,
        Code::UnknownEvent
            | Code::RateLimited
            | Code::NotConfirmed
            | Code::Overloaded
            | Code::TimedOut
            | Code::KeysUnavailable
            | Code::StatusUnavailable
    )
}

/// The headers of every answer.
fn common_headers() -> Map<String, Value> {
    let id = header("The id of the request: yours, or a new one.", true);
    Map::from_iter([("X-Request-Id".to_owned(), id)])
}

/// What an answer says of the rate of the caller's key.
pub(super) fn tell_rate(answer: &mut Value) {
    for (name, description) in [
        (
            "RateLimit-Policy",
            "The rate of the caller, if it has one: `\"key\";q=EVENTS;w=SECONDS`.",
        ),
        (
            "RateLimit",
            "How many events may follow at once: `\"key\";r=EVENTS`.",
        ),
    ] {
        answer["headers"][name] = header(description, false);
    }
}

/// Adds the page that a browser gets instead.
pub(super) fn or_page(answer: &mut Value) {
    if let Some(Value::Object(content)) = answer.get_mut("content") {
        content.insert(
            "text/html".to_owned(),
            json!({ "schema": { "type": "string" } }),
        );
    }
}

/// 303: a browser is sent on.
pub(super) fn sent_on(description: &str) -> Value {
    let mut headers = common_headers();
    headers.insert("Location".to_owned(), header("Where to.", true));
    json!({ "description": description, "headers": headers })
}

fn header(description: &str, must: bool) -> Value {
    json!({ "description": description, "required": must, "schema": { "type": "string" } })
}
