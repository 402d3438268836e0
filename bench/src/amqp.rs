use std::time::Duration;

use anyhow::{Context, Result, bail};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
        ConfirmSelectOptions,
    },
    types::{FieldTable, ShortString},
};

/// How long the broker may take to answer anything but a confirm.
const PATIENCE: Duration = Duration::from_secs(20);

/// Opens a connection; `url` is never part of an error, since it carries a password.
pub(crate) async fn connect(url: &str, name: &str) -> Result<Connection> {
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    tokio::time::timeout(PATIENCE, Connection::connect(url, properties))
        .await
        .with_context(|| format!("the broker did not answer {name} within {PATIENCE:?}"))?
        .with_context(|| format!("{name} could not connect to the broker"))
}

/// A channel in confirm mode. One task owns it: publishing from two can swap their confirms.
pub(crate) async fn publishing(connection: &Connection) -> Result<Channel> {
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    Ok(channel)
}

/// A channel with one consumer of `queue` on it, acks by hand.
pub(crate) async fn consuming(
    connection: &Connection,
    queue: &str,
    prefetch: u16,
) -> Result<(Channel, Consumer)> {
    let channel = connection.create_channel().await?;
    channel
        .basic_qos(prefetch, BasicQosOptions::default())
        .await?;
    let consumer = channel
        .basic_consume(
            short(queue)?,
            short("")?,
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await
        .with_context(|| format!("cannot consume {queue}"))?;
    Ok((channel, consumer))
}

/// Publishes and waits for the confirm.
///
/// # Errors
/// When the broker refuses the message, or returns it: with `mandatory`, a message no queue takes is an error.
pub(crate) async fn publish(
    channel: &Channel,
    exchange: ShortString,
    routing_key: ShortString,
    mandatory: bool,
    body: &[u8],
    properties: BasicProperties,
) -> Result<()> {
    let options = BasicPublishOptions {
        mandatory,
        ..BasicPublishOptions::default()
    };
    let confirm = channel
        .basic_publish(exchange, routing_key, options, body, properties)
        .await?;
    match confirm.await? {
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Ack(Some(returned)) => bail!(
            "the broker returned a message, {}: is the topology declared?",
            returned.reply_text
        ),
        Confirmation::Nack(_) => bail!("the broker refused a message: is a queue full?"),
        Confirmation::NotRequested => bail!("the publishing channel is not in confirm mode"),
    }
}

/// Acks everything up to `tag`.
pub(crate) async fn ack_through(channel: &Channel, tag: u64) -> Result<()> {
    channel
        .basic_ack(tag, BasicAckOptions { multiple: true })
        .await
        .context("an ack was not sent")
}

/// A name for the broker, at most 255 bytes (lapin panics over longer ones unless they are checked here).
pub(crate) fn short(name: &str) -> Result<ShortString> {
    ShortString::try_new(name).map_err(|_| anyhow::anyhow!("{name:?} has over 255 bytes"))
}
