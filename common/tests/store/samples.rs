//! Rows to work with.

use bytes::Bytes;
use common::event::EventId;
use common::message::{HeaderValue, Message};
use common::outcome::FieldError;
use common::reason::ReasonCode;
use common::store::{
    Act, Actor, Attempt, AuditAction, BulkChange, Changer, DeadFilter, DeadLetter, DeadState,
    DeliveryKey, DeliveryRecord, DeliveryState, Details, NewEvent, NewRejection, Operation,
    OperationKind, Role, Store,
};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// The moment everything here begins at.
pub const START: OffsetDateTime = datetime!(2026-11-22 10:00 UTC);

/// The moment that is `seconds` after [`START`].
pub fn at(seconds: i64) -> OffsetDateTime {
    START + Duration::seconds(seconds)
}

/// An event with a new id, due at `crm`.
pub fn event() -> NewEvent {
    let id = EventId::born();
    NewEvent {
        id,
        stream_id: None,
        generation: 0,
        kind: "processing.requested".to_owned(),
        source: "/shop".to_owned(),
        source_id: id.to_string(),
        publisher: "http:shop".to_owned(),
        subject: Some("order 7".to_owned()),
        time: Some(at(-1)),
        received_at: at(0),
        accepted_at: at(1),
        fingerprint: [7; 32],
        body: format!(r#"{{"specversion":"1.0","id":"{id}","data":{{"n":1}}}}"#),
        details: Details::Processing {
            task: "resize".to_owned(),
            payload: r#"{"n":1}"#.to_owned(),
        },
        destinations: vec!["crm".to_owned()],
        filtered: Vec::new(),
        ordered: None,
        not_before: None,
    }
}

/// A signup with a new id.
pub fn signup(email: &str) -> NewEvent {
    NewEvent {
        kind: "signup.requested".to_owned(),
        details: Details::Signup {
            email: email.to_owned(),
            email_normalised: email.to_lowercase(),
            name: "Ada".to_owned(),
            plan: None,
            locale: Some("de-CH".to_owned()),
            password_hash: None,
            attributes: Some(r#"{"a":"b"}"#.to_owned()),
        },
        ..event()
    }
}

/// The confirmation of a signup, opened at this moment.
pub fn confirmation(signup: EventId, opened: OffsetDateTime) -> NewEvent {
    NewEvent {
        kind: "signup.confirmed".to_owned(),
        received_at: opened,
        details: Details::Confirmation {
            signup,
            email: "ada@example.com".to_owned(),
        },
        ..event()
    }
}

/// The delivery of an event.
pub fn key(event: EventId, destination: &str, generation: u32) -> DeliveryKey {
    DeliveryKey {
        event,
        destination: destination.to_owned(),
        generation,
    }
}

/// A failed attempt that began `seconds` after [`START`].
pub fn failed(key: &DeliveryKey, attempt: u32, seconds: i64) -> Attempt {
    Attempt {
        key: key.clone(),
        attempt,
        started_at: at(seconds),
        duration_ms: 250,
        status_code: Some(503),
        error: Some(format!("answered 503 to attempt {attempt}")),
        response_excerpt: Some("sorry".to_owned()),
        delivered: false,
    }
}

/// An attempt that delivered.
pub fn delivered(key: &DeliveryKey, attempt: u32, seconds: i64) -> Attempt {
    Attempt {
        status_code: Some(204),
        error: None,
        response_excerpt: None,
        delivered: true,
        ..failed(key, attempt, seconds)
    }
}

/// A letter that died on its way to `crm`, `seconds` after [`START`].
pub fn letter(event: EventId, generation: u32, seconds: i64) -> DeadLetter {
    DeadLetter {
        id: Uuid::now_v7(),
        entry_key: None,
        event: Some(event),
        kind: Some("signup.requested".to_owned()),
        source: Some("/shop".to_owned()),
        queue: "longshore.integrate.crm".to_owned(),
        stage: "integrate".to_owned(),
        destination: Some("crm".to_owned()),
        reason: ReasonCode::ReceiverFailing,
        error: "answered 503".to_owned(),
        attempts: 12,
        generation,
        first_failed_at: at(seconds - 60),
        last_failed_at: at(seconds),
        routing_key: "signup.requested".to_owned(),
        message: Message {
            body: Bytes::from_static(b"{}"),
            content_type: Some("application/cloudevents+json".to_owned()),
            message_id: Some(event.to_string()),
            kind: Some("signup.requested".to_owned()),
            app_id: Some("/shop".to_owned()),
            timestamp: Some(1_700_000_000),
            headers: [("longshore-attempt", HeaderValue::Int(12))]
                .into_iter()
                .collect(),
            ..Message::default()
        },
        state: DeadState::Open,
        replay: None,
        copies: 1,
    }
}

/// A letter that died in a stage before the event was stored.
pub fn early_letter(event: EventId, stage: &str, seconds: i64) -> DeadLetter {
    DeadLetter {
        queue: format!("longshore.{stage}"),
        stage: stage.to_owned(),
        destination: None,
        reason: ReasonCode::Unstorable,
        ..letter(event, 0, seconds)
    }
}

/// A rejection of an event, `seconds` after [`START`].
pub fn rejection(event: EventId, reason: ReasonCode, seconds: i64) -> NewRejection {
    NewRejection {
        id: Uuid::now_v7(),
        event,
        stream_id: None,
        kind: "signup.requested".to_owned(),
        source: "/shop".to_owned(),
        publisher: "http:shop".to_owned(),
        reason,
        errors: vec![FieldError::new("/email", "expected an address, found \0")],
        stage: "validate".to_owned(),
        received_at: Some(at(seconds - 1)),
        rejected_at: at(seconds),
        body: Bytes::from_static(b"\xff\x00 is no JSON"),
    }
}

/// An act of `ada`, an operator.
pub fn act(action: AuditAction, target: &str) -> Act {
    let actor = Actor {
        who: "ada".to_owned(),
        role: Some(Role::Operator),
        origin: "a test".to_owned(),
    };
    Act::new(actor, action, target)
}

/// The act of an operator who steers an operation.
pub fn steering() -> Act {
    act(AuditAction::OperationPause, "operation")
}

/// The act of an operator who removes settled letters.
pub fn purging() -> Act {
    act(AuditAction::DeadPurge, "dead")
}

/// A change of letters that `ada` makes at once.
pub fn by_ada(filter: DeadFilter) -> BulkChange {
    let act = act(AuditAction::DeadDiscard, "dead");
    BulkChange {
        filter,
        by: Changer::Operator(act.because(Some("nobody wants them".to_owned()))),
    }
}

/// A change of letters that a worker makes as a part of an operation of `ada`.
pub fn as_a_part(operation: Uuid, filter: DeadFilter) -> BulkChange {
    BulkChange {
        filter,
        by: Changer::Operation {
            id: operation,
            who: "ada".to_owned(),
            why: Some("nobody wants them".to_owned()),
        },
    }
}

/// A replay of the letters that match.
pub fn replay(filter: DeadFilter) -> Operation {
    Operation {
        id: Uuid::now_v7(),
        kind: OperationKind::Replay,
        filter,
        to_queue: None,
        act: act(AuditAction::OperationBegin, "operation")
            .because(Some("the receiver is mended".to_owned())),
        rate: None,
        stop_when: None,
        slice: None,
        new_ids: false,
        resumes: None,
    }
}

/// The state of one delivery.
pub async fn state_of(store: &dyn Store, key: &DeliveryKey) -> Option<DeliveryState> {
    store
        .deliveries(std::slice::from_ref(key))
        .await
        .expect("the store answers")[0]
        .as_ref()
        .map(|record| record.state)
}

/// The states of several deliveries.
pub async fn states_of(store: &dyn Store, keys: &[DeliveryKey]) -> Vec<Option<DeliveryState>> {
    let records = store.deliveries(keys).await.expect("the store answers");
    let state = |record: Option<DeliveryRecord>| record.map(|record| record.state);
    records.into_iter().map(state).collect()
}
