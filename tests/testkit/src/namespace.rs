//! Names nobody else has, and their removal.

use std::{fs, path::PathBuf, thread, time::Duration};

use anyhow::{Context, Result};
use lapin::{
    Channel, Connection, ConnectionProperties,
    options::{ExchangeDeleteOptions, QueueDeleteOptions},
};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::time::timeout;
use uuid::Uuid;

use crate::{scratch::Scratch, services::Services};

/// How many delay levels the longest configurable delay can need.
const DELAY_LEVELS: u8 = 24;
const FILE: &str = "namespace";

/// A namespace of one test: a prefix of exchanges and queues and the name of a database schema.
///
/// Everything in it is removed when it is dropped. A killed run leaves a note in its scratch
/// folder, and the next test that makes a namespace removes the noted one.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    destinations: Vec<String>,
    services: Services,
    note: PathBuf,
}

impl Namespace {
    /// A fresh namespace on `services`, with queues for `destinations`, noted in `scratch`.
    ///
    /// # Errors
    /// If the note cannot be written.
    pub async fn new(
        services: &Services,
        destinations: impl IntoIterator<Item = impl Into<String>>,
        scratch: &Scratch,
    ) -> Result<Self> {
        sweep().await;
        let name = format!("t{}", &Uuid::new_v4().simple().to_string()[..10]);
        Self::adopt(name, services, destinations, scratch)
    }

    /// A namespace that the product has made itself, from now on removed as if it were one of ours.
    ///
    /// # Errors
    /// If the note cannot be written.
    pub fn adopt(
        name: String,
        services: &Services,
        destinations: impl IntoIterator<Item = impl Into<String>>,
        scratch: &Scratch,
    ) -> Result<Self> {
        let destinations: Vec<String> = destinations.into_iter().map(Into::into).collect();
        let note = scratch.path().join(FILE);
        fs::write(&note, format!("{name} {}", destinations.join(" ")))
            .with_context(|| format!("writing {}", note.display()))?;
        Ok(Self {
            name,
            destinations,
            services: services.clone(),
            note,
        })
    }

    /// The bare name, for `LONGSHORE_NAMESPACE` and as schema.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The full name of an exchange or a queue: `named("store")` is `NAME.store`.
    #[must_use]
    pub fn named(&self, short: &str) -> String {
        format!("{}.{short}", self.name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let (name, destinations) = (self.name.clone(), self.destinations.clone());
        let services = self.services.clone();
        // A thread, because a runtime cannot be entered from within the test's own.
        let removed = thread::spawn(move || -> Result<()> {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?
                .block_on(remove(&name, &destinations, &services))
        })
        .join();
        match removed {
            Ok(Ok(())) => {
                let _ = fs::remove_file(&self.note);
            }
            Ok(Err(error)) => eprintln!("namespace {} was not removed: {error:#}", self.name),
            Err(_) => eprintln!(
                "namespace {} was not removed: the remover panicked",
                self.name
            ),
        }
    }
}

/// Removes the remains of killed runs on the shared services. A failure here does not fail a test.
async fn sweep() {
    for folder in Scratch::abandoned() {
        let Ok(note) = fs::read_to_string(folder.path().join(FILE)) else {
            continue;
        };
        let mut words = note.split_whitespace().map(str::to_owned);
        let Some(name) = words.next() else { continue };
        let destinations: Vec<String> = words.collect();
        if let Err(error) = remove(&name, &destinations, &Services::shared()).await {
            eprintln!("leftover namespace {name} was not removed: {error:#}");
        }
    }
}

/// A private broker or database goes away as a whole; only the shared ones need cleaning.
async fn remove(name: &str, destinations: &[String], services: &Services) -> Result<()> {
    let limit = Duration::from_secs(30);
    let shared = Services::shared();
    let queues = async {
        if services.broker_url == shared.broker_url {
            remove_from_broker(name, destinations, &shared.broker_url).await?;
        }
        anyhow::Ok(())
    };
    let tables = async {
        if services.database_url == shared.database_url {
            drop_schema(name, &shared.database_url).await?;
        }
        anyhow::Ok(())
    };
    let (queues, tables) = tokio::join!(timeout(limit, queues), timeout(limit, tables));
    queues.context("removing its queues took too long")??;
    tables.context("dropping its schema took too long")??;
    Ok(())
}

async fn drop_schema(name: &str, url: &str) -> Result<()> {
    let mut connection = PgConnection::connect(url)
        .await
        .context("connecting to drop the schema")?;
    let drop = format!("drop schema if exists \"{name}\" cascade");
    sqlx::query(AssertSqlSafe(drop))
        .execute(&mut connection)
        .await
        .context("dropping the schema")?;
    Ok(())
}

async fn remove_from_broker(name: &str, destinations: &[String], url: &str) -> Result<()> {
    let connection = Connection::connect(url, ConnectionProperties::default())
        .await
        .context("connecting to remove queues")?;
    let channel = connection.create_channel().await?;
    // Exchanges first: an unbound exchange cannot dead-letter into queues just removed.
    for short in exchanges() {
        channel
            .exchange_delete(
                format!("{name}.{short}").as_str().into(),
                ExchangeDeleteOptions::default(),
            )
            .await?;
    }
    for short in queues(destinations) {
        delete_queue(&channel, &format!("{name}.{short}")).await?;
    }
    connection.close(200, "done".into()).await?;
    Ok(())
}

/// Deleting a missing queue is not an error for RabbitMQ, so the list may be longer than needed.
async fn delete_queue(channel: &Channel, queue: &str) -> Result<()> {
    channel
        .queue_delete(queue.into(), QueueDeleteOptions::default())
        .await
        .with_context(|| format!("deleting queue {queue}"))?;
    Ok(())
}

fn exchanges() -> Vec<String> {
    [
        "received",
        "accepted",
        "rejected",
        "stored",
        "dead",
        "trust",
        "delay.done",
    ]
    .into_iter()
    .map(str::to_owned)
    .chain((0..DELAY_LEVELS).map(|level| format!("delay.{level:02}")))
    .collect()
}

fn queues(destinations: &[String]) -> Vec<String> {
    let stages = ["validate", "store", "dead", "rejected"]
        .into_iter()
        .map(str::to_owned);
    let integrate = destinations.iter().map(|name| format!("integrate.{name}"));
    stages
        .chain(integrate)
        .flat_map(|queue| [format!("{queue}.suspect"), queue])
        .chain(["dead.parked", "history"].map(str::to_owned))
        .chain((0..DELAY_LEVELS).map(|level| format!("delay.{level:02}")))
        .collect()
}
