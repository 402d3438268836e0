//! A mail server's reply, and its meaning.

use common::outcome::Failure;
use common::reason::ReasonCode;

use crate::integrate::transport::Verdict;

/// A reply: a code and its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    /// The code, from 200 to 599.
    pub(super) code: u16,
    /// The text of each line, without the code and without control characters.
    pub(super) lines: Vec<String>,
}

impl Reply {
    /// Whether the server did as it was told.
    pub(super) fn is_positive(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// The text as one line.
    pub(super) fn text(&self) -> String {
        self.lines.join(" ")
    }
}

/// The meaning of a code in a reply to a mail.
///
/// | code | means |
/// |--|--|
/// | 2yz | the server has the mail: delivered |
/// | 530, 534, 535, 538 | it does not take our login: may succeed later |
/// | other 5yz | it refuses this mail or its recipient: never |
/// | anything else: 421, 450, 451, 452, 454, other 4yz … | may succeed later |
///
/// The second row is as 401 and 403 of a webhook: a retry outlives the change of a password. A server that greylists
/// answers 450 or 451. A server that shuts down, or has had enough mail over this connection, answers 421.
pub(super) fn verdict(code: u16) -> Verdict {
    let failure = |reason| Failure::new(reason, format!("expected a reply 2yz, found {code}"));
    match code {
        200..300 => Verdict::Delivered,
        530 | 534 | 535 | 538 => Verdict::Later {
            after: None,
            failure: failure(ReasonCode::ReceiverFailing),
        },
        500..600 => Verdict::Never(failure(ReasonCode::ReceiverRefused)),
        _ => Verdict::Later {
            after: None,
            failure: failure(ReasonCode::ReceiverFailing),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_one_meaning() {
        for code in 200..300 {
            assert_eq!(verdict(code), Verdict::Delivered);
        }
        for code in [500, 501, 521, 541, 550, 551, 552, 553, 554, 555, 556, 571] {
            let refused = verdict(code);
            assert!(
                matches!(&refused, Verdict::Never(failure) if failure.code == ReasonCode::ReceiverRefused),
                "{code}: {refused:?}"
            );
        }
        for code in [
            0, 199, 354, 421, 432, 450, 451, 452, 454, 455, 499, 530, 534, 535, 538, 600,
        ] {
            let later = verdict(code);
            assert!(
                matches!(&later, Verdict::Later { failure, .. } if failure.code == ReasonCode::ReceiverFailing),
                "{code}: {later:?}"
            );
        }
    }
}
