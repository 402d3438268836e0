//! A subscription: a task that takes messages as long as there is room in hand, and settles.
//!
//! It has at most one transaction under way, with the settlements since the last one and as many new messages as there
//! is room for. So both gather by themselves: the busier the file, the larger the batches.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::engine::Engine;
use super::owner::{self, Owner};
use super::queue::{self, Rest, Taken};
use super::wakes::Waiter;
use super::{lock, properties};
use crate::broker::ownership::Ownership;
use crate::broker::{BrokerError, Delivery, Settlement, Subscription, SubscriptionControl, Tag};
use crate::message::Message;
use crate::sqlite::Error;
use crate::tasks::supervised;

/// The most messages taken at once.
const MOST: usize = 256;

/// Starts to consume `name`, until `closing` at the latest.
pub(super) async fn subscribe(
    engine: &Arc<Engine>,
    name: &str,
    prefetch: u16,
    tasks: &TaskTracker,
    closing: &CancellationToken,
) -> Result<Subscription, BrokerError> {
    let missing = || BrokerError::NoSuchQueue(name.to_owned());
    let routes = engine.current_routes().await?;
    let found = routes.queue(name).ok_or_else(missing)?;
    if found.is_stream() {
        let refused = format!("{name:?} is a stream: it is read as history, not consumed");
        return Err(BrokerError::Refused(refused));
    }
    let (owner, queue) = (engine.owner.clone(), found.id);
    let ownership = Ownership::new();
    let begun = engine.write(move |connection| Box::pin(begin(connection, owner, queue)));
    let consumer = begun.await?.ok_or_else(missing)?;
    let prefetch = usize::from(prefetch.max(1));
    // Room for an error behind all that can be in hand.
    let (sender, receiver) = mpsc::channel(prefetch + 1);
    let shared = Arc::new(Shared {
        ledger: Mutex::default(),
        settled: Notify::new(),
        stop: CancellationToken::new(),
        progress: watch::Sender::default(),
    });
    let ended = closing.child_token();
    let pump = Pump {
        engine: Arc::clone(engine),
        consumer,
        queue,
        prefetch,
        shared: Arc::clone(&shared),
        waiter: engine.wakes.wait_for(queue),
        ended: ended.clone(),
    };
    tasks.spawn(supervised("subscription", pump.run(sender)));
    Ok(Subscription {
        deliveries: deliveries(receiver),
        control: Arc::new(Control {
            shared,
            engine: Arc::clone(engine),
            consumer,
            ownership,
            ended: ended.drop_guard(),
        }),
    })
}

/// Writes a consumer down; `None` where the queue has just been deleted.
async fn begin(
    connection: &mut sqlx::SqliteConnection,
    owner: Owner,
    queue: i64,
) -> Result<Option<i64>, Error> {
    const BEGIN: &str = "
        INSERT INTO consumers (owner, queue) SELECT ?, id FROM queues WHERE id = ? RETURNING id";
    // Messages held by an unknown owner would never come back.
    owner::restore(connection, &owner).await?;
    let id = sqlx::query_scalar(BEGIN)
        .bind(owner.id)
        .bind(queue)
        .fetch_optional(connection)
        .await?;
    Ok(id)
}

fn deliveries(
    receiver: mpsc::Receiver<Result<Delivery, BrokerError>>,
) -> stream::BoxStream<'static, Result<Delivery, BrokerError>> {
    stream::unfold(receiver, |mut receiver| async move {
        let next = receiver.recv().await?;
        Some((next, receiver))
    })
    .boxed()
}

/// The state that the control and the task share.
struct Shared {
    ledger: Mutex<Ledger>,
    /// There is something to write.
    settled: Notify,
    /// Nothing more is to be taken.
    stop: CancellationToken,
    progress: watch::Sender<Progress>,
}

#[derive(Default)]
struct Ledger {
    /// The last tag given out.
    tag: u64,
    /// The messages that are given out and not settled, by tag.
    in_hand: HashMap<u64, i64>,
    acked: Vec<i64>,
    given_back: Vec<i64>,
    /// How many have been settled so far.
    settled: u64,
}

#[derive(Debug, Default)]
struct Progress {
    /// How many settlements are written.
    written: u64,
    /// Nothing more is taken.
    stopped: bool,
    /// Why nothing more will be written.
    lost: Option<String>,
    /// It is all over.
    over: bool,
}

/// One transaction.
#[derive(Default)]
struct Step {
    acked: Vec<i64>,
    given_back: Vec<i64>,
    /// How many to take at most.
    take: usize,
    /// How many will have been settled once it is done.
    settled: u64,
}

