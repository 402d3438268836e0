//! What the tables hold although nobody received it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use common::bootstrap::Failure;
use common::event::EventId;
use common::store::{DeadFilter, FactVisitor, Moment, Store};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::fate::Trouble;
use super::names::Kinds;
use super::spill::{Buckets, Line, NO_KEY, micros};
use super::{MAX_NAMED, Missing, Survey, Surveyor, no_room};
use crate::history::{Reader, Window};

/// How much of the tables is read at once: a statement has its time.
const SLICE: Duration = Duration::minutes(10);

/// Maximum of strangers that are looked for in the history before the window.
const MAX_STRANGERS: usize = 10_000;

/// Maximum of entries before the window that are read for them.
const MAX_BEFORE: u64 = 1_000_000;

/// Maximum of entries at the beginning of the history that are read for one that tells its time.
const MAX_UNTOLD: u64 = 10_000;

/// How much earlier than it says an event may stand in the history.
const SLACK: Duration = Duration::minutes(2);

/// What was stored or delivered from `from` on and before `to`, divided by ids.
pub(super) async fn facts(
    store: &dyn Store,
    from: OffsetDateTime,
    to: OffsetDateTime,
    kinds: &mut Kinds,
) -> Result<Buckets, Failure> {
    struct Told {
        buckets: Buckets,
        kinds: Kinds,
        failed: Option<std::io::Error>,
    }
    let told = Arc::new(Mutex::new(Told {
        buckets: Buckets::new().map_err(no_room)?,
        kinds: std::mem::take(kinds),
        failed: None,
    }));
    let visitor: FactVisitor = {
        let told = Arc::clone(&told);
        Arc::new(move |fact| {
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            let kind = match &fact.kind {
                Some(kind) => told.kinds.number(kind),
                None => DELIVERED_ONLY,
            };
            let line = Line {
                key: fact.event.uuid().as_u128(),
                offset: u64::try_from(micros(Some(fact.at))).unwrap_or(0),
                letter: 0,
                entry: NO_KEY,
                at: micros(fact.received_at.or(Some(fact.at))),
                kind,
                is_event: true,
            };
            if let Err(error) = told.buckets.push(&line) {
                told.failed = Some(error);
            }
        })
    };
    // A window without a beginning is one statement.
    let mut begin = from;
    while begin < to {
        let end = match from == OffsetDateTime::UNIX_EPOCH {
            true => to,
            false => (begin + SLICE).min(to),
        };
        let visitor = Arc::clone(&visitor);
        store.watching().each_stored(begin, end, visitor).await?;
        begin = end;
    }
    drop(visitor);
    let Ok(told) = Arc::try_unwrap(told) else {
        // A statement that was given up still holds it.
        return Err(Failure::Unreachable(
            "the database did not end a statement".to_owned(),
        ));
    };
    let told = told.into_inner().unwrap_or_else(PoisonError::into_inner);
    *kinds = told.kinds;
    match told.failed {
        Some(error) => Err(no_room(error)),
        None => Ok(told.buckets),
    }
}

/// The kind of what was delivered and is not stored.
const DELIVERED_ONLY: u32 = u32::MAX - 1;

/// Adds to `strangers` the facts that are about no entry. Both are sorted by their keys.
pub(super) fn strangers(entries: &[Line], facts: Vec<Line>, strangers: &mut Vec<Line>) {
    let mut entries = entries.iter().map(|entry| entry.key).peekable();
    let mut last = None;
    for fact in facts {
        if last.replace(fact.key) == Some(fact.key) {
            continue;
        }
        while entries.next_if(|key| *key < fact.key).is_some() {}
        if entries.peek() != Some(&fact.key) && strangers.len() < MAX_STRANGERS {
            strangers.push(fact);
        }
    }
}

/// Looks for strangers in the history before and behind the window, and among the dead letters that were sent
/// again; what is in none of them is forged. `last` is the last entry of the window.
pub(super) async fn judge(
    surveyor: &Surveyor<'_>,
    window: Window,
    last: Option<u64>,
    strangers: Vec<Line>,
    kinds: &Kinds,
    survey: &mut Survey,
) -> Result<Vec<Missing>, Failure> {
    let mut left: HashMap<u128, Line> = strangers.into_iter().map(|it| (it.key, it)).collect();
    if left.is_empty() {
        return Ok(Vec::new());
    }
    // Received while the survey was taken.
    let behind = Window::default();
    let mut reader = match last {
        Some(last) => {
            Reader::open(surveyor.broker, surveyor.judge.logins(), behind, Some(last)).await?
        }
        None => Reader::open(surveyor.broker, surveyor.judge.logins(), window, None).await?,
    };
    while !left.is_empty()
        && let Some(entry) = reader.next().await?
    {
        left.remove(&surveyor.judge.identify(entry).key().as_u128());
    }
    let all = left.len();
    if let Some(from) = window.from {
        let earliest = left.values().filter_map(Line::moment).min();
        if let Some(earliest) = earliest {
            let before = Window {
                from: Some(earliest.min(from) - SLACK),
                to: Some(from + SLACK),
            };
            look_before(surveyor, before, &mut left).await?;
        }
    }
    survey.earlier = (all - left.len()) as u64;
    let beginning = beginning(surveyor).await?;
    let mut named = Vec::new();
    for line in left.values() {
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

/// When the oldest entry of the history was received, in microseconds: it may have been deleted, or have forgotten
/// what is older. `None` where it is empty; 0 where nobody who is believed tells.
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
    left: &mut HashMap<u128, Line>,
) -> Result<(), Failure> {
    let mut reader = Reader::open(surveyor.broker, surveyor.judge.logins(), before, None).await?;
    let mut read = 0;
    while !left.is_empty()
        && read < MAX_BEFORE
        && let Some(entry) = reader.next().await?
    {
        read += 1;
        left.remove(&surveyor.judge.identify(entry).key().as_u128());
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
    let standing = surveyor.store.at_rest(&[event]).await?;
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

/// What to do about a forged event.
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
            is_event: true,
        }
    }

    #[test]
    fn only_what_is_in_no_entry_is_a_stranger_and_once() {
        let entries = [1, 3, 3, 7].map(line);
        let mut found = Vec::new();
        let facts = [1, 2, 2, 3, 7, 9].map(line).to_vec();
        strangers(&entries, facts, &mut found);
        let keys: Vec<u128> = found.iter().map(|line| line.key).collect();
        assert_eq!(keys, [2, 9]);
        strangers(&[], vec![line(4)], &mut found);
        assert_eq!(found.len(), 3);
    }
}
