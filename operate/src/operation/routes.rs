//! The queues that a replay may send to.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use common::bootstrap::Failure;
use common::broker::Broker;
use common::topology::{Queue, QueueKind, Topology};

use super::patience::Patience;

/// The queues that letters may go to. The broker is asked once for each queue.
#[derive(Default)]
pub(super) struct Routes(Mutex<HashMap<String, Option<String>>>);

impl Routes {
    /// Why nothing may be sent to `queue`, if so: a message that no worker will ever take would be lost from
    /// sight.
    pub(super) async fn problem(
        &self,
        patience: &Patience<'_>,
        topology: &Topology,
        broker: &dyn Broker,
        queue: &str,
    ) -> Result<Option<String>, Failure> {
        if let Some(known) = self.known().get(queue) {
            return Ok(known.clone());
        }
        let mut problem = configuration_problem(topology, queue);
        if problem.is_none() {
            let depth = patience.outlast(async || broker.depth(queue).await).await?;
            problem = depth.is_none().then(|| {
                format!("the broker has no queue {queue:?}; `longshore topology apply` declares it")
            });
        }
        self.known().insert(queue.to_owned(), problem.clone());
        Ok(problem)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<String, Option<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why nothing may be sent to `queue` by the configuration in force, if so.
pub fn configuration_problem(topology: &Topology, queue: &str) -> Option<String> {
    let known = topology.work_queues().find(|known| known.name == queue);
    match known {
        Some(known) if is_archives(known) => Some(format!(
            "{queue:?} is the archive's own, and where it died before is not known; name the queue it \
             belongs in with --to"
        )),
        Some(_) => None,
        None => Some(format!(
            "no worker consumes {queue:?} in the configuration in force; configure its destination again, \
             or name another queue with --to"
        )),
    }
}

/// Whether the archive takes dead letters from this queue: a message that goes there is only archived again.
fn is_archives(queue: &Queue) -> bool {
    matches!(&queue.kind, QueueKind::Work { dead_letter_exchange, .. } if dead_letter_exchange.is_empty())
}
