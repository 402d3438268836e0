//! The outcome for an event that the database refused.

use common::dependency::Dependency;
use common::outcome::{Failure, Outcome};
use common::reason::ReasonCode;
use common::store::StoreError;

/// Whether waiting mends it: nobody's data is to blame, and nothing else would be done either.
pub(crate) fn is_for_later(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable(_) | StoreError::Schema(_))
}

/// The outcome for an event after `error`. Only an outage holds the worker: with any other error, a hold would handle
/// the event again and again.
pub(crate) fn refused(error: StoreError) -> Outcome {
    match error {
        error if is_for_later(&error) => Outcome::Hold {
            dependency: Dependency::Database,
            error: error.to_string(),
        },
        StoreError::Data(detail) => Outcome::Dead(Failure::new(ReasonCode::Unstorable, detail)),
        error => Outcome::Retry {
            after: None,
            failure: Failure::new(ReasonCode::HandlerFailed, error.to_string()),
        },
    }
}

/// As [`refused`], where an answer has fewer parts than the question.
pub(crate) fn unanswered() -> Outcome {
    refused(StoreError::Fault(
        "nothing was said of the event".to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_waiting_mends_is_waited_for() {
        let name = |error: fn(String) -> StoreError| match refused(error("x".to_owned())) {
            Outcome::Hold { .. } => "hold",
            Outcome::Dead(_) => "dead",
            Outcome::Retry { .. } => "retry",
            other => panic!("{other:?}"),
        };
        assert_eq!(name(StoreError::Unavailable), "hold");
        assert_eq!(name(StoreError::Schema), "hold");
        assert_eq!(name(StoreError::Data), "dead");
        assert_eq!(name(StoreError::Fault), "retry");
        assert!(matches!(unanswered(), Outcome::Retry { .. }));
    }
}
