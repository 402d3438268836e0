//! Declaring parts that may be missing while programs run.
//!
//! A queue that is deleted and declared again is a new queue. Everyone who used the deleted one must notice first:
//!
//! - A door looks for its work queue within a second after it has published. Otherwise it could take the history for it.
//! - RabbitMQ tells a channel that its queue is gone, and the channel looks whether there is one of that name. If there
//!   is one already, it goes on consuming from it without a word, and loses what it is given: such messages stay in
//!   hand, unseen, until the channel closes.
//!
//! So a queue that is missing is left missing for a while. It is also the reason why running programs declare only
//! queues that they saw missing: a queue could be deleted between a look and the declaration.

use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::{Instant, sleep};

use super::{Broker, BrokerError};
use crate::topology::{Queue, QueueKind, Topology};

/// How long a missing queue is left missing. Doors look twice within it, and RabbitMQ's channels need some milliseconds.
const MISSING_FOR: Duration = Duration::from_secs(1);

/// How often missing queues are looked at meanwhile: another program may have declared them.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Declares everything in the topology, as [`Broker::apply`] does, but leaves missing queues missing for a second. A
/// namespace without history and work queue is new, and makes nobody wait.
///
/// # Errors
/// As [`Broker::apply`].
pub async fn declare_anew(broker: &dyn Broker, topology: &Topology) -> Result<(), BrokerError> {
    if !is_new(broker, topology).await? {
        missing(broker, topology).await?;
    }
    apply(broker, topology).await
}

/// Declares what is missing in the topology of a running program, queues after a second, and returns the names of these
/// queues. The other queues are taken as they are.
///
/// # Errors
/// As [`Broker::apply`].
pub async fn declare_missing(
    broker: &dyn Broker,
    topology: &Topology,
) -> Result<Vec<String>, BrokerError> {
    let queues: Vec<Queue> = missing(broker, topology)
        .await?
        .into_iter()
        .cloned()
        .collect();
    let names = queues.iter().map(|queue| queue.name.clone()).collect();
    let missing = Topology {
        queues,
        ..topology.clone()
    };
    apply(broker, &missing).await?;
    Ok(names)
}

async fn apply(broker: &dyn Broker, topology: &Topology) -> Result<(), BrokerError> {
    broker.apply(topology).await?;
    // What was missed until now is there, or will be missed again.
    let _ = broker.missed().now_or_never();
    Ok(())
}

/// The queues that are missing now and were missing a second ago.
async fn missing<'t>(
    broker: &dyn Broker,
    topology: &'t Topology,
) -> Result<Vec<&'t Queue>, BrokerError> {
    let begun = Instant::now();
    let mut missing = among(broker, topology.queues.iter().collect()).await?;
    while !missing.is_empty() && begun.elapsed() < MISSING_FOR {
        sleep(LOOK_EVERY).await;
        missing = among(broker, missing).await?;
    }
    Ok(missing)
}

/// Whether neither a history nor the first work queue is there.
async fn is_new(broker: &dyn Broker, topology: &Topology) -> Result<bool, BrokerError> {
    let is_stream = |queue: &&Queue| matches!(queue.kind, QueueKind::Stream { .. });
    let streams = topology.queues.iter().filter(is_stream);
    for queue in topology.work_queues().take(1).chain(streams) {
        if broker.has_queue(&queue.name).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Those of the queues that are missing.
async fn among<'t>(
    broker: &dyn Broker,
    queues: Vec<&'t Queue>,
) -> Result<Vec<&'t Queue>, BrokerError> {
    let mut missing = Vec::new();
    for queue in queues {
        if !broker.has_queue(&queue.name).await? {
            missing.push(queue);
        }
    }
    Ok(missing)
}
