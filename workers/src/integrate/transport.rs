//! The way to an outside system: what sends a delivery, and the result of one attempt.

use std::time::Duration;

use async_trait::async_trait;
use common::config::Config;
use common::confirmation::ConfirmationLinks;
use common::event::EventId;
use common::outcome::Failure;
use common::reason::ReasonCode;
use common::runtime::Received;
use ipnet::IpNet;
use time::OffsetDateTime;

use super::gates::Ending;
use super::preview::Preview;

/// Sends deliveries to one destination.
#[async_trait]
pub(super) trait Transport: Send + Sync {
    /// Sends a delivery, once, within the destination's timeout.
    async fn send(&self, parcel: Parcel<'_>) -> Sent;

    /// The request for a delivery, as people may see it; empty where none can be made.
    fn preview(&self, parcel: Parcel<'_>) -> Preview;

    /// Asks whether the destination answers: with the delivery itself, unless the transport knows a way that leaves no trace
    /// with somebody.
    async fn ping(&self, parcel: Parcel<'_>) -> Sent {
        self.send(parcel).await
    }

    /// The meaning of a status that was recorded for an earlier attempt.
    fn verdict_on(&self, status: u16, now: OffsetDateTime) -> Verdict;
}

/// What every transport is given.
#[derive(Debug, Clone, Default)]
pub(super) struct Means {
    /// The private addresses that it may reach.
    pub(super) allow: Vec<IpNet>,
    /// The links that confirm signups, if they are configured.
    pub(super) confirmations: Option<ConfirmationLinks>,
}

impl Means {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            allow: config.outbound.allow.clone(),
            confirmations: ConfirmationLinks::of(config),
        }
    }
}

#[cfg(test)]
impl Means {
    /// Every loopback address may be reached.
    pub(super) fn loopback() -> Self {
        Self {
            allow: vec!["127.0.0.0/8".parse().unwrap()],
            confirmations: None,
        }
    }
}

/// A delivery on its way out.
#[derive(Clone, Copy)]
pub(super) struct Parcel<'d> {
    /// The receiver's key for the delivery, the same in every attempt and replay. It holds no dot.
    pub(super) id: &'d str,
    /// The event.
    pub(super) event: EventId,
    /// When the attempt began.
    pub(super) at: OffsetDateTime,
    /// The message with the event.
    pub(super) received: &'d Received,
}

/// The result of an attempt, with what is recorded of it.
#[derive(Debug)]
pub(super) struct Sent {
    /// Whether it is delivered.
    pub(super) verdict: Verdict,
    /// The status of the answer, by the transport's protocol.
    pub(super) status: Option<u16>,
    /// The beginning of the answer.
    pub(super) excerpt: Option<String>,
    /// The request was sent twice, as a kept connection had been closed.
    pub(super) again: bool,
}

impl Sent {
    /// Nobody answered.
    pub(super) fn unanswered(code: ReasonCode, error: String) -> Self {
        Self {
            verdict: Verdict::Later {
                after: None,
                failure: Failure::new(code, error),
            },
            status: None,
            excerpt: None,
            again: false,
        }
    }

    /// There was nothing to send: the request for the event cannot be made, now or later.
    pub(super) fn not_made(failure: Failure) -> Self {
        Self {
            verdict: Verdict::NotMade(failure),
            status: None,
            excerpt: None,
            again: false,
        }
    }
}

/// Whether an attempt delivered.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// The receiver has it.
    Delivered,
    /// Try again.
    Later {
        /// Not before this long, because the receiver asked for it.
        after: Option<Duration>,
        /// The failure.
        failure: Failure,
    },
    /// No later attempt can succeed.
    Never(Failure),
    /// No attempt was made, and none can be: nothing was sent.
    NotMade(Failure),
}

impl Verdict {
    /// How the attempt ended, for the breaker. A receiver that refuses something works.
    pub(super) fn ending(&self) -> Ending<'_> {
        match self {
            Self::Delivered | Self::Never(_) => Ending::Answered,
            Self::Later { failure, .. } => Ending::Failed(failure),
            Self::NotMade(_) => Ending::NotMade,
        }
    }

    /// Why it did not deliver, if so.
    pub(super) fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Delivered => None,
            Self::Later { failure, .. } | Self::Never(failure) | Self::NotMade(failure) => {
                Some(failure)
            }
        }
    }
}

/// Why a destination cannot be used as configured.
#[derive(Debug, thiserror::Error)]
#[error("destination {destination} cannot be used: {problem}")]
pub struct UnusableDestination {
    /// Its name.
    pub destination: String,
    /// What is wrong, without any secret.
    pub problem: String,
}
