//! A history as a line of little bars.

use common::store::{Hourly, Moment};
use time::{Duration, OffsetDateTime};

/// The bars, from the smallest to the largest.
const BARS: [char; 7] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇'];

/// An hour without letters.
const NONE: char = '·';

/// How many hours a line has.
const HOURS: i64 = 24;

/// One character for each of the 24 hours that end with that of `last`, as high as the hour's number
/// is against the highest.
pub(super) fn line(history: &[Hourly], last: Moment) -> String {
    let most = history.iter().map(|hour| hour.letters).max().unwrap_or(0);
    let hours = (0..HOURS).rev().map(|back| hour_of(last.0) - back);
    hours
        .map(|hour| {
            let here = history.iter().find(|it| hour_of(it.hour.0) == hour);
            bar(here.map_or(0, |it| it.letters), most)
        })
        .collect()
}

/// The number of the hour that a moment is in.
fn hour_of(at: OffsetDateTime) -> i64 {
    (at - OffsetDateTime::UNIX_EPOCH)
        .whole_seconds()
        .div_euclid(Duration::HOUR.whole_seconds())
}

fn bar(letters: u64, most: u64) -> char {
    if letters == 0 || most == 0 {
        return NONE;
    }
    // In 128 bits nothing overflows; the highest has the last bar.
    let at = (u128::from(letters) * BARS.len() as u128).div_ceil(u128::from(most)) - 1;
    usize::try_from(at)
        .ok()
        .and_then(|at| BARS.get(at))
        .copied()
        .unwrap_or(BARS[BARS.len() - 1])
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn at(hour: OffsetDateTime, letters: u64) -> Hourly {
        Hourly {
            hour: Moment(hour),
            letters,
        }
    }

    #[test]
    fn the_last_hour_is_at_the_right_end_and_empty_ones_are_seen() {
        let history = [
            at(datetime!(2026-11-21 11:00 UTC), 1),
            at(datetime!(2026-11-22 08:00 UTC), 70),
            at(datetime!(2026-11-22 10:00 UTC), 35),
        ];
        let last = Moment(datetime!(2026-11-22 10:59:59 UTC));
        assert_eq!(line(&history, last), "▁····················▇·▄");
    }

    #[test]
    fn no_number_is_too_large_and_none_is_no_bar() {
        assert_eq!(bar(0, 5), NONE);
        assert_eq!(bar(0, 0), NONE);
        assert_eq!(bar(1, u64::MAX), '▁');
        assert_eq!(bar(u64::MAX, u64::MAX), '▇');
        assert_eq!(
            line(&[], Moment(OffsetDateTime::UNIX_EPOCH))
                .chars()
                .count(),
            24
        );
    }
}
