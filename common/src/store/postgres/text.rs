//! Text on its way into columns and out of them.

use std::str::FromStr;

use serde::de::DeserializeOwned;

use crate::store::StoreError;
use crate::store::words::UnknownWord;

/// Text as a column can hold it. PostgreSQL keeps no NUL; what is written about a failure must be kept
/// all the same.
pub(super) fn keepable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// A word of ours out of a column. Whoever writes words that we do not know is not of our version.
pub(super) fn word<T>(text: &str) -> Result<T, StoreError>
where
    T: FromStr,
    UnknownWord: From<T::Err>,
{
    text.parse()
        .map_err(|error| StoreError::Fault(UnknownWord::from(error).to_string()))
}

/// JSON out of a column, into a shape of ours.
pub(super) fn json<T: DeserializeOwned>(column: &str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| {
        // Only where it goes wrong: what stands there may be anybody's data.
        StoreError::Fault(format!(
            "expected {column} in the shape this program writes, found another at character {} ({:?})",
            error.column(),
            error.classify()
        ))
    })
}

/// A number out of a column that has a check on its range.
pub(super) fn number(column: &str, number: i64) -> Result<u32, StoreError> {
    u32::try_from(number).map_err(|_| {
        StoreError::Fault(format!(
            "expected {column} between 0 and {}, found {number}",
            u32::MAX
        ))
    })
}
