//! A page of a list, and where the next one begins.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

/// After this row of a list that is ordered by moment and id. As text: microseconds
/// since 1970 and the id, joined by `_`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// When the row's event happened.
    pub at: OffsetDateTime,
    /// The row's id.
    pub id: Uuid,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}_{}",
            self.at.unix_timestamp_nanos() / 1000,
            self.id.simple()
        )
    }
}

impl FromStr for Cursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let (at, id) = text.split_once('_')?;
            let micros: i128 = at.parse::<i64>().ok()?.into();
            Some(Self {
                at: OffsetDateTime::from_unix_timestamp_nanos(micros * 1000).ok()?,
                id: id.parse().ok()?,
            })
        };
        read().ok_or_else(|| format!("expected the `next` of the page before, found {text:?}"))
    }
}

/// A page of a list.
#[derive(Debug, Serialize)]
pub struct List<T> {
    /// What was found.
    pub items: Vec<T>,
    /// Where the next page begins; `null` on the last one.
    pub next: Option<String>,
}

impl<T> List<T> {
    /// A list that is whole.
    pub fn whole(items: Vec<T>) -> Self {
        Self { items, next: None }
    }

    /// A page of at most `limit` of `items`. One more among them says that there is a next page, which begins behind
    /// `cursor` of the last one shown.
    pub fn page<C: fmt::Display>(mut items: Vec<T>, limit: u32, cursor: impl Fn(&T) -> C) -> Self {
        let limit = limit as usize;
        let has_more = items.len() > limit;
        items.truncate(limit);
        let last = items.last().filter(|_| has_more);
        let next = last.map(|last| cursor(last).to_string());
        Self { items, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_being_text() {
        let cursor = Cursor {
            at: common::event::now(),
            id: Uuid::now_v7(),
        };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        let id = Uuid::nil();
        let far = i64::MAX;
        for bad in [
            "",
            "_",
            "1_",
            "x_y",
            &format!("{id}"),
            &format!("{far}_{id}"),
            "1_2_3",
        ] {
            assert!(bad.parse::<Cursor>().is_err(), "{bad:?}");
        }
    }
}
