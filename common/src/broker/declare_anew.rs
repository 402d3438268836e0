//! Declaring parts that may be missing while doors are open.

use std::time::Duration;

use super::{Broker, BrokerError};
use crate::topology::{Binding, QueueKind, Target, Topology};

/// Minimum time that a missing work queue beside the history stays missing. A door that has published meanwhile looks
/// for the queue within this time, so it accepts no event that is in no queue.
const MISSING_FOR: Duration = Duration::from_secs(1);

/// Declares everything in the topology, as [`Broker::apply`] does, but keeps a missing work queue missing long enough
/// for every door to notice. Otherwise a door could take the history for the work queue.
///
/// # Errors
/// As [`Broker::apply`].
pub async fn declare_anew(broker: &dyn Broker, topology: &Topology) -> Result<(), BrokerError> {
    for (work, history) in beside_the_history(topology) {
        if broker.depth(work).await?.is_none() && broker.depth(history).await?.is_some() {
            tokio::time::sleep(MISSING_FOR).await;
            break;
        }
    }
    broker.apply(topology).await
}

/// Each work queue with the stream that takes the same messages.
fn beside_the_history(topology: &Topology) -> impl Iterator<Item = (&str, &str)> {
    let streams = topology.queues.iter();
    let streams = streams.filter(|queue| matches!(queue.kind, QueueKind::Stream { .. }));
    streams.flat_map(move |stream| {
        let work = topology.work_queues();
        work.filter(move |queue| have_one_source(topology, &queue.name, &stream.name))
            .map(|queue| (&*queue.name, &*stream.name))
    })
}

fn have_one_source(topology: &Topology, one: &str, other: &str) -> bool {
    let mut sources = sources(topology, one);
    sources.any(|source| self::sources(topology, other).any(|its| its == source))
}

fn sources<'t>(topology: &'t Topology, queue: &str) -> impl Iterator<Item = &'t str> {
    let leads_to_it =
        move |binding: &&Binding| matches!(&binding.to, Target::Queue(name) if name == queue);
    let bindings = topology.bindings.iter().filter(leads_to_it);
    bindings.map(|binding| &*binding.exchange)
}
