mod insert;

use std::sync::Arc;

use anyhow::{Context, Result};
use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use lapin::{Channel, Consumer, message::Delivery, types::ShortString};
use sqlx::PgPool;
use tokio::task::{JoinError, JoinHandle};

use self::insert::Insert;
use super::{Link, Tuning, acks::Acks};
use crate::{
    Namespace,
    amqp::{consuming, publish, publishing, short},
    progress::Progress,
};

/// The second hop: `store` to the database and `stored`.
pub(super) struct Store {
    deliveries: Consumer,
    acks: Acks,
    publishing: Channel,
    stored: ShortString,
    insert: Arc<Insert>,
    batch: usize,
    transactions: usize,
}

impl Store {
    pub(super) async fn open(
        link: &Link,
        namespace: &Namespace,
        tuning: &Tuning,
        pool: PgPool,
    ) -> Result<Self> {
        let publishing = publishing(&link.publishing).await?;
        let queue = namespace.name("store");
        let (channel, deliveries) =
            consuming(&link.consuming, &queue, tuning.store_prefetch).await?;
        Ok(Self {
            deliveries,
            acks: Acks::new(channel),
            publishing,
            stored: short(&namespace.name("stored"))?,
            insert: Arc::new(Insert::new(pool, namespace)),
            batch: tuning.batch,
            transactions: tuning.transactions,
        })
    }

    /// Runs for ever; `finished` counts the events whose way ends here.
    pub(super) async fn run(self, finished: Option<Arc<Progress>>) -> Result<()> {
        let Self {
            mut deliveries,
            mut acks,
            publishing,
            stored,
            insert,
            batch,
            transactions,
        } = self;
        // Where the way ends here nobody listens to `stored`, and that is legal.
        let mandatory = finished.is_none();
        let mut waiting: Vec<Delivery> = Vec::with_capacity(batch);
        let mut inserting: FuturesUnordered<JoinHandle<Result<Vec<Delivery>>>> =
            FuturesUnordered::new();
        let mut confirms = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                Some(confirmed) = confirms.next(), if !confirms.is_empty() => {
                    acks.done(Result::<u64>::context(confirmed, "the store hop")?);
                    while let Some(Some(confirmed)) = confirms.next().now_or_never() {
                        acks.done(confirmed?);
                    }
                    let settled = acks.settle();
                    if let Some(finished) = &finished {
                        finished.add(settled);
                    }
                }
                Some(sent) = acks.sent() => sent?,
                Some(inserted) = inserting.next(), if !inserting.is_empty() => {
                    for delivery in done(inserted)? {
                        confirms.push(forward(&publishing, stored.clone(), mandatory, delivery));
                    }
                }
                delivery = deliveries.next(), if waiting.len() < batch => {
                    waiting.push(delivery.context("the broker cancelled the consumer of store")??);
                    while waiting.len() < batch && let Some(Some(delivery)) = deliveries.next().now_or_never() {
                        waiting.push(delivery?);
                    }
                }
            }
            // A transaction costs nearly the same for one event as for many. Alone it takes all that is there, but a
            // second one beside it has to be full.
            let room =
                inserting.is_empty() || (inserting.len() < transactions && waiting.len() >= batch);
            if room && !waiting.is_empty() {
                let rows = std::mem::replace(&mut waiting, Vec::with_capacity(batch));
                inserting.push(tokio::spawn(Arc::clone(&insert).run(rows)));
            }
        }
    }
}

fn done(inserted: Result<Result<Vec<Delivery>>, JoinError>) -> Result<Vec<Delivery>> {
    inserted
        .context("an insert panicked")?
        .context("a batch was not stored")
}

/// Publishes an event on to `stored` under the key it came with; answers the tag of its delivery.
async fn forward(
    channel: &Channel,
    stored: ShortString,
    mandatory: bool,
    delivery: Delivery,
) -> Result<u64> {
    let (key, properties) = (delivery.routing_key, delivery.properties);
    publish(channel, stored, key, mandatory, &delivery.data, properties).await?;
    Ok(delivery.delivery_tag)
}
