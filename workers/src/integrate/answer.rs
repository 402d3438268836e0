//! What a receiver's answer means.

use std::time::Duration;

use common::outcome::Failure;
use common::reason::ReasonCode;
use http::StatusCode;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// The receiver has it.
    Delivered,
    /// Try again.
    Later {
        /// Not before this long, because the receiver asked for it.
        after: Option<Duration>,
        /// What failed.
        failure: Failure,
    },
    /// No later attempt can succeed.
    Never(Failure),
}

/// What an HTTP status means.
///
/// | status | means |
/// |--|--|
/// | 2xx | delivered |
/// | 410 | the receiver is gone: never again |
/// | 400, 405, 406, 411, 413, 414, 415, 417, 422, 431, 451, 501, 505 | it refuses this very request: never |
/// | anything else: 3xx (never followed), 401, 403, 404, 408, 409, 429, 5xx … | it may take it later |
///
/// 401, 403 and 404 are in the last row because that is what a receiver says while it is deployed
/// or its keys are changed, which a retry outlives.
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

/// `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date.
fn wait_asked_for(text: &str, now: OffsetDateTime) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    // An HTTP date is an RFC 2822 one but for the name of the zone.
    let date = text
        .strip_suffix("GMT")
        .map(|date| format!("{date}+0000"))?;
    let until = OffsetDateTime::parse(&date, &Rfc2822).ok()? - now;
    until.try_into().ok()
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
            ("Fri, 02 Jan 2026 03:03:05 GMT", None),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(
                wait_asked_for(text, NOW),
                seconds.map(Duration::from_secs),
                "{text}"
            );
        }
    }
}
