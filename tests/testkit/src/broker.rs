//! An outsider on AMQP: another team's publisher, or somebody who looks into the queues.

mod message;

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use futures_util::StreamExt;
use lapin::{
    Channel, Confirmation, Connection, ConnectionProperties, Consumer,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicPublishOptions,
        ConfirmSelectOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions,
        QueueDeleteOptions,
    },
    types::{FieldTable, ShortString},
};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout, timeout_at},
};
use uuid::Uuid;

pub use self::message::{Message, Received};
use crate::wait::eventually;

/// The limit for a single exchange with the broker.
const PATIENCE: Duration = Duration::from_secs(20);

/// The result of a publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// Confirmed and in at least one queue.
    Routed,
    /// Confirmed, but no queue wanted it.
    Returned,
    /// Refused by the broker.
    Refused,
}

/// How full a queue is and who reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    /// Messages that are ready; those handed out but not settled are not counted.
    pub messages: u32,
    /// Consumers at this moment.
    pub consumers: u32,
}

/// A client of the broker beside the product.
pub struct Outsider {
    url: String,
    connection: Connection,
    // Locked for a whole publish, as lapin pairs confirms wrongly when two run at once.
    publishing: Mutex<Channel>,
    // A passive declare that fails closes its channel and spoils its number, so looking into queues
    // has a connection of its own, replaced after every failure.
    looking: Mutex<Option<(Connection, Channel)>>,
}

impl Outsider {
    /// Connects.
    ///
    /// # Errors
    /// If the broker cannot be reached.
    pub async fn connect(url: &str) -> Result<Self> {
        let connection = connect(url).await?;
        let channel = connection.create_channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        Ok(Self {
            url: url.to_owned(),
            connection,
            publishing: Mutex::new(channel),
            looking: Mutex::new(None),
        })
    }

    /// Publishes mandatorily and waits for the broker's answer.
    ///
    /// # Errors
    /// If the broker does not answer, or the key is over 255 bytes.
    pub async fn publish(&self, exchange: &str, key: &str, message: &Message) -> Result<Published> {
        let properties = message
            .properties
            .clone()
            .with_headers(message.headers.clone());
        let (exchange, key) = (short(exchange)?, short(key)?);
        let options = BasicPublishOptions {
            mandatory: true,
            ..Default::default()
        };
        let channel = self.publishing.lock().await;
        let publish = async {
            channel
                .basic_publish(exchange, key, options, &message.body, properties)
                .await?
                .await
        };
        match timeout(PATIENCE, publish)
            .await
            .context("the publish was not confirmed")??
        {
            Confirmation::Ack(None) => Ok(Published::Routed),
            Confirmation::Ack(Some(_)) => Ok(Published::Returned),
            Confirmation::Nack(_) => Ok(Published::Refused),
            Confirmation::NotRequested => bail!("confirms are off on the outsider's channel"),
        }
    }

