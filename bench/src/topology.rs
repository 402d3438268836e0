//! The exchanges and queues of the measurements, with the arguments they have in production.

use anyhow::{Context, Result};
use lapin::{
    Channel, Connection, ExchangeKind,
    options::{
        ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions,
        QueueDeleteOptions,
    },
    types::{AMQPValue, FieldTable},
};

use crate::{
    Namespace,
    amqp::{connect, short},
};

/// The topic exchanges, by stem.
const EXCHANGES: [&str; 5] = ["received", "accepted", "rejected", "stored", "dead"];

/// The queue of the one destination of the twin, by stem.
pub(crate) const DESTINATION_QUEUE: &str = "integrate.bench";

/// The stream of all received events, by stem.
const HISTORY: &str = "history";

/// Declares exchanges, queues and bindings. With `destination`, stored events go on to `integrate.bench`; without, they end
/// where they are stored.
///
/// # Errors
/// When the broker cannot be reached or has something else under one of the names.
pub async fn declare(broker_url: &str, namespace: &Namespace, destination: bool) -> Result<()> {
    let connection = connect(broker_url, "bench-topology").await?;
    let channel = connection.create_channel().await?;
    for stem in EXCHANGES {
        let options = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        channel
            .exchange_declare(
                short(&namespace.name(stem))?,
                ExchangeKind::Topic,
                options,
                FieldTable::default(),
            )
            .await
            .with_context(|| format!("cannot declare exchange {}", namespace.name(stem)))?;
    }
    queue(
        &channel,
        namespace,
        "validate",
        "received",
        quorum(namespace),
    )
    .await?;
    queue(&channel, namespace, "store", "accepted", quorum(namespace)).await?;
    if destination {
        queue(
            &channel,
            namespace,
            DESTINATION_QUEUE,
            "stored",
            quorum(namespace),
        )
        .await?;
    }
    queue(&channel, namespace, HISTORY, "received", stream()).await?;
    close(connection).await
}

/// Deletes every exchange and queue that [`declare`] makes, with their messages; missing ones are skipped.
///
/// # Errors
/// When the broker cannot be reached or refuses.
pub async fn delete(broker_url: &str, namespace: &Namespace) -> Result<()> {
    let connection = connect(broker_url, "bench-topology").await?;
    let channel = connection.create_channel().await?;
    for stem in ["validate", "store", DESTINATION_QUEUE, HISTORY] {
        let name = namespace.name(stem);
        channel
            .queue_delete(short(&name)?, QueueDeleteOptions::default())
            .await
            .with_context(|| format!("cannot delete queue {name}"))?;
    }
    for stem in EXCHANGES {
        let name = namespace.name(stem);
        channel
            .exchange_delete(short(&name)?, ExchangeDeleteOptions::default())
            .await
            .with_context(|| format!("cannot delete exchange {name}"))?;
    }
    close(connection).await
}

async fn queue(
    channel: &Channel,
    namespace: &Namespace,
    stem: &str,
    exchange: &str,
    arguments: FieldTable,
) -> Result<()> {
    let (name, exchange) = (namespace.name(stem), namespace.name(exchange));
    channel
        .queue_declare(short(&name)?, QueueDeclareOptions::durable(), arguments)
        .await
        .with_context(|| format!("cannot declare queue {name}"))?;
    channel
        .queue_bind(
            short(&name)?,
            short(&exchange)?,
            short("#")?,
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
        .with_context(|| format!("cannot bind queue {name} to {exchange}"))
}

fn quorum(namespace: &Namespace) -> FieldTable {
    table([
        ("x-queue-type", text("quorum")),
        ("x-delivery-limit", AMQPValue::LongInt(20)),
        ("x-dead-letter-exchange", text(&namespace.name("dead"))),
        ("x-dead-letter-strategy", text("at-least-once")),
        ("x-overflow", text("reject-publish")),
    ])
}

fn stream() -> FieldTable {
    table([("x-queue-type", text("stream")), ("x-max-age", text("1h"))])
}

fn table<const N: usize>(entries: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in entries {
        table.insert(name.into(), value);
    }
    table
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

async fn close(connection: Connection) -> Result<()> {
    connection
        .close(200, short("done")?)
        .await
        .context("the connection did not close")
}
