//! The raw twin: the three hops of the pipeline, written for speed and nothing else.
//!
//! One program with a task a hop. Consuming and publishing use connections of their own, and confirms are pipelined.
//! Each publishing channel belongs to one task, and one ack settles a contiguous run of deliveries. Any fault ends it.
//!
//! | hop | does, for each event |
//! |---|---|
//! | validate | reads the envelope, publishes the bytes to `accepted`, waits for the confirm, acks |
//! | store | inserts event, signup and due delivery in one transaction a batch, publishes to `stored`, acks |
//! | integrate | POSTs with a Standard Webhooks signature, records the attempt and the delivery in batches, acks |

mod acks;
mod integrate;
mod measure;
mod store;
mod validate;

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use lapin::Connection;
use tokio::{task::JoinSet, time::Instant};

use crate::{Namespace, amqp::connect, progress::Progress, schema};

use integrate::{Integrate, Pool};
use store::Store;
use validate::Validate;

pub use measure::{Load, Run, backlog, fed};

/// Hops from `received` to a receiver.
const HOPS: usize = 3;

/// Where the broker and the database are.
#[derive(Clone)]
pub struct Services {
    /// `amqp://…`; may hold a password, so it is never printed.
    pub broker_url: String,
    /// `postgres://…`; the same.
    pub database_url: String,
}

/// Where an event's way ends.
#[derive(Clone, Debug)]
pub enum Finish {
    /// In the database, and published to `stored`, where nobody listens.
    Stored,
    /// At a receiver, with its delivery recorded.
    Delivered {
        /// A plain `http` URL that answers with a 2xx.
        url: String,
    },
}

/// The settings, tuned until the twin was fastest on two cores that it shares with broker and
/// database.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// Unsettled deliveries of the validate hop, which is also its window of confirms.
    pub validate_prefetch: u16,
    /// Unsettled deliveries of the store hop.
    pub store_prefetch: u16,
    /// Unsettled deliveries of the integrate hop.
    pub integrate_prefetch: u16,
    /// Events a transaction, at most.
    pub batch: usize,
    /// Transactions in flight in the store hop, and again in the integrate hop.
    pub transactions: usize,
    /// POSTs in flight, each on a keep-alive connection of its own.
    pub posts: usize,
    /// Two connections for each hop, as separate programs would have, instead of two for all.
    pub connections_per_hop: bool,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            validate_prefetch: 1500,
            store_prefetch: 1500,
            integrate_prefetch: 1500,
            batch: 256,
            transactions: 2,
            posts: 32,
            connections_per_hop: false,
        }
    }
}

/// A running twin. Dropped, it stops at once; its unsettled messages go back to their queues.
pub struct Twin {
    hops: JoinSet<Result<()>>,
    finished: Arc<Progress>,
    started: Instant,
    /// Held open while the hops run.
    _links: Vec<Link>,
}

impl Twin {
    /// Connects, and then starts the hops over queues and tables that exist.
    ///
    /// # Errors
    /// When broker, database or receiver cannot be reached or a queue does not exist.
    pub async fn start(
        services: &Services,
        namespace: &Namespace,
        finish: &Finish,
        tuning: &Tuning,
    ) -> Result<Self> {
        let pool = schema::pool(&services.database_url).await?;
        let mut links = Vec::new();
        for _ in 0..if tuning.connections_per_hop { HOPS } else { 1 } {
            links.push(Link::open(&services.broker_url).await?);
        }
        let link = |hop: usize| &links[hop % links.len()];
        let receiver = match finish {
            Finish::Stored => None,
            Finish::Delivered { url } => Some(Pool::connect(url, tuning.posts).await?),
        };

        // All is connected, so the time that is measured from here on is work.
        let started = Instant::now();
        let finished = Arc::new(Progress::default());
        let mut hops = JoinSet::new();
        // The last hop is opened first, so that no event waits for the hop behind it.
        let mut stored = Some(Arc::clone(&finished));
        if let Some(receiver) = receiver {
            let finished = stored.take();
            let hop = Integrate::open(link(2), namespace, tuning, pool.clone()).await?;
            hops.spawn(hop.run(receiver, finished));
        }
        let hop = Store::open(link(1), namespace, tuning, pool).await?;
        hops.spawn(hop.run(stored));
        let hop = Validate::open(link(0), namespace, tuning).await?;
        hops.spawn(hop.run());
        Ok(Self {
            hops,
            finished,
            started,
            _links: links,
        })
    }

    /// When the hops started to consume.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Events whose way has ended.
    #[must_use]
    pub fn finished(&self) -> u64 {
        self.finished.count()
    }

    /// Waits until the way of `n` events has ended.
    ///
    /// # Errors
    /// When a hop fails, or nothing ends for `patience`.
    pub async fn wait(&mut self, n: u64, patience: Duration) -> Result<()> {
        tokio::select! {
            waited = self.finished.wait(n, patience) => waited.context("the twin"),
            Some(ended) = self.hops.join_next() => match ended {
                Ok(Err(error)) => Err(error),
                Ok(Ok(())) => bail!("a hop of the twin ended, which none does by itself"),
                Err(panic) => Err(panic).context("a hop of the twin panicked"),
            },
        }
    }

    /// Stops the hops and waits until they have stopped. The connections close by themselves after that.
    pub async fn stop(mut self) {
        self.hops.shutdown().await;
        // Not closed by hand: the hops' channels are on their way out, and lapin then refuses to close their connection.
    }
}

/// One connection for consuming and one for publishing: a broker that blocks publishers must not stop the acks.
struct Link {
    consuming: Connection,
    publishing: Connection,
}

impl Link {
    async fn open(broker_url: &str) -> Result<Self> {
        Ok(Self {
            consuming: connect(broker_url, "twin-consume").await?,
            publishing: connect(broker_url, "twin-publish").await?,
        })
    }
}
