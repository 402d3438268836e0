//! When something counts as lost: pure rules.

use std::time::Duration;

use common::retry::RetryPolicy;

/// Maximum number of times that one thing is sent again, and the wait before the second time. Each further wait is four
/// times as long.
const MAX_SENT: u32 = 5;
const SECOND: Duration = Duration::from_secs(60);

/// The facts of an event that no table knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EventSigns {
    /// How long it is known to be in the history.
    pub(super) age: Duration,
    /// For how long it is known that events that were received clearly later are stored.
    pub(super) overtaken_for: Option<Duration>,
    /// For how long every queue on the way to the tables was seen empty at every look.
    pub(super) empty_for: Option<Duration>,
    /// Whether it may be in a queue out of order that holds messages.
    pub(super) may_be_aside: bool,
}

impl EventSigns {
    /// Whether it is lost. A worker that is merely behind has messages in its queue, and nothing that came later
    /// has passed; so neither sign is there.
    pub(super) fn are_of_a_loss(self, lag: Duration) -> bool {
        let overtaken = self.overtaken_for.is_some_and(|since| since >= lag / 2);
        let nowhere = self.empty_for.is_some_and(|since| since >= lag);
        self.age >= lag && !self.may_be_aside && (overtaken || nowhere)
    }
}

/// The facts of a due delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DeliverySigns {
    /// How long ago it became due, or was last tried.
    pub(super) due_for: Duration,
    /// For how long its queue, its suspects and the way to the archive were seen empty at every look.
    pub(super) empty_for: Option<Duration>,
    /// Whether a worker consumes the queue.
    pub(super) is_consumed: bool,
    /// How long ago the last attempt at the destination began; `None` without a recent one.
    pub(super) quiet_for: Option<Duration>,
    /// Maximum pause between attempts while a worker has deliveries in hand.
    pub(super) longest_pause: Duration,
    /// How long at most a worker has one delivery in hand.
    pub(super) longest_in_hand: Duration,
    /// The messages that wait out a delay.
    pub(super) delays: Delays,
}

/// A view of the messages that wait out a delay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delays {
    /// All of them were seen, and the delivery is not among them.
    Seen,
    /// It is one of them.
    Found,
    /// There are too many to see them all.
    Unseen,
}

impl DeliverySigns {
    /// Whether its message is lost.
    pub(super) fn are_of_a_loss(self, lag: Duration, policy: &RetryPolicy) -> bool {
        let Some(empty_for) = self.empty_for.filter(|since| *since >= lag) else {
            return false;
        };
        if self.due_for < lag {
            return false;
        }
        // A worker that has deliveries in hand makes attempts; a worker that makes none has none. If others never
        // cease, a delivery that was in no queue for longer than a worker may keep it is in no hand either.
        let in_hand = self.is_consumed
            && empty_for.min(self.due_for) < self.longest_in_hand + lag
            && empty_for.min(self.quiet_for.unwrap_or(Duration::MAX)) < self.longest_pause + lag;
        if in_hand {
            return false;
        }
        match self.delays {
            Delays::Seen => true,
            Delays::Found => false,
            // Delays are rounded, by an eighth at most.
            Delays::Unseen => self.due_for > policy.longest().mul_f64(1.25) + lag,
        }
    }
}

