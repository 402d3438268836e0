//! Whether this process has stood still: frozen, not scheduled, or asleep with its machine.
//!
//! A thread does nothing but note the time. A caller finds a gap in its notes, whether it runs before the thread or
//! after it when the process wakes.

use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// How often the time is noted.
const BEAT: Duration = Duration::from_millis(20);

/// A gap longer than this is a standstill. Another process needs about as long to take over messages in hand.
const STANDSTILL: Duration = Duration::from_millis(100);

/// A moment by both clocks: one does not run on while the machine sleeps, the other may be set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment(Instant, SystemTime);

impl Moment {
    pub(super) fn now() -> Self {
        Self(Instant::now(), SystemTime::now())
    }

    /// Whether at most this much time has passed since then. A clock that was set back proves nothing.
    pub(super) fn is_within(self, limit: Duration) -> bool {
        let Self(steady, wall) = self;
        steady.elapsed() <= limit && wall.elapsed().is_ok_and(|elapsed| elapsed <= limit)
    }

    #[cfg(test)]
    pub(super) fn age(&mut self, by: Duration) {
        self.1 -= by;
    }
}

/// The standstills of a process.
#[derive(Debug)]
pub(super) struct Wakefulness {
    /// How long a gap is a standstill.
    standstill: Duration,
    notes: Mutex<Notes>,
}

#[derive(Debug)]
struct Notes {
    /// When the time was last noted.
    last: Moment,
    /// When the last standstill was over.
    woke: Option<Instant>,
}

impl Wakefulness {
    /// That of this process, whose time is noted from the first call on.
    pub(super) fn of_this_process() -> &'static Self {
        static WAKEFULNESS: LazyLock<Wakefulness> = LazyLock::new(|| {
            // Without it, a pause between two questions counts as a standstill: the safe side.
            let _ = thread::Builder::new()
                .name("wakefulness".to_owned())
                .spawn(note_for_ever);
            Wakefulness::new(STANDSTILL)
        });
        &WAKEFULNESS
    }

    pub(super) fn new(standstill: Duration) -> Self {
        let notes = Notes {
            last: Moment::now(),
            woke: None,
        };
        Self {
            standstill,
            notes: Mutex::new(notes),
        }
    }

    /// Whether the process has not stood still since `moment`.
    pub(super) fn has_lasted_since(&self, moment: Moment) -> bool {
        self.note().is_none_or(|woke| woke < moment.0)
    }

    /// Notes the time; returns when the last standstill was over.
    fn note(&self) -> Option<Instant> {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        if !notes.last.is_within(self.standstill) {
            notes.woke = Some(Instant::now());
        }
        notes.last = Moment::now();
        notes.woke
    }

    #[cfg(test)]
    pub(super) fn age(&self, by: Duration) {
        self.notes.lock().unwrap().last.age(by);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a thread of its own, which is to wait for nothing but the time"
)]
fn note_for_ever() {
    loop {
        thread::sleep(BEAT);
        Wakefulness::of_this_process().note();
    }
}
