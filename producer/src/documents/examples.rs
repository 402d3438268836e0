//! The examples of the documents. Tests send each to the door, or hold it against its schema.

use serde_json::{Value, json};

/// An id as a 202 answers it.
pub(super) const ID: &str = "01928a3c-7d5e-7c3a-9b61-2f4e8d0a6b17";

/// The body of `POST /v1/signups`.
pub(super) fn signup() -> Value {
    json!({
        "email": "ada@example.com", "name": "Ada Lovelace", "plan": "pro", "locale": "en-GB",
        "password": "correct horse", "attributes": { "campaign": "autumn" },
    })
}

/// The data of a `signup.requested` event.
pub(super) fn signup_data() -> Value {
    json!({ "email": "grace@example.com", "name": "Grace Hopper", "plan": "pro" })
}

/// The data of a `signup.confirmed` event.
pub(super) fn confirmation() -> Value {
    json!({ "signup": ID, "email": "grace@example.com" })
}

/// The data of a `processing.requested` event, and the body of `POST /v1/processing`.
pub(super) fn processing() -> Value {
    json!({ "task": "invoice.render", "payload": { "invoice": "INV-00042" } })
}

/// A structured event about a signup.
pub(super) fn signup_event() -> Value {
    json!({
        "specversion": "1.0", "id": "4711", "source": "/shop", "type": "signup.requested",
        "time": "2026-01-02T03:04:05Z", "data": signup_data(),
    })
}

/// A structured event about a confirmed signup.
pub(super) fn confirmation_event() -> Value {
    json!({
        "specversion": "1.0", "id": "confirmed-4711", "source": "/shop", "type": "signup.confirmed",
        "data": confirmation(),
    })
}

/// A structured event about a piece of work.
pub(super) fn processing_event() -> Value {
    json!({
        "specversion": "1.0", "id": "render-42", "source": "/billing", "type": "processing.requested",
        "subject": "INV-00042", "data": processing(),
    })
}

/// The attributes of a binary event about a piece of work.
pub(super) const ATTRIBUTES: [(&str, &str); 4] = [
    ("specversion", "1.0"),
    ("id", "render-42"),
    ("source", "/billing"),
    ("type", "processing.requested"),
];

/// The webhook of a provider, here of Stripe.
pub(super) fn webhook() -> Value {
    json!({
        "id": "evt_1", "type": "invoice.paid", "created": 1_767_322_984,
        "data": { "object": { "id": "in_1" } },
    })
}

/// The answer for an accepted event.
pub(super) fn receipt() -> Value {
    json!({ "id": ID, "type": "signup.requested", "status_url": format!("/v1/events/{ID}") })
}

/// The status of an event.
pub(super) fn status() -> Value {
    json!({
        "id": ID, "type": "signup.requested", "status": "completed",
        "timeline": [
            { "step": "received", "at": "2026-01-02T03:04:05.1Z" },
            { "step": "accepted", "at": "2026-01-02T03:04:05.2Z" },
            { "step": "stored", "at": "2026-01-02T03:04:05.3Z" },
            { "step": "delivered", "at": "2026-01-02T03:04:05.4Z", "destination": "crm" },
        ],
        "deliveries": [{
            "destination": "crm", "generation": 0, "status": "delivered", "attempts": 1,
            "last_attempt_at": "2026-01-02T03:04:05.4Z",
        }],
    })
}

/// The status of a cancelled event.
pub(super) fn cancelled() -> Value {
    json!({
        "id": ID, "type": "signup.requested", "status": "cancelled", "not_before": "2030-01-28T08:00:00Z",
        "timeline": [
            { "step": "received", "at": "2026-01-02T03:04:05.1Z" },
            { "step": "accepted", "at": "2026-01-02T03:04:05.2Z" },
            { "step": "stored", "at": "2026-01-02T03:04:05.3Z" },
            { "step": "cancelled", "at": "2026-01-02T03:14:05.4Z" },
        ],
        "deliveries": [],
    })
}

/// The stream of an event that is stored and at rest.
pub(super) fn live() -> String {
    let event = |name: &str, data: Value| format!("retry: 2000\nevent: {name}\ndata: {data}\n\n");
    [
        event("waiting", json!({ "for": "event" })),
        event("status", status()),
        event("end", json!({ "reason": "at_rest" })),
    ]
    .concat()
}
