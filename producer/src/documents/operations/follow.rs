//! The calls that say where an event stands.

use serde_json::{Value, json};

use crate::auth::Needs;
use crate::documents::answers::{self, BOUNDED};
use crate::documents::operation::{Operation, event_id};
use crate::documents::{examples, schemas};
use crate::paths;
use crate::problem::Code;

const TAG: &str = "follow";

/// `GET /v1/events/{id}`
pub(super) fn event() -> Operation {
    Operation::new("get", paths::EVENT, "getEvent", TAG)
        .says(
            "The status of an event",
            "Until the event is in the database the answer is 404 with `Retry-After: 1`.",
        )
        .needs(Needs::Read)
        .parameter(event_id())
        .answers(
            200,
            answers::json_answer(
                "Where the event stands.",
                schemas::reference("EventStatus"),
                examples::status(),
            ),
        )
        .refuses(BOUNDED)
        .refuses(&[
            Code::MalformedId,
            Code::UnknownEvent,
            Code::StatusUnavailable,
        ])
}

/// `GET /v1/events/{id}/live`
pub(super) fn live() -> Operation {
    Operation::new("get", paths::LIVE, "watchEvent", TAG)
        .says(
            "The status of an event, live",
            "Server-sent events, at once and after each change, until the event is at rest: `status` has the document \
             of `GET /v1/events/{id}`; `waiting` says what the door waits for, `event` or `database`; `end` is the \
             last, with its `reason`. Connect again after every other reason than `at_rest` \
             and `unauthenticated`.",
        )
        .needs(Needs::Read)
        .parameter(event_id())
        .answers(
            200,
            answers::answer(
                "The stream. The schema is that of each event.",
                "text/event-stream",
                streamed(),
                examples::live().into(),
            ),
        )
        .refuses(BOUNDED)
        .refuses(&[Code::MalformedId])
}

/// `POST /v1/events/{id}/cancel`
pub(super) fn cancel() -> Operation {
    Operation::new("post", paths::CANCEL, "cancelEvent", TAG)
        .says(
            "Cancel an event",
            "Nobody gets an event that still waits for its moment. It must be the caller's own. Cancelling it again \
             changes nothing.",
        )
        .needs(Needs::Write)
        .parameter(event_id())
        .answers(
            200,
            answers::json_answer(
                "The event is cancelled, now or before.",
                schemas::reference("EventStatus"),
                examples::cancelled(),
            ),
        )
        .refuses(BOUNDED)
        .refuses(&[
            Code::MalformedId,
            Code::UnknownEvent,
            Code::TooLate,
            Code::StatusUnavailable,
        ])
}

/// The schema of an event of the stream. In OpenAPI before 3.2, the schema of a stream is that of its events.
fn streamed() -> Value {
    json!({
        "type": "object",
        "required": ["event", "data"],
        "properties": {
            "event": { "enum": ["status", "waiting", "end"] },
            "data": { "description": "A JSON document.", "type": "string" },
            "retry": { "description": "How many milliseconds to wait before connecting again.", "type": "integer" },
        },
    })
}
