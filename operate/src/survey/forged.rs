//! Events in the tables that were not received.

use std::collections::HashMap;

use common::bootstrap::Failure;
use common::event::EventId;
use common::store::{DeadFilter, Moment};
use time::Duration;
use uuid::Uuid;

use super::facts::{DELIVERED_ONLY, NEED_NOT_BE};
use super::fate::Trouble;
use super::names::Kinds;
use super::spill::{self, Buckets, Line, NO_KEY, micros};
use super::{MAX_NAMED, Missing, Survey, Surveyor, no_room};
use crate::history::{Reader, Window};

/// Maximum of strangers that are searched in the history before the window.
const MAX_STRANGERS: usize = 10_000;

/// Maximum of entries before the window that are read for them.
const MAX_BEFORE: u64 = 1_000_000;

/// Maximum of entries at the beginning of the history that are read for one that tells its time.
const MAX_UNTOLD: u64 = 10_000;

/// How much earlier than it says an event may stand in the history.
const SLACK: Duration = Duration::minutes(2);

/// Rows without an entry in the window.
pub(super) struct Strangers {
    /// The first of them.
    lines: Vec<Line>,
    /// Those that the history has under another key, by that key. An entry may be about them.
    renamed: Buckets,
}

impl Strangers {
    /// None yet.
    pub(super) fn new() -> Result<Self, Failure> {
        Ok(Self {
            lines: Vec::new(),
            renamed: Buckets::new().map_err(no_room)?,
        })
    }

    /// Adds facts that are about no entry by their own keys. Both are sorted by these.
    pub(super) fn add(&mut self, entries: &[Line], facts: Vec<Line>) -> Result<(), Failure> {
        let (renamed, others) = (&mut self.renamed, &mut self.lines);
        let (altered, mut own): (Vec<Line>, Vec<Line>) = unreceived(entries, facts)
            .into_iter()
            .filter(|fact| fact.entry != NEED_NOT_BE)
            .partition(|fact| fact.entry != NO_KEY);
        own.truncate(MAX_STRANGERS.saturating_sub(others.len()));
        others.append(&mut own);
        for fact in altered {
            renamed.push_by_entry(&fact).map_err(no_room)?;
        }
        Ok(())
    }

    /// All of them. An entry is about one event, so it stands for one that the history has under its key.
    pub(super) fn finish(mut self, entries: &mut Buckets) -> Result<Vec<Line>, Failure> {
        for (renamed, entries) in self.renamed.iter_mut().zip(entries.iter_mut()) {
            if renamed.len() == 0 {
                continue;
            }
            let entries = spill::sorted(entries).map_err(no_room)?;
            let renamed = spill::sorted_by_entry(renamed).map_err(no_room)?;
            for facts in renamed.chunk_by(|one, next| one.entry == next.entry) {
                let key = facts.first().map_or(NO_KEY, |fact| fact.entry);
                let start = entries.partition_point(|entry| entry.key < key);
                let end = entries.partition_point(|entry| entry.key <= key);
                let left = MAX_STRANGERS.saturating_sub(self.lines.len());
                let too_many = facts.iter().skip(end - start);
                self.lines.extend(too_many.take(left));
            }
        }
        Ok(self.lines)
    }
}

/// The facts that are about no entry, each once. Both are sorted by their keys.
fn unreceived(entries: &[Line], facts: Vec<Line>) -> Vec<Line> {
    let mut unreceived = Vec::new();
    let mut entries = entries.iter().map(|entry| entry.key).peekable();
    let mut last = None;
    for fact in facts {
        if last.replace(fact.key) == Some(fact.key) {
            continue;
        }
        while entries.next_if(|key| *key < fact.key).is_some() {}
        if entries.peek() != Some(&fact.key) {
            unreceived.push(fact);
        }
    }
    unreceived
}

/// Strangers that no entry was found for, by their keys.
struct Left {
    lines: HashMap<u128, Line>,
    /// Keys of those that the history has under another key, by that key.
    renamed: HashMap<u128, Vec<u128>>,
}

