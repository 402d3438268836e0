//! The meaning of a receiver's answer.

use std::time::{Duration, SystemTime};

use common::outcome::Failure;
use common::reason::ReasonCode;
use http::StatusCode;
use time::OffsetDateTime;

use crate::integrate::transport::Verdict;

/// The meaning of an HTTP status.
///
/// | status | means |
/// |--|--|
/// | 2xx | delivered |
/// | 410 | the receiver is gone: never again |
/// | 400, 405, 406, 411, 413, 414, 415, 417, 422, 431, 451, 501, 505 | it refuses this very request: never |
/// | anything else: 3xx (never followed), 401, 403, 404, 408, 409, 429, 5xx … | may succeed later |
///
/// 401, 403 and 404 are in the last row: receivers give these answers while they are deployed or
/// their keys change, and a retry outlives that.
pub(super) fn verdict(
    status: StatusCode,
    retry_after: Option<&str>,
    now: OffsetDateTime,
) -> Verdict {
    if status.is_success() {
        return Verdict::Delivered;
    }
    let error = format!("expected status 2xx, found {status}");
    match status.as_u16() {
        410 => Verdict::Never(Failure::new(ReasonCode::ReceiverGone, error)),
        400 | 405 | 406 | 411 | 413 | 414 | 415 | 417 | 422 | 431 | 451 | 501 | 505 => {
            Verdict::Never(Failure::new(ReasonCode::ReceiverRefused, error))
        }
        _ => Verdict::Later {
            after: retry_after.and_then(|text| wait_asked_for(text, now)),
            failure: Failure::new(ReasonCode::ReceiverFailing, error),
        },
    }
}

/// `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date in any of the three forms of section 5.6.7. Any other
/// text, or a date in the past, asks for nothing.
fn wait_asked_for(text: &str, now: OffsetDateTime) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // Digits alone that are not a number of 64 bits are a larger one: the policy's maximum bounds it.
        return Some(text.parse().map_or(Duration::MAX, Duration::from_secs));
    }
    let until = OffsetDateTime::from(date(text)?) - now;
    until.try_into().ok()
}

/// A date of HTTP. Its seconds may be 60: a leap second, which is the first of the next minute to us.
fn date(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text).ok().or_else(|| {
        let before = httpdate::parse_http_date(&text.replacen(":60 ", ":59 ", 1)).ok()?;
        before.checked_add(Duration::from_secs(1))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-01-02 03:04:05 UTC);

    fn of(status: u16) -> Verdict {
        verdict(StatusCode::from_u16(status).unwrap(), None, NOW)
    }

    #[test]
    fn every_status_has_one_meaning() {
        for status in 200..300 {
            assert_eq!(of(status), Verdict::Delivered);
        }
        for (status, code) in [
            (410, ReasonCode::ReceiverGone),
            (400, ReasonCode::ReceiverRefused),
            (422, ReasonCode::ReceiverRefused),
            (501, ReasonCode::ReceiverRefused),
        ] {
            assert!(matches!(of(status), Verdict::Never(failure) if failure.code == code));
        }
        for status in [301, 401, 403, 404, 408, 409, 429, 500, 502, 503, 504, 599] {
            assert!(
                matches!(of(status), Verdict::Later { after: None, .. }),
                "{status}"
            );
        }
    }

    #[test]
    fn a_wait_is_asked_for_in_seconds_or_by_date() {
        for (text, seconds) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Fri, 02 Jan 2026 03:05:05 GMT", Some(60)),
            ("Friday, 02-Jan-26 03:05:05 GMT", Some(60)),
            ("Fri Jan  2 03:05:05 2026", Some(60)),
            ("Fri, 02 Jan 2026 03:03:05 GMT", None),
            ("Fri, 02 Jan 2026 03:05:60 GMT", Some(115)),
            ("Friday, 02-Jan-26 03:05:60 GMT", Some(115)),
            ("Fri Jan  2 03:05:60 2026", Some(115)),
            ("Fri, 02 Jan 2026 03:05:61 GMT", None),
            ("18446744073709551615", Some(u64::MAX)),
            ("soon", None),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("1e3", None),
            ("Fri, 32 Jan 2026 03:05:05 GMT", None),
        ] {
            assert_eq!(
                wait_asked_for(text, NOW),
                seconds.map(Duration::from_secs),
                "{text}"
            );
        }
        for text in [
            "18446744073709551616",
            "1000000000000000000000000",
            "99999999999999999999999999999999999999999",
        ] {
            assert_eq!(wait_asked_for(text, NOW), Some(Duration::MAX), "{text}");
        }
    }
}
