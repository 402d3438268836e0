//! Entries that the history has in another spelling than their queue had: RabbitMQ's streams keep less of some
//! messages. Nothing is known of them by their own ids. Their dead letters are known by their entry keys, which
//! different messages may share. So letters are counted: each stands for as many entries as it has copies.

use std::collections::HashSet;
use std::ops::Range;

use common::bootstrap::Failure;
use common::store::Deaths;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::places::Place;
use super::spill::{Buckets, Line, Spill, sorted_by_entry};
use super::{BATCH, Surveyor, no_room};

/// How much earlier than its entry a letter may be dated: by another machine's clock, or if the entry has the time of
/// the previous one.
const SLACK: Duration = Duration::minutes(2);

/// The entries of a window that did not come through our own door, by their entry keys.
pub(super) struct Foreign {
    entries: Buckets,
    /// Those of them that letters of other ids stand for.
    died: Buckets,
}

impl Foreign {
    /// None yet.
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            entries: Buckets::new()?,
            died: Buckets::new()?,
        })
    }

    /// Adds an entry.
    pub(super) fn push(&mut self, line: &Line) -> std::io::Result<()> {
        self.entries.push_by_entry(line)
    }

    /// Lines that are known nowhere by their own ids, one bucket after the other, each with its place. `since` is
    /// the beginning of the window.
    pub(super) async fn settle(
        &mut self,
        surveyor: &Surveyor<'_>,
        unnamed: &mut Buckets,
        since: Option<OffsetDateTime>,
        mut enter: impl FnMut(&Line, Place) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let entries = self.entries.iter_mut().zip(self.died.iter_mut());
        for (unnamed, (entries, died)) in unnamed.iter_mut().zip(entries) {
            if unnamed.len() == 0 {
                continue;
            }
            let part = Part {
                lines: sorted_by_entry(unnamed).map_err(no_room)?,
                entries: sorted_by_entry(entries).map_err(no_room)?,
                died: sorted_by_entry(died).map_err(no_room)?,
            };
            let places = part.places(surveyor, since).await?;
            for (line, place) in part.lines.iter().zip(places) {
                note(died, line, &place)?;
                enter(line, place)?;
            }
        }
        Ok(())
    }
}

fn note(died: &mut Spill, line: &Line, place: &Place) -> Result<(), Failure> {
    if *place == Place::Nowhere(None) {
        return Ok(());
    }
    died.push(line).map_err(no_room)
}

/// The content of one bucket, each sorted by entry key and key.
struct Part {
    lines: Vec<Line>,
    entries: Vec<Line>,
    died: Vec<Line>,
}

impl Part {
    /// The place of each line: dead or mended where there are letters enough for it, and nowhere otherwise.
    async fn places(
        &self,
        surveyor: &Surveyor<'_>,
        since: Option<OffsetDateTime>,
    ) -> Result<Vec<Place>, Failure> {
        let Self { lines, entries, .. } = self;
        let since = since.map_or(OffsetDateTime::UNIX_EPOCH, |since| since - SLACK);
        let watching = surveyor.store.watching();
        let groups: Vec<&[Line]> = lines
            .chunk_by(|one, next| one.entry == next.entry)
            .collect();
        let mut places = Vec::with_capacity(lines.len());
        for groups in groups.chunks(BATCH) {
            let firsts = groups.iter().filter_map(|lines| lines.first());
            let keys: Vec<u128> = firsts.map(|line| line.entry).collect();
            // Letters that are known by the id of an entry are that entry's own.
            let own: HashSet<Uuid> = keys
                .iter()
                .flat_map(|key| &entries[having(entries, |line| line.entry.cmp(key))])
                .map(Line::letter)
                .collect();
            let own: Vec<Uuid> = own.into_iter().collect();
            let asked: Vec<Uuid> = keys.iter().map(|key| Uuid::from_u128(*key)).collect();
            let deaths = watching.deaths_by_entry(&asked, &own, since).await?;
            for ((key, lines), mut deaths) in keys.iter().zip(groups).zip(deaths) {
                for died in &self.died[having(&self.died, |line| line.entry.cmp(key))] {
                    take(&mut deaths, self.repetitions(died));
                }
                let place = |line| take(&mut deaths, self.repetitions(line));
                places.extend(lines.iter().map(place));
            }
        }
        Ok(places)
    }

    /// How many entries one line is.
    fn repetitions(&self, line: &Line) -> u64 {
        let same = |it: &Line| (it.entry, it.key).cmp(&(line.entry, line.key));
        having(&self.entries, same).len() as u64
    }
}

/// The place of `entries` entries that are one line. Their letters stand for no others any more.
fn take(deaths: &mut Deaths, entries: u64) -> Place {
    if deaths.all() < entries {
        return Place::Nowhere(None);
    }
    let dead = deaths.dead.min(entries);
    deaths.dead -= dead;
    deaths.mended -= entries - dead;
    if dead > 0 { Place::Dead } else { Place::Mended }
}

/// Where those stand in a sorted list that compare as equal.
fn having(lines: &[Line], compare: impl Fn(&Line) -> std::cmp::Ordering) -> Range<usize> {
    let start = lines.partition_point(|line| compare(line).is_lt());
    let end = lines.partition_point(|line| compare(line).is_le());
    start..end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_stands_for_as_many_entries_as_it_has_copies() {
        let mut deaths = Deaths { dead: 2, mended: 1 };
        assert_eq!(take(&mut deaths, 1), Place::Dead);
        assert_eq!(take(&mut deaths, 3), Place::Nowhere(None), "one too many");
        assert_eq!(take(&mut deaths, 2), Place::Dead);
        assert_eq!(take(&mut deaths, 1), Place::Nowhere(None));
        let mut mended = Deaths { dead: 0, mended: 1 };
        assert_eq!(take(&mut mended, 1), Place::Mended);
        assert_eq!(mended.all(), 0);
    }
}
