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
use crate::broker::rabbit::explain::{NOT_FOUND, code, is_too_late, missing_exchange, words};

/// A channel is used no longer than this after the broker has first said no on it.
const REFUSED_FOR: Duration = Duration::from_secs(5);

/// A publish whose confirm has arrived, or whose channel broke.
pub(super) type Landed = (u64, lapin::Result<Confirmation>);

/// The channel is of no more use. These looks are to be made on another one.
#[derive(Debug)]
pub(super) struct Broken(pub(super) Vec<Look>);

/// Why a channel is of no more use.
struct Reason {
    /// The broker's reply code, where it gave one.
    code: Option<u16>,
    detail: String,
    /// The channel was closed before, for a reason that did not arrive.
    is_too_late: bool,
}

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
    /// The channel broke; every publish has been answered.
    pub(super) fn settle(&mut self, landed: Vec<Landed>) -> Result<(), Broken> {
        let mut broken: Option<Reason> = None;
        for (id, result) in landed {
            let (answer, returned) = match result {
                Ok(Confirmation::Ack(returned)) => (Answer::Ack, returned),
                Ok(Confirmation::Nack(returned)) => {
                    self.refused.get_or_insert_with(Instant::now);
                    (Answer::Nack, returned)
                }
                Ok(Confirmation::NotRequested) => {
                    broken = Some(Reason {
                        code: None,
                        detail: "the channel does not confirm".to_owned(),
                        is_too_late: false,
                    });
                    continue;
                }
                Err(error) => {
                    // Publishes that came too late do not know what others were told.
                    broken = broken.filter(|reason| !reason.is_too_late);
                    broken.get_or_insert_with(|| Reason::of(&error));
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
        if let Some(reason) = broken {
            self.broken(&reason);
            return Err(Broken(self.looks.take_late()));
        }
        if self.looks.are_late() {
            return Err(self.closed());
        }
        Ok(())
    }

    /// Answers every publish left: the channel is closed, for a reason that did not arrive.
    pub(super) fn closed(&mut self) -> Broken {
        self.broken(&Reason {
            code: None,
            detail: "the channel was closed".to_owned(),
            is_too_late: true,
        });
        Broken(self.looks.take_late())
    }

    /// Makes looks whose messages went out on another channel.
    pub(super) fn look_again(&self, looks: Vec<Look>) {
        let wanted = self.looks.wanted();
        looks.into_iter().for_each(|look| wanted.push(look));
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
        self.broken(&Reason {
            code: None,
            detail: detail.to_owned(),
            is_too_late: false,
        });
    }

    fn broken(&mut self, reason: &Reason) {
        let Reason { code, detail, .. } = reason;
        // A publish to an exchange that is not there takes its whole channel with it.
        let culprit = (*code == Some(NOT_FOUND))
            .then(|| missing_exchange(detail))
            .flatten();
        let left = std::mem::take(&mut self.waiting);
        let left = left
            .into_values()
            .map(|Waiting { ticket, key }| (key, ticket));
        for (key, ticket) in left.chain(self.confirms.abandon()) {
            if culprit == Some(key.exchange.as_str()) {
                answer(key, ticket, Verdict::Unroutable(detail.clone()));
            } else if let Some(ticket) = ticket {
                ticket.answer(Err(PublishError::Disconnected(detail.clone())));
            }
        }
        if reason.is_too_late {
            self.looks.put_off_all(detail);
        } else {
            self.looks.fail_all(*code, detail);
        }
        self.futures.clear();
        self.deadlines.clear();
    }
}

impl Reason {
    fn of(error: &lapin::Error) -> Self {
        Self {
            code: code(error),
            detail: words(error),
            is_too_late: is_too_late(error),
        }
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
