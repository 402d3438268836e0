//! Consuming one queue over a channel of its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::future::try_join_all;
use futures_util::stream;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};
use tokio::sync::{Notify, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::connection::{Link, close_channel};
use super::convert::short;
use super::explain::{Fault, NOT_FOUND, within, words};
use super::settlements::{Frame, Settlements};
use super::wire;
use crate::broker::ownership::Ownership;
use crate::broker::{BrokerError, Delivery, Settlement, Subscription, SubscriptionControl, Tag};
use crate::message::Headers;
use crate::tasks;

/// The header in which a quorum queue counts how often it gave a message out in vain.
const DELIVERY_COUNT: &str = "x-delivery-count";

/// Starts to consume `queue`.
pub(super) async fn subscribe(
    link: &Arc<Link>,
    queue: &str,
    prefetch: u16,
    body_limit: usize,
) -> Result<Subscription, BrokerError> {
    let no_queue = || BrokerError::NoSuchQueue(queue.to_owned());
    let name = short("queue name", queue).map_err(|_| no_queue())?;
    let patience = link.settings.patience;
    let channel = link.channel_with_limit(body_limit).await?;
    let ownership = Ownership::new();
    // Zero would mean as many as there are.
    let prefetch = prefetch.max(1);
    let qos = channel.basic_qos(prefetch, BasicQosOptions::default());
    within(patience, "basic.qos", qos).await?;
    let consume = channel.basic_consume(
        name,
        ShortString::default(),
        BasicConsumeOptions::default(),
        FieldTable::default(),
    );
    let consumer = match within(patience, "basic.consume", consume).await {
        Ok(consumer) => consumer,
        Err(fault) if fault.code() == Some(NOT_FOUND) => return Err(no_queue()),
        Err(fault) => {
            close_channel(&channel, patience).await;
            return Err(fault.into());
        }
    };
    let shared = Arc::new(Shared {
        consumer_tag: consumer.tag(),
        channel,
        prefetch,
        patience,
        ending: AtomicBool::new(false),
        ledger: Mutex::default(),
        due: Notify::new(),
        progress: watch::Sender::default(),
        ownership,
    });
    let ended = CancellationToken::new();
    tasks::spawn(
        "settlements",
        send_settlements(Arc::clone(&shared), ended.clone()),
    );
    Ok(Subscription {
        deliveries: deliveries(consumer, Arc::clone(&shared)),
        control: Arc::new(Control {
            shared,
            _ended: ended.drop_guard(),
        }),
    })
}

/// The state that the stream, the control and the settling task share.
struct Shared {
    channel: Channel,
    consumer_tag: ShortString,
    prefetch: u16,
    patience: Duration,
    /// We end the subscription ourselves.
    ending: AtomicBool,
    ledger: Mutex<Ledger>,
    /// There is something to send, or nothing will ever be again.
    due: Notify,
    progress: watch::Sender<Progress>,
    ownership: Ownership,
}

#[derive(Default)]
struct Ledger {
    settlements: Settlements,
    /// How many deliveries have been settled so far.
    settled: u64,
}

#[derive(Debug, Default)]
struct Progress {
    /// How many settlements have been written to the broker.
    sent: u64,
    /// Why nothing more can be.
    lost: Option<String>,
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The link is gone. The first reason is the true one.
    fn lose(&self, detail: &str) -> BrokerError {
        self.progress.send_if_modified(|progress| {
            let first = progress.lost.is_none();
            progress.lost.get_or_insert_with(|| detail.to_owned());
            first
        });
        self.due.notify_one();
        BrokerError::Lost(detail.to_owned())
    }

    fn lost(&self) -> Option<BrokerError> {
        self.progress.borrow().lost.clone().map(BrokerError::Lost)
    }

    /// Waits until the link is gone; returns why.
    async fn until_lost(&self) -> BrokerError {
        let mut progress = self.progress.subscribe();
        // The sender is in `self`, so this cannot fail.
        let _ = progress.wait_for(|progress| progress.lost.is_some()).await;
        self.lost()
            .unwrap_or_else(|| BrokerError::Lost("the link is lost".to_owned()))
    }

    /// Asks the broker something that changes nothing. It handles a channel's frames in order, so an answer
    /// says that it has all that was written before.
    async fn echo(&self) -> Result<(), BrokerError> {
        let echo = self
            .channel
            .basic_qos(self.prefetch, BasicQosOptions::default());
        within(self.patience, "an echo", echo)
            .await
            .map_err(|fault| self.lose(&fault.words()))
    }

    fn receive(&self, delivery: lapin::message::Delivery) -> Result<Delivery, BrokerError> {
        self.ledger().settlements.delivered(delivery.delivery_tag);
        let (routing_key, message) = wire::open(delivery.data)
            .ok_or_else(|| self.lose("a delivery came without its properties"))?;
        Ok(Delivery {
            tag: Tag(delivery.delivery_tag),
            returns: returns(delivery.redelivered, &message.headers),
            message,
            routing_key,
            redelivered: delivery.redelivered,
        })
    }
}

/// How often a message came back. On one that was never given out the header is its publisher's own,
/// who could otherwise pass any message off as a suspect.
fn returns(redelivered: bool, headers: &Headers) -> u32 {
    let counted = headers.int(DELIVERY_COUNT).filter(|_| redelivered);
    u32::try_from(counted.unwrap_or(0).max(0)).unwrap_or(u32::MAX)
}

/// lapin's stream in our words: its silent end is an error unless we ended it.
fn deliveries(
    consumer: Consumer,
    shared: Arc<Shared>,
) -> stream::BoxStream<'static, Result<Delivery, BrokerError>> {
    stream::unfold(Some((consumer, shared)), |state| async move {
        let (mut consumer, shared) = state?;
        let next = tokio::select! {
            biased;
            next = consumer.next() => next,
            // The link may be lost without a word, as an echo without an answer tells.
            error = shared.until_lost() => return Some((Err(error), None)),
        };
        match next {
            Some(Ok(delivery)) => Some(match shared.receive(delivery) {
                Ok(delivery) => (Ok(delivery), Some((consumer, shared))),
                Err(error) => (Err(error), None),
            }),
            Some(Err(error)) => Some((Err(shared.lose(&words(&error))), None)),
            None if shared.ending.load(Ordering::SeqCst) => None,
            None => {
                let error =
                    shared.lose("the broker ended the subscription (was the queue deleted?)");
                Some((Err(error), None))
            }
        }
    })
    .boxed()
}