/// Whether something that was sent again `sent` times, the last time `ago`, is sent once more.
pub(super) fn may_send_again(sent: u32, ago: Duration) -> bool {
    sent == 0 || (sent < MAX_SENT && ago >= SECOND * 4_u32.saturating_pow(sent.saturating_sub(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAG: Duration = Duration::from_secs(10);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_event_is_lost_when_it_is_overtaken_or_no_queue_holds_anything() {
        let waiting = EventSigns {
            age: seconds(100),
            overtaken_for: None,
            empty_for: None,
            may_be_aside: false,
        };
        assert!(!waiting.are_of_a_loss(LAG), "a worker is behind");
        let overtaken = EventSigns {
            overtaken_for: Some(seconds(5)),
            ..waiting
        };
        assert!(overtaken.are_of_a_loss(LAG));
        let just_now = EventSigns {
            overtaken_for: Some(seconds(1)),
            ..waiting
        };
        assert!(!just_now.are_of_a_loss(LAG), "at one look only");
        let nowhere = EventSigns {
            empty_for: Some(seconds(10)),
            ..waiting
        };
        assert!(nowhere.are_of_a_loss(LAG));
        for not_yet in [
            EventSigns {
                age: seconds(9),
                ..nowhere
            },
            EventSigns {
                empty_for: Some(seconds(9)),
                ..nowhere
            },
            EventSigns {
                may_be_aside: true,
                ..nowhere
            },
            EventSigns {
                may_be_aside: true,
                ..overtaken
            },
        ] {
            assert!(!not_yet.are_of_a_loss(LAG), "{not_yet:?}");
        }
    }

    fn delivery() -> DeliverySigns {
        DeliverySigns {
            due_for: seconds(30),
            empty_for: Some(seconds(12)),
            is_consumed: false,
            quiet_for: None,
            longest_pause: seconds(15),
            longest_in_hand: seconds(370),
            delays: Delays::Seen,
        }
    }

    #[test]
    fn a_delivery_is_lost_when_it_is_in_no_queue_and_in_nobodys_hand() {
        let policy = RetryPolicy::default();
        let lost = |signs: DeliverySigns| signs.are_of_a_loss(LAG, &policy);
        assert!(lost(delivery()));
        for not_yet in [
            DeliverySigns {
                due_for: seconds(9),
                ..delivery()
            },
            DeliverySigns {
                empty_for: None,
                ..delivery()
            },
            DeliverySigns {
                empty_for: Some(seconds(9)),
                ..delivery()
            },
            DeliverySigns {
                is_consumed: true,
                ..delivery()
            },
            DeliverySigns {
                delays: Delays::Found,
                ..delivery()
            },
            DeliverySigns {
                delays: Delays::Unseen,
                ..delivery()
            },
        ] {
            assert!(!lost(not_yet), "{not_yet:?}");
        }
    }

    #[test]
    fn a_worker_that_makes_no_attempts_has_nothing_in_hand() {
        let policy = RetryPolicy::default();
        let consumed = DeliverySigns {
            is_consumed: true,
            empty_for: Some(seconds(60)),
            ..delivery()
        };
        assert!(consumed.are_of_a_loss(LAG, &policy));
        let busy = DeliverySigns {
            quiet_for: Some(seconds(8)),
            ..consumed
        };
        assert!(!busy.are_of_a_loss(LAG, &policy), "a slow receiver");
        let overtaken = |due: u64, empty: u64| DeliverySigns {
            due_for: seconds(due),
            empty_for: Some(seconds(empty)),
            ..busy
        };
        assert!(
            overtaken(380, 380).are_of_a_loss(LAG, &policy),
            "others never cease"
        );
        assert!(
            !overtaken(3600, 379).are_of_a_loss(LAG, &policy),
            "it came from a long queue"
        );
        assert!(
            !overtaken(379, 3600).are_of_a_loss(LAG, &policy),
            "it is new"
        );
    }

    #[test]
    fn a_delay_that_cannot_be_seen_is_waited_for_as_long_as_it_can_last() {
        let policy = RetryPolicy::default();
        let unseen = |hours: u64| DeliverySigns {
            due_for: seconds(hours * 3600),
            delays: Delays::Unseen,
            ..delivery()
        };
        assert!(!unseen(7).are_of_a_loss(LAG, &policy));
        assert!(unseen(10).are_of_a_loss(LAG, &policy));
    }

    #[test]
    fn nothing_is_sent_again_in_a_hot_loop() {
        assert!(may_send_again(0, Duration::ZERO));
        assert!(!may_send_again(1, seconds(59)) && may_send_again(1, seconds(60)));
        assert!(!may_send_again(2, seconds(239)) && may_send_again(2, seconds(240)));
        assert!(!may_send_again(5, Duration::MAX));
    }
}
