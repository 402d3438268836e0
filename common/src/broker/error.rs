//! Why the broker could not do something, and why a message is not known to be published.

use std::time::Duration;

/// Why the broker could not do something.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// There is no link to the broker.
    #[error("cannot reach the broker at {address}: {detail}")]
    Unreachable {
        /// Host and port, without the password.
        address: String,
        /// The error.
        detail: String,
    },
    /// The broker takes no messages now, such as for lack of memory or disk.
    #[error("the broker takes no messages now: {0}")]
    Blocked(String),
    /// The broker refuses an act that we have no right to.
    #[error("the broker refuses: {0}")]
    Refused(String),
    /// A queue or exchange is there with other arguments.
    #[error("{0}")]
    Mismatch(String),
    /// The programs of this namespace believe other logins than this one.
    #[error(
        "this program trusts the broker logins {ours}, the others of this namespace trust {theirs}: they would \
         not believe each other. Set `[broker] logins` (LONGSHORE__BROKER__LOGINS) to the same list for all of \
         them; if theirs is the old list, stop the programs and run `longshore topology apply`, which declares \
         the new one"
    )]
    Distrust {
        /// The list of this program.
        ours: String,
        /// The list that is declared, as far as the broker tells.
        theirs: String,
    },
    /// No such queue.
    #[error("the broker has no queue {0:?}; `longshore topology apply` declares it")]
    NoSuchQueue(String),
    /// The link broke in the middle.
    #[error("lost the link to the broker: {0}")]
    Lost(String),
}

/// Why a message is not known to be published.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// Nobody takes it: the broker gave it back.
    #[error("nothing takes messages of {exchange:?} with routing key {routing_key:?}: {reason}")]
    Unroutable {
        /// The exchange.
        exchange: String,
        /// The routing key.
        routing_key: String,
        /// The broker's words.
        reason: String,
    },
    /// It cannot be written down for the broker at all, such as a name over 255 bytes.
    #[error("the message cannot be published: {0}")]
    Invalid(String),
    /// The broker said no.
    #[error("the broker did not take the message")]
    Nacked,
    /// No answer in time.
    #[error("the broker did not confirm within {0:?}")]
    TimedOut(Duration),
    /// The broker takes no messages now.
    #[error("the broker takes no messages now: {0}")]
    Blocked(String),
    /// There is no link, or it broke before the answer.
    #[error("no link to the broker: {0}")]
    Disconnected(String),
}

impl PublishError {
    /// Nothing may count as published that nobody answered for.
    pub(crate) fn unanswered() -> Self {
        Self::Disconnected("no answer".to_owned())
    }

    /// There is no such queue.
    pub(crate) fn no_queue(queue: &str) -> Self {
        Self::Unroutable {
            // The exchange that hands everything to the queue of its name.
            exchange: String::new(),
            routing_key: queue.to_owned(),
            reason: BrokerError::NoSuchQueue(queue.to_owned()).to_string(),
        }
    }

    /// The kind of error, for metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unroutable { .. } => "unroutable",
            Self::Invalid(_) => "invalid",
            Self::Nacked => "nacked",
            Self::TimedOut(_) => "timed_out",
            Self::Blocked(_) => "blocked",
            Self::Disconnected(_) => "disconnected",
        }
    }
}
