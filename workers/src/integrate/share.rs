//! The part of one copy of the worker in what all copies may do together now.

use std::time::Duration;

/// One copy of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    /// The place of this copy among them, from 0.
    index: usize,
    /// How many there are, at least 1.
    of: usize,
    /// The part of rate and concurrency that all copies may use now, in percent, at least 1: a small one after an outage.
    percent: u32,
}

impl Share {
    /// The only copy.
    pub(super) const WHOLE: Self = Self {
        index: 0,
        of: 1,
        percent: 100,
    };

    /// The copy at place `index` (from 0) of `of`; the only one where it is not among them.
    pub(super) fn new(index: Option<usize>, of: usize) -> Self {
        match index {
            Some(index) if index < of => Self {
                index,
                of,
                percent: 100,
            },
            _ => Self::WHOLE,
        }
    }

    /// The same copy while all may use this part, in percent.
    pub(super) fn at(self, percent: u32) -> Self {
        Self {
            percent: percent.clamp(1, 100),
            ..self
        }
    }

    /// The part that all copies may use, in percent.
    pub(super) fn percent(self) -> u32 {
        self.percent
    }

    /// The part of a number that all copies have together. The parts of all copies are that number, or the percentage of it,
    /// and at least one of them is not 0.
    pub(super) fn of_number(self, all: usize) -> usize {
        let now = all.saturating_mul(self.percent as usize).div_ceil(100);
        now / self.of + usize::from(self.index < now % self.of)
    }

    /// The interval of this copy, where `all` is that of all copies together.
    pub(super) fn of_interval(self, all: Duration) -> Duration {
        let whole = all.saturating_mul(u32::try_from(self.of).unwrap_or(u32::MAX));
        if self.percent == 100 {
            return whole;
        }
        whole.saturating_mul(100) / self.percent
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_parts_are_the_whole_and_nearly_alike(all in 0_usize..1000, of in 1_usize..50) {
            let parts: Vec<_> = (0..of).map(|index| Share::new(Some(index), of).of_number(all)).collect();
            prop_assert_eq!(parts.iter().sum::<usize>(), all);
            let (least, most) = (parts.iter().min().unwrap(), parts.iter().max().unwrap());
            prop_assert!(most - least <= 1);
        }

        #[test]
        fn the_parts_are_the_percentage_and_somebody_has_one(
            all in 1_usize..1000, of in 1_usize..50, percent in 0_u32..101,
        ) {
            let share = |index| Share::new(Some(index), of).at(percent);
            let sum: usize = (0..of).map(|index| share(index).of_number(all)).sum();
            prop_assert!(sum >= 1 && sum <= all);
            prop_assert!(sum * 100 >= all * percent as usize);
            prop_assert!((sum - 1) * 100 <= all * percent.max(1) as usize);
        }
    }

    #[test]
    fn each_of_several_copies_is_slower() {
        let second = Duration::from_secs(1);
        assert_eq!(Share::new(Some(2), 4).of_interval(second), 4 * second);
        for alone in [Share::WHOLE, Share::new(None, 4), Share::new(Some(4), 4)] {
            assert_eq!((alone.of_interval(second), alone.of_number(7)), (second, 7));
        }
        assert_eq!(
            Share::new(Some(2), 4).at(10).of_interval(second),
            40 * second
        );
    }
}
