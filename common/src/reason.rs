//! Reason codes: the stable short name of every rejection and every dead letter.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The party that causes a failure; it decides an operator's first action.
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

/// An operator's first action after a failure, unless a closer look says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The event is good: mend the cause around it and send it again.
    ReplayWhenFixed,
    /// The event itself has to be mended.
    MendThenReplay,
    /// The event is turned away or is not an event: only its publisher can help.
    TellPublisher,
    /// A replay may do harm again.
    Look,
    /// Nobody waits for it any more.
    Discard,
}

impl Action {
    /// The action as it is written in tables and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReplayWhenFixed => "replay_when_fixed",
            Self::MendThenReplay => "mend_then_replay",
            Self::TellPublisher => "tell_publisher",
            Self::Look => "look",
            Self::Discard => "discard",
        }
    }

    /// The action in one sentence.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::ReplayWhenFixed => "Mend what failed around the event, then replay it.",
            Self::MendThenReplay => "Mend the event's body, then replay it.",
            Self::TellPublisher => "Tell the publisher, who sends a right event under a new id.",
            Self::Look => "Look closer first: a replay may do harm again.",
            Self::Discard => "Make sure that nobody needs it any more, then discard it.",
        }
    }
}

/// Declares the codes once: variant, code, cause, action. The page is `docs/reasons/CODE.md`.
macro_rules! reason_codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $code:literal, $cause:ident, $action:ident;)+) => {
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

            /// An operator's first action.
            pub fn action(self) -> Action {
                match self { $(Self::$variant => Action::$action,)+ }
            }

            /// The failure in one sentence.
            pub fn summary(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii(),)+ }
            }

            /// The page of the code in Markdown: meaning, diagnosis, remedy.
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
    Invalid = "invalid", Shape, TellPublisher;
    /// Another signup with the same normalised e-mail address is stored already.
    EmailTaken = "email_taken", Shape, TellPublisher;
    /// The same idempotency key or id came before with another content; the first one stands.
    IdempotencyConflict = "idempotency_conflict", Shape, TellPublisher;
    /// A foreign publisher sent a password in the clear; it was masked and refused.
    PlaintextPassword = "plaintext_password", Shape, TellPublisher;
    /// The message has none of the accepted shapes of an event.
    Undecodable = "undecodable", Shape, MendThenReplay;
    /// The message is larger than the configured limit.
    TooLarge = "too_large", Shape, ReplayWhenFixed;
    /// No event type of this name is built in or configured.
    UnknownType = "unknown_type", Shape, ReplayWhenFixed;
    /// The receiver refused the delivery with an answer that a retry cannot change.
    ReceiverRefused = "receiver_refused", Theirs, MendThenReplay;
    /// The receiver says that it is gone for good (410).
    ReceiverGone = "receiver_gone", Theirs, Discard;
    /// The receiver failed or could not be reached in any of the allowed attempts.
    ReceiverFailing = "receiver_failing", Theirs, ReplayWhenFixed;
    /// The outbound guard forbids the destination's address.
    DestinationForbidden = "destination_forbidden", Ours, ReplayWhenFixed;
    /// The event waits for a destination that is no longer configured.
    DestinationUnknown = "destination_unknown", Ours, Look;
    /// The destination's template could not be filled with this event.
    TemplateFailed = "template_failed", Ours, ReplayWhenFixed;
    /// The handler failed in every one of the allowed attempts.
    HandlerFailed = "handler_failed", Ours, ReplayWhenFixed;
    /// The handler panicked in every one of the allowed attempts.
    Panicked = "panicked", Ours, Look;
    /// The handler ran out of time in every one of the allowed attempts.
    TimedOut = "timed_out", Ours, ReplayWhenFixed;
    /// Workers died five times over this message, in the end while handling it alone.
    Crashed = "crashed", Ours, Look;
    /// The database refuses this one event's data.
    Unstorable = "unstorable", Ours, MendThenReplay;
    /// The password hash of the signup is sealed with a key that the store worker does not have.
    SealKeyMissing = "seal_key_missing", Infrastructure, ReplayWhenFixed;
    /// The sealed password hash is damaged, or belongs to another event.
    SealBroken = "seal_broken", Shape, MendThenReplay;
    /// The broker gave the message out as often as its delivery limit allows.
    DeliveryLimit = "delivery_limit", Infrastructure, ReplayWhenFixed;
    /// A time limit of the message or of its queue ran out before a worker took it.
    Expired = "expired", Infrastructure, Look;
    /// The broker dead-lettered the message for a reason of its own, such as a limit on its queue.
    BrokerDeadLettered = "broker_dead_lettered", Infrastructure, Look;
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

impl JsonSchema for ReasonCode {
    fn schema_name() -> Cow<'static, str> {
        "ReasonCode".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let codes: Vec<_> = Self::ALL.iter().map(|code| code.as_str()).collect();
        json_schema!({
            "description": "The stable code of a rejection or a dead letter: `longshore explain CODE` has its page.",
            "type": "string",
            "enum": codes,
        })
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
    fn an_action_is_written_the_same_everywhere() {
        for &code in ReasonCode::ALL {
            let action = code.action();
            assert_eq!(
                serde_json::to_value(action).ok(),
                Some(action.as_str().into())
            );
            assert!(action.sentence().ends_with('.'));
        }
    }

    #[test]
    fn what_the_page_says_and_what_to_do_first_agree() {
        for &code in ReasonCode::ALL {
            let word = match code.action() {
                Action::ReplayWhenFixed | Action::Look => "longshore dead replay",
                Action::MendThenReplay => "longshore dead edit",
                Action::Discard => "longshore dead discard",
                // Rejections: there is nothing to send again.
                Action::TellPublisher => "ublisher",
            };
            let (_, to_do) = code.page().split_once("## What to do").unwrap_or_default();
            assert!(to_do.contains(word), "the page of {code} lacks {word:?}");
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
