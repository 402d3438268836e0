//! lapin's errors in our words.

use std::io;
use std::time::Duration;

use lapin::ErrorKind;

use crate::broker::{BrokerError, differences};
use crate::tls::{Peer, explain};

/// Why something asked of the broker did not work.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    /// No answer in time.
    Silent {
        /// The question.
        what: &'static str,
        /// How long we waited.
        limit: Duration,
    },
    /// The client or the broker said no.
    Amqp(lapin::Error),
}

/// AMQP's reply code for a name that is not there.
pub(super) const NOT_FOUND: u16 = 404;
/// AMQP's reply code for something that is there, but otherwise.
pub(super) const PRECONDITION_FAILED: u16 = 406;
/// AMQP's reply code for an act without the right to it.
pub(super) const ACCESS_REFUSED: u16 = 403;
/// AMQP's reply code for a forbidden act, such as opening a missing virtual host.
const NOT_ALLOWED: u16 = 530;

impl Fault {
    /// The broker's own reply code, where it gave one.
    pub(super) fn code(&self) -> Option<u16> {
        match self {
            Self::Amqp(error) => code(error),
            Self::Silent { .. } => None,
        }
    }

    /// Whether a channel was closed before, and this act on it came too late to be told why.
    pub(super) fn is_too_late(&self) -> bool {
        matches!(self, Self::Amqp(error) if is_too_late(error))
    }

    /// Whether the other side has cut the connection without a word that arrived.
    pub(super) fn is_cut(&self) -> bool {
        let Self::Amqp(error) = self else {
            return false;
        };
        matches!(error.kind(), ErrorKind::IOError(error) if matches!(
            error.kind(),
            io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof
        ))
    }

    /// The error in words.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Silent { what, limit } => {
                format!(
                    "no answer to {what} within {}",
                    humantime::format_duration(*limit)
                )
            }
            Self::Amqp(error) => words(error),
        }
    }
}

impl From<Fault> for BrokerError {
    fn from(fault: Fault) -> Self {
        match fault.code() {
            Some(ACCESS_REFUSED | NOT_ALLOWED) => Self::Refused(fault.words()),
            Some(PRECONDITION_FAILED) => Self::Mismatch(fault.words()),
            _ => Self::Lost(fault.words()),
        }
    }
}

/// The broker's own reply code in an error, where it gave one.
pub(super) fn code(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        ErrorKind::ProtocolError(reply) => Some(reply.get_id()),
        _ => None,
    }
}

/// Whether a channel was closed before, and this act on it came too late to be told why.
pub(super) fn is_too_late(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::InvalidChannelState(..))
}

/// The error in words: the broker's own text if it gave one.
pub(super) fn words(error: &lapin::Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(reply) => reply.get_message().to_string(),
        ErrorKind::IOError(error) => {
            explain(error, Peer::Broker).unwrap_or_else(|| error.to_string())
        }
        _ => error.to_string(),
    }
}

/// Waits for an answer, but not for ever: lapin itself has no timeouts.
pub(super) async fn within<T>(
    limit: Duration,
    what: &'static str,
    answer: impl Future<Output = lapin::Result<T>>,
) -> Result<T, Fault> {
    match tokio::time::timeout(limit, answer).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Fault::Amqp(error)),
        Err(_) => Err(Fault::Silent { what, limit }),
    }
}

/// The exchange that a broker's "no exchange 'x' in vhost '/'" is about.
pub(super) fn missing_exchange(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("no exchange '")?;
    rest.split_once('\'').map(|(name, _)| name)
}

/// RabbitMQ's answer for a part that exists with other arguments.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Inequivalence<'t> {
    /// Which argument, such as `x-delivery-limit`.
    pub(super) argument: &'t str,
    /// `queue` or `exchange`.
    pub(super) thing: &'t str,
    /// Its name.
    pub(super) name: &'t str,
    /// Our value.
    pub(super) expected: &'t str,
    /// The broker's value.
    pub(super) found: &'t str,
}

/// Reads "inequivalent arg 'x-delivery-limit' for queue 'q' in vhost '/': received the value '20' of type 'signedint'
/// but current is the value '10' of type 'signedint'", in all wordings of RabbitMQ so far. `None` for any other text.
pub(super) fn inequivalence(text: &str) -> Option<Inequivalence<'_>> {
    let (_, rest) = text.split_once("inequivalent arg '")?;
    let (argument, rest) = rest.split_once("' for ")?;
    let (thing, rest) = rest.split_once(" '")?;
    let (name, rest) = rest.split_once("' in vhost ")?;
    let (_, rest) = rest.split_once(": received ")?;
    let (expected, found) = rest.split_once(" but current is ")?;
    Some(Inequivalence {
        argument,
        thing,
        name,
        expected: value(expected),
        found: value(found),
    })
}

/// The value in `the value 'x' of type 'y'`, `'x'` or `none`.
fn value(text: &str) -> &str {
    let text = text.trim();
    match text.split_once('\'') {
        Some((_, rest)) => rest.split_once('\'').map_or(rest, |(value, _)| value),
        None if text.starts_with("none") => "nothing",
        None => text,
    }
}

/// A mismatch in plain words, with the remedy.
pub(super) fn mismatch(text: &str) -> String {
    let Some(found) = inequivalence(text) else {
        return format!(
            "something is on the broker already, but declared otherwise; the broker says: {text}. \
             Delete it and run `longshore topology apply`, or restore the setting it was declared \
             with"
        );
    };
    let Inequivalence {
        argument,
        thing,
        name,
        expected,
        found,
    } = found;
    differences::argument(thing, name, argument, found, expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wording_of_a_mismatch_is_understood() {
        let cases = [
            "PRECONDITION_FAILED - inequivalent arg 'x-delivery-limit' for queue 'q.1' in vhost '/': received '20' but current is '10'",
            "PRECONDITION_FAILED - inequivalent arg 'x-delivery-limit' for queue 'q.1' in vhost '/': received the value '20' of type 'signedint' but current is the value '10' of type 'signedint'",
            "PRECONDITION_FAILED - inequivalent arg 'x-delivery-limit' for queue 'q.1' in vhost '/': received the value '20' of type 'long' but current is none",
        ];
        for (text, found) in cases.into_iter().zip(["10", "10", "nothing"]) {
            let expected = Inequivalence {
                argument: "x-delivery-limit",
                thing: "queue",
                name: "q.1",
                expected: "20",
                found,
            };
            assert_eq!(inequivalence(text), Some(expected));
            let plain = mismatch(text);
            assert!(
                plain.contains("drain and delete the queue \"q.1\""),
                "{plain}"
            );
            assert!(plain.contains("expected x-delivery-limit = 20"), "{plain}");
        }
    }

    #[test]
    fn an_unknown_wording_is_passed_on() {
        let text = "PRECONDITION_FAILED - something new";
        assert_eq!(inequivalence(text), None);
        assert!(mismatch(text).contains(text));
    }

    #[test]
    fn the_missing_exchange_is_found() {
        let text = "NOT_FOUND - no exchange 'longshore.received' in vhost '/'";
        assert_eq!(missing_exchange(text), Some("longshore.received"));
        assert_eq!(
            missing_exchange("NOT_FOUND - no queue 'q' in vhost '/'"),
            None
        );
    }
}