/// The result of a transaction.
struct Done {
    taken: Vec<Taken>,
    rest: Rest,
    /// Whether everything settled was still ours.
    ours: bool,
}

type Deliveries = mpsc::Sender<Result<Delivery, BrokerError>>;

/// The task behind a subscription.
struct Pump {
    engine: Arc<Engine>,
    consumer: i64,
    queue: i64,
    prefetch: usize,
    shared: Arc<Shared>,
    waiter: Waiter,
    ended: CancellationToken,
}

impl Pump {
    async fn run(self, deliveries: Deliveries) {
        let lost = self.pump(deliveries).await.err();
        if let Some(error) = &lost {
            self.lose(error.to_string());
        } else if let Err(error) = self.step(self.next_step(false)).await {
            tracing::debug!(%error, "some messages were settled in vain and will come again");
        }
        self.engine.end_consumer(self.consumer, self.queue).await;
        self.lose("this program has ended the subscription".to_owned());
        self.shared
            .progress
            .send_modify(|progress| progress.over = true);
    }

    /// Takes and settles until the end, which is an error if we did not ask for it.
    async fn pump(&self, deliveries: Deliveries) -> Result<(), BrokerError> {
        let mut deliveries = Some(deliveries);
        // Whether there may be something to take, and when there will be.
        let (mut news, mut due) = (false, None);
        loop {
            tokio::select! {
                () = self.ended.cancelled() => return Ok(()),
                () = self.shared.stop.cancelled(), if deliveries.is_some() => {
                    deliveries = None;
                    self.shared.progress.send_modify(|progress| progress.stopped = true);
                    continue;
                }
                () = self.shared.settled.notified() => {}
                () = self.waiter.news.notified() => news = true,
                () = until(due), if due.is_some() => (news, due) = (true, None),
            }
            let step = self.next_step(news && deliveries.is_some());
            if step.is_empty() {
                continue;
            }
            let take = step.take;
            match self.step(step).await {
                Ok(done) => {
                    if take > 0 {
                        (news, due) = match done.rest {
                            Rest::More => (true, None),
                            Rest::Until(due) => (false, due.map(|due| self.moment(due))),
                            Rest::Gone => return Err(self.gone(&deliveries)),
                        };
                    }
                    if !done.ours {
                        return Err(self.gone(&deliveries));
                    }
                    let taken = done.taken.len();
                    self.hand_out(done.taken, &mut deliveries);
                    if news && taken > 0 {
                        self.waiter.news.notify_one();
                    }
                }
                Err(error) => {
                    if let Some(deliveries) = &deliveries {
                        // There is room for it, unless nobody listens any more.
                        let _ = deliveries.try_send(Err(error.clone()));
                    }
                    return Err(error);
                }
            }
        }
    }

    /// When it is this time by the clock on the wall, unless that is set.
    fn moment(&self, due: i64) -> Instant {
        let wait = due.saturating_sub(self.engine.clock.now());
        let wait = u64::try_from(wait).unwrap_or(0);
        // A millisecond more, which timers are exact to: never too early, and not twice.
        Instant::now() + Duration::from_micros(wait) + Duration::from_millis(1)
    }

    /// The next action.
    fn next_step(&self, take: bool) -> Step {
        let mut ledger = lock(&self.shared.ledger);
        let room = self.prefetch.saturating_sub(ledger.in_hand.len());
        Step {
            acked: std::mem::take(&mut ledger.acked),
            given_back: std::mem::take(&mut ledger.given_back),
            take: if take { room.min(MOST) } else { 0 },
            settled: ledger.settled,
        }
    }

    async fn step(&self, step: Step) -> Result<Done, BrokerError> {
        let consumer = self.consumer;
        let settled = step.settled;
        let returned = !step.given_back.is_empty();
        let now = self.engine.clock.now();
        let done = self
            .engine
            .write(move |connection| {
                Box::pin(async move {
                    let mut ours = true;
                    if !step.acked.is_empty() {
                        ours &= queue::ack(connection, consumer, &step.acked).await?;
                    }
                    if !step.given_back.is_empty() {
                        ours &=
                            queue::give_back(connection, consumer, &step.given_back, now).await?;
                    }
                    let (taken, rest) = match step.take {
                        0 => (Vec::new(), Rest::More),
                        most => queue::take(connection, consumer, most, now).await?,
                    };
                    Ok(Done { taken, rest, ours })
                })
            })
            .await?;
        if done.ours {
            self.shared
                .progress
                .send_modify(|progress| progress.written = settled);
        }
        if returned {
            self.engine.wakes.wake(&[self.queue]);
        }
        Ok(done)
    }

