//! Groups of dead letters as rows, and the hours they are counted in.

use time::OffsetDateTime;

use super::text::word;
use crate::store::{DeadFilter, DeadGroup, Hourly, Moment, StoreError};

const HOUR: i64 = 3600;

/// All that is known of a group, except its history.
#[derive(sqlx_macros::FromRow)]
pub(in crate::store) struct GroupRow {
    queue: String,
    reason: String,
    destination: Option<String>,
    fingerprint: String,
    letters: i64,
    open: i64,
    first_at: OffsetDateTime,
    last_at: OffsetDateTime,
}

impl GroupRow {
    /// Whether both are rows of one group.
    pub(in crate::store) fn is_same_as(&self, other: &Self) -> bool {
        (
            &self.queue,
            &self.reason,
            &self.destination,
            &self.fingerprint,
        ) == (
            &other.queue,
            &other.reason,
            &other.destination,
            &other.fingerprint,
        )
    }

    /// The group with its history.
    pub(in crate::store) fn group(self, history: Vec<Hourly>) -> Result<DeadGroup, StoreError> {
        Ok(DeadGroup {
            reason: word(&self.reason)?,
            queue: self.queue,
            destination: self.destination,
            fingerprint: self.fingerprint,
            letters: self.letters.unsigned_abs(),
            open: self.open.unsigned_abs(),
            first: Moment(self.first_at),
            last: Moment(self.last_at),
            history,
        })
    }
}

/// A count of letters, and the beginning of its hour.
pub(in crate::store) fn hourly((hour, letters): (OffsetDateTime, i64)) -> Hourly {
    Hourly {
        hour: Moment(hour),
        letters: letters.unsigned_abs(),
    }
}

/// A window, split into whole hours, which the counts by hour can answer, and the rest.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::store) struct Window {
    /// The first whole hour, if the window has a beginning.
    pub from: Option<OffsetDateTime>,
    /// The first hour that is not wholly in the window any more, if it has an end. Not after `from` if no hour is
    /// wholly in it.
    pub to: Option<OffsetDateTime>,
    /// The rest, each from a moment on and before another.
    pub edges: Vec<(OffsetDateTime, OffsetDateTime)>,
}

/// Takes the time from `since` on and before `until` apart.
pub(in crate::store) fn whole_hours(
    since: Option<OffsetDateTime>,
    until: Option<OffsetDateTime>,
) -> Window {
    let from = since.map(end_of_hour);
    let to = until.map(hour_of);
    let mut edges = Vec::new();
    match (since.zip(from), until.zip(to)) {
        // All within one hour.
        (Some((since, from)), Some((until, to))) if from > to => edges.push((since, until)),
        (begin, end) => {
            edges.extend(begin.filter(|(since, from)| since < from));
            edges.extend(
                end.filter(|(until, to)| to < until)
                    .map(|(until, to)| (to, until)),
            );
        }
    }
    Window { from, to, edges }
}

/// The filter with its window widened to whole hours, by which groups are counted.
pub(in crate::store) fn in_whole_hours(filter: &DeadFilter) -> DeadFilter {
    DeadFilter {
        since: filter.since.map(|since| Moment(hour_of(since.0))),
        until: filter.until.map(|until| Moment(end_of_hour(until.0))),
        ..filter.clone()
    }
}

/// When the hour of this moment began, in UTC.
fn hour_of(at: OffsetDateTime) -> OffsetDateTime {
    let begin = at.unix_timestamp().div_euclid(HOUR) * HOUR;
    // At the very beginning of time it begins in the middle.
    OffsetDateTime::from_unix_timestamp(begin).unwrap_or(at)
}

/// The first moment not before this one at which an hour begins.
fn end_of_hour(at: OffsetDateTime) -> OffsetDateTime {
    let begin = hour_of(at);
    if begin == at {
        return at;
    }
    OffsetDateTime::from_unix_timestamp(begin.unix_timestamp() + HOUR).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_window_is_widened_to_whole_hours() {
        let filter = |since, until| DeadFilter {
            since: Some(Moment(since)),
            until: Some(Moment(until)),
            ..DeadFilter::default()
        };
        let ten = datetime!(2026-11-22 10:00 UTC);
        let noon = datetime!(2026-11-22 12:00 UTC);
        let whole = filter(ten, noon);
        assert_eq!(in_whole_hours(&whole), whole);
        let within = filter(
            datetime!(2026-11-22 10:59 UTC),
            datetime!(2026-11-22 11:01 UTC),
        );
        assert_eq!(in_whole_hours(&within), whole);
        assert_eq!(
            in_whole_hours(&DeadFilter::default()),
            DeadFilter::default()
        );
    }

    #[test]
    fn a_window_is_whole_hours_and_its_edges() {
        let ten = datetime!(2026-11-22 10:00 UTC);
        let eleven = datetime!(2026-11-22 11:00 UTC);
        let noon = datetime!(2026-11-22 12:00 UTC);
        let early = datetime!(2026-11-22 10:10 UTC);
        let late = datetime!(2026-11-22 12:30 UTC);
        let window = |from, to, edges| Window { from, to, edges };
        assert_eq!(whole_hours(None, None), window(None, None, vec![]));
        assert_eq!(
            whole_hours(Some(ten), Some(noon)),
            window(Some(ten), Some(noon), vec![])
        );
        assert_eq!(
            whole_hours(Some(early), Some(late)),
            window(
                Some(eleven),
                Some(noon),
                vec![(early, eleven), (noon, late)]
            )
        );
        assert_eq!(
            whole_hours(Some(early), None),
            window(Some(eleven), None, vec![(early, eleven)])
        );
        let soon = datetime!(2026-11-22 10:20 UTC);
        assert_eq!(
            whole_hours(Some(early), Some(soon)),
            window(Some(eleven), Some(ten), vec![(early, soon)])
        );
        // Around a full hour there is no whole one, but both edges.
        let after = datetime!(2026-11-22 11:20 UTC);
        assert_eq!(
            whole_hours(Some(early), Some(after)),
            window(
                Some(eleven),
                Some(eleven),
                vec![(early, eleven), (eleven, after)]
            )
        );
    }
}
