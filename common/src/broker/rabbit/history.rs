//! Reading the history: a stream, consumed from some entry on to its end at the time of the call.
//!
//! AMQP does not tell where a stream ends. Two consumers find out, under any traffic. One asks for `next` and gets the
//! entries after the end, so the entry before its first one is the end. One asks for `last` and gets the last chunk of
//! entries. Without new entries, the end is the last entry of that chunk, once nothing more comes of it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Consumer};

use super::connection::{Link, close_channel};
use super::convert::short;
use super::explain::{Fault, NOT_FOUND, within, words};
use super::wire;
use crate::broker::{BrokerError, HistoryEntry, HistoryStart};

/// The header in which a stream tells the offset of an entry.
const OFFSET: &str = "x-stream-offset";

/// How many entries may be on their way.
const PREFETCH: u16 = 500;

/// How many entries are acked at once: an ack is the credit for as many more.
const ACK_EVERY: u16 = PREFETCH / 5;

/// How long nothing comes where nothing is.
const MOMENT: Duration = Duration::from_secs(1);

/// The entries of the stream `name` from `from` to its end.
pub(super) async fn read(
    link: &Arc<Link>,
    name: String,
    from: HistoryStart,
    body_limit: usize,
) -> Result<BoxStream<'static, Result<HistoryEntry, BrokerError>>, BrokerError> {
    let Some(end) = end_of(link, &name, body_limit).await? else {
        return Ok(stream::empty().boxed());
    };
    let from = match from {
        HistoryStart::First => text("first"),
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

/// The offset of the present last entry; `None` without entries.
async fn end_of(
    link: &Arc<Link>,
    name: &str,
    body_limit: usize,
) -> Result<Option<u64>, BrokerError> {
    // First this one: its entries are behind everything that was there when it asked.
    let mut news = Reader::open(link, name, text("next"), body_limit).await?;
    let mut tail = Reader::open(link, name, text("last"), body_limit).await?;
    let mut end = None;
    let found = loop {
        tokio::select! {
            biased;
            next = news.receive() => break next.map(|next| next.offset.checked_sub(1)),
            last = tail.within_a_moment() => match last {
                Ok(Some(last)) => end = Some(last.offset),
                Ok(None) => break Ok(end),
                Err(error) => break Err(error),
            },
        }
    };
    tokio::join!(news.close(), tail.close());
    found
}

fn text(offset: &'static str) -> AMQPValue {
    AMQPValue::LongString(offset.into())
}

/// A consumer of a stream.
struct Reader {
    channel: Channel,
    consumer: Consumer,
    patience: Duration,
    /// How many entries came since the last ack.
    unacked: u16,
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
                unacked: 0,
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
        if let Ok(entry) = tokio::time::timeout(MOMENT, self.receive()).await {
            return entry.map(Some);
        }
        // A broker that is busy gives out entries late: its silence counts once it has answered something.
        let echo = self.channel.basic_qos(PREFETCH, BasicQosOptions::default());
        within(self.patience, "looking for the end of the history", echo).await?;
        match tokio::time::timeout(MOMENT / 4, self.receive()).await {
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
        self.unacked += 1;
        if self.unacked >= ACK_EVERY {
            self.unacked = 0;
            // It gives credit for the next ones; the entries themselves stay where they are.
            let options = BasicAckOptions { multiple: true };
            let ack = self.channel.basic_ack(delivery.delivery_tag, options);
            within(self.patience, "writing acks", ack).await?;
        }
        let (routing_key, message) = wire::open(delivery.data)
            .ok_or_else(|| lost("an entry of the history came without its properties"))?;
        let offset = message
            .headers
            .int(OFFSET)
            .and_then(|at| at.try_into().ok());
        Ok(HistoryEntry {
            offset: offset.ok_or_else(|| lost("an entry of the history tells no offset"))?,
            // A stream knows the time of a chunk of entries, but AMQP does not tell it.
            time: None,
            routing_key,
            message,
        })
    }

    async fn close(&self) {
        close_channel(&self.channel, self.patience).await;
    }
}
