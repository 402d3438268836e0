//! Whether a queue that cannot be looked into has a place for each event that no message of was seen.
//!
//! A broker tells how many messages wait, and not which. So all messages that may be in a queue are counted: the open
//! events of the window, events received before and after it, messages sent again. If the number of messages equals
//! that count, each event is known to be there. With fewer, some are gone or in a worker's hand: by the order of a
//! queue, the oldest. With more, their owner cannot be known.

/// The messages that may wait in a queue beside the events in question.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Others {
    /// Minimum.
    pub(super) at_least: u64,
    /// Maximum.
    pub(super) at_most: u64,
}

/// A queue's places for the events that are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Room {
    /// Why nothing was counted, where nothing was.
    uncounted: Option<&'static str>,
    messages: u64,
    /// All that may be in it.
    claims: u64,
    /// The oldest event that certainly has a place, however many the others have; `None` without
    /// one.
    sure: Option<u64>,
    /// The oldest that has one if the others have as few as they can.
    possible: Option<u64>,
    /// The newest event that has passed the queue, where that is known.
    passed: Option<u64>,
}

/// A queue's answer about one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seat {
    /// A place.
    Sure,
    /// Perhaps a place, and why that is not known.
    Perhaps(String),
    /// None: later ones have passed it.
    Overtaken,
    /// None: the queue holds fewer messages than there are newer ones.
    None,
}

impl Room {
    /// For a queue with `messages` messages. `offsets` are the places in the history of the events in question, each as
    /// often as it has messages.
    pub(super) fn new(
        messages: u64,
        others: Others,
        mut offsets: Vec<u64>,
        passed: Option<u64>,
    ) -> Self {
        let claims = others.at_most.saturating_add(offsets.len() as u64);
        let in_order = |offset: &u64| passed.is_none_or(|passed| *offset >= passed);
        // With a place for each, also those have one that came back and lost their turn.
        if messages != claims {
            offsets.retain(in_order);
        }
        offsets.sort_unstable_by(|one, other| other.cmp(one));
        let oldest = |taken: u64| {
            let left = usize::try_from(messages.saturating_sub(taken)).unwrap_or(usize::MAX);
            let last = left.min(offsets.len()).checked_sub(1)?;
            offsets.get(last).copied()
        };
        Self {
            uncounted: None,
            messages,
            claims,
            sure: oldest(others.at_most),
            possible: oldest(others.at_least),
            passed,
        }
    }

    /// For a queue whose messages cannot be counted against events, and why.
    pub(super) fn uncounted(why: &'static str) -> Self {
        Self {
            uncounted: Some(why),
            ..Self::default()
        }
    }

    /// The queue's answer about an event in question.
    pub(super) fn seat(&self, offset: u64) -> Seat {
        let reaches = |oldest: Option<u64>| oldest.is_some_and(|oldest| offset >= oldest);
        let Self {
            messages, claims, ..
        } = self;
        if let Some(why) = self.uncounted {
            return Seat::Perhaps(why.to_owned());
        }
        if messages > claims {
            return Seat::Perhaps(format!(
                "{messages} messages wait, and {claims} at most were to be expected: whose they are cannot be seen"
            ));
        }
        if reaches(self.sure) {
            return Seat::Sure;
        }
        if self.passed.is_some_and(|passed| offset < passed) {
            return Seat::Overtaken;
        }
        if reaches(self.possible) {
            return Seat::Perhaps(format!(
                "{messages} messages wait for up to {claims} events, of which some came before the window or behind it: \
                 whose they are cannot be seen"
            ));
        }
        Seat::None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn others(at_least: u64, at_most: u64) -> Others {
        Others { at_least, at_most }
    }

    #[test]
    fn a_queue_holds_the_newest_that_have_not_passed() {
        let room = Room::new(2, Others::default(), vec![5, 9, 7, 8], Some(6));
        let seats = [5, 7, 8, 9].map(|offset| room.seat(offset));
        assert_eq!(seats, [Seat::Overtaken, Seat::None, Seat::Sure, Seat::Sure]);
        let empty = Room::new(0, Others::default(), vec![1, 2], None);
        assert_eq!(empty.seat(2), Seat::None);
        assert_eq!(Room::default().seat(2), Seat::None);
        let seat = Room::uncounted("it is consumed").seat(2);
        assert_eq!(seat, Seat::Perhaps("it is consumed".to_owned()));
    }

    #[test]
    fn with_a_message_for_each_even_what_was_overtaken_has_its_place() {
        let room = Room::new(4, Others::default(), vec![5, 9, 7, 8], Some(6));
        assert!([5, 7, 8, 9].iter().all(|it| room.seat(*it) == Seat::Sure));
    }

    #[test]
    fn what_came_later_takes_no_place_of_what_is_gone() {
        let room = Room::new(29, others(3, 3), (0..27).collect(), None);
        assert_eq!(room.seat(0), Seat::None);
        assert_eq!(room.seat(1), Seat::Sure);
        // Between two and four came meanwhile.
        let room = Room::new(29, others(2, 4), (0..27).collect(), None);
        assert!(matches!(room.seat(0), Seat::Perhaps(_)));
        assert!(matches!(room.seat(1), Seat::Perhaps(_)));
        assert_eq!(room.seat(2), Seat::Sure);
    }

    #[test]
    fn where_more_wait_than_can_be_expected_nothing_is_sure() {
        let room = Room::new(3, others(0, 1), vec![7], None);
        let Seat::Perhaps(why) = room.seat(7) else {
            panic!("{room:?}");
        };
        assert!(why.starts_with("3 messages wait, and 2 at most"), "{why}");
    }

    proptest! {
        /// For any loss: if all are reported there, all are.
        #[test]
        fn nothing_that_is_gone_is_covered_by_others(
            present in prop::collection::vec(any::<bool>(), 1..40),
            others_there in 0_u64..20,
            slack in 0_u64..5,
            passed in prop::option::of(0_u64..40),
        ) {
            let offsets: Vec<u64> = (0..present.len() as u64).collect();
            let there = present.iter().filter(|it| **it).count() as u64;
            let others = others(others_there.saturating_sub(slack), others_there + slack);
            let room = Room::new(there + others_there, others, offsets.clone(), passed);
            let all_sure = offsets.iter().all(|offset| room.seat(*offset) == Seat::Sure);
            prop_assert!(!all_sure || present.iter().all(|it| *it));
            // And if the others are known, and nothing is lost, all are reported there.
            prop_assert!(slack > 0 || !present.iter().all(|it| *it) || all_sure);
        }
    }
}
