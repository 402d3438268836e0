//! The events that the tables stored or delivered in a window, slice by slice.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::bootstrap::Failure;
use common::event::EventId;
use common::store::{FactVisitor, Store, StoreError, StoredFact};
use time::{Duration, OffsetDateTime};

use super::names::Kinds;
use super::no_room;
use super::spill::{Buckets, Line, NO_KEY, micros};

/// How much of the tables is read at once: a statement has its time.
const SLICE: Duration = Duration::minutes(10);

/// How much is read at once where next to nothing was stored: a window may begin years before the
/// first event.
const LONGEST_SLICE: Duration = Duration::days(7);

/// How many rows in a slice are next to nothing.
const FEW: u64 = 1_000;

/// What a statement has told so far.
struct Told {
    buckets: Buckets,
    kinds: Kinds,
    failed: Option<std::io::Error>,
    rows: u64,
}

impl Told {
    fn add(&mut self, fact: &StoredFact) {
        let kind = match &fact.kind {
            Some(kind) => self.kinds.number(kind),
            None => DELIVERED_ONLY,
        };
        let line = Line {
            key: fact.event.uuid().as_u128(),
            offset: u64::try_from(micros(Some(fact.at))).unwrap_or(0),
            letter: 0,
            entry: match fact.stream_id {
                None => NO_KEY,
                Some(EventId::NONE) => NEED_NOT_BE,
                Some(id) => id.uuid().as_u128(),
            },
            at: micros(fact.received_at.or(Some(fact.at))),
            kind,
            copies: 1,
            is_event: true,
        };
        self.rows += 1;
        if let Err(error) = self.buckets.push(&line) {
            self.failed = Some(error);
        }
    }
}

/// What was stored or delivered from `from` on and before `to`, divided by ids.
pub(super) async fn read(
    store: &dyn Store,
    from: OffsetDateTime,
    to: OffsetDateTime,
    kinds: &mut Kinds,
) -> Result<Buckets, Failure> {
    let told = Arc::new(Mutex::new(Told {
        buckets: Buckets::new().map_err(no_room)?,
        kinds: std::mem::take(kinds),
        failed: None,
        rows: 0,
    }));
    read_slices(store, from, to, &told).await?;
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

async fn read_slices(
    store: &dyn Store,
    from: OffsetDateTime,
    to: OffsetDateTime,
    told: &Arc<Mutex<Told>>,
) -> Result<(), Failure> {
    let visitor: FactVisitor = {
        let told = Arc::clone(told);
        Arc::new(move |fact| locked(&told).add(&fact))
    };
    // A window without a beginning is one statement.
    let (mut begin, mut slice, mut rows) = (from, SLICE, 0);
    while begin < to {
        let end = match from == OffsetDateTime::UNIX_EPOCH {
            true => to,
            false => (begin + slice).min(to),
        };
        let read = store
            .watching()
            .each_stored(begin, end, Arc::clone(&visitor));
        match read.await {
            // It was too much for one statement. The rows read so far are read again, which changes nothing.
            Err(StoreError::Unavailable(_)) if slice > SLICE => {
                slice = SLICE;
                continue;
            }
            read => read?,
        }
        begin = end;
        let all = locked(told).rows;
        slice = match all - std::mem::replace(&mut rows, all) < FEW {
            true => (slice * 2_i32).min(LONGEST_SLICE),
            false => SLICE,
        };
    }
    Ok(())
}

fn locked(told: &Mutex<Told>) -> MutexGuard<'_, Told> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The key of an event that need not be in the history: no stream takes its message, or it was made of a mended letter.
pub(super) const NEED_NOT_BE: u128 = u128::MAX;

/// The kind of an event that was delivered and is not stored.
pub(super) const DELIVERED_ONLY: u32 = u32::MAX - 1;
