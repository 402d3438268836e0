//! The facts of entries, in files without a name: their size does not count as memory.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};

use common::event::EventId;
use time::OffsetDateTime;
use uuid::Uuid;

/// How many parts a window is divided into: of a million entries each has some 16,000.
const BUCKETS: usize = 64;

/// How many bytes a line takes.
const BYTES: usize = 16 + 16 + 16 + 8 + 8 + 4 + 4 + 1;

/// No time is known.
const NEVER: i64 = i64::MIN;

/// The entry key of a line without one.
pub(super) const NO_KEY: u128 = 0;

/// One entry of the history, or one row of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Line {
    /// Its key.
    pub(super) key: u128,
    /// Its place in the history; of a row of a table, when that was written, in microseconds.
    pub(super) offset: u64,
    /// The dead letter that it may have become.
    pub(super) letter: u128,
    /// Its entry key, see `Identity`; [`NO_KEY`] where it has none. Of a row: the key that the history makes of it,
    /// where that is another.
    pub(super) entry: u128,
    /// When it was received, in microseconds; see [`micros`].
    pub(super) at: i64,
    /// Its type, see `Kinds`.
    pub(super) kind: u32,
    /// How many entries of the same key it stands for.
    pub(super) copies: u32,
    /// Whether the key is that of an event of ours.
    pub(super) is_event: bool,
}

/// A moment as a line holds it.
pub(super) fn micros(at: Option<OffsetDateTime>) -> i64 {
    at.and_then(|at| i64::try_from(at.unix_timestamp_nanos() / 1_000).ok())
        .unwrap_or(NEVER)
}

impl Line {
    /// The event, where it is one.
    pub(super) fn event(&self) -> Option<EventId> {
        self.is_event.then(|| EventId(Uuid::from_u128(self.key)))
    }

    /// The dead letter that it may have become.
    pub(super) fn letter(&self) -> Uuid {
        Uuid::from_u128(self.letter)
    }

    /// When it was received.
    pub(super) fn moment(&self) -> Option<OffsetDateTime> {
        let nanos = i128::from(self.at) * 1_000;
        (self.at != NEVER)
            .then(|| OffsetDateTime::from_unix_timestamp_nanos(nanos).ok())
            .flatten()
    }

    fn write(&self, file: &mut impl io::Write) -> io::Result<()> {
        file.write_all(&self.key.to_le_bytes())?;
        file.write_all(&self.letter.to_le_bytes())?;
        file.write_all(&self.entry.to_le_bytes())?;
        file.write_all(&self.offset.to_le_bytes())?;
        file.write_all(&self.at.to_le_bytes())?;
        file.write_all(&self.kind.to_le_bytes())?;
        file.write_all(&self.copies.to_le_bytes())?;
        file.write_all(&[u8::from(self.is_event)])
    }

    fn read(file: &mut impl io::Read) -> io::Result<Self> {
        Ok(Self {
            key: u128::from_le_bytes(array(file)?),
            letter: u128::from_le_bytes(array(file)?),
            entry: u128::from_le_bytes(array(file)?),
            offset: u64::from_le_bytes(array(file)?),
            at: i64::from_le_bytes(array(file)?),
            kind: u32::from_le_bytes(array(file)?),
            copies: u32::from_le_bytes(array(file)?),
            is_event: array::<1>(file)? == [1],
        })
    }
}

fn array<const N: usize>(file: &mut impl io::Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Lines in a file.
pub(super) struct Spill {
    file: BufWriter<File>,
    len: u64,
    /// Whether somebody has read, and the place in the file with it.
    was_read: bool,
}

impl Spill {
    /// An empty one.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            file: BufWriter::new(tempfile::tempfile()?),
            len: 0,
            was_read: false,
        })
    }

    /// Adds a line at the end.
    pub(super) fn push(&mut self, line: &Line) -> io::Result<()> {
        if std::mem::take(&mut self.was_read) {
            self.file.seek(SeekFrom::End(0))?;
        }
        line.write(&mut self.file)?;
        self.len += 1;
        Ok(())
    }

    /// How many lines there are.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// All lines, from the first on.
    pub(super) fn lines(&mut self) -> io::Result<impl Iterator<Item = io::Result<Line>> + use<>> {
        self.file.flush()?;
        self.was_read = true;
        let mut file = self.file.get_ref().try_clone()?;
        file.seek(SeekFrom::Start(0))?;
        let mut file = BufReader::with_capacity(64 * 1024, file.take(self.len * BYTES as u64));
        let mut left = self.len;
        Ok(std::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            Some(Line::read(&mut file))
        }))
    }
}

