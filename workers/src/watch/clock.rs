//! The clock on the wall, which somebody may set, beside the one that only goes on.

use std::time::{Duration, Instant};

use common::store::WatchFinding;
use operate::finding;
use time::OffsetDateTime;

use super::found;

/// A clock that is kept right by small steps moves less than this between two looks.
const JUMP: time::Duration = time::Duration::seconds(3);

/// How long a jump is reported.
const TOLD: Duration = Duration::from_secs(600);

/// How far ahead of the wall clock the broker's file may be.
const AHEAD: Duration = Duration::from_secs(60);

/// The clocks at the last look.
#[derive(Debug, Default)]
pub(super) struct Clock {
    before: Option<(Instant, OffsetDateTime)>,
    jump: Option<(Instant, time::Duration)>,
}

impl Clock {
    /// Looks at both. The engine's own clock is so far `ahead` of them, where it is.
    pub(super) fn look(&mut self, ahead: Option<Duration>) -> Vec<WatchFinding> {
        self.look_at(Instant::now(), OffsetDateTime::now_utc(), ahead)
    }

    fn look_at(
        &mut self,
        steady: Instant,
        wall: OffsetDateTime,
        ahead: Option<Duration>,
    ) -> Vec<WatchFinding> {
        if let Some((steady_before, wall_before)) = self.before.replace((steady, wall)) {
            let moved = (wall - wall_before) - (steady - steady_before);
            if moved.abs() > JUMP {
                self.jump = Some((steady, moved));
            }
        }
        self.jump = self
            .jump
            .filter(|(at, _)| steady.duration_since(*at) < TOLD);
        let mut findings = Vec::new();
        if let Some((_, moved)) = self.jump {
            let seconds = moved.whole_seconds();
            let detail = format!(
                "the clock of the machine that keeps the watch jumped by {seconds} s; ids, signatures and \
                 waits depend on it"
            );
            findings.push(found(
                finding::CLOCK_JUMP,
                "wall clock",
                seconds.unsigned_abs(),
                detail,
            ));
        }
        if let Some(ahead) = ahead.filter(|it| *it > AHEAD) {
            let seconds = ahead.as_secs();
            let detail = format!(
                "the broker's file is {seconds} s ahead of the clock, which was set back: its ids go on from \
                 there until the clock has caught up"
            );
            findings.push(found(finding::CLOCK_JUMP, "broker file", seconds, detail));
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_is_found_in_both_directions_and_told_of_for_a_while() {
        let (start, wall) = (Instant::now(), OffsetDateTime::UNIX_EPOCH);
        let second = Duration::from_secs(1);
        for jump in [time::Duration::DAY, -time::Duration::HOUR] {
            let mut clock = Clock::default();
            assert_eq!(clock.look_at(start, wall, None), []);
            assert_eq!(clock.look_at(start + second, wall + second, None), []);
            let found = clock.look_at(start + second * 2, wall + second * 2 + jump, None);
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].number, jump.whole_seconds().unsigned_abs());
            let later = clock.look_at(start + second * 9, wall + second * 9 + jump, None);
            assert_eq!(later, found, "told of for a while");
            let much_later = second * 9 + TOLD;
            assert_eq!(
                clock.look_at(start + much_later, wall + much_later + jump, None),
                []
            );
        }
    }

    #[test]
    fn a_broker_file_that_is_ahead_is_found() {
        let mut clock = Clock::default();
        let wall = OffsetDateTime::UNIX_EPOCH;
        let found = clock.look_at(Instant::now(), wall, Some(AHEAD * 2));
        assert_eq!(found[0].subject, "broker file");
        assert_eq!(clock.look_at(Instant::now(), wall, Some(AHEAD)), []);
    }
}
