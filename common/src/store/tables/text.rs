//! Text on its way into columns and out of them.

use std::str::FromStr;

use serde::de::DeserializeOwned;
use serde::ser::Error as _;
use serde::{Serialize as _, Serializer};
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

use crate::store::StoreError;
use crate::store::words::UnknownWord;

/// Text as a column can hold it. PostgreSQL keeps no NUL, and SQLite keeps it badly; the text of a failure must be
/// kept all the same.
pub(in crate::store) fn keepable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// A word of ours out of a column. A row with an unknown word is of another version.
pub(in crate::store) fn word<T>(text: &str) -> Result<T, StoreError>
where
    T: FromStr,
    UnknownWord: From<T::Err>,
{
    text.parse()
        .map_err(|error| StoreError::Fault(UnknownWord::from(error).to_string()))
}

/// JSON out of a column, into a shape of ours.
pub(in crate::store) fn json<T: DeserializeOwned>(
    column: &str,
    text: &str,
) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| {
        // Only if it goes wrong: the text there may be anybody's data.
        StoreError::Fault(format!(
            "expected {column} in the shape this program writes, found another at character {} ({:?})",
            error.column(),
            error.classify()
        ))
    })
}

/// A number out of a column that has a check on its range.
pub(in crate::store) fn number(column: &str, number: i64) -> Result<u32, StoreError> {
    u32::try_from(number).map_err(|_| {
        StoreError::Fault(format!(
            "expected {column} between 0 and {}, found {number}",
            u32::MAX
        ))
    })
}

/// RFC 3339 in UTC, always with microseconds.
const UTC_TEXT: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");

/// A moment as text of one length, in microseconds: it sorts as it should, and anybody can read it. `None` for a
/// moment that has no such text.
pub(in crate::store) fn utc_text(at: OffsetDateTime) -> Option<String> {
    let at = at.checked_to_offset(UtcOffset::UTC)?;
    let has_four_digits = (0..=9999).contains(&at.year());
    at.format(UTC_TEXT).ok().filter(|_| has_four_digits)
}

/// A moment as text to compare with. A moment that has no text lies after all that have one, or before.
pub(in crate::store) fn comparable(at: OffsetDateTime) -> String {
    utc_text(at).unwrap_or_else(|| if at.year() < 0 { "" } else { "~" }.to_owned())
}

/// Writes a moment into a row that is handed over as JSON.
pub(in crate::store) fn moment<S: Serializer>(
    at: &OffsetDateTime,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match utc_text(*at) {
        Some(text) => serializer.serialize_str(&text),
        None => Err(S::Error::custom("a moment is out of its range")),
    }
}

/// Writes an optional moment into a row that is handed over as JSON.
pub(in crate::store) fn moment_if_any<S: Serializer>(
    at: &Option<OffsetDateTime>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => moment(at, serializer),
        None => serializer.serialize_none(),
    }
}

/// Writes bytes into a row that is handed over as JSON.
pub(in crate::store) fn hex<S: Serializer>(
    bytes: &impl AsRef<[u8]>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    hex_digits(bytes.as_ref()).serialize(serializer)
}

/// Bytes as hexadecimal digits, two each.
pub(in crate::store) fn hex_digits(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 0xf])
        .map(|digit| char::from(DIGITS[usize::from(digit)]));
    digits.collect()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn moments_are_of_one_length_and_sort() {
        let early = utc_text(datetime!(2026-11-22 10:00 +2)).unwrap();
        assert_eq!(early, "2026-11-22T08:00:00.000000Z");
        let late = utc_text(datetime!(2026-11-22 08:00:00.123456789 UTC)).unwrap();
        assert_eq!(late, "2026-11-22T08:00:00.123456Z");
        assert!(early < late);
        assert_eq!(utc_text(datetime!(-0001-01-01 0:00 UTC)), None);
        assert_eq!(utc_text(datetime!(9999-12-31 23:00 -2)), None);
        assert!(comparable(datetime!(-0001-01-01 0:00 UTC)) < early);
        assert!(comparable(datetime!(9999-12-31 23:00 -2)) > early);
    }

    #[test]
    fn bytes_are_two_digits_each() {
        let mut text = Vec::new();
        hex(&[0x00, 0xa5], &mut serde_json::Serializer::new(&mut text)).unwrap();
        assert_eq!(text, b"\"00a5\"");
    }
}
