//! The published and unconfirmed messages of one channel.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use lapin::message::BasicReturnMessage;
use lapin::options::BasicPublishOptions;
use lapin::{Channel, Confirmation};
use tokio::time::Instant;

use super::batch::Ticket;
use super::drained::Drained;
use super::looks::{Look, Looks, Wanted};
use super::{Job, Pace, Parcel};
use crate::broker::PublishError;
use crate::broker::rabbit::confirms::{Answer, Confirms, Key, Returned, Verdict};
use crate::broker::rabbit::explain::{NOT_FOUND, code, missing_exchange, words};

/// A channel is used no longer than this after the broker has first said no on it.
const REFUSED_FOR: Duration = Duration::from_secs(5);

/// A publish whose confirm has arrived, or whose channel broke.
pub(super) type Landed = (u64, lapin::Result<Confirmation>);

/// The channel is of no more use.
#[derive(Debug)]
pub(super) struct Broken;

/// The publishes of one channel.
pub(super) struct Flight {
    channel: Arc<Channel>,
    timeout: Duration,
    next: u64,
    futures: FuturesUnordered<BoxFuture<'static, Landed>>,
    drained: Drained,
    waiting: HashMap<u64, Waiting>,
    /// When each publish is overdue, oldest first; also of those that have landed.
    deadlines: VecDeque<(Instant, u64)>,
    confirms: Confirms<Option<Ticket>>,
    looks: Looks,
    /// When the broker first said no.
    refused: Option<Instant>,
}

struct Waiting {
    /// Taken when the caller has got the answer that the confirm is late.
    ticket: Option<Ticket>,
    key: Key,
}

impl Flight {
    /// Of a new channel in confirm mode.
    pub(super) fn new(channel: Arc<Channel>, pace: Pace) -> Self {
        Self {
            looks: Looks::new(Arc::clone(&channel), pace.confirm_timeout),
            channel,
            timeout: pace.confirm_timeout,
            next: 0,
            futures: FuturesUnordered::new(),
            drained: Drained::default(),
            waiting: HashMap::new(),
            deadlines: VecDeque::new(),
            confirms: Confirms::new(),
            refused: None,
        }
    }

    /// The channel.
    pub(super) fn channel(&self) -> &Channel {
        &self.channel
    }

    /// How many publishes have no confirm.
    pub(super) fn len(&self) -> usize {
        self.futures.len()
    }

    /// Whether every publish has its confirm, and every look its answer.
    pub(super) fn is_empty(&self) -> bool {
        self.futures.is_empty() && self.looks.is_empty()
    }

    /// Whether the channel is worn: for a while now the broker has said no to something on it. RabbitMQ keeps in
    /// mind for each channel which queues are full, and learns late there that one is not any more.
    pub(super) fn is_worn(&self) -> bool {
        self.refused
            .is_some_and(|since| since.elapsed() >= REFUSED_FOR)
    }

    /// Publishes one message.
    pub(super) fn start(&mut self, job: Job) {
        let Job {
            parcel,
            ticket,
            look,
        } = job;
        let id = self.next;
        self.next += 1;
        let waiting = Waiting {
            ticket: Some(ticket),
            key: Key {
                exchange: parcel.exchange.clone(),
                routing_key: parcel.routing_key.clone(),
                message_id: parcel.properties.message_id().clone(),
            },
        };
        self.waiting.insert(id, waiting);
        self.deadlines
            .push_back((Instant::now() + self.timeout, id));
        let channel = Arc::clone(&self.channel);
        let behind = look.map(|look| (look, self.looks.wanted()));
        self.futures
            .push(Box::pin(publish(channel, id, parcel, behind)));
    }

    /// Waits until confirms have arrived and takes all of them, or until a look has been answered. Must be
    /// settled before anything else is started, for the batch to be complete.
    pub(super) async fn landed(&mut self) -> Vec<Landed> {
        tokio::select! {
            biased;
            landed = poll_fn(|cx| self.drained.poll(&mut self.futures, cx)) => landed,
            () = self.looks.answer_next() => Vec::new(),
        }
    }

