//! Which publish was returned as unroutable: the bookkeeping that lapin gets wrong.
//!
//! RabbitMQ sends `basic.return` before the confirm of the same message. lapin keeps returned messages in one line per
//! channel and hands the oldest to the confirm that is resolved next, even if that belongs to another message
//! (`acknowledgement.rs`, `complete_pending`). These facts remain true, and this module relies on them:
//!
//! - A confirm that comes *without* a returned message was resolved when the line was empty: its own return, if it had
//!   one, was handed to a confirm resolved before it.
//! - A confirm that comes with *another message's* return may have its own still waiting in line. It is undecided until
//!   a confirm that was resolved later comes with none, or nothing is in flight. The line is never longer than the
//!   number of returned messages without confirm.
//!
//! Confirms are therefore fed in batches. A batch holds every confirm that was resolved when it was
//! closed, so the confirms of a later batch were resolved later.

use std::collections::HashMap;

use lapin::types::ShortString;

/// The key of a published message. Two in flight with equal keys are interchangeable: they are the
/// same event on the same way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// The exchange.
    pub(super) exchange: ShortString,
    /// The routing key.
    pub(super) routing_key: ShortString,
    /// The message id.
    pub(super) message_id: Option<ShortString>,
}

/// The broker's answer to a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// It has it.
    Ack,
    /// It could not take it.
    Nack,
}

/// The result of a publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The broker has it and routed it.
    Published,
    /// The broker could not take it.
    Nacked,
    /// Nobody takes such messages.
    Unroutable(String),
}

/// A returned message, as it came with some confirm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Returned {
    /// Which message it is.
    pub(super) key: Key,
    /// The broker's words.
    pub(super) reason: String,
}

/// The confirms of one channel. `P` is the owner's own data to finish a publish.
#[derive(Debug)]
pub(super) struct Confirms<P> {
    /// Confirmed in this batch, without a return.
    clean: Vec<Entry<P>>,
    /// Confirmed in this batch, with a return.
    unsure: Vec<Entry<P>>,
    /// Confirmed with a return in an earlier batch, still undecided.
    held: Vec<Entry<P>>,
    /// Returns that wait for the confirm of their message.
    returned: HashMap<Key, Vec<String>>,
}

#[derive(Debug)]
struct Entry<P> {
    key: Key,
    publish: P,
    answer: Answer,
}

impl<P> Confirms<P> {
    /// Of a new channel.
    pub(super) fn new() -> Self {
        Self {
            clean: Vec::new(),
            unsure: Vec::new(),
            held: Vec::new(),
            returned: HashMap::new(),
        }
    }

    /// Adds a confirm to the current batch, with the return that lapin attached to it, if any.
    pub(super) fn resolved(
        &mut self,
        key: Key,
        publish: P,
        answer: Answer,
        attached: Option<Returned>,
    ) {
        let entry = Entry {
            key,
            publish,
            answer,
        };
        match attached {
            None => self.clean.push(entry),
            Some(Returned { key, reason }) => {
                self.returned.entry(key).or_default().push(reason);
                self.unsure.push(entry);
            }
        }
    }

    /// Closes the batch: hands `finish` everything that is certain now. `idle` says that no publish
    /// without a confirm is left on the channel.
    pub(super) fn close_batch(&mut self, idle: bool, mut finish: impl FnMut(Key, P, Verdict)) {
        let line_was_empty = idle || !self.clean.is_empty();
        // Those held from before were resolved before this batch, so an empty line in it decides them.
        for entry in std::mem::take(&mut self.held) {
            match take_return(&mut self.returned, &entry.key) {
                Some(reason) => finish(entry.key, entry.publish, Verdict::Unroutable(reason)),
                None if line_was_empty => finish(entry.key, entry.publish, entry.answer.verdict()),
                None => self.held.push(entry),
            }
        }
        for entry in std::mem::take(&mut self.clean) {
            match take_return(&mut self.returned, &entry.key) {
                Some(reason) => finish(entry.key, entry.publish, Verdict::Unroutable(reason)),
                None => finish(entry.key, entry.publish, entry.answer.verdict()),
            }
        }
        for entry in std::mem::take(&mut self.unsure) {
            match take_return(&mut self.returned, &entry.key) {
                Some(reason) => finish(entry.key, entry.publish, Verdict::Unroutable(reason)),
                None if idle => finish(entry.key, entry.publish, entry.answer.verdict()),
                None => self.held.push(entry),
            }
        }
        if idle {
            self.returned.clear();
        }
    }

    /// Everything undecided, when the channel is gone.
    pub(super) fn abandon(&mut self) -> impl Iterator<Item = (Key, P)> {
        let mut left = std::mem::take(&mut self.held);
        left.append(&mut self.clean);
        left.append(&mut self.unsure);
        left.into_iter().map(|entry| (entry.key, entry.publish))
    }
}