    /// Gives out the taken messages. Without a listener they stay in hand until the end, when they go back.
    fn hand_out(&self, taken: Vec<Taken>, deliveries: &mut Option<Deliveries>) {
        for one in taken {
            let tag = {
                let mut ledger = lock(&self.shared.ledger);
                ledger.tag += 1;
                let tag = ledger.tag;
                ledger.in_hand.insert(tag, one.id);
                Tag(tag)
            };
            let delivery = Delivery {
                tag,
                message: message(&one.properties, one.body),
                routing_key: one.routing_key,
                redelivered: one.returns > 0,
                returns: one.returns,
            };
            if let Some(open) = deliveries
                && open.try_send(Ok(delivery)).is_err()
            {
                *deliveries = None;
            }
        }
    }

    fn gone(&self, deliveries: &Option<Deliveries>) -> BrokerError {
        let error = BrokerError::Lost(
            "the broker ended the subscription: the queue was deleted, or this program stood still \
             for so long that others got its messages"
                .to_owned(),
        );
        if let Some(deliveries) = deliveries {
            // There is room for it, unless nobody listens any more.
            let _ = deliveries.try_send(Err(error.clone()));
        }
        error
    }

    /// Nothing more will be written. The first reason is the true one.
    fn lose(&self, reason: String) {
        self.shared.progress.send_modify(|progress| {
            progress.stopped = true;
            progress.lost.get_or_insert(reason);
        });
    }
}

impl Step {
    fn is_empty(&self) -> bool {
        self.acked.is_empty() && self.given_back.is_empty() && self.take == 0
    }
}

async fn until(due: Option<Instant>) {
    if let Some(due) = due {
        tokio::time::sleep_until(due).await;
    }
}

/// A message as it was written down. An unreadable one is given out too, for its receiver to make a dead letter of it.
pub(super) fn message(properties: &str, body: Bytes) -> Message {
    properties::read(properties, body.clone()).unwrap_or_else(|problem| {
        tracing::error!(problem, "the properties of a message are damaged");
        Message {
            body,
            ..Message::default()
        }
    })
}

/// Our side of a subscription.
struct Control {
    shared: Arc<Shared>,
    engine: Arc<Engine>,
    consumer: i64,
    ownership: Ownership,
    ended: DropGuard,
}

impl Control {
    /// Whether the file still knows the consumer.
    async fn is_known(&self) -> bool {
        let consumer = self.consumer;
        let known = self
            .engine
            .read(move |connection| Box::pin(queue::is_consumer(connection, consumer)));
        known.await.unwrap_or(false)
    }

    /// Waits for the task; why it will do nothing more, if so.
    async fn wait_for(&self, reached: impl Fn(&Progress) -> bool) -> Result<(), BrokerError> {
        let mut progress = self.shared.progress.subscribe();
        let enough = |progress: &Progress| reached(progress) || progress.lost.is_some();
        // The sender is in `shared`, so this cannot fail.
        let _ = progress.wait_for(enough).await;
        let progress = self.shared.progress.borrow();
        match &progress.lost {
            Some(reason) if !reached(&progress) => Err(BrokerError::Lost(reason.clone())),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl SubscriptionControl for Control {
    async fn owns(&self) -> bool {
        let lost = self.shared.progress.borrow().lost.is_some();
        !lost && self.ownership.holds(|| self.is_known()).await
    }

    fn settle(&self, tag: Tag, settlement: Settlement) {
        {
            let mut ledger = lock(&self.shared.ledger);
            let Some(message) = ledger.in_hand.remove(&tag.0) else {
                tracing::debug!(tag = tag.0, "settled a message that is not in hand");
                return;
            };
            match settlement {
                Settlement::Ack => ledger.acked.push(message),
                Settlement::GiveBack => ledger.given_back.push(message),
            }
            ledger.settled += 1;
        }
        self.shared.settled.notify_one();
    }

    async fn flush(&self) -> Result<(), BrokerError> {
        let settled = lock(&self.shared.ledger).settled;
        self.wait_for(|progress| progress.written >= settled).await
    }

    async fn cancel(&self) -> Result<(), BrokerError> {
        self.shared.stop.cancel();
        self.wait_for(|progress| progress.stopped).await?;
        match &self.shared.progress.borrow().lost {
            Some(reason) => Err(BrokerError::Lost(reason.clone())),
            None => Ok(()),
        }
    }

    async fn close(&self) {
        self.ended.token().cancel();
        let mut progress = self.shared.progress.subscribe();
        // The sender is in `shared`, so this cannot fail.
        let _ = progress.wait_for(|progress| progress.over).await;
    }
}
