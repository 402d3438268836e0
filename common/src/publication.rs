//! A message on its way out, and where to.

use std::time::Duration;

use crate::message::Message;
use crate::topology::Fact;

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// To everybody who listens to a fact; the routing key is the event type.
    Fact {
        /// What has happened.
        fact: Fact,
        /// The event type, or the word in its place for a message without a type.
        routing_key: String,
    },
    /// Straight into one queue.
    Queue(String),
    /// Into one queue, after a while.
    Later {
        /// The queue.
        queue: String,
        /// How long it waits, rounded to what the engine can do.
        delay: Duration,
    },
}

impl Address {
    /// Whether it is an error if nobody takes the message. Everywhere but on `stored`, where no
    /// listener is legal: there the due deliveries in the database are the check.
    pub fn must_route(&self) -> bool {
        !matches!(
            self,
            Self::Fact {
                fact: Fact::Stored,
                ..
            }
        )
    }
}

/// A message on its way out.
#[derive(Debug, Clone, PartialEq)]
pub struct Publication {
    /// Where to.
    pub to: Address,
    /// What.
    pub message: Message,
}
