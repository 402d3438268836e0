//! A trial: one event of a held worker, to see whether the hold can end.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::timeout;

use super::desk::Desk;
use super::hand::{Hand, InHand, LaneKind};
use super::hold::Down;
use crate::broker::{Delivery, Subscription, SubscriptionControl};

/// How long a trial waits for an event. If none comes, nothing waits for the hold to end.
const TRIAL_WAIT: Duration = Duration::from_secs(1);

/// One event of the worker's queue, handled while the worker holds.
pub(super) struct Trial {
    hand: Arc<Hand>,
}

impl Trial {
    pub(super) fn new(desk: &Arc<Desk>) -> Self {
        let queue = desk.spec.queue.clone();
        let hand = Arc::new(Hand::new(desk, LaneKind::Trial, queue));
        Self { hand }
    }

    /// Takes one event, if there is one, and handles it. The error is the dependency that is down.
    pub(super) async fn run(self) -> Result<(), Down> {
        let hand = &self.hand;
        let subscribed = hand.desk.broker.subscribe(&hand.queue, 1);
        let Subscription {
            mut deliveries,
            control,
        } = subscribed.await.map_err(Down::broker)?;
        let first = timeout(TRIAL_WAIT, deliveries.next()).await;
        // One event is enough, and none is also an answer; but one may still have been under way.
        control.cancel().await.map_err(Down::broker)?;
        let first = match first {
            Ok(Some(Ok(first))) => Some(first),
            Ok(Some(Err(error))) => return Err(Down::broker(error)),
            Ok(None) => return Err(Down::broker("the subscription ended")),
            Err(_) => None,
        };
        let mut more: Vec<InHand> = Vec::new();
        while let Some(Ok(delivery)) = deliveries.next().await {
            more.push(hand.take(delivery, &control));
        }
        let tried = match first {
            Some(first) => self.handle(first, &control).await,
            None => Ok(()),
        };
        hand.give_back(more, &control).await;
        if let Err(error) = control.flush().await {
            tracing::debug!(queue.name = %hand.queue, %error, "the tried event may come again");
        }
        control.close().await;
        tried
    }

    async fn handle(
        &self,
        delivery: Delivery,
        control: &Arc<dyn SubscriptionControl>,
    ) -> Result<(), Down> {
        let hand = &self.hand;
        let in_hand = hand.take(delivery, control);
        if in_hand.is_suspect() {
            return hand.put_aside(in_hand, control).await;
        }
        // Never closed.
        let Ok(permit) = Arc::clone(&hand.desk.slots).acquire_owned().await else {
            return Ok(());
        };
        Arc::clone(hand)
            .handle(vec![in_hand], permit, Arc::clone(control))
            .await
    }
}