/// How long settlements gather before they are written.
const GATHER: Duration = Duration::from_millis(5);
/// How many rounds of gathering acks behind a gap wait for it to close.
const ROUNDS: u32 = 10;
/// From this prefetch on: with fewer in hand, the next delivery may wait for this very ack.
const GATHER_FROM: u16 = 32;

/// Writes settlements to the broker, gathered: every frame is work for the queue, on each of its
/// replicas, and one for many is far less.
async fn send_settlements(shared: Arc<Shared>, ended: CancellationToken) {
    let gather = shared.prefetch >= GATHER_FROM;
    loop {
        tokio::select! {
            () = shared.due.notified() => {}
            () = ended.cancelled() => {}
        }
        let mut round = 0;
        loop {
            if gather && !ended.is_cancelled() {
                tokio::time::sleep(GATHER).await;
                round += 1;
            }
            if shared.lost().is_some() {
                return;
            }
            let all = !gather || round % ROUNDS == 0 || ended.is_cancelled();
            let (frames, waiting, settled) = {
                let mut ledger = shared.ledger();
                let frames = ledger.settlements.take(all);
                (frames, ledger.settlements.is_due(), ledger.settled)
            };
            if !frames.is_empty()
                && let Err(fault) = send(&shared, frames).await
            {
                shared.lose(&fault.words());
                return;
            }
            if waiting {
                continue;
            }
            let before = shared.progress.borrow().sent;
            if before == settled {
                break;
            }
            shared
                .progress
                .send_modify(|progress| progress.sent = settled);
        }
        if ended.is_cancelled() {
            return;
        }
    }
}

