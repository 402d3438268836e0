//! The acks for settled messages: as few frames as is safe.
//!
//! Delivery tags of a channel count up from 1, and a subscription has a channel of its own. Tags
//! settled without a gap from the first one on take one ack frame; a tag behind a gap is acked by
//! itself.

use std::collections::BTreeMap;

use crate::broker::Settlement;

/// One frame to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame {
    /// Acks one delivery.
    Ack(u64),
    /// Acks a delivery and all before it that are not settled yet.
    AckUpTo(u64),
    /// Gives one delivery back to the queue.
    GiveBack(u64),
}

/// The delivered and settled tags of one channel.
#[derive(Debug, Default)]
pub(super) struct Settlements {
    /// The highest tag delivered.
    delivered: u64,
    /// Every tag up to this one is settled and sent.
    floor: u64,
    /// The settled tags above the floor.
    above: BTreeMap<u64, Status>,
    /// Whether anything in `above` is to be sent.
    dirty: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Due(Settlement),
    Sent,
}

impl Settlements {
    /// A delivery was handed out.
    pub(super) fn delivered(&mut self, tag: u64) {
        self.delivered = self.delivered.max(tag);
    }

    /// A delivery is settled. Returns whether that is news. A tag that was never handed out or is
    /// settled already is left alone, because the broker closes the channel over it.
    pub(super) fn settle(&mut self, tag: u64, settlement: Settlement) -> bool {
        if tag <= self.floor || tag > self.delivered || self.above.contains_key(&tag) {
            return false;
        }
        self.above.insert(tag, Status::Due(settlement));
        self.dirty = true;
        true
    }

    /// The frames for all settlements since the last call, in the order to send them. Acks behind a gap are among them
    /// only with `all`: gaps mostly close soon, and then one frame replaces many.
    pub(super) fn take(&mut self, all: bool) -> Vec<Frame> {
        let mut frames = Vec::new();
        if !std::mem::take(&mut self.dirty) {
            return frames;
        }
        // Before any ack that could cover them.
        for (tag, status) in &mut self.above {
            if *status == Status::Due(Settlement::GiveBack) {
                *status = Status::Sent;
                frames.push(Frame::GiveBack(*tag));
            }
        }
        let mut due = 0;
        let mut last = 0;
        while let Some(status) = self.above.remove(&(self.floor + 1)) {
            self.floor += 1;
            if status != Status::Sent {
                due += 1;
                last = self.floor;
            }
        }
        match due {
            0 => {}
            1 => frames.push(Frame::Ack(last)),
            _ => frames.push(Frame::AckUpTo(last)),
        }
        for (tag, status) in &mut self.above {
            if *status == Status::Sent {
                continue;
            }
            if !all {
                self.dirty = true;
                break;
            }
            *status = Status::Sent;
            frames.push(Frame::Ack(*tag));
        }
        frames
    }

    /// Whether something settled is not said yet.
    pub(super) fn is_due(&self) -> bool {
        self.dirty
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn delivered(up_to: u64) -> Settlements {
        let mut settlements = Settlements::default();
        settlements.delivered(up_to);
        settlements
    }

    #[test]
    fn a_prefix_takes_one_frame() {
        let mut settlements = delivered(5);
        for tag in [3, 1, 2, 5] {
            assert!(settlements.settle(tag, Settlement::Ack));
        }
        assert_eq!(settlements.take(true), [Frame::AckUpTo(3), Frame::Ack(5)]);
        assert!(settlements.settle(4, Settlement::Ack));
        assert_eq!(settlements.take(true), [Frame::Ack(4)]);
        assert_eq!(settlements.take(true), []);
    }

    #[test]
    fn what_lies_behind_a_gap_may_wait_for_it_to_close() {
        let mut settlements = delivered(4);
        for tag in [1, 3, 4] {
            assert!(settlements.settle(tag, Settlement::Ack));
        }
        assert_eq!(settlements.take(false), [Frame::Ack(1)]);
        assert!(settlements.is_due());
        assert!(settlements.settle(2, Settlement::Ack));
        assert_eq!(settlements.take(false), [Frame::AckUpTo(4)]);
        assert!(!settlements.is_due());
    }

    #[test]
    fn unknown_and_repeated_tags_are_left_alone() {
        let mut settlements = delivered(2);
        for tag in [0, 3] {
            assert!(!settlements.settle(tag, Settlement::Ack), "{tag}");
        }
        assert!(settlements.settle(1, Settlement::GiveBack));
        assert!(!settlements.settle(1, Settlement::Ack));
        assert_eq!(settlements.take(true), [Frame::GiveBack(1)]);
        assert!(!settlements.settle(1, Settlement::Ack));
    }

    proptest! {
        #[test]
        fn the_broker_sees_each_settlement_once_and_no_other(
            steps in prop::collection::vec((1_u64..30, any::<bool>(), any::<bool>()), 0..60),
        ) {
            let mut settlements = delivered(25);
            let mut expected = BTreeMap::new();
            // The tags that the broker holds as unsettled, and the frames that it got.
            let mut unsettled: Vec<u64> = (1..=25).collect();
            let mut told = BTreeMap::new();
            let send = |settlements: &mut Settlements,
                            unsettled: &mut Vec<u64>,
                            told: &mut BTreeMap<u64, Settlement>,
                            all: bool| {
                for frame in settlements.take(all) {
                    let (tag, up_to, how) = match frame {
                        Frame::Ack(tag) => (tag, false, Settlement::Ack),
                        Frame::AckUpTo(tag) => (tag, true, Settlement::Ack),
                        Frame::GiveBack(tag) => (tag, false, Settlement::GiveBack),
                    };
                    assert!(unsettled.contains(&tag), "the broker would close the channel");
                    let covered = |known: u64| known == tag || (up_to && known < tag);
                    told.extend(unsettled.iter().filter(|known| covered(**known)).map(|known| (*known, how)));
                    unsettled.retain(|known| !covered(*known));
                }
            };
            for (tag, give_back, flush) in steps {
                let all = tag % 2 == 0;
                let how = if give_back { Settlement::GiveBack } else { Settlement::Ack };
                let news = settlements.settle(tag, how);
                prop_assert_eq!(news, tag <= 25 && !expected.contains_key(&tag));
                if news {
                    expected.insert(tag, how);
                }
                if flush {
                    send(&mut settlements, &mut unsettled, &mut told, all);
                }
            }
            send(&mut settlements, &mut unsettled, &mut told, true);
            prop_assert_eq!(told, expected);
        }
    }
}
