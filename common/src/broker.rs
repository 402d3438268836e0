//! The broker: a small contract in Longshore's own words, and its engines.
//!
//! An engine confirms accepted messages, gives each message to one consumer at a time, takes it
//! back when that consumer goes away, and lets messages wait. The runtime builds everything else
//! (retries, dead letters, suspects) on that, once, for every engine.

pub(crate) mod bounds;
mod declare_anew;
mod differences;
pub mod embedded;
mod error;
mod ownership;
pub mod rabbit;
mod standstill;
mod traced;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use futures_util::stream::BoxStream;
use time::OffsetDateTime;

pub use declare_anew::{declare_anew, declare_missing};
pub use error::{BrokerError, PublishError};
pub use traced::{publish_traced, publish_traced_reaching};

use crate::dependency::EngineKind;
use crate::message::Message;
pub use crate::publication::{Address, Publication};
use crate::topology::{Binding, Topology};

/// A message handed to this process. It stays on the broker until it is settled.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// The tag to settle it by.
    pub tag: Tag,
    /// The message.
    pub message: Message,
    /// The routing key it was published with, as far as the engine still knows it.
    pub routing_key: String,
    /// Whether somebody had it before. May be true without cause, never false without cause.
    pub redelivered: bool,
    /// How often it was given out before and came back, as far as the engine counts that.
    pub returns: u32,
}

/// Names a delivery within its subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(pub u64);

/// The settlement of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// It is dealt with: forget it.
    Ack,
    /// Not its fault: give it to somebody else (or to us, later).
    GiveBack,
}

/// A consumer of one queue.
pub struct Subscription {
    /// The deliveries. Ends after [`SubscriptionControl::cancel`], or with an error when the link
    /// is lost: all unsettled messages then go back to the queue by themselves, and settling has no
    /// effect.
    pub deliveries: BoxStream<'static, Result<Delivery, BrokerError>>,
    /// Settles and ends it.
    pub control: Arc<dyn SubscriptionControl>,
}

/// The other end of a [`Subscription`].
#[async_trait]
pub trait SubscriptionControl: Send + Sync {
    /// Settles one delivery. Takes effect soon, in any order with others; to be sure, `flush`. A
    /// delivery whose link was lost in the meantime is settled in vain and will come again.
    fn settle(&self, tag: Tag, settlement: Settlement);

    /// Whether the broker still counts the unsettled messages as ours. Answers from memory while the broker has proven
    /// it within the last two seconds, and asks otherwise, so that the answer is also right after a standstill of the
    /// process.
    async fn owns(&self) -> bool;

    /// Waits until everything settled so far has been handed to the broker.
    ///
    /// # Errors
    /// The link was lost: some of it will come again.
    async fn flush(&self) -> Result<(), BrokerError>;

    /// Stops new deliveries. Those under way still arrive, then the stream ends.
    ///
    /// # Errors
    /// The link was lost, and with it the subscription.
    async fn cancel(&self) -> Result<(), BrokerError>;

    /// Ends the subscription. Settle everything first: unsettled messages go back to the queue and
    /// count as returned.
    async fn close(&self);
}

/// How full a queue is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Depth {
    /// Messages waiting.
    pub messages: u64,
    /// Consumers connected.
    pub consumers: u64,
}

/// Where to begin to read the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryStart {
    /// With the oldest entry there is.
    First,
    /// With the entry of this offset, or the next one there is.
    Offset(u64),
    /// With the entries of this moment, or shortly before: RabbitMQ keeps entries in chunks and begins with a whole one.
    Time(OffsetDateTime),
}

/// A message that came through a door, as the history keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryEntry {
    /// Its place in the history: higher than that of every entry before it, though not always by one.
    pub offset: u64,
    /// When it was received, by the engine's own clock, if the engine tells. The message's own time does not count:
    /// anybody may have written that.
    pub time: Option<OffsetDateTime>,
    /// The routing key it was published with.
    pub routing_key: String,
    /// The message.
    pub message: Message,
}

/// A message that waits in a queue and was looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// The queue it waits in; of one that waits out a delay, the queue that it comes back to.
    pub queue: String,
    /// The routing key that it came to this queue with.
    pub routing_key: String,
    /// The message.
    pub message: Message,
}

/// One difference between the topology and what is on the broker.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// The exchange or queue.
    pub name: String,
    /// The expected state, the found one, and what to do, in plain words.
    pub problem: String,
}

/// An engine that carries messages.
#[async_trait]
pub trait Broker: Send + Sync {
    /// Declares everything in the topology; existing parts stay as they are.
    ///
    /// # Errors
    /// [`BrokerError::Mismatch`] where something is there with other arguments, [`BrokerError::Distrust`] where
    /// the programs that declared it believe other logins.
    async fn apply(&self, topology: &Topology) -> Result<(), BrokerError>;

    /// Compares the topology with the broker, changing nothing.
    ///
    /// # Errors
    /// The broker cannot be asked.
    async fn verify(&self, topology: &Topology) -> Result<Vec<Difference>, BrokerError>;

    /// Expects the programs of the namespace, if any has declared its topology, to believe the same logins as this
    /// one does. Changes nothing. An engine with one login has nothing to ask.
    ///
    /// # Errors
    /// [`BrokerError::Distrust`] where they believe others.
    async fn expect_same_logins(&self, topology: &Topology) -> Result<(), BrokerError> {
        let _ = topology;
        Ok(())
    }

