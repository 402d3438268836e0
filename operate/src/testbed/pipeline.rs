//! A system in memory whose stages a test works by hand, one event at a time.

use crate::survey::Surveyor;
use common::broker::{Address, Broker as _, HistoryStart, Publication};
use common::config::{Config, Destination};
use common::event::{Trail, header, now};
use common::message::{CLOUDEVENTS_JSON, HeaderValue, Message};
use common::outcome::Outcome;
use common::runtime::{Claim, Received, call_handler};
use common::store::sqlite::SqliteStore;
use common::store::{Attempt, Deliveries as _, DeliveryKey, Store};
use common::topology::{Fact, Names, Topology};
use futures_util::StreamExt as _;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use workers::store::StoreEvents;

use super::FailingBroker;
use crate::history::{Judge, Verdict};

/// Broker, store, and the knowledge of the workers.
pub(crate) struct Pipeline {
    pub(crate) broker: FailingBroker,
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) topology: Topology,
    pub(crate) names: Names,
    pub(crate) judge: Judge,
}

impl Pipeline {
    /// One with these destinations declared.
    pub(crate) async fn new(destinations: &[&str]) -> Self {
        let topology = super::topology(destinations);
        let broker = FailingBroker::with(&topology).await;
        let judge = Judge::new(&Config::default()).expect("the built-in types");
        Self {
            broker,
            store: Arc::new(super::store().await),
            topology,
            names: Names::new(Config::default().namespace),
            judge,
        }
    }

    /// A surveyor who waits for nothing.
    pub(crate) fn surveyor(&self) -> Surveyor<'_> {
        Surveyor {
            broker: &self.broker,
            store: self.store.as_ref(),
            topology: &self.topology,
            names: &self.names,
            judge: &self.judge,
            destinations: &[],
            patience: Duration::ZERO,
        }
    }

    /// A signup comes through the door, in canonical form; says under which id.
    pub(crate) async fn signup(&self, name: &str) -> String {
        let id = uuid::Uuid::now_v7().to_string();
        let event = json!({
            "specversion": "1.0", "id": id, "source": "/test", "type": "signup.requested",
            "time": "2026-01-02T03:04:05Z", "data": {"email": format!("{name}@example.com"), "name": name},
        });
        self.receive(CLOUDEVENTS_JSON, "signup.requested", &event.to_string())
            .await;
        id
    }

    /// Anything comes through the door.
    pub(crate) async fn receive(&self, content_type: &str, kind: &str, body: &str) {
        let message = Message {
            body: body.to_owned().into(),
            content_type: Some(content_type.to_owned()),
            ..Message::default()
        };
        let to = Address::Fact {
            fact: Fact::Received,
            routing_key: kind.to_owned(),
        };
        let published = self.broker.publish(Publication { to, message }).await;
        published.expect("received");
    }

    /// The validate worker and the store worker take everything that waits; it is due at `destinations`.
    pub(crate) async fn work(&self, destinations: &[&str]) {
        self.forget("validate").await;
        let mut entries = self
            .broker
            .history(HistoryStart::First)
            .await
            .expect("a history");
        while let Some(entry) = entries.next().await {
            let entry = self.judge.judge(entry.expect("an entry"));
            if let Verdict::Accepted(message) = entry.verdict {
                self.keep(*message, destinations).await;
            }
        }
    }

    /// As [`work`](Self::work), where each message had a list in its headers that the history dropped; says under
    /// which ids.
    pub(crate) async fn work_altered(&self, destinations: &[&str]) -> Vec<String> {
        self.forget("validate").await;
        let mut ids = Vec::new();
        for mut entry in self.entries().await {
            let list = HeaderValue::List(vec![HeaderValue::from("x")]);
            entry.message.headers.set("tags", list);
            if let Verdict::Accepted(message) = self.judge.judge(entry).verdict {
                ids.extend(message.message_id.clone());
                self.keep(*message, destinations).await;
            }
        }
        ids
    }

    /// All of the history.
    pub(crate) async fn entries(&self) -> Vec<common::broker::HistoryEntry> {
        let history = self.broker.history(HistoryStart::First).await;
        let entries = history
            .expect("a history")
            .map(|entry| entry.expect("an entry"));
        entries.collect().await
    }

    /// The store worker gets an event that came through no door, as if validation had accepted it; says under
    /// which id.
    pub(crate) async fn forge_accepted(&self, name: &str) -> common::event::EventId {
        let id = common::event::EventId::born();
        let event = json!({
            "specversion": "1.0", "id": id, "source": "/test", "type": "signup.requested",
            "time": "2026-01-02T03:04:05Z", "data": {"email": format!("{name}@example.com"), "name": name},
        });
        let message = Message {
            body: event.to_string().into(),
            content_type: Some(CLOUDEVENTS_JSON.to_owned()),
            message_id: Some(id.to_string()),
            kind: Some("signup.requested".to_owned()),
            headers: [(header::ACCEPTED_AT, "2026-01-02T03:04:05Z")]
                .into_iter()
                .collect(),
            ..Message::default()
        };
        self.keep(message, &[]).await;
        id
    }

    async fn keep(&self, message: Message, destinations: &[&str]) {
        let destinations = destinations.iter().map(|name| {
            toml::from_str::<Destination>(&format!(
                "name = \"{name}\"\nwebhook = {{ url = \"https://{name}.example\" }}"
            ))
            .expect("a destination")
        });
        let worker = StoreEvents::new(
            Arc::clone(&self.store) as Arc<dyn Store>,
            destinations.collect(),
            common::seal::Seal::of(&Config::default()).expect("a key"),
        );
        let received = Received {
            trail: Trail::read(&message.headers),
            routing_key: message.kind.clone().unwrap_or_default(),
            redelivered: false,
            claim: Claim::default(),
            message,
        };
        let outcomes = call_handler(&worker, &[received], Duration::from_secs(60)).await;
        for outcome in outcomes {
            assert!(
                matches!(outcome, Outcome::Next(_) | Outcome::Done),
                "{outcome:?}"
            );
        }
    }

    /// Takes everything out of a queue, and does nothing with it.
    pub(crate) async fn forget(&self, queue: &str) {
        let name = format!("longshore.{queue}");
        let depth = self
            .broker
            .depth(&name)
            .await
            .expect("asked")
            .expect("there");
        let subscription = self
            .broker
            .subscribe(&name, 1000)
            .await
            .expect("subscribed");
        let mut deliveries = subscription.deliveries;
        for _ in 0..depth.messages {
            let delivery = deliveries
                .next()
                .await
                .expect("one more")
                .expect("given out");
            subscription
                .control
                .settle(delivery.tag, common::broker::Settlement::Ack);
        }
        subscription.control.flush().await.expect("settled");
        subscription.control.close().await;
    }

    /// The receiver takes an event.
    pub(crate) async fn deliver(&self, id: &str, destination: &str, generation: u32) {
        let attempt = Attempt {
            key: DeliveryKey {
                event: id.parse().expect("an id"),
                destination: destination.to_owned(),
                generation,
            },
            attempt: 1,
            started_at: now(),
            duration_ms: 1,
            status_code: Some(200),
            error: None,
            response_excerpt: None,
            delivered: true,
        };
        self.store
            .record_attempts(&[attempt])
            .await
            .expect("recorded");
    }
}