    /// Answers the callers whose publishes are decided.
    ///
    /// # Errors
    /// The channel broke; everything has been answered.
    pub(super) fn settle(&mut self, landed: Vec<Landed>) -> Result<(), Broken> {
        let mut broken = None;
        for (id, result) in landed {
            let (answer, returned) = match result {
                Ok(Confirmation::Ack(returned)) => (Answer::Ack, returned),
                Ok(Confirmation::Nack(returned)) => {
                    self.refused.get_or_insert_with(Instant::now);
                    (Answer::Nack, returned)
                }
                Ok(Confirmation::NotRequested) => {
                    broken = Some((None, "the channel does not confirm".to_owned()));
                    continue;
                }
                Err(error) => {
                    broken = Some((code(&error), words(&error)));
                    continue;
                }
            };
            if let Some(Waiting { ticket, key }) = self.waiting.remove(&id) {
                let returned = returned.map(read_return);
                self.confirms.resolved(key, ticket, answer, returned);
            }
        }
        let idle = self.waiting.is_empty();
        self.confirms.close_batch(idle, answer);
        match broken {
            None => Ok(()),
            Some((code, detail)) => {
                self.broken(code, &detail);
                Err(Broken)
            }
        }
    }

    /// When the next publish is overdue.
    pub(super) fn deadline(&mut self) -> Option<Instant> {
        while let Some((deadline, id)) = self.deadlines.front() {
            if self.waiting.contains_key(id) {
                return Some(*deadline);
            }
            self.deadlines.pop_front();
        }
        None
    }

    /// Tells the callers of overdue publishes. Returns whether there were any. With `wait_on`, the
    /// broker has said why it does not answer: they are given another timeout to be confirmed.
    pub(super) fn fail_overdue(&mut self, wait_on: bool) -> bool {
        let now = Instant::now();
        let mut any = false;
        while let Some((deadline, id)) = self.deadlines.front().copied()
            && deadline <= now
        {
            self.deadlines.pop_front();
            let Some(waiting) = self.waiting.get_mut(&id) else {
                continue;
            };
            any = true;
            if let Some(ticket) = waiting.ticket.take() {
                ticket.answer(Err(PublishError::TimedOut(self.timeout)));
            }
            if wait_on {
                self.deadlines.push_back((now + self.timeout, id));
            }
        }
        any
    }

    /// Answers everything left: its channel is gone for this reason.
    pub(super) fn lost(&mut self, detail: &str) {
        self.broken(None, detail);
    }

    fn broken(&mut self, code: Option<u16>, detail: &str) {
        // A publish to an exchange that is not there takes its whole channel with it.
        let culprit = (code == Some(NOT_FOUND))
            .then(|| missing_exchange(detail))
            .flatten();
        let left = std::mem::take(&mut self.waiting);
        let left = left
            .into_values()
            .map(|Waiting { ticket, key }| (key, ticket));
        for (key, ticket) in left.chain(self.confirms.abandon()) {
            if culprit == Some(key.exchange.as_str()) {
                answer(key, ticket, Verdict::Unroutable(detail.to_owned()));
            } else if let Some(ticket) = ticket {
                ticket.answer(Err(PublishError::Disconnected(detail.to_owned())));
            }
        }
        self.looks.fail_all(code, detail);
        self.futures.clear();
        self.deadlines.clear();
    }
}

/// Gives a caller, if it still waits, the result of its publish.
fn answer(key: Key, ticket: Option<Ticket>, verdict: Verdict) {
    let Some(ticket) = ticket else { return };
    ticket.answer(match verdict {
        Verdict::Published => Ok(()),
        Verdict::Nacked => Err(PublishError::Nacked),
        Verdict::Unroutable(reason) => Err(PublishError::Unroutable {
            exchange: key.exchange.into(),
            routing_key: key.routing_key.into(),
            reason,
        }),
    });
}

/// Publishes and waits for the confirm. The first poll numbers the message and hands it over for
/// writing without a pause between. Once it is written, the look `behind` it may be sent; not before, for the
/// library would let it overtake.
async fn publish(
    channel: Arc<Channel>,
    id: u64,
    parcel: Parcel,
    behind: Option<(Look, Arc<Wanted>)>,
) -> Landed {
    let options = BasicPublishOptions {
        mandatory: parcel.mandatory,
        immediate: false,
    };
    let Parcel {
        exchange,
        routing_key,
        properties,
        body,
        ..
    } = parcel;
    let written = channel
        .basic_publish(exchange, routing_key, options, &body, properties)
        .await;
    match written {
        Ok(confirm) => {
            if let Some((look, wanted)) = behind {
                wanted.push(look);
            }
            (id, confirm.await)
        }
        Err(error) => (id, Err(error)),
    }
}

fn read_return(message: BasicReturnMessage) -> Returned {
    Returned {
        reason: format!("{} {}", message.reply_code, message.reply_text),
        key: Key {
            exchange: message.exchange.clone(),
            routing_key: message.routing_key.clone(),
            message_id: message.properties.message_id().clone(),
        },
    }
}
