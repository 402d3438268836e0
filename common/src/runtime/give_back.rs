//! Giving messages back, so that the return never counts against them.
//!
//! RabbitMQ before 4.3 and the embedded engine count every return to a queue towards its delivery limit, whatever
//! the reason. So a message given back because of a hold, a drain or a lost publish goes back as a copy. The copy
//! is confirmed before the original is acked, and keeps the count of real returns so far.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::hand::{Hand, InHand};
use super::hold::Down;
use crate::broker::{Address, Publication, PublishError, Settlement, SubscriptionControl, bounds};
use crate::event::Trail;
use crate::retry::Waits;
use crate::topology::Names;

/// How many returns put a message aside.
const SUSPECT_AT: u32 = 2;

/// How long a copy is tried again when the publishing link is down. After that the message itself goes back, which
/// counts.
const COPY_TIMEOUT: Duration = Duration::from_secs(5);

/// The waits between these tries.
const COPY_WAITS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(1)];

impl InHand {
    /// Whether it came back so often that it must be handled alone.
    pub(super) fn is_suspect(&self) -> bool {
        self.crashes() >= SUSPECT_AT
    }
}

impl Hand {
    /// Gives messages back unharmed: as copies where the broker takes those. Messages that the broker has already
    /// taken back are left to it.
    pub(super) async fn give_back(
        &self,
        messages: Vec<InHand>,
        control: &Arc<dyn SubscriptionControl>,
    ) {
        let count = messages.len();
        if count == 0 {
            return;
        }
        let mut left = Vec::with_capacity(count);
        for in_hand in messages {
            match self.copy(&in_hand) {
                Some(copy) => left.push((in_hand, copy)),
                None => control.settle(in_hand.tag, Settlement::GiveBack),
            }
        }
        let [first, longest] = COPY_WAITS;
        let mut waits = Waits::between(first, longest);
        let deadline = Instant::now() + COPY_TIMEOUT;
        while !left.is_empty() && control.owns().await {
            let copies = left.iter().map(|(_, copy)| copy.clone()).collect();
            let mut answers = self.desk.broker.publish_all(copies).await.into_iter();
            let mut again = false;
            left.retain(|(in_hand, _)| match answers.next() {
                Some(Ok(())) => {
                    control.settle(in_hand.tag, Settlement::Ack);
                    false
                }
                answer => {
                    again |= matches!(
                        answer,
                        Some(Err(PublishError::Disconnected(_) | PublishError::Blocked(_)))
                    );
                    true
                }
            });
            if !again || Instant::now() >= deadline {
                break;
            }
            tokio::time::sleep(waits.next_wait()).await;
        }
        for (in_hand, _) in left {
            control.settle(in_hand.tag, Settlement::GiveBack);
        }
        self.let_go(count);
    }

    /// The message as it goes back to its queue; `None` if only the original can go back. Until the original is
    /// acked there are two, so the copy says that it may be handled a second time.
    fn copy(&self, in_hand: &InHand) -> Option<Publication> {
        let message = in_hand.received.again(&Trail {
            crashes: in_hand.crashes(),
            again: true,
            ..in_hand.received.trail.clone()
        });
        // A message that publishing would have to cut cannot be copied.
        if bounds::size(&message).ok()? > bounds::MAX_BYTES {
            return None;
        }
        let to = Address::Queue(self.queue.clone());
        Some(Publication { to, message })
    }

    /// Puts a message aside to be handled alone. Its count starts over there, at the same number for all: most of
    /// them were merely in hand when a neighbour killed the worker. The error is that nothing can be published.
    pub(super) async fn put_aside(
        &self,
        in_hand: InHand,
        control: &Arc<dyn SubscriptionControl>,
    ) -> Result<(), Down> {
        if !control.owns().await {
            return Err(self.taken_back(1));
        }
        let trail = Trail {
            crashes: SUSPECT_AT,
            ..in_hand.received.trail.clone()
        };
        let aside = Publication {
            to: Address::Queue(Names::suspect(&self.queue)),
            message: in_hand.received.again(&trail),
        };
        match self.desk.broker.publish(aside).await {
            Ok(()) => {
                tracing::warn!(
                    queue.name = %self.queue,
                    event.id = &*in_hand.received.log_id(),
                    returns = in_hand.returns,
                    "came back too often: put aside to be handled alone"
                );
                self.desk.metrics.suspect();
                control.settle(in_hand.tag, Settlement::Ack);
                self.let_go(1);
                Ok(())
            }
            Err(error) => {
                let down = Down::broker(error);
                self.desk.begin_hold(down.clone());
                self.give_back(vec![in_hand], control).await;
                Err(down)
            }
        }
    }

    /// The broker has taken messages back, with their link. Others handle them, and nothing more is done about
    /// them here.
    pub(super) fn taken_back(&self, count: usize) -> Down {
        tracing::debug!(
            queue.name = %self.queue, events = count,
            "the link was lost: others handle what was in hand"
        );
        self.let_go(count);
        Down::broker("lost the subscription")
    }
}
