use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use crate::Samples;

/// When each event of a run reached some point: one moment a sequence number.
///
/// The first mark of a number counts, so an event delivered twice is measured once.
#[derive(Debug)]
pub struct Stamps {
    start: Instant,
    /// Nanoseconds since `start`, plus one; 0 is "not yet".
    at: Vec<AtomicU64>,
}

impl Stamps {
    /// Room for the events numbered below `events`; both ends of a measurement must share `start`.
    #[must_use]
    pub fn new(start: Instant, events: u64) -> Self {
        Self {
            start,
            at: (0..events).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Notes that event `seq` is here now. Numbers out of range are ignored: they belong to another run.
    pub fn mark(&self, seq: u64) {
        self.mark_at(seq, Instant::now());
    }

    /// Notes that event `seq` is here at this moment, past or to come.
    pub fn mark_at(&self, seq: u64, at: Instant) {
        let now = at.saturating_duration_since(self.start).as_nanos() as u64 + 1;
        if let Some(slot) = usize::try_from(seq).ok().and_then(|i| self.at.get(i)) {
            // Losing the exchange means that it was marked before, which is the mark to keep.
            let _kept = slot.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// How long each event took from here to `later`, for those that reached both. An event seen there before here took
    /// no time: a webhook can overtake the answer that accepts its event.
    #[must_use]
    pub fn until(&self, later: &Stamps) -> Samples {
        self.spans(later).flatten().collect()
    }

    /// The same for each `size` events that follow one another, without groups of which none reached both.
    #[must_use]
    pub fn until_by(&self, size: usize, later: &Stamps) -> Vec<Samples> {
        let spans: Vec<_> = self.spans(later).collect();
        let groups = spans.chunks(size.max(1));
        let groups = groups.map(|group| group.iter().flatten().copied().collect::<Samples>());
        groups.filter(|group| !group.is_empty()).collect()
    }

    fn spans(&self, later: &Stamps) -> impl Iterator<Item = Option<Duration>> {
        self.at.iter().zip(&later.at).map(|(from, to)| {
            let (from, to) = (from.load(Ordering::Relaxed), to.load(Ordering::Relaxed));
            (from > 0 && to > 0).then(|| Duration::from_nanos(to.saturating_sub(from)))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::Stamps;
    use crate::Samples;

    #[test]
    fn only_events_seen_at_both_points_are_measured() {
        let start = Instant::now();
        let (from, to) = (Stamps::new(start, 3), Stamps::new(start, 3));
        from.mark(0);
        from.mark(1);
        from.mark(99);
        to.mark(1);
        to.mark(2);
        assert_eq!(from.until(&to).len(), 1);
        let groups = from.until_by(1, &to);
        assert_eq!(groups.iter().map(Samples::len).collect::<Vec<_>>(), [1]);
    }
}
