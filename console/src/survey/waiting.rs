//! What waits in the queues, and what may be among it.

use std::collections::BTreeMap;

use common::bootstrap::Failure;
use common::store::DeliveryState;
use common::topology::{Names, QueueKind, Stage};
use time::OffsetDateTime;

use super::{Stuck, Surveyor};

/// How many messages wait where.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    counts: BTreeMap<String, u64>,
    /// On the way to the database.
    before: u64,
    /// By destination.
    destinations: BTreeMap<String, u64>,
    /// Put aside, put off, or on the way to the archive: out of all order.
    elsewhere: u64,
}

impl Waiting {
    /// Asks every queue that an event may wait in.
    pub(super) async fn ask(surveyor: &Surveyor<'_>) -> Result<Self, Failure> {
        let mut waiting = Self::default();
        for queue in &surveyor.topology.queues {
            let delay = matches!(queue.kind, QueueKind::Delay { .. });
            if !queue.is_work() && !delay {
                continue;
            }
            let depth = surveyor.broker.depth(&queue.name).await?;
            let messages = depth.map_or(0, |depth| depth.messages);
            if messages > 0 {
                waiting.counts.insert(queue.name.clone(), messages);
            }
            let aside = Names::is_suspect(&queue.name);
            match surveyor.names.stage_of(&queue.name) {
                Some((Stage::Validate | Stage::Store, _)) if !aside => waiting.before += messages,
                Some((Stage::Integrate, Some(destination))) if !aside => {
                    waiting
                        .destinations
                        .insert(destination.to_owned(), messages);
                }
                _ => waiting.elsewhere += messages,
            }
        }
        Ok(waiting)
    }

    /// The queues that are not empty.
    pub(super) fn counts(&self) -> BTreeMap<String, u64> {
        self.counts.clone()
    }

    /// Whether something that is at rest nowhere may be waiting in a queue. `head` is when the newest was
    /// received that has come as far as the database: work queues keep their order, so what was received
    /// well before it waits in none on the way there.
    pub(super) async fn may_hold(
        &self,
        surveyor: &Surveyor<'_>,
        it: &Stuck,
        head: Option<OffsetDateTime>,
    ) -> Result<bool, Failure> {
        if self.elsewhere > 0 {
            return Ok(true);
        }
        let overtaken = it
            .received_at
            .zip(head)
            .is_some_and(|(at, head)| head - at.0 > surveyor.grace);
        let before = self.before > 0 && !overtaken;
        let Some(event) = it.event.filter(|_| it.status.is_some()) else {
            return Ok(before);
        };
        if self.destinations.values().all(|&messages| messages == 0) {
            // A replayed letter may be on the way to the database once more, out of order.
            return Ok(self.before > 0);
        }
        let status = surveyor.store.status(event).await?;
        let deliveries = status.map(|status| status.deliveries).unwrap_or_default();
        let mut due = deliveries
            .iter()
            .filter(|delivery| delivery.status == DeliveryState::Due)
            .peekable();
        if due.peek().is_none() {
            return Ok(true);
        }
        Ok(self.before > 0
            || due.any(|it| {
                self.destinations
                    .get(&it.destination)
                    .is_some_and(|&n| n > 0)
            }))
    }
}
