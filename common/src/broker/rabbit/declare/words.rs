//! The topology in the words of AMQP: what is declared and bound, with names that fit.

use lapin::options::{
    ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, ExchangeKind};

use crate::broker::BrokerError;
use crate::broker::rabbit::convert::short;
use crate::topology::{Argument, Binding, Queue, Target, Topology};

pub(super) async fn exchange_declare(
    channel: Channel,
    name: ShortString,
    passive: bool,
) -> lapin::Result<()> {
    let options = ExchangeDeclareOptions {
        passive,
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    channel
        .exchange_declare(name, ExchangeKind::Topic, options, FieldTable::default())
        .await
}

pub(super) async fn queue_declare(
    channel: Channel,
    (name, arguments): (ShortString, FieldTable),
    passive: bool,
) -> lapin::Result<()> {
    let options = QueueDeclareOptions {
        passive,
        ..QueueDeclareOptions::durable()
    };
    channel
        .queue_declare(name, options, arguments)
        .await
        .map(|_| ())
}

pub(super) async fn bind(channel: Channel, binding: Bound) -> lapin::Result<()> {
    let Bound {
        exchange,
        pattern,
        to,
        to_queue,
    } = binding;
    let arguments = FieldTable::default();
    if to_queue {
        let options = QueueBindOptions::default();
        channel
            .queue_bind(to, exchange, pattern, options, arguments)
            .await
    } else {
        let options = ExchangeBindOptions::default();
        channel
            .exchange_bind(to, exchange, pattern, options, arguments)
            .await
    }
}

/// Unbinds a queue. What is not bound is fine.
pub(super) async fn unbind(channel: Channel, binding: Bound) -> lapin::Result<()> {
    let Bound {
        exchange,
        pattern,
        to,
        ..
    } = binding;
    let arguments = FieldTable::default();
    channel.queue_unbind(to, exchange, pattern, arguments).await
}

/// A binding whose names fit AMQP.
#[derive(Clone)]
pub(super) struct Bound {
    exchange: ShortString,
    pattern: ShortString,
    to: ShortString,
    to_queue: bool,
}

impl Bound {
    pub(super) fn new(binding: &Binding) -> Result<Self, BrokerError> {
        let (to, to_queue) = match &binding.to {
            Target::Queue(name) => (name, true),
            Target::Exchange(name) => (name, false),
        };
        Ok(Self {
            exchange: name(&binding.exchange)?,
            pattern: name(&binding.pattern)?,
            to: name(to)?,
            to_queue,
        })
    }
}

pub(super) fn name(text: &str) -> Result<ShortString, BrokerError> {
    short("name", text).map_err(BrokerError::Refused)
}

pub(super) fn names<'t>(
    texts: impl Iterator<Item = &'t String>,
) -> Result<Vec<ShortString>, BrokerError> {
    texts.map(|text| name(text)).collect()
}

pub(super) fn queues(topology: &Topology) -> Result<Vec<(ShortString, FieldTable)>, BrokerError> {
    topology
        .queues
        .iter()
        .map(|queue| Ok((name(&queue.name)?, arguments(queue))))
        .collect()
}

fn arguments(queue: &Queue) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in queue.arguments() {
        let value = match value {
            Argument::Text(text) => AMQPValue::LongString(text.into()),
            Argument::Int(number) => AMQPValue::LongLongInt(number),
        };
        // Argument names are constants of ours.
        table.insert(name.into(), value);
    }
    table
}
