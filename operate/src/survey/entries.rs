//! The entries of a window.

use std::ops::Range;

use common::bootstrap::Failure;

use super::altered::Foreign;
use super::names::Kinds;
use super::no_room;
use super::spill::{Buckets, Line, NO_KEY, micros};
use crate::history::Identity;

/// The entries read from the history.
pub(super) struct Entries {
    /// By their keys.
    pub(super) all: Buckets,
    /// Those that did not come through our own door, once more.
    pub(super) foreign: Foreign,
    /// Which they are.
    pub(super) extent: Extent,
}

impl Entries {
    /// None yet.
    pub(super) fn new() -> Result<Self, Failure> {
        Ok(Self {
            all: Buckets::new().map_err(no_room)?,
            foreign: Foreign::new().map_err(no_room)?,
            extent: Extent::default(),
        })
    }

    /// Adds the next one.
    pub(super) fn add(&mut self, entry: Identity, kinds: &mut Kinds) -> Result<(), Failure> {
        self.extent.add(entry.offset);
        let line = Line {
            key: entry.key().as_u128(),
            letter: entry.letter.as_u128(),
            entry: entry.entry_key.map_or(NO_KEY, |key| key.as_u128()),
            offset: entry.offset,
            at: micros(entry.at),
            kind: kinds.number(&entry.kind),
            copies: 1,
            is_event: entry.event.is_some(),
        };
        self.all.push(&line).map_err(no_room)?;
        if line.entry != NO_KEY {
            self.foreign.push(&line).map_err(no_room)?;
        }
        Ok(())
    }
}

/// Places in the history: from a first one to a last one, without some between them. Entries are nearly in the order of
/// their times, and some have none, so no time divides a window from earlier entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Extent {
    span: Option<(u64, u64)>,
    left_out: Vec<Range<u64>>,
}

impl Extent {
    fn add(&mut self, offset: u64) {
        let (first, last) = self.span.unwrap_or((offset, offset));
        self.span = Some((first.min(offset), last.max(offset)));
    }

    /// Leaves out the places that the reader passed over between its entries.
    pub(super) fn leave_out(&mut self, passed_over: &[Range<u64>]) {
        let Some((first, last)) = self.span else {
            return;
        };
        let between = |range: &&Range<u64>| range.start > first && range.start < last;
        self.left_out = passed_over.iter().filter(between).cloned().collect();
    }

    /// The newest.
    pub(super) fn last(&self) -> Option<u64> {
        self.span.map(|(_, last)| last)
    }

    /// Behind everything that was received before these, by its place.
    pub(super) fn end_of_earlier(&self) -> u64 {
        let first = self.span.map_or(0, |(first, _)| first);
        self.left_out.last().map_or(first, |left| left.end)
    }

    /// Whether an entry was received before these.
    pub(super) fn is_earlier(&self, offset: u64) -> bool {
        let is_before = self.span.is_some_and(|(first, _)| offset < first);
        is_before || self.left_out.iter().any(|left| left.contains(&offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_before_or_was_left_out_is_earlier() {
        let mut extent = Extent::default();
        assert_eq!((extent.last(), extent.end_of_earlier()), (None, 0));
        // There is nothing at 11: the broker has used that place itself.
        for offset in [5, 6, 9, 10, 12] {
            extent.add(offset);
        }
        extent.leave_out(&[3..5, 7..9, 13..20]);
        let earlier: Vec<u64> = (0..20).filter(|it| extent.is_earlier(*it)).collect();
        assert_eq!(earlier, [0, 1, 2, 3, 4, 7, 8]);
        assert_eq!((extent.last(), extent.end_of_earlier()), (Some(12), 9));
    }
}