    /// Deletes everything in the topology, with all messages in it.
    ///
    /// # Errors
    /// The broker cannot be asked.
    async fn delete(&self, topology: &Topology) -> Result<(), BrokerError>;

    /// Publishes one message. Returns when the broker has it safely: persistent, routed and
    /// confirmed. Many calls at once are pipelined.
    ///
    /// # Errors
    /// See [`PublishError`]: in every case but [`PublishError::Unroutable`] and
    /// [`PublishError::Invalid`] the broker may have it nevertheless.
    async fn publish(&self, publication: Publication) -> Result<(), PublishError>;

    /// Publishes messages at once, as many calls of [`Broker::publish`] do: returns when each is decided,
    /// with an answer for each, in order. Costs less than as many calls where the engine can do better.
    async fn publish_all(&self, publications: Vec<Publication>) -> Vec<Result<(), PublishError>> {
        join_all(publications.into_iter().map(|one| self.publish(one))).await
    }

    /// Publishes messages at once as [`Broker::publish_all`] does. None of them counts as published unless `queue` is
    /// found once all are routed: a confirm alone says that *some* queue has a message.
    ///
    /// Where it is missing, the answers are [`PublishError::Unroutable`].
    async fn publish_reaching(
        &self,
        queue: &str,
        publications: Vec<Publication>,
    ) -> Vec<Result<(), PublishError>> {
        let mut answers = self.publish_all(publications).await;
        if answers.iter().all(Result::is_err) {
            return answers;
        }
        let missing = match self.has_queue(queue).await {
            Ok(true) => return answers,
            Ok(false) => PublishError::no_queue(queue),
            Err(error) => PublishError::Disconnected(error.to_string()),
        };
        for answer in answers.iter_mut().filter(|answer| answer.is_ok()) {
            *answer = Err(missing.clone());
        }
        answers
    }

    /// Starts to consume `queue` with at most `prefetch` unsettled deliveries.
    ///
    /// # Errors
    /// The broker is out of reach or has no such queue.
    async fn subscribe(&self, queue: &str, prefetch: u16) -> Result<Subscription, BrokerError>;

    /// The depth of a queue; `None` if it does not exist.
    ///
    /// # Errors
    /// The broker cannot be asked.
    async fn depth(&self, queue: &str) -> Result<Option<Depth>, BrokerError>;

    /// Whether there is a queue of that name now. Cheap enough to ask all the time.
    ///
    /// # Errors
    /// The broker cannot be asked.
    async fn has_queue(&self, queue: &str) -> Result<bool, BrokerError> {
        Ok(self.depth(queue).await?.is_some())
    }

    /// Makes sure that these bindings are there; `false` where an exchange or queue of theirs is not. Cheap
    /// enough to do every second.
    ///
    /// # Errors
    /// The broker cannot be asked, or refuses.
    async fn bind(&self, _bindings: &[Binding]) -> Result<bool, BrokerError> {
        // An engine that loses none has nothing to do.
        Ok(true)
    }

    /// Asks the broker whether a publish would be taken now: connected and not blocked.
    ///
    /// # Errors
    /// It would not, and why.
    async fn ready(&self) -> Result<(), BrokerError>;

    /// Waits until something of the topology turns out to be missing: a message that nothing took, a queue
    /// that is not there. Every such finding ends one wait.
    async fn missed(&self) {
        std::future::pending::<()>().await;
    }

    /// Which engine it is.
    fn engine(&self) -> EngineKind;

    /// What the engine is and in which version, such as "RabbitMQ 3.13.7"; `None` where it does not
    /// tell.
    ///
    /// # Errors
    /// The broker is out of reach.
    async fn product(&self) -> Result<Option<String>, BrokerError> {
        Ok(None)
    }

    /// How far the engine's own clock is ahead of that of the machine, if it is: the machine's was set back. `None`
    /// too where an engine does not tell.
    ///
    /// # Errors
    /// The broker is out of reach.
    async fn clock_ahead(&self) -> Result<Option<Duration>, BrokerError> {
        Ok(None)
    }

    /// Reads the history from `from` to its end at the time of the call, in order.
    ///
    /// # Errors
    /// The broker is out of reach or has no history; also in the middle of the stream, which then ends.
    async fn history(
        &self,
        from: HistoryStart,
    ) -> Result<BoxStream<'static, Result<HistoryEntry, BrokerError>>, BrokerError>;

    /// Looks at up to `most` of the messages that wait in `queue`, oldest first, and takes none of them: `seen` is
    /// called with each. Says whether it has seen them all. Where [`Broker::looks_leave_no_trace`] is false,
    /// each message counts as given out and returned once more, so a look is for queues that nobody consumes.
    ///
    /// # Errors
    /// The broker is out of reach or has no such queue.
    async fn look(
        &self,
        queue: &str,
        _most: usize,
        _seen: &mut (dyn FnMut(Waiting) + Send),
    ) -> Result<bool, BrokerError> {
        Err(BrokerError::Refused(format!(
            "this engine cannot look into {queue:?}"
        )))
    }

    /// Whether [`Broker::look`] changes nothing at all, and also sees the messages in consumers' hands.
    fn looks_leave_no_trace(&self) -> bool {
        false
    }

    /// The user that the broker vouches for on our messages, if it does so.
    fn user(&self) -> Option<&str>;

    /// Says goodbye to the broker. Nothing may be published afterwards.
    async fn close(&self);
}
