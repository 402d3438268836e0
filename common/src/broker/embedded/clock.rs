//! Time as the file counts it: microseconds since 1970.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;

/// The present moment, as the clock on the wall has it.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, micros)
}

/// A duration.
pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// The id that the first message published at `moment` can have.
pub(super) fn id_at(moment: OffsetDateTime) -> i64 {
    let micros = moment.unix_timestamp_nanos() / 1000;
    i64::try_from(micros).unwrap_or(if micros < 0 { i64::MIN } else { i64::MAX })
}

/// When the message with this id was published.
pub(super) fn moment_of(id: i64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(id) * 1000).ok()
}
