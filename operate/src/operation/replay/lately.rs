//! The events that a replay of the history has sent lately.
//!
//! The history may hold an event several times. Sent twice in a row, it would be in two workers' hands at once,
//! and neither would know of the other. A copy that comes much later finds the first one recorded, and is dropped.

use std::collections::HashSet;

use common::event::EventId;

/// Capacity of each half.
const HALF: usize = 50_000;

/// Events that were sent: at least the last 50,000, and at most twice as many.
#[derive(Debug, Default)]
pub(super) struct Lately {
    newer: HashSet<EventId>,
    older: HashSet<EventId>,
}

impl Lately {
    /// Whether an event was sent lately.
    pub(super) fn has(&self, event: EventId) -> bool {
        self.newer.contains(&event) || self.older.contains(&event)
    }

    /// Adds an event that is sent.
    pub(super) fn add(&mut self, event: EventId) {
        if self.newer.len() >= HALF {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_known_for_a_while() {
        let mut lately = Lately::default();
        let first = EventId::born();
        assert!(!lately.has(first));
        lately.add(first);
        for _ in 0..HALF {
            lately.add(EventId::born());
        }
        assert!(lately.has(first));
        for _ in 0..HALF {
            lately.add(EventId::born());
        }
        assert!(!lately.has(first));
    }
}
