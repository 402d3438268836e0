//! Publishers in other languages: the examples at the doors of both engines, and public clients at doors and
//! broker. Where a language or a client cannot be had, the test says that it is skipped.

mod answers;
mod examples;
mod foreign;
#[path = "../repository.rs"]
mod repository;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testkit::{
    client::Client,
    dev::Dev,
    receiver::{Receiver, Request},
    system::{Destination, System},
    wait::eventually,
};
use uuid::Uuid;

use crate::SOON;

/// A running system, and the receiver of all its events.
struct Place {
    engine: Engine,
    receiver: Receiver,
}

enum Engine {
    Rabbit(Box<System>),
    Embedded(Box<Dev>),
}

impl Place {
    /// On RabbitMQ and PostgreSQL.
    async fn on_rabbit() -> Result<Self> {
        let receiver = Receiver::start().await?;
        let system = System::builder()
            .destination(Destination::webhook("all", &receiver))
            .start()
            .await?;
        let engine = Engine::Rabbit(Box::new(system));
        Ok(Self { engine, receiver })
    }

    /// On the embedded engine.
    async fn embedded() -> Result<Self> {
        let receiver = Receiver::start().await?;
        let mut dev = Dev::new(&[Destination::webhook("all", &receiver)])?;
        dev.start().await?;
        let engine = Engine::Embedded(Box::new(dev));
        Ok(Self { engine, receiver })
    }

    fn client(&self) -> &Client {
        match &self.engine {
            Engine::Rabbit(system) => system.client(),
            Engine::Embedded(dev) => dev.client(),
        }
    }

    /// The address of the door.
    fn door(&self) -> &str {
        self.client().base()
    }

    /// The exchange that takes events, where there is a broker.
    fn exchange(&self) -> Result<String> {
        match &self.engine {
            Engine::Rabbit(system) => Ok(system.named("received")),
            Engine::Embedded(_) => anyhow::bail!("the embedded engine has no exchange"),
        }
    }

    /// Waits until all these events are completed.
    async fn await_completed(&self, events: &[Uuid]) -> Result<()> {
        for event in events {
            let status = self.client().await_rest(*event, SOON).await?;
            ensure!(status.status == "completed", "{status:?}");
        }
        if let Engine::Rabbit(system) = &self.engine {
            system.ledger().await?.all_completed(events, SOON).await?;
        }
        Ok(())
    }

    /// Waits until the event that its publisher calls this is delivered and completed; the event.
    async fn await_event(&self, source: &str, id: &str) -> Result<Value> {
        let named = format!("the event {id} of {source} to be delivered");
        let is_it = |request: &Request| {
            let event = request.json().unwrap_or_default();
            event["source"] == source && event["id"] == id
        };
        let request = eventually(SOON, named, || async {
            let mut requests = self.receiver.requests().into_iter();
            requests.find(is_it).context("it has not come")
        })
        .await?;
        let event: Uuid = request.header("longshore-event-id").parse()?;
        self.await_completed(&[event]).await?;
        request.json()
    }

    async fn finish(self) -> Result<()> {
        match self.engine {
            Engine::Rabbit(system) => system.finish().await,
            Engine::Embedded(dev) => dev.finish(),
        }
    }
}
