use std::collections::VecDeque;

/// Which deliveries of one channel are done, in order: lets one `multiple` ack settle a contiguous run of them.
///
/// Tags count up from 1 on a channel with one consumer. An ack with `multiple` settles everything up to its tag, so it may
/// only name a tag before which nothing is still running.
#[derive(Debug)]
pub(crate) struct Prefix {
    next: u64,
    done: VecDeque<bool>,
    taken: u64,
}

impl Prefix {
    pub(crate) fn new() -> Self {
        Self {
            next: 1,
            done: VecDeque::new(),
            taken: 0,
        }
    }

    /// Notes that the delivery with this tag is done.
    pub(crate) fn done(&mut self, tag: u64) {
        let Some(ahead) = tag.checked_sub(self.next) else {
            return;
        };
        let ahead = ahead as usize;
        if self.done.len() <= ahead {
            self.done.resize(ahead + 1, false);
        }
        self.done[ahead] = true;
        while self.done.front() == Some(&true) {
            self.done.pop_front();
            self.next += 1;
        }
    }

    /// The highest tag that may be acked with `multiple` now and how many deliveries that settles, if it settles any.
    pub(crate) fn take(&mut self) -> Option<(u64, u64)> {
        let last = self.next - 1;
        let fresh = last - self.taken;
        self.taken = last;
        (fresh > 0).then_some((last, fresh))
    }
}

#[cfg(test)]
mod tests {
    use super::Prefix;

    #[test]
    fn nothing_is_settled_past_a_delivery_that_still_runs() {
        let mut prefix = Prefix::new();
        prefix.done(2);
        prefix.done(3);
        assert_eq!(prefix.take(), None);
        prefix.done(1);
        assert_eq!(prefix.take(), Some((3, 3)));
        assert_eq!(prefix.take(), None);
        prefix.done(5);
        prefix.done(4);
        assert_eq!(prefix.take(), Some((5, 2)));
    }
}