/// Lines divided by their keys, or by their entry keys.
pub(super) struct Buckets(Vec<Spill>);

impl Buckets {
    /// Empty ones.
    pub(super) fn new() -> io::Result<Self> {
        let buckets: io::Result<Vec<Spill>> = (0..BUCKETS).map(|_| Spill::new()).collect();
        Ok(Self(buckets?))
    }

    /// Adds a line to the bucket of its key. The end of an id is random, in every version.
    pub(super) fn push(&mut self, line: &Line) -> io::Result<()> {
        self.push_by(line.key, line)
    }

    /// Adds a line to the bucket of its entry key.
    pub(super) fn push_by_entry(&mut self, line: &Line) -> io::Result<()> {
        self.push_by(line.entry, line)
    }

    fn push_by(&mut self, key: u128, line: &Line) -> io::Result<()> {
        let bucket = usize::from(key.to_le_bytes()[0]) % BUCKETS;
        match self.0.get_mut(bucket) {
            Some(bucket) => bucket.push(line),
            None => Ok(()),
        }
    }

    /// One bucket after the other.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Spill> {
        self.0.iter_mut()
    }
}

/// All lines of a bucket, by key and place.
pub(super) fn sorted(bucket: &mut Spill) -> io::Result<Vec<Line>> {
    let mut lines: Vec<Line> = bucket.lines()?.collect::<io::Result<_>>()?;
    lines.sort_unstable();
    Ok(lines)
}

/// All lines of a bucket, by entry key, key and place.
pub(super) fn sorted_by_entry(bucket: &mut Spill) -> io::Result<Vec<Line>> {
    let mut lines: Vec<Line> = bucket.lines()?.collect::<io::Result<_>>()?;
    lines.sort_unstable_by_key(|line| (line.entry, line.key, line.offset));
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(key: u128, offset: u64) -> Line {
        Line {
            key,
            letter: key ^ 1,
            entry: key ^ 2,
            offset,
            at: micros(Some(OffsetDateTime::UNIX_EPOCH)),
            kind: 3,
            copies: 2,
            is_event: true,
        }
    }

    #[test]
    fn what_is_pushed_comes_back_in_its_order_and_more_can_follow() {
        let mut spill = Spill::new().unwrap();
        for number in 0..3 {
            spill.push(&line(u128::MAX - number, 7)).unwrap();
        }
        let read = |spill: &mut Spill| -> Vec<Line> {
            spill.lines().unwrap().map(Result::unwrap).collect()
        };
        let before = read(&mut spill);
        assert_eq!(before.len(), 3);
        assert_eq!(before[1], line(u128::MAX - 1, 7));
        assert_eq!(before[1].moment(), Some(OffsetDateTime::UNIX_EPOCH));
        // Reading moves the place of writing; writing goes on after the last line read.
        spill.push(&line(5, 8)).unwrap();
        assert_eq!(read(&mut spill).len(), 4);
        assert_eq!(read(&mut spill)[3], line(5, 8));
        assert_eq!(spill.len(), 4);
        assert_eq!(micros(None), NEVER);
    }

    #[test]
    fn a_key_is_always_in_the_same_bucket_and_each_bucket_is_sorted() {
        let mut buckets = Buckets::new().unwrap();
        for number in [5_u128, 900, 5, 3] {
            buckets.push(&line(number, number as u64)).unwrap();
        }
        let all: Vec<Vec<Line>> = buckets
            .iter_mut()
            .map(|it| sorted(it).unwrap())
            .filter(|lines| !lines.is_empty())
            .collect();
        assert_eq!(all.iter().map(Vec::len).sum::<usize>(), 4);
        assert!(
            all.iter()
                .any(|lines| lines.len() == 2 && lines[0].key == lines[1].key)
        );
    }
}
