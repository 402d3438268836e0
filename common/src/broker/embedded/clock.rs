//! Time as the file counts it: microseconds since 1970.
//!
//! The wall clock decides when a message is due, and may be set. Ids never go back in any case: see `state` in the
//! schema. So once the clock was ahead, ids run ahead of it until it has caught up, and ids do not tell the time.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;

/// How far the clock on the wall may go astray between two looks without having been set.
const TOLERANCE: i64 = 1_000_000;

/// The clock on the wall.
#[derive(Clone)]
pub(super) struct Clock(Arc<dyn Fn() -> i64 + Send + Sync>);

impl Clock {
    /// The one of this machine.
    pub(super) fn of_this_machine() -> Self {
        Self::new(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            since.map_or(0, micros)
        })
    }

    pub(super) fn new(now: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The present moment.
    pub(super) fn now(&self) -> i64 {
        (self.0)()
    }
}

/// Sees whether the clock on the wall was set: by the clock that nobody can set.
pub(super) struct Jumps {
    clock: Clock,
    wall: i64,
    at: Instant,
}

impl Jumps {
    pub(super) fn of(clock: &Clock) -> Self {
        Self {
            clock: clock.clone(),
            wall: clock.now(),
            at: Instant::now(),
        }
    }

    /// By how much it was set since the last look, if it was.
    pub(super) fn look(&mut self) -> Option<i64> {
        let passed = micros(self.at.elapsed());
        let before = std::mem::replace(self, Self::of(&self.clock));
        let jump = self.wall - before.wall - passed;
        (jump.abs() > TOLERANCE).then_some(jump)
    }
}

/// A duration.
pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// A moment.
pub(super) fn micros_at(moment: OffsetDateTime) -> i64 {
    let micros = moment.unix_timestamp_nanos() / 1000;
    i64::try_from(micros).unwrap_or(if micros < 0 { i64::MIN } else { i64::MAX })
}

/// The moment `micros` microseconds after 1970.
pub(super) fn moment_of(micros: i64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000).ok()
}
