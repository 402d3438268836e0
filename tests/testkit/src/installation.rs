//! An installation whose programs were stopped: its topology, the messages that wait in it, and its tables.
//!
//! It is recorded under one version and restored for another, as two files in a folder. Its namespace is replaced when
//! it is read, so that every test has its own copy.

mod message;

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use futures_util::StreamExt;
use lapin::{
    Channel, Confirmation, Connection, ConnectionProperties, ExchangeKind,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
        ConfirmSelectOptions, ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions,
        QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::time::timeout;
use url::Url;

pub use self::message::Waiting;
use crate::{
    broker::{Outsider, Received},
    services::Services,
};

/// The limit for a single exchange with the broker.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a stream gives nothing before it counts as read.
const SILENCE: Duration = Duration::from_secs(3);
const BROKER: &str = "broker.json";
const DATABASE: &str = "database.sql";

/// An extension belongs to the whole database and is in no schema's dump. The lock is the one of the migrations: they make
/// it too.
const EXTENSION: &str = "select pg_advisory_xact_lock(hashtextextended('longshore pg_trgm', 0));
create extension if not exists pg_trgm with schema public;";

/// Exchanges, queues, bindings and messages of a namespace, and its schema as SQL.
#[derive(Debug)]
pub struct Installation {
    broker: Broker,
    database: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Broker {
    namespace: String,
    definitions: Definitions,
    messages: Vec<Waiting>,
}

/// The part of RabbitMQ's own definitions that is read.
#[derive(Debug, Serialize, Deserialize)]
struct Definitions {
    exchanges: Vec<Exchange>,
    queues: Vec<Queue>,
    bindings: Vec<Binding>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Exchange {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    arguments: Map<String, Value>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Queue {
    name: String,
    arguments: Map<String, Value>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Binding {
    source: String,
    destination: String,
    destination_type: String,
    routing_key: String,
    arguments: Map<String, Value>,
}

impl Installation {
    /// Takes what an installation on the shared services holds, whose programs were stopped, and adds messages that were
    /// taken from it before. Its queues are empty afterwards.
    ///
    /// # Errors
    /// If `rabbitmqctl` or `pg_dump` is missing, or a message cannot be recorded.
    pub async fn record(services: &Services, namespace: &str, taken: Vec<Waiting>) -> Result<Self> {
        let mut definitions: Definitions =
            serde_json::from_str(&stdout(Command::new("rabbitmqctl").args([
                "export_definitions",
                "-",
                "--format",
                "json",
            ]))?)?;
        let ours = |name: &str| name.starts_with(&format!("{namespace}."));
        definitions.exchanges.retain(|it| ours(&it.name));
        definitions.queues.retain(|it| ours(&it.name));
        definitions.bindings.retain(|it| ours(&it.source));
        let outsider = Outsider::connect(&services.broker_url).await?;
        let mut messages = taken;
        for queue in &definitions.queues {
            let is_stream = queue.arguments.get("x-queue-type") == Some(&"stream".into());
            let found = if is_stream {
                read_stream(services, &queue.name).await?
            } else {
                outsider.take(&queue.name, usize::MAX).await?
            };
            for message in &found {
                messages.push(Waiting::new(&queue.name, message)?);
            }
        }
        let dump = stdout(
            Command::new("pg_dump")
                .args(["--inserts", "--no-owner", "--no-acl", "--schema", namespace])
                .arg(&services.database_url),
        )?;
        // Neither comments nor commands of psql.
        let lines = dump
            .lines()
            .filter(|line| !line.starts_with("--") && !line.starts_with('\\') && !line.is_empty());
        let database = lines.map(|line| format!("{line}\n")).collect();
        let broker = Broker {
            namespace: namespace.to_owned(),
            definitions,
            messages,
        };
        Ok(Self { broker, database })
    }

    /// Writes it into a folder.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let broker = serde_json::to_string_pretty(&self.broker)?;
        fs::write(folder.join(BROKER), broker + "\n")?;
        fs::write(folder.join(DATABASE), &self.database)?;
        Ok(())
    }

    /// Reads it from a folder, with `namespace` in place of the recorded one.
    ///
    /// # Errors
    /// If a file is missing or cannot be understood.
    pub fn read(folder: &Path, namespace: &str) -> Result<Self> {
        let text = |name| {
            let path = folder.join(name);
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
        };
        let (broker, database) = (text(BROKER)?, text(DATABASE)?);
        let recorded: Broker = serde_json::from_str(&broker)?;
        Ok(Self {
            broker: serde_json::from_str(&broker.replace(&recorded.namespace, namespace))?,
            database: database.replace(&recorded.namespace, namespace),
        })
    }

    /// Makes it anew on these services.
    ///
    /// # Errors
    /// If a service refuses a part of it.
    pub async fn restore(&self, services: &Services) -> Result<()> {
        let mut database = PgConnection::connect(&services.database_url).await?;
        sqlx::raw_sql(EXTENSION).execute(&mut database).await?;
        sqlx::raw_sql(AssertSqlSafe(self.database.clone()))
            .execute(&mut database)
            .await
            .context("restoring the tables")?;
        let connection =
            Connection::connect(&services.broker_url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        self.declare(&channel).await?;
        let url = Url::parse(&services.broker_url)?;
        for message in &self.broker.messages {
            self.put(&channel, message, url.username())
                .await
                .with_context(|| format!("putting a message into {}", message.queue))?;
        }
        self.bind(&channel).await?;
        connection.close(200, "restored".into()).await?;
        Ok(())
    }

    async fn declare(&self, channel: &Channel) -> Result<()> {
        for exchange in &self.broker.definitions.exchanges {
            let options = ExchangeDeclareOptions {
                durable: true,
                ..Default::default()
            };
            let kind = match exchange.kind.as_str() {
                "topic" => ExchangeKind::Topic,
                "fanout" => ExchangeKind::Fanout,
                "direct" => ExchangeKind::Direct,
                "headers" => ExchangeKind::Headers,
                other => ExchangeKind::Custom(other.to_owned()),
            };
            let arguments = table(&exchange.arguments)?;
            channel
                .exchange_declare(exchange.name.as_str().into(), kind, options, arguments)
                .await?;
        }
        for queue in &self.broker.definitions.queues {
            let options = QueueDeclareOptions {
                durable: true,
                ..Default::default()
            };
            let arguments = table(&queue.arguments)?;
            channel
                .queue_declare(queue.name.as_str().into(), options, arguments)
                .await?;
        }
        Ok(())
    }

    /// Through the exchange it came through, to which nothing but its queue is bound for that time.
    async fn put(&self, channel: &Channel, message: &Waiting, login: &str) -> Result<()> {
        let Waiting {
            queue,
            exchange,
            routing_key,
            ..
        } = message;
        let through = !exchange.is_empty();
        let (none, key) = (FieldTable::default(), routing_key.as_str());
        let (to, from) = (queue.as_str(), exchange.as_str());
        if through {
            let options = QueueBindOptions::default();
            channel
                .queue_bind(to.into(), from.into(), key.into(), options, none.clone())
                .await?;
        }
        let options = BasicPublishOptions {
            mandatory: true,
            ..Default::default()
        };
        let (body, properties) = (message.body.as_bytes(), message.properties(login)?);
        let publish = channel.basic_publish(from.into(), key.into(), options, body, properties);
        let confirm = timeout(PATIENCE, publish.await?)
            .await
            .context("no confirm")??;
        ensure!(matches!(confirm, Confirmation::Ack(None)), "{confirm:?}");
        if through {
            channel
                .queue_unbind(to.into(), from.into(), key.into(), none)
                .await?;
        }
        Ok(())
    }

    async fn bind(&self, channel: &Channel) -> Result<()> {
        for binding in &self.broker.definitions.bindings {
            let arguments = table(&binding.arguments)?;
            let (to, from, key) = (
                binding.destination.as_str().into(),
                binding.source.as_str().into(),
                binding.routing_key.as_str().into(),
            );
            if binding.destination_type == "queue" {
                let options = QueueBindOptions::default();
                channel
                    .queue_bind(to, from, key, options, arguments)
                    .await?;
            } else {
                let options = ExchangeBindOptions::default();
                channel
                    .exchange_bind(to, from, key, options, arguments)
                    .await?;
            }
        }
        Ok(())
    }
}

fn table(arguments: &Map<String, Value>) -> Result<FieldTable> {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        let value = match value {
            Value::String(text) => AMQPValue::LongString(text.as_str().into()),
            Value::Number(number) => {
                AMQPValue::LongLongInt(number.as_i64().context("a whole number")?)
            }
            Value::Bool(flag) => AMQPValue::Boolean(*flag),
            other => bail!("argument {name} is {other}"),
        };
        table.insert(name.as_str().into(), value);
    }
    Ok(table)
}

/// All messages of a stream, from its beginning until it is silent: the broker does not tell at once how many there are.
async fn read_stream(services: &Services, stream: &str) -> Result<Vec<Received>> {
    let connection =
        Connection::connect(&services.broker_url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.basic_qos(100, BasicQosOptions::default()).await?;
    let mut first = FieldTable::default();
    first.insert(
        "x-stream-offset".into(),
        AMQPValue::LongString("first".into()),
    );
    let options = BasicConsumeOptions::default();
    let mut consumer = channel
        .basic_consume(stream.into(), "".into(), options, first)
        .await?;
    let mut messages = Vec::new();
    while let Ok(next) = timeout(SILENCE, consumer.next()).await {
        let delivery = next.context("the broker ended the reading")??;
        delivery.ack(BasicAckOptions::default()).await?;
        messages.push(delivery.into());
    }
    connection.close(200, "read".into()).await?;
    Ok(messages)
}

fn stdout(command: &mut Command) -> Result<String> {
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .output()
        .with_context(|| format!("running {command:?}"))?;
    ensure!(
        status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&stderr)
    );
    String::from_utf8(stdout).context("its output is not text")
}
