//! Moments as people give them on the command line.

use common::config::duration;
use common::event::{from_rfc3339, now};
use time::OffsetDateTime;

/// Reads `2026-11-22T10:00:00Z`, or how long ago it was: `2h`, `1h 30min ago`.
///
/// # Errors
/// The message names the expected form and the text found.
pub(crate) fn moment(text: &str) -> Result<OffsetDateTime, String> {
    before(now(), text)
}

fn before(now: OffsetDateTime, text: &str) -> Result<OffsetDateTime, String> {
    let given = text.trim();
    if let Some(at) = from_rfc3339(given) {
        return Ok(at);
    }
    let ago = duration::parse(given.strip_suffix(" ago").unwrap_or(given)).ok();
    ago.and_then(|ago| now.checked_sub(ago.try_into().ok()?))
        // The form of RFC 3339, in which moments are shown and kept, begins with the year 0.
        .filter(|at| at.year() >= 0)
        .ok_or_else(|| {
            format!(
                "expected a moment such as \"2026-11-22T10:00:00Z\", or how long ago it was, such as \
                 \"2h\" or \"30min\", found {text:?}"
            )
        })
}

/// How long ago a moment was, in its largest unit: `41s`, `7min`, `3h`, `12d`.
pub(crate) fn ago(at: OffsetDateTime, now: OffsetDateTime) -> String {
    let seconds = (now - at).whole_seconds().max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}min", seconds / 60),
        3600..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use time::Duration;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-22 10:00 UTC);

    #[test]
    fn a_moment_is_given_as_such_or_as_how_long_ago() {
        for (text, expected) in [
            ("2026-11-22T09:00:00Z", datetime!(2026-11-22 9:00 UTC)),
            ("2026-11-22T10:00:00+01:00", datetime!(2026-11-22 9:00 UTC)),
            ("1h", datetime!(2026-11-22 9:00 UTC)),
            (" 1h 30min ago ", datetime!(2026-11-22 8:30 UTC)),
            ("2days", datetime!(2026-11-20 10:00 UTC)),
        ] {
            assert_eq!(before(NOW, text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_refused_with_an_example() {
        for text in [
            "",
            "ago",
            "yesterday",
            "2026-11-22",
            "-1h",
            "5000years",
            "999999999years",
        ] {
            let refused = before(NOW, text);
            assert!(refused.is_err_and(|text| text.contains("2h")), "{text:?}");
        }
    }

    #[test]
    fn how_long_ago_is_told_in_the_largest_unit() {
        for (seconds, expected) in [
            (-5, "0s"),
            (59, "59s"),
            (60, "1min"),
            (7_199, "1h"),
            (172_800, "2d"),
        ] {
            assert_eq!(ago(NOW - Duration::seconds(seconds), NOW), expected);
        }
    }
}