async fn send(shared: &Shared, frames: Vec<Frame>) -> Result<(), Fault> {
    let channel = &shared.channel;
    // An ack that covers several must not overtake returned messages among them.
    let (back, acks): (Vec<_>, Vec<_>) = frames
        .into_iter()
        .partition(|frame| matches!(frame, Frame::GiveBack(_)));
    for frames in [back, acks] {
        let write = try_join_all(frames.into_iter().map(|frame| async move {
            let (tag, multiple) = match frame {
                Frame::Ack(tag) => (tag, false),
                Frame::AckUpTo(tag) => (tag, true),
                Frame::GiveBack(tag) => {
                    let options = BasicNackOptions {
                        multiple: false,
                        requeue: true,
                    };
                    return channel.basic_nack(tag, options).await;
                }
            };
            channel.basic_ack(tag, BasicAckOptions { multiple }).await
        }));
        within(shared.patience, "writing acks", write).await?;
    }
    Ok(())
}

/// Our side of a subscription.
struct Control {
    shared: Arc<Shared>,
    _ended: DropGuard,
}

#[async_trait]
impl SubscriptionControl for Control {
    async fn owns(&self) -> bool {
        let shared = &self.shared;
        if shared.lost().is_some() || !shared.channel.status().connected() {
            return false;
        }
        shared
            .ownership
            .holds(|| async { shared.echo().await.is_ok() })
            .await
    }

    fn settle(&self, tag: Tag, settlement: Settlement) {
        {
            let mut ledger = self.shared.ledger();
            if !ledger.settlements.settle(tag.0, settlement) {
                tracing::debug!(tag = tag.0, "settled a message that is not in hand");
                return;
            }
            ledger.settled += 1;
        }
        self.shared.due.notify_one();
    }

    async fn flush(&self) -> Result<(), BrokerError> {
        let target = self.shared.ledger().settled;
        let mut progress = self.shared.progress.subscribe();
        // The sender is in `shared`, so this cannot fail.
        let _ = progress
            .wait_for(|progress| progress.sent >= target || progress.lost.is_some())
            .await;
        if let Some(lost) = self.shared.lost() {
            return Err(lost);
        }
        // Written is not received.
        self.shared.echo().await
    }

    async fn cancel(&self) -> Result<(), BrokerError> {
        if let Some(lost) = self.shared.lost() {
            return Err(lost);
        }
        self.shared.ending.store(true, Ordering::SeqCst);
        let tag = self.shared.consumer_tag.clone();
        let cancel = self
            .shared
            .channel
            .basic_cancel(tag, BasicCancelOptions::default());
        within(self.shared.patience, "basic.cancel", cancel)
            .await
            .map_err(|fault| self.shared.lose(&fault.words()))?;
        // lapin says yes as well when the channel breaks in the meantime.
        if !self.shared.channel.status().connected() {
            return Err(self.shared.lose("the channel was closed"));
        }
        Ok(())
    }

    async fn close(&self) {
        self.shared.ending.store(true, Ordering::SeqCst);
        if let Err(error) = self.flush().await {
            tracing::debug!(%error, "some deliveries were settled in vain and will come again");
        }
        close_channel(&self.shared.channel, self.shared.patience).await;
        self.shared.lose("this program has ended the subscription");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::HeaderValue;

    #[test]
    fn only_the_broker_says_how_often_a_message_came_back() {
        let counted = |count| Headers::from_iter([(DELIVERY_COUNT, HeaderValue::Int(count))]);
        assert_eq!(returns(true, &counted(3)), 3);
        assert_eq!(returns(false, &counted(3)), 0);
        assert_eq!(returns(true, &counted(-1)), 0);
        assert_eq!(returns(true, &counted(i64::MAX)), u32::MAX);
        assert_eq!(returns(true, &Headers::default()), 0);
    }
}