    /// Publishes straight to a queue, past all exchanges of the product.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn publish_to_queue(&self, queue: &str, message: &Message) -> Result<Published> {
        self.publish("", queue, message).await
    }

    /// The depth of a queue; `None` if it does not exist.
    ///
    /// # Errors
    /// If the broker cannot be reached.
    pub async fn depth(&self, queue: &str) -> Result<Option<Depth>> {
        let mut looking = self.looking.lock().await;
        if looking.is_none() {
            let connection = connect(&self.url).await?;
            let channel = connection.create_channel().await?;
            *looking = Some((connection, channel));
        }
        let Some((_, channel)) = looking.as_ref() else {
            bail!("no connection to look with")
        };
        let options = QueueDeclareOptions {
            passive: true,
            ..Default::default()
        };
        let declared = channel.queue_declare(short(queue)?, options, FieldTable::default());
        match timeout(PATIENCE, declared)
            .await
            .context("the broker did not tell a depth")?
        {
            Ok(state) => Ok(Some(Depth {
                messages: state.message_count(),
                consumers: state.consumer_count(),
            })),
            Err(error) => {
                *looking = None;
                if error.to_string().contains("NOT_FOUND") {
                    return Ok(None);
                }
                Err(anyhow!(error).context(format!("asking for the depth of {queue}")))
            }
        }
    }

    /// Waits until a queue holds at least `messages`.
    ///
    /// # Errors
    /// If it does not within the time.
    pub async fn await_messages(&self, queue: &str, messages: u32, within: Duration) -> Result<()> {
        eventually(
            within,
            format!("{queue} to hold {messages} messages"),
            || async {
                let depth = self.depth(queue).await?.context("there is no such queue")?;
                if depth.messages >= messages {
                    Ok(())
                } else {
                    bail!("{depth:?}")
                }
            },
        )
        .await
    }

    /// Waits until a queue has no message ready.
    ///
    /// # Errors
    /// If it does not within the time, or does not exist.
    pub async fn await_empty(&self, queue: &str, within: Duration) -> Result<()> {
        eventually(within, format!("{queue} to be empty"), || async {
            let depth = self.depth(queue).await?.context("there is no such queue")?;
            if depth.messages == 0 {
                Ok(())
            } else {
                bail!("{depth:?}")
            }
        })
        .await
    }

    /// Waits until a queue has at least `consumers`.
    ///
    /// # Errors
    /// If it does not within the time.
    pub async fn await_consumers(
        &self,
        queue: &str,
        consumers: u32,
        within: Duration,
    ) -> Result<()> {
        eventually(
            within,
            format!("{queue} to have {consumers} consumers"),
            || async {
                let depth = self.depth(queue).await?.context("there is no such queue")?;
                if depth.consumers >= consumers {
                    Ok(())
                } else {
                    bail!("{depth:?}")
                }
            },
        )
        .await
    }

    /// Looks at up to `limit` messages and puts them back. On a quorum queue that counts as one
    /// delivery of each.
    ///
    /// # Errors
    /// If there is no such queue.
    pub async fn peek(&self, queue: &str, limit: usize) -> Result<Vec<Received>> {
        self.get(queue, limit, false).await
    }

    /// Takes up to `limit` messages out of a queue.
    ///
    /// # Errors
    /// If there is no such queue.
    pub async fn take(&self, queue: &str, limit: usize) -> Result<Vec<Received>> {
        self.get(queue, limit, true).await
    }

    /// Deletes a queue with all that is in it.
    ///
    /// # Errors
    /// If the broker does not answer.
    pub async fn delete_queue(&self, queue: &str) -> Result<()> {
        let channel = self.connection.create_channel().await?;
        channel
            .queue_delete(short(queue)?, QueueDeleteOptions::default())
            .await?;
        channel.close(200, "deleted".into()).await?;
        Ok(())
    }

    /// Deletes an exchange with all bindings to it.
    ///
    /// # Errors
    /// If the broker does not answer.
    pub async fn delete_exchange(&self, exchange: &str) -> Result<()> {
        let channel = self.connection.create_channel().await?;
        channel
            .exchange_delete(short(exchange)?, ExchangeDeleteOptions::default())
            .await?;
        channel.close(200, "deleted".into()).await?;
        Ok(())
    }

    /// Removes a binding of a queue.
    ///
    /// # Errors
    /// If the broker does not answer.
    pub async fn unbind(&self, queue: &str, exchange: &str, pattern: &str) -> Result<()> {
        let channel = self.connection.create_channel().await?;
        let (queue, exchange, pattern) = (short(queue)?, short(exchange)?, short(pattern)?);
        channel
            .queue_unbind(queue, exchange, pattern, FieldTable::default())
            .await?;
        channel.close(200, "unbound".into()).await?;
        Ok(())
    }

    async fn get(&self, queue: &str, limit: usize, keep: bool) -> Result<Vec<Received>> {
        let channel = self.connection.create_channel().await?;
        let mut messages = Vec::new();
        while messages.len() < limit {
            let next = channel.basic_get(short(queue)?, BasicGetOptions { no_ack: false });
            let Some(got) = next
                .await
                .with_context(|| format!("getting from {queue}"))?
            else {
                break;
            };
            if keep {
                got.ack(BasicAckOptions::default()).await?;
            }
            messages.push(got.delivery.into());
        }
        // Closing the channel gives the unacknowledged messages back.
        channel.close(200, "looked".into()).await?;
        Ok(messages)
    }

    /// Binds a queue of the outsider's own to an exchange, as a foreign reader would.
    ///
    /// # Errors
    /// If there is no such exchange.
    pub async fn listen(&self, exchange: &str, pattern: &str) -> Result<Feed> {
        let channel = self.connection.create_channel().await?;
        let name = format!("outsider.{}", Uuid::new_v4().simple());
        let own = QueueDeclareOptions {
            exclusive: true,
            auto_delete: true,
            ..Default::default()
        };
        channel
            .queue_declare(short(&name)?, own, FieldTable::default())
            .await?;
        channel
            .queue_bind(
                short(&name)?,
                short(exchange)?,
                short(pattern)?,
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await
            .with_context(|| format!("binding to {exchange}"))?;
        let options = BasicConsumeOptions {
            no_ack: true,
            ..Default::default()
        };
        let consumer = channel
            .basic_consume(short(&name)?, "".into(), options, FieldTable::default())
            .await?;
        Ok(Feed {
            consumer,
            _channel: channel,
        })
    }
}

/// The messages that arrive at an outsider's own queue.
pub struct Feed {
    consumer: Consumer,
    // The consumer ends with its channel.
    _channel: Channel,
}

impl Feed {
    /// The next message.
    ///
    /// # Errors
    /// If none comes within the time.
    pub async fn next(&mut self, within: Duration) -> Result<Received> {
        let next = timeout(within, self.consumer.next()).await;
        let delivery = next.with_context(|| format!("no message within {within:?}"))?;
        Ok(delivery.context("the broker ended the feed")??.into())
    }

    /// The next `count` messages.
    ///
    /// # Errors
    /// If fewer come within the time.
    pub async fn collect(&mut self, count: usize, within: Duration) -> Result<Vec<Received>> {
        let deadline = Instant::now() + within;
        let mut messages: Vec<Received> = Vec::with_capacity(count);
        while messages.len() < count {
            let next = timeout_at(deadline, self.consumer.next()).await;
            let delivery =
                next.with_context(|| format!("{} of {count} messages came", messages.len()))?;
            messages.push(delivery.context("the broker ended the feed")??.into());
        }
        Ok(messages)
    }
}

async fn connect(url: &str) -> Result<Connection> {
    let connection = Connection::connect(url, ConnectionProperties::default());
    timeout(PATIENCE, connection)
        .await
        .context("the broker did not answer")?
        .context("connecting to the broker; `scripts/services up` starts one")
}

fn short(text: &str) -> Result<ShortString> {
    ShortString::try_new(text).map_err(|_| anyhow!("{} bytes are too long for AMQP", text.len()))
}