impl Left {
    fn new(strangers: Vec<Line>) -> Self {
        let mut renamed: HashMap<u128, Vec<u128>> = HashMap::new();
        for line in strangers.iter().filter(|line| line.entry != NO_KEY) {
            renamed.entry(line.entry).or_default().push(line.key);
        }
        Self {
            lines: strangers.into_iter().map(|it| (it.key, it)).collect(),
            renamed,
        }
    }

    /// Takes out the one that an entry of this key is about.
    fn take(&mut self, key: u128) {
        if self.lines.remove(&key).is_some() {
            return;
        }
        while let Some(known) = self.renamed.get_mut(&key).and_then(Vec::pop) {
            if self.lines.remove(&known).is_some() {
                return;
            }
        }
    }
}

/// Searches strangers in the history before and after the window, and among the dead letters that were sent again; the
/// rest is forged. `last` is the last entry of the window.
pub(super) async fn judge(
    surveyor: &Surveyor<'_>,
    window: Window,
    last: Option<u64>,
    strangers: Vec<Line>,
    kinds: &Kinds,
    survey: &mut Survey,
) -> Result<Vec<Missing>, Failure> {
    let mut left = Left::new(strangers);
    if left.lines.is_empty() {
        return Ok(Vec::new());
    }
    look_behind(surveyor, window, last, &mut left).await?;
    let all = left.lines.len();
    let earliest = left.lines.values().filter_map(Line::moment).min();
    if let Some((from, earliest)) = window.from.zip(earliest) {
        let before = Window {
            from: Some(earliest.min(from) - SLACK),
            to: Some(from + SLACK),
        };
        look_before(surveyor, before, &mut left).await?;
    }
    survey.earlier = (all - left.lines.len()) as u64;
    name_all(surveyor, &left, kinds, survey).await
}

/// Takes out what was received while the survey was taken.
async fn look_behind(
    surveyor: &Surveyor<'_>,
    window: Window,
    last: Option<u64>,
    left: &mut Left,
) -> Result<(), Failure> {
    let window = match last {
        Some(_) => Window::default(),
        None => window,
    };
    let logins = surveyor.judge.logins();
    let mut reader = Reader::open(surveyor.broker, logins, window, last).await?;
    while !left.lines.is_empty()
        && let Some(entry) = reader.next().await?
    {
        left.take(surveyor.judge.identify(entry).key().as_u128());
    }
    Ok(())
}

/// Counts and names what is left, but for what became of dead letters.
async fn name_all(
    surveyor: &Surveyor<'_>,
    left: &Left,
    kinds: &Kinds,
    survey: &mut Survey,
) -> Result<Vec<Missing>, Failure> {
    let beginning = beginning(surveyor).await?;
    let mut named = Vec::new();
    for line in left.lines.values() {
        let event = EventId(Uuid::from_u128(line.key));
        let letters = DeadFilter {
            event: Some(event),
            ..DeadFilter::default()
        };
        if surveyor.store.dead_count(&letters).await? > 0 {
            survey.earlier += 1;
            continue;
        }
        // When it was received it says itself; when it was written the database does.
        let verdict = match beginning.is_none_or(|beginning| line.offset < beginning) {
            true => Trouble::Unknown,
            false => Trouble::Forged,
        };
        match verdict {
            Trouble::Unknown => survey.unknown += 1,
            _ => survey.forged += 1,
        }
        if named.len() < MAX_NAMED {
            named.push(name(line, event, verdict, surveyor, kinds).await?);
        }
    }
    named.sort_by_key(|it| it.received_at);
    Ok(named)
}

/// When the oldest entry of the history was received, in microseconds: the history may have been deleted, or have
/// forgotten older entries. `None` if it is empty; 0 without a trusted time.
async fn beginning(surveyor: &Surveyor<'_>) -> Result<Option<u64>, Failure> {
    let all = Window::default();
    let mut reader = Reader::open(surveyor.broker, surveyor.judge.logins(), all, None).await?;
    let mut beginning = None;
    for _ in 0..MAX_UNTOLD {
        let Some(entry) = reader.next().await? else {
            break;
        };
        beginning = Some(0);
        if entry.time.is_some() {
            return Ok(u64::try_from(micros(entry.time)).ok());
        }
    }
    Ok(beginning)
}

