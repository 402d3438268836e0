//! Reading the history: a stream, consumed from somewhere on to what is its end now.
//!
//! AMQP does not tell where a stream ends. It hands out the last chunk of entries to a consumer that
//! asks for `last`; when nothing more comes for a moment, the last one that came is the end. Whatever
//! is received in that moment may belong to it or not.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Consumer};
use time::OffsetDateTime;

use super::connection::{Link, close_channel};
use super::convert::short;
use super::explain::{Fault, NOT_FOUND, within, words};
use super::wire;
use crate::broker::{BrokerError, HistoryEntry, HistoryStart};
use crate::event::Trail;
use crate::message::Message;

/// The header in which a stream tells the offset of an entry.
const OFFSET: &str = "x-stream-offset";

/// How many entries may be on their way.
const PREFETCH: u16 = 500;

/// For so long nothing comes where nothing is.
const MOMENT: Duration = Duration::from_secs(1);

/// The entries of the stream `name` from `from` to its end.
pub(super) async fn read(
    link: &Arc<Link>,
    name: String,
    from: HistoryStart,
    body_limit: usize,
) -> Result<BoxStream<'static, Result<HistoryEntry, BrokerError>>, BrokerError> {
    let last = AMQPValue::LongString("last".into());
    let mut tail = Reader::open(link, &name, last, body_limit).await?;
    let mut end = None;
    while let Some(entry) = tail.within_a_moment().await? {
        end = Some(entry.offset);
    }
    tail.close().await;
    let Some(end) = end else {
        return Ok(stream::empty().boxed());
    };
    let from = match from {
        HistoryStart::First => AMQPValue::LongString("first".into()),
        HistoryStart::Offset(offset) if offset > end => return Ok(stream::empty().boxed()),
        HistoryStart::Offset(offset) => {
            AMQPValue::LongLongInt(i64::try_from(offset).unwrap_or(i64::MAX))
        }
        HistoryStart::Time(moment) => {
            AMQPValue::Timestamp(u64::try_from(moment.unix_timestamp()).unwrap_or(0))
        }
    };
    let mut reader = Reader::open(link, &name, from, body_limit).await?;
    // Nothing has been received since the moment asked for, if nothing comes.
    let Some(first) = reader.within_a_moment().await? else {
        reader.close().await;
        return Ok(stream::empty().boxed());
    };
    let rest = stream::unfold(Some((reader, first)), move |state| async move {
        let (mut reader, entry) = state?;
        if entry.offset >= end {
            reader.close().await;
            return (entry.offset == end).then_some((Ok(entry), None));
        }
        match reader.next().await {
            Ok(next) => Some((Ok(entry), Some((reader, next)))),
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(rest.boxed())
}

/// A consumer of a stream.
struct Reader {
    channel: Channel,
    consumer: Consumer,
    patience: Duration,
}

impl Reader {
    async fn open(
        link: &Arc<Link>,
        name: &str,
        offset: AMQPValue,
        body_limit: usize,
    ) -> Result<Self, BrokerError> {
        let patience = link.settings.patience;
        let channel = link.channel_with_limit(body_limit).await?;
        let qos = channel.basic_qos(PREFETCH, BasicQosOptions::default());
        within(patience, "basic.qos", qos).await?;
        let mut arguments = FieldTable::default();
        arguments.insert(OFFSET.into(), offset);
        let consume = channel.basic_consume(
            short("queue name", name).map_err(BrokerError::Refused)?,
            ShortString::default(),
            BasicConsumeOptions::default(),
            arguments,
        );
        match within(patience, "basic.consume", consume).await {
            Ok(consumer) => Ok(Self {
                channel,
                consumer,
                patience,
            }),
            Err(fault) if fault.code() == Some(NOT_FOUND) => {
                Err(BrokerError::NoSuchQueue(name.to_owned()))
            }
            Err(fault) => {
                close_channel(&channel, patience).await;
                Err(fault.into())
            }
        }
    }

    /// The next entry, which is known to be there.
    async fn next(&mut self) -> Result<HistoryEntry, BrokerError> {
        let silent = Fault::Silent {
            what: "reading the history",
            limit: self.patience,
        };
        match tokio::time::timeout(self.patience, self.receive()).await {
            Ok(entry) => entry,
            Err(_) => Err(silent.into()),
        }
    }

    /// The next entry, if there is one.
    async fn within_a_moment(&mut self) -> Result<Option<HistoryEntry>, BrokerError> {
        match tokio::time::timeout(MOMENT, self.receive()).await {
            Ok(entry) => entry.map(Some),
            Err(_) => Ok(None),
        }
    }

    async fn receive(&mut self) -> Result<HistoryEntry, BrokerError> {
        let lost = |why: &str| BrokerError::Lost(why.to_owned());
        let delivery = match self.consumer.next().await {
            Some(Ok(delivery)) => delivery,
            Some(Err(error)) => return Err(lost(&words(&error))),
            None => return Err(lost("the broker ended the reading of the history")),
        };
        let ack = self
            .channel
            .basic_ack(delivery.delivery_tag, BasicAckOptions::default());
        // It gives credit for the next ones; the entry itself stays where it is.
        within(self.patience, "writing acks", ack).await?;
        let (routing_key, message) = wire::open(delivery.data)
            .ok_or_else(|| lost("an entry of the history came without its properties"))?;
        let offset = message
            .headers
            .int(OFFSET)
            .and_then(|at| at.try_into().ok());
        Ok(HistoryEntry {
            offset: offset.ok_or_else(|| lost("an entry of the history tells no offset"))?,
            time: received_at(&message),
            routing_key,
            message,
        })
    }

    async fn close(&self) {
        close_channel(&self.channel, self.patience).await;
    }
}

/// When a message was received: to the microsecond if it came over HTTP, else as its publisher says.
fn received_at(message: &Message) -> Option<OffsetDateTime> {
    Trail::read(&message.headers).received_at.or_else(|| {
        let seconds = i64::try_from(message.timestamp?).ok()?;
        OffsetDateTime::from_unix_timestamp(seconds).ok()
    })
}
