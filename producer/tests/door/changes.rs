//! The workers' writes about an event.

use common::event::{EventId, now};
use common::message::Message;
use common::outcome::FieldError;
use common::reason::ReasonCode;
use common::store::sqlite::SqliteStore;
use common::store::{
    Attempt, DeadLetter, DeadLetters as _, DeadState, Deliveries as _, DeliveryKey, Details,
    Events as _, NewEvent, NewRejection, Rejections as _, StoreError,
};
use uuid::Uuid;

/// A change of the store before a look at an event.
#[derive(Debug, Clone, Copy)]
pub enum Change {
    /// Nothing.
    Nothing,
    /// The event is stored and due at one destination.
    Stored,
    /// A delivery fails.
    Failed,
    /// A delivery succeeds.
    Delivered,
    /// The delivery is given up.
    Dead,
    /// The event is rejected.
    Rejected,
    /// The database fails instead of answering.
    Fails,
    /// The database never answers.
    Hangs,
}

/// Makes a change of rows, and the changes that have to come before it.
pub async fn change(store: &SqliteStore, id: EventId, change: Change) -> Result<(), StoreError> {
    match change {
        Change::Nothing | Change::Fails | Change::Hangs => Ok(()),
        Change::Stored => stored(store, id).await,
        Change::Failed => attempt(store, id, 1, false).await,
        Change::Delivered => attempt(store, id, 2, true).await,
        Change::Dead => dead(store, id).await,
        Change::Rejected => rejected(store, id).await,
    }
}

const KIND: &str = "processing.requested";
const DESTINATION: &str = "crm";

async fn stored(store: &SqliteStore, id: EventId) -> Result<(), StoreError> {
    let event = NewEvent {
        id,
        stream_id: None,
        generation: 0,
        kind: KIND.to_owned(),
        source: "/shop".to_owned(),
        source_id: "7".to_owned(),
        publisher: "http:shop".to_owned(),
        subject: None,
        time: None,
        received_at: now(),
        accepted_at: now(),
        fingerprint: [7; 32],
        body: "{}".to_owned(),
        details: Details::None,
        destinations: vec![DESTINATION.to_owned()],
        filtered: Vec::new(),
        ordered: None,
        not_before: None,
    };
    store.store([event].into()).await.map(|_| ())
}

async fn attempt(
    store: &SqliteStore,
    id: EventId,
    attempt: u32,
    delivered: bool,
) -> Result<(), StoreError> {
    stored(store, id).await?;
    let attempt = Attempt {
        key: DeliveryKey {
            event: id,
            destination: DESTINATION.to_owned(),
            generation: 0,
        },
        attempt,
        started_at: now(),
        duration_ms: 20,
        status_code: Some(if delivered { 200 } else { 500 }),
        error: (!delivered).then(|| "expected status 2xx, found 500".to_owned()),
        response_excerpt: None,
        delivered,
    };
    store.record_attempts(&[attempt]).await
}

async fn dead(store: &SqliteStore, id: EventId) -> Result<(), StoreError> {
    stored(store, id).await?;
    let letter = DeadLetter {
        id: Uuid::now_v7(),
        entry_key: None,
        event: Some(id),
        kind: Some(KIND.to_owned()),
        source: Some("/shop".to_owned()),
        queue: format!("longshore.integrate.{DESTINATION}"),
        stage: "integrate".to_owned(),
        destination: Some(DESTINATION.to_owned()),
        reason: ReasonCode::ReceiverFailing,
        error: "expected status 2xx, found 500".to_owned(),
        attempts: 4,
        generation: 0,
        first_failed_at: now(),
        last_failed_at: now(),
        routing_key: KIND.to_owned(),
        message: Message::default(),
        state: DeadState::Open,
        replay: None,
        copies: 1,
    };
    store.keep_dead(&[letter]).await
}

async fn rejected(store: &SqliteStore, id: EventId) -> Result<(), StoreError> {
    let rejection = NewRejection {
        id: Uuid::now_v7(),
        event: id,
        stream_id: None,
        kind: KIND.to_owned(),
        source: "/shop".to_owned(),
        publisher: "http:shop".to_owned(),
        reason: ReasonCode::Invalid,
        errors: vec![FieldError::new("/task", "expected a task, found none")],
        stage: "validate".to_owned(),
        received_at: Some(now()),
        rejected_at: now(),
        body: bytes::Bytes::from_static(b"{}"),
    };
    store.keep_rejections(&[rejection]).await
}
