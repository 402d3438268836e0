//! The embedded engines in memory, as the tests of this package use them.

#[cfg(test)]
pub(crate) mod pipeline;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use common::broker::embedded::EmbeddedBroker;
use common::broker::{
    Address, Broker, BrokerError, Depth, Difference, HistoryEntry, HistoryStart, Publication,
    PublishError, Subscription, Waiting,
};
use common::dependency::EngineKind;
use common::event::{EventId, Logins, now};
use common::message::{Headers, Message};
use common::namespace::Namespace;
use common::reason::ReasonCode;
use common::sqlite::Location;
use common::store::sqlite::SqliteStore;
use common::store::{
    Actor, AttemptRecord, DeadLetter, DeadState, DeadStory, EditRecord, Moment, Role, Schema as _,
};
use common::topology::{Names, Plan, Topology};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use serde_json::json;
use uuid::Uuid;

use crate::roles::Requester;

/// The declarations of a system with these destinations.
pub fn topology(destinations: &[&str]) -> Topology {
    let all = |name: &&str| ((*name).to_owned(), vec!["#".to_owned()]);
    Topology::new(&Plan {
        namespace: Namespace::default(),
        destinations: destinations.iter().map(all).collect(),
        known_types: vec!["signup.requested".to_owned()],
        longest_delay: Duration::from_secs(1),
        history: Duration::from_secs(60),
        logins: Logins::new(["longshore"]),
    })
}

/// A broker where nothing is declared yet.
pub fn broker() -> EmbeddedBroker {
    let names = Names::new(Namespace::default());
    EmbeddedBroker::at(Location::memory(), names, "test")
}

/// A store with its tables, and nothing in them.
pub async fn store() -> SqliteStore {
    let store = SqliteStore::at(&Location::memory(), &Namespace::default());
    store.migrate().await.expect("a schema");
    store
}

/// Somebody who may do everything.
pub fn requester() -> Requester {
    Requester {
        actor: Actor {
            who: "cli:test".to_owned(),
            role: Some(Role::Admin),
            origin: "a test".to_owned(),
        },
        request_id: None,
    }
}

