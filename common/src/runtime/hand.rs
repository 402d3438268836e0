//! The hand of a lane: the messages of one queue that this process has taken and not yet let go.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use super::desk::Desk;
use super::place::Place;
use super::{Claim, Received};
use crate::broker::{Delivery, SubscriptionControl, Tag};
use crate::event::{carry_death, now};
use crate::topology::Names;

/// The kind of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LaneKind {
    Main,
    Suspects,
    /// One event of the main queue, to see whether a hold can end.
    Trial,
}

/// The messages of one queue that a lane has in hand. They leave it through `handling`, `settling` and
/// `give_back`.
pub(super) struct Hand {
    pub(super) desk: Arc<Desk>,
    pub(super) kind: LaneKind,
    pub(super) queue: String,
    in_flight: AtomicUsize,
    /// A call has ended.
    pub(super) freed: Notify,
}

/// A message in hand.
pub(super) struct InHand {
    pub(super) tag: Tag,
    pub(super) returns: u32,
    pub(super) received: Received,
}

impl InHand {
    /// How many workers may have died over it: it came back, other than as a copy of ours.
    pub(super) fn crashes(&self) -> u32 {
        self.received.trail.crashes.saturating_add(self.returns)
    }
}

impl Hand {
    pub(super) fn new(desk: &Arc<Desk>, kind: LaneKind, queue: String) -> Self {
        Self {
            desk: Arc::clone(desk),
            kind,
            queue,
            in_flight: AtomicUsize::new(0),
            freed: Notify::new(),
        }
    }

    /// Takes a delivery in hand.
    pub(super) fn take(
        &self,
        delivery: Delivery,
        control: &Arc<dyn SubscriptionControl>,
    ) -> InHand {
        let Delivery { tag, returns, .. } = delivery;
        let held = self.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        self.show_held(held);
        let desk = &self.desk;
        let claim = Claim::new(Arc::clone(control), desk.surroundings.stop.clone());
        let mut received = Received::new(delivery, &desk.surroundings.logins, now(), claim);
        if desk.spec.parked.is_some() {
            // A dead letter: a copy of it must carry its death as well.
            carry_death(
                &mut received.message.headers,
                Names::without_suspect(&self.queue),
            );
        }
        InHand {
            tag,
            returns,
            received,
        }
    }

    /// Counts messages out of the hand.
    pub(super) fn let_go(&self, count: usize) {
        let held = self.in_flight.fetch_sub(count, Ordering::Relaxed);
        self.show_held(held.saturating_sub(count));
    }

    /// The place where its messages are handled.
    pub(super) fn place(&self) -> Place<'_> {
        let spec = &self.desk.spec;
        Place {
            queue: &self.queue,
            parked: spec.parked.as_deref(),
            retry: &spec.settings.retry,
        }
    }

    fn show_held(&self, held: usize) {
        if self.kind == LaneKind::Main {
            self.desk.metrics.in_flight(held);
        }
    }
}
