//! A subscription: a task that takes and settles (`pump`), and the control that a consumer has.

mod pump;
mod shared;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use self::pump::Pump;
use self::shared::{Progress, Shared};
use super::engine::Engine;
use super::lock;
use super::owner::{self, Owner};
use super::queue;
use crate::broker::ownership::Ownership;
use crate::broker::{BrokerError, Delivery, Settlement, Subscription, SubscriptionControl, Tag};
use crate::sqlite::Error;
use crate::tasks::supervised;

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
