//! The embedded store in memory, and events in the hands of a handler, as the tests of this package use
//! them.

use std::sync::Arc;
use std::time::Duration;

use common::config::{self, Config, Destination, Secret};
use common::event::{EventId, Trail, now};
use common::message::{CLOUDEVENTS_JSON, Headers, Message};
use common::namespace::Namespace;
use common::outcome::Outcome;
use common::reason::ReasonCode;
use common::runtime::{Claim, Handler, Received, call_handler};
use common::seal::Seal;
use common::sqlite::Location;
use common::store::sqlite::SqliteStore;
use common::store::{
    Act, Actor, AuditAction, DeadLetter, DeadState, EventStatus, Role, Store, WorkerCard,
};
use operate::history::Judge;
use serde_json::json;
use uuid::Uuid;

/// A process that delivers to these destinations.
pub(crate) fn card(destinations: &[&str]) -> WorkerCard {
    WorkerCard {
        id: Uuid::now_v7(),
        program: "longshore-integrate".to_owned(),
        host: "a host".to_owned(),
        version: "0.1.0".to_owned(),
        destinations: destinations.iter().map(|&name| name.to_owned()).collect(),
    }
}

/// The name of the tests' destination.
pub(crate) const CRM: &str = "crm";

/// A store with its tables, and nothing in them.
pub(crate) async fn store() -> Arc<dyn Store> {
    let store = not_migrated();
    store.migrate().await.expect("a schema");
    store
}

/// A store without its tables.
pub(crate) fn not_migrated() -> Arc<dyn Store> {
    at(&Location::memory())
}

/// A store that is down: its file is where none can be.
pub(crate) fn down() -> Arc<dyn Store> {
    at(&Location::file("/dev/null/longshore.db"))
}

fn at(location: &Location) -> Arc<dyn Store> {
    Arc::new(SqliteStore::at(location, &Namespace::default()))
}

/// The act of an operator who begins an operation.
pub(crate) fn act(who: &str) -> Act {
    let actor = Actor {
        who: who.to_owned(),
        role: Some(Role::Operator),
        origin: "a test".to_owned(),
    };
    Act::new(actor, AuditAction::OperationBegin, "operation")
}

/// The seal of password hashes.
pub(crate) fn seal() -> Seal {
    Seal::new(["a secret of the tests"])
}

/// The judge of the built-in types.
pub(crate) fn judge() -> Judge {
    let mut config = Config::default();
    config.secrets.seal = vec![Secret::new("a secret of the tests")];
    Judge::new(&config).expect("a judge")
}

/// What a worker makes of these events with `handler`.
pub(crate) async fn handle(handler: &impl Handler, events: &[Received]) -> Vec<Outcome> {
    call_handler(handler, events, Duration::from_secs(600)).await
}

/// Where an event stands.
///
/// # Panics
/// Nothing is known of it.
pub(crate) async fn status(store: &Arc<dyn Store>, id: EventId) -> EventStatus {
    let status = store.status(id).await.expect("the store can say");
    status.expect("the event is known")
}

/// The letter of a message that was not an event and died in `queue`; `entry_key` is that of its entry in the history.
pub(crate) fn foreign_letter(queue: &str, entry_key: Uuid) -> DeadLetter {
    DeadLetter {
        id: Uuid::now_v7(),
        entry_key: Some(entry_key),
        event: None,
        kind: None,
        source: None,
        queue: queue.to_owned(),
        stage: "validate".to_owned(),
        destination: None,
        reason: ReasonCode::Undecodable,
        error: "it is no event".to_owned(),
        attempts: 1,
        generation: 0,
        first_failed_at: now(),
        last_failed_at: now(),
        routing_key: "any".to_owned(),
        message: Message::default(),
        state: DeadState::Open,
        replay: None,
        copies: 1,
    }
}

/// The destination that gets every event, at `url`.
pub(crate) fn destination(url: &str) -> Destination {
    destination_with(url, "")
}

/// The same, whose `webhook` has these keys beside `url`.
pub(crate) fn destination_with(url: &str, keys: &str) -> Destination {
    let text = format!("name = \"{CRM}\"\n[webhook]\nurl = \"{url}\"\n{keys}");
    toml::from_str(&text).expect("a destination")
}

/// The webhook of that destination.
pub(crate) fn webhook_with(url: &str, keys: &str) -> config::Webhook {
    match destination_with(url, keys).transport {
        config::Transport::Webhook(webhook) => *webhook,
        config::Transport::Smtp(_) => unreachable!("it has a webhook"),
    }
}

/// A fresh signup, as validation lets it through.
pub(crate) fn signup(id: EventId, email: &str) -> Received {
    signup_of(id, email, "Ada")
}

/// The same, of somebody of another name.
pub(crate) fn signup_of(id: EventId, email: &str, name: &str) -> Received {
    let event = json!({
        "specversion": "1.0", "id": id.to_string(), "source": "/shop",
        "type": "signup.requested", "time": "2026-01-02T03:04:05Z", "data": {"email": email, "name": name},
    });
    let trail = Trail {
        received_at: Some(now()),
        accepted_at: Some(now()),
        ..Trail::default()
    };
    let mut headers = Headers::default();
    trail.write(&mut headers);
    Received {
        message: Message {
            body: event.to_string().into(),
            content_type: Some(CLOUDEVENTS_JSON.to_owned()),
            message_id: Some(id.to_string()),
            kind: Some("signup.requested".to_owned()),
            app_id: Some("/shop".to_owned()),
            headers,
            ..Message::default()
        },
        routing_key: "signup.requested".to_owned(),
        redelivered: false,
        claim: Claim::default(),
        trail,
    }
}
