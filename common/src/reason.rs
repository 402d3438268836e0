//! Reason codes: the stable short name of every rejection and every dead letter.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Whose doing a failure is; it decides what an operator does first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A receiver outside said no or did not answer.
    Theirs,
    /// One of our handlers failed.
    Ours,
    /// The event itself is wrong: undecodable, of unknown type, against its schema or a rule.
    Shape,
    /// Broker, database or network, or a limit set on them.
    Infrastructure,
}

impl Cause {
    /// The cause as it is written in tables, metrics and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Theirs => "theirs",
            Self::Ours => "ours",
            Self::Shape => "shape",
            Self::Infrastructure => "infrastructure",
        }
    }
}

/// Declares the codes once: variant, code, cause. The page is `docs/reasons/CODE.md`.
macro_rules! reason_codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $code:literal, $cause:ident;)+) => {
        /// The stable short code of a rejection or dead letter. Codes are never reused or renamed;
        /// each has a page in `docs/reasons/`, printed by `longshore explain CODE`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(into = "&'static str", try_from = "String")]
        #[non_exhaustive]
        pub enum ReasonCode {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl ReasonCode {
            /// Every code there is, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The code as it is written everywhere.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }

            /// Whose doing it is.
            pub fn cause(self) -> Cause {
                match self { $(Self::$variant => Cause::$cause,)+ }
            }

            /// One sentence on what happened.
            pub fn summary(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii(),)+ }
            }

            /// The page of the code in Markdown: what it means, how to look, what to do.
            pub fn page(self) -> &'static str {
                match self {
                    $(Self::$variant => include_str!(
                        concat!("../../docs/reasons/", $code, ".md")
                    ),)+
                }
            }
        }
    };
}

reason_codes! {
    /// The event breaks its type's schema or a business rule; every field error is listed.
    Invalid = "invalid", Shape;
    /// Another signup with the same normalised e-mail address is stored already.
    EmailTaken = "email_taken", Shape;
    /// The same idempotency key or id came before with another content; the first one stands.
    IdempotencyConflict = "idempotency_conflict", Shape;
    /// A foreign publisher sent a password in the clear; it was masked and refused.
    PlaintextPassword = "plaintext_password", Shape;
    /// The message is none of the accepted shapes of an event.
    Undecodable = "undecodable", Shape;
    /// The message is larger than the configured limit.
    TooLarge = "too_large", Shape;
    /// No event type of this name is built in or configured.
    UnknownType = "unknown_type", Shape;
    /// The receiver refused the delivery with an answer that a retry cannot change.
    ReceiverRefused = "receiver_refused", Theirs;
    /// The receiver says that it is gone for good (410).
    ReceiverGone = "receiver_gone", Theirs;
    /// The receiver failed or could not be reached in any of the allowed attempts.
    ReceiverFailing = "receiver_failing", Theirs;
    /// The destination's address is not one that deliveries may go to.
    DestinationForbidden = "destination_forbidden", Ours;
    /// The event waits for a destination that is no longer configured.
    DestinationUnknown = "destination_unknown", Ours;
    /// The handler failed in every one of the allowed attempts.
    HandlerFailed = "handler_failed", Ours;
    /// The handler panicked in every one of the allowed attempts.
    Panicked = "panicked", Ours;
    /// The handler ran out of time in every one of the allowed attempts.
    TimedOut = "timed_out", Ours;
    /// Workers died five times over this message, in the end while handling it alone.
    Crashed = "crashed", Ours;
    /// The database refuses this one event's data.
    Unstorable = "unstorable", Ours;
    /// The broker gave the message out as often as its delivery limit allows.
    DeliveryLimit = "delivery_limit", Infrastructure;
    /// The broker dead-lettered the message for a reason of its own: expired, or over a limit.
    BrokerDeadLettered = "broker_dead_lettered", Infrastructure;
}

/// No reason code has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no reason code is called {0:?}; `longshore explain` lists them all")]
pub struct UnknownReason(pub String);

impl FromStr for ReasonCode {
    type Err = UnknownReason;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .iter()
            .copied()
            .find(|code| code.as_str() == text)
            .ok_or_else(|| UnknownReason(text.to_owned()))
    }
}

impl TryFrom<String> for ReasonCode {
    type Error = UnknownReason;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ReasonCode> for &'static str {
    fn from(code: ReasonCode) -> Self {
        code.as_str()
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reads_back_and_has_a_page_of_its_own() {
        for &code in ReasonCode::ALL {
            assert_eq!(code.as_str().parse(), Ok(code));
            let title = format!("# `{code}`");
            assert!(
                code.page().starts_with(&title),
                "the page of {code} must start with {title}"
            );
            for heading in ["## What it means", "## How to look", "## What to do"] {
                assert!(
                    code.page().contains(heading),
                    "the page of {code} lacks {heading:?}"
                );
            }
            assert!(!code.summary().is_empty());
        }
    }

    #[test]
    fn an_unknown_code_is_named() {
        assert_eq!(
            "nope".parse::<ReasonCode>(),
            Err(UnknownReason("nope".to_owned()))
        );
    }
}
