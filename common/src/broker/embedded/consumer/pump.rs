//! The task behind a subscription: it takes messages as long as there is room in hand, and settles.
//!
//! It has at most one transaction under way, which says what was settled since the last one and takes
//! what there is room for. So both gather by themselves: the busier the file, the larger the batches.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::shared::Shared;
use crate::broker::embedded::engine::Engine;
use crate::broker::embedded::queue::{self, Rest, Taken};
use crate::broker::embedded::wakes::Waiter;
use crate::broker::embedded::{lock, properties};
use crate::broker::{BrokerError, Delivery, Tag};

/// Maximum of messages taken in one transaction.
const MAX_TAKEN: usize = 256;

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

/// What came of it.
struct Done {
    taken: Vec<Taken>,
    rest: Rest,
    /// Whether everything settled was still ours.
    ours: bool,
}

/// Where what is taken goes.
pub(super) type Deliveries = mpsc::Sender<Result<Delivery, BrokerError>>;

/// The task behind a subscription.
pub(super) struct Pump {
    pub(super) engine: Arc<Engine>,
    pub(super) consumer: i64,
    pub(super) queue: i64,
    pub(super) prefetch: usize,
    pub(super) shared: Arc<Shared>,
    pub(super) waiter: Waiter,
    pub(super) ended: CancellationToken,
}

impl Pump {
    pub(super) async fn run(self, deliveries: Deliveries) {
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

    /// What there is to do now.
    fn next_step(&self, take: bool) -> Step {
        let mut ledger = lock(&self.shared.ledger);
        let room = self.prefetch.saturating_sub(ledger.in_hand.len());
        Step {
            acked: std::mem::take(&mut ledger.acked),
            given_back: std::mem::take(&mut ledger.given_back),
            take: if take { room.min(MAX_TAKEN) } else { 0 },
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

    /// Gives out what was taken. Where nobody listens any more it stays in hand until the end, when it
    /// goes back.
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
                message: properties::message(&one.properties, one.body),
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
