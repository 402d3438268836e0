//! A handler's answer about an event. The runtime alone turns it into settlements.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::dependency::Dependency;
use crate::message::Message;
use crate::publication::Publication;
use crate::reason::ReasonCode;

/// The result of handling one event. Handlers return it and never see the broker.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Nothing more to do.
    Done,
    /// Done here; these go out, confirmed, before the event is settled.
    Next(Vec<Publication>),
    /// The event is refused for good, by a rule of the business and not by a fault.
    Rejected(Rejection),
    /// This attempt failed; a later one may succeed. Spends an attempt.
    Retry {
        /// Wait at least this long, because the other side asked for it (`Retry-After`).
        after: Option<Duration>,
        /// The failure. Without attempts left the event becomes a dead letter with this code.
        failure: Failure,
    },
    /// No later attempt can succeed: the event becomes a dead letter now.
    Dead(Failure),
    /// Not yet: it comes back to its queue after this long. Spends no attempt.
    Snooze(Duration),
    /// Not begun, and better left to somebody else: the program stops, or the event is no longer its own.
    /// Spends no attempt.
    GiveBack,
    /// Something that every event needs is down. Spends no attempt: the worker gives everything
    /// back, waits until the dependency answers, and goes on.
    Hold {
        /// What is down.
        dependency: Dependency,
        /// How it shows.
        error: String,
    },
}

/// What an event came to, by its name in metrics and logs. A retry with no attempts left is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutcomeKind {
    /// Nothing more to do.
    Done,
    /// Done here; what follows was published.
    Next,
    /// Refused for good.
    Rejected,
    /// Failed; a later attempt waits on the broker.
    Retry,
    /// Put off; no attempt was spent.
    Snooze,
    /// Left to somebody else.
    GiveBack,
    /// Given up.
    Dead,
    /// Given back, because something that every event needs is down.
    Hold,
}

impl OutcomeKind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Done,
        Self::Next,
        Self::Rejected,
        Self::Retry,
        Self::Snooze,
        Self::GiveBack,
        Self::Dead,
        Self::Hold,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Next => "next",
            Self::Rejected => "rejected",
            Self::Retry => "retry",
            Self::Snooze => "snooze",
            Self::GiveBack => "give_back",
            Self::Dead => "dead",
            Self::Hold => "hold",
        }
    }
}

/// Why an event is refused.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejection {
    /// The stable code.
    pub code: ReasonCode,
    /// Everything that is wrong, all at once.
    pub errors: Vec<FieldError>,
    /// The event as it travels on, if it differs from the received message: in its canonical form,
    /// and with parts masked that must not travel further (a password in the clear).
    pub event: Option<Box<Message>>,
}

/// One thing that is wrong with a field, as RFC 9457 problem details list it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FieldError {
    /// Where: a JSON Pointer (RFC 6901) into the data.
    pub pointer: String,
    /// The expected and the found value, for a person.
    pub detail: String,
}

impl FieldError {
    /// An error at `pointer`.
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            detail: detail.into(),
        }
    }
}

/// A fault: its stable code and the chain of errors behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The stable code.
    pub code: ReasonCode,
    /// The chain of errors, outermost first, joined by `: `. Holds no secrets.
    pub error: String,
}

impl Failure {
    /// A fault with an explanation of its own.
    pub fn new(code: ReasonCode, error: impl Into<String>) -> Self {
        Self {
            code,
            error: error.into(),
        }
    }

    /// A fault from an error and all of its sources.
    pub fn from_error(code: ReasonCode, error: &(dyn std::error::Error + 'static)) -> Self {
        Self {
            code,
            error: chain(error),
        }
    }
}

/// An error and all of its sources in one line, outermost first.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Many libraries repeat the source in their own message.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