impl Answer {
    fn verdict(self) -> Verdict {
        match self {
            Self::Ack => Verdict::Published,
            Self::Nack => Verdict::Nacked,
        }
    }
}

fn take_return(returned: &mut HashMap<Key, Vec<String>>, key: &Key) -> Option<String> {
    // The usual case costs no hashing.
    if returned.is_empty() {
        return None;
    }
    let reasons = returned.get_mut(key)?;
    let reason = reasons.pop();
    if reasons.is_empty() {
        returned.remove(key);
    }
    reason
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    fn key(id: usize) -> Key {
        Key {
            exchange: "x".into(),
            routing_key: "k".into(),
            message_id: Some(id.to_string().into()),
        }
    }

    fn returned(id: usize) -> Returned {
        Returned {
            key: key(id),
            reason: "NO_ROUTE".to_owned(),
        }
    }

    fn close(confirms: &mut Confirms<usize>, idle: bool) -> Vec<(usize, Verdict)> {
        let mut verdicts = Vec::new();
        confirms.close_batch(idle, |_, id, verdict| verdicts.push((id, verdict)));
        verdicts.sort_by_key(|(id, _)| *id);
        verdicts
    }

    fn unroutable() -> Verdict {
        Verdict::Unroutable("NO_ROUTE".to_owned())
    }

    #[test]
    fn a_return_on_the_wrong_confirm_finds_its_message() {
        let mut confirms = Confirms::new();
        confirms.resolved(key(1), 1, Answer::Ack, Some(returned(2)));
        confirms.resolved(key(2), 2, Answer::Ack, None);
        assert_eq!(
            close(&mut confirms, false),
            [(2, unroutable())],
            "message 1 waits for a later confirm"
        );
        confirms.resolved(key(3), 3, Answer::Nack, None);
        assert_eq!(
            close(&mut confirms, false),
            [(1, Verdict::Published), (3, Verdict::Nacked)]
        );
    }

    #[test]
    fn two_swapped_returns_in_two_batches_are_both_unroutable() {
        let mut confirms = Confirms::new();
        confirms.resolved(key(2), 2, Answer::Ack, Some(returned(1)));
        assert_eq!(close(&mut confirms, false), []);
        confirms.resolved(key(1), 1, Answer::Ack, Some(returned(2)));
        assert_eq!(
            close(&mut confirms, true),
            [(1, unroutable()), (2, unroutable())]
        );
    }

    #[test]
    fn what_is_left_when_the_channel_goes_is_handed_back() {
        let mut confirms = Confirms::new();
        confirms.resolved(key(1), 1, Answer::Ack, Some(returned(2)));
        assert_eq!(close(&mut confirms, false), []);
        assert_eq!(confirms.abandon().collect::<Vec<_>>(), [(key(1), 1)]);
    }

    proptest! {
        /// Plays lapin: publishes in order, returns before confirms, one line of returns for all,
        /// confirms in any order, batches cut anywhere.
        #[test]
        fn nothing_unroutable_is_published_and_nothing_good_is_unroutable(
            routable in prop::collection::vec(prop::bool::weighted(0.6), 1..40),
            order in any::<prop::sample::Index>(),
            shuffle in prop::collection::vec(any::<u32>(), 40),
            cuts in prop::collection::vec(any::<bool>(), 40),
            eager in any::<bool>(),
        ) {
            let count = routable.len();
            // Confirms in an order that is anything from sorted to shuffled.
            let mut confirms_order: Vec<usize> = (0..count).collect();
            let window = 1 + order.index(count);
            confirms_order.sort_by_key(|id| (id / window, shuffle[*id]));

            let mut line: VecDeque<usize> = VecDeque::new();
            let mut next_return = 0;
            let mut confirms = Confirms::new();
            let mut verdicts = Vec::new();
            for (position, id) in confirms_order.iter().copied().enumerate() {
                // The broker handles publishes in order: everything up to this one was returned by
                // now, and perhaps everything else as well.
                let handled = if eager { count } else { id + 1 };
                while next_return < handled {
                    if !routable[next_return] {
                        line.push_back(next_return);
                    }
                    next_return += 1;
                }
                let attached = line.pop_front().map(returned);
                confirms.resolved(key(id), id, Answer::Ack, attached);
                let idle = position + 1 == count;
                if idle || cuts[position] {
                    verdicts.extend(close(&mut confirms, idle));
                }
            }
            verdicts.sort_by_key(|(id, _)| *id);
            let expected: Vec<_> = routable
                .iter()
                .enumerate()
                .map(|(id, routable)| {
                    (id, if *routable { Verdict::Published } else { unroutable() })
                })
                .collect();
            prop_assert_eq!(verdicts, expected);
        }
    }
}