async fn look_before(
    surveyor: &Surveyor<'_>,
    before: Window,
    left: &mut Left,
) -> Result<(), Failure> {
    let mut reader = Reader::open(surveyor.broker, surveyor.judge.logins(), before, None).await?;
    let mut read = 0;
    while !left.lines.is_empty()
        && read < MAX_BEFORE
        && let Some(entry) = reader.next().await?
    {
        read += 1;
        left.take(surveyor.judge.identify(entry).key().as_u128());
    }
    Ok(())
}

async fn name(
    line: &Line,
    event: EventId,
    verdict: Trouble,
    surveyor: &Surveyor<'_>,
    kinds: &Kinds,
) -> Result<Missing, Failure> {
    let standing = surveyor.store.standings(&[event]).await?;
    let kind = match line.kind {
        DELIVERED_ONLY => String::new(),
        kind => kinds.name(kind).to_owned(),
    };
    let (known, advice) = match (verdict, line.kind) {
        (Trouble::Unknown, _) => (
            "stored or delivered, and older than the history, which may have had it",
            "ask for a window that begins after the oldest entry of the history (`longshore history stats`)",
        ),
        (_, DELIVERED_ONLY) => (
            "delivered, but neither stored nor received: somebody published it to the stored exchange",
            RIGHTS,
        ),
        _ => (
            "stored, but not received: somebody published it past the doors",
            RIGHTS,
        ),
    };
    Ok(Missing {
        verdict,
        event: Some(event),
        kind,
        received_at: line.moment().map(Moment),
        status: standing.into_iter().next().flatten(),
        offset: None,
        known: known.to_owned(),
        advice: advice.to_owned(),
    })
}

/// The advice for a forged event.
const RIGHTS: &str = "find the broker login that may write to inner exchanges, and take that right from it (docs/operations.md, Rights)";

#[cfg(test)]
mod tests {
    use super::*;

    fn line(key: u128) -> Line {
        Line {
            key,
            offset: 0,
            letter: 0,
            entry: NO_KEY,
            at: 0,
            kind: 0,
            copies: 1,
            is_event: true,
        }
    }

    #[test]
    fn only_what_is_in_no_entry_is_a_stranger_and_once() {
        let entries = [1, 3, 3, 7].map(line);
        let facts = [1, 2, 2, 3, 7, 9].map(line).to_vec();
        let found = unreceived(&entries, facts);
        let keys: Vec<u128> = found.iter().map(|line| line.key).collect();
        assert_eq!(keys, [2, 9]);
        assert_eq!(unreceived(&[], vec![line(4)]).len(), 1);
    }

    fn renamed(key: u128, entry: u128) -> Line {
        Line { entry, ..line(key) }
    }

    #[test]
    fn an_entry_stands_for_one_event_that_the_history_has_under_its_key() {
        let mut strangers = Strangers::new().unwrap();
        let facts = [
            renamed(10, 3),
            renamed(11, 3),
            renamed(12, 3),
            line(13),
            renamed(14, 8),
            renamed(15, NEED_NOT_BE),
        ];
        let received = [line(3), line(3)];
        strangers.add(&received, facts.to_vec()).unwrap();
        let mut entries = Buckets::new().unwrap();
        for entry in received {
            entries.push(&entry).unwrap();
        }
        let mut found = strangers.finish(&mut entries).unwrap();
        found.sort_unstable();
        let keys = |found: &[Line]| found.iter().map(|line| line.key).collect::<Vec<_>>();
        assert_eq!(keys(&found), [12, 13, 14]);
        let mut left = Left::new(found);
        for key in [8, 8, 3, 3, 1] {
            left.take(key);
        }
        assert_eq!(left.lines.into_keys().collect::<Vec<_>>(), [13]);
    }
}