/// A dead letter that died in `queue`.
pub fn letter(queue: &str) -> DeadLetter {
    DeadLetter {
        id: Uuid::now_v7(),
        entry_key: None,
        event: Some(EventId::born()),
        kind: Some("signup.requested".to_owned()),
        source: Some("/shop".to_owned()),
        queue: queue.to_owned(),
        stage: "integrate".to_owned(),
        destination: Some("crm".to_owned()),
        reason: ReasonCode::ReceiverFailing,
        error: "expected a 2xx, found 500".to_owned(),
        attempts: 4,
        generation: 0,
        first_failed_at: now(),
        last_failed_at: now(),
        routing_key: "signup.requested".to_owned(),
        message: Message {
            body: bytes::Bytes::from_static(br#"{"data":{"password_hash":"hunter2"}}"#),
            kind: Some("signup.requested".to_owned()),
            user_id: Some("longshore".to_owned()),
            headers: Headers::default(),
            ..Message::default()
        },
        state: DeadState::Open,
        replay: None,
        copies: 1,
    }
}

/// The story of a dead letter with an attempt, an edit and secrets in all of it: each says `hunter2`.
pub fn story() -> DeadStory {
    let mut letter = letter("longshore.integrate.crm");
    letter
        .message
        .headers
        .set("authorization", "Bearer hunter2");
    DeadStory {
        fingerprint: "expected a #xx, found #".to_owned(),
        replayed_at: None,
        discarded: None,
        attempts: vec![AttemptRecord {
            generation: 0,
            attempt: 1,
            started_at: Moment(now()),
            duration_ms: 1234,
            status_code: Some(500),
            error: Some("expected a 2xx, found 500".to_owned()),
            response_excerpt: Some(r#"{"token":"hunter2","hint":"no locale"}"#.to_owned()),
        }],
        others: Vec::new(),
        edits: vec![EditRecord {
            at: Moment(now()),
            who: "cli:ada".to_owned(),
            why: Some("CRM wants a locale".to_owned()),
            before: br#"{"data":{"password_hash":"hunter2","plan":"old"}}"#[..].into(),
            envelope: Some(json!({
                "routing_key": "signup.request", "headers": {"cookie": "hunter2"},
            })),
        }],
        replays: Vec::new(),
        letter,
    }
}

/// How a publish fails.
#[derive(Clone, Copy)]
pub enum Failing {
    /// The broker does not take it.
    Nack,
    /// The broker takes it, and the link breaks before it can say so.
    Cut,
    /// The broker finds nothing that takes it.
    Return,
}

/// The embedded broker, which fails on purpose where a test asks for that.
pub struct FailingBroker {
    real: EmbeddedBroker,
    failing: Mutex<HashMap<usize, Failing>>,
    published: AtomicUsize,
}

impl FailingBroker {
    /// One where `topology` is declared.
    pub async fn with(topology: &Topology) -> Self {
        let real = broker();
        real.apply(topology).await.expect("declared");
        Self {
            real,
            failing: Mutex::default(),
            published: AtomicUsize::new(0),
        }
    }

    /// Lets publish number `nth` fail, counted from 0.
    pub fn fail(&self, nth: usize, failing: Failing) {
        let mut all = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(nth, failing);
    }

    /// The messages in `queue`.
    pub async fn waiting(&self, queue: &str) -> Vec<Message> {
        let depth = self.depth(queue).await.expect("asked").expect("there");
        let subscription = self.subscribe(queue, u16::MAX).await.expect("subscribed");
        let count = usize::try_from(depth.messages).expect("few");
        let messages = subscription.deliveries.take(count);
        let messages = messages.map(|delivery| delivery.expect("given out").message);
        let messages = messages.collect().await;
        subscription.control.close().await;
        messages
    }
}

#[async_trait]
impl Broker for FailingBroker {
    async fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        let nth = self.published.fetch_add(1, Ordering::SeqCst);
        let failing = {
            let mut all = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
            all.remove(&nth)
        };
        match failing {
            None => self.real.publish(publication).await,
            Some(Failing::Nack) => Err(PublishError::Nacked),
            Some(Failing::Cut) => {
                self.real.publish(publication).await?;
                Err(PublishError::Disconnected("cut".to_owned()))
            }
            Some(Failing::Return) => {
                let to = Address::Queue("longshore.nowhere".to_owned());
                let Publication { message, .. } = publication;
                self.real.publish(Publication { to, message }).await
            }
        }
    }

    async fn apply(&self, topology: &Topology) -> Result<(), BrokerError> {
        self.real.apply(topology).await
    }

    async fn verify(&self, topology: &Topology) -> Result<Vec<Difference>, BrokerError> {
        self.real.verify(topology).await
    }

    async fn delete(&self, topology: &Topology) -> Result<(), BrokerError> {
        self.real.delete(topology).await
    }

    async fn subscribe(&self, queue: &str, prefetch: u16) -> Result<Subscription, BrokerError> {
        self.real.subscribe(queue, prefetch).await
    }

    async fn depth(&self, queue: &str) -> Result<Option<Depth>, BrokerError> {
        self.real.depth(queue).await
    }

    async fn ready(&self) -> Result<(), BrokerError> {
        self.real.ready().await
    }

    async fn history(
        &self,
        from: HistoryStart,
    ) -> Result<BoxStream<'static, Result<HistoryEntry, BrokerError>>, BrokerError> {
        self.real.history(from).await
    }

    async fn look(
        &self,
        queue: &str,
        most: usize,
        seen: &mut (dyn FnMut(Waiting) + Send),
    ) -> Result<bool, BrokerError> {
        self.real.look(queue, most, seen).await
    }

    fn looks_leave_no_trace(&self) -> bool {
        self.real.looks_leave_no_trace()
    }

    fn engine(&self) -> EngineKind {
        self.real.engine()
    }

    fn user(&self) -> Option<&str> {
        self.real.user()
    }

    async fn close(&self) {
        self.real.close().await;
    }
}
