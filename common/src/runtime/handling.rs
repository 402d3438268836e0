//! A batch in hand: the handler is called, and each event is settled as its outcome asks.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::OwnedSemaphorePermit;
use tracing::Instrument as _;

use super::Received;
use super::call::call_handler;
use super::hand::{Hand, InHand};
use super::hold::Down;
use crate::broker::SubscriptionControl;
use crate::telemetry::trace;

impl Hand {
    /// Handles a batch and settles each event of it. The error is the dependency that is down.
    pub(super) async fn handle(
        self: Arc<Self>,
        batch: Vec<InHand>,
        permit: OwnedSemaphorePermit,
        control: Arc<dyn SubscriptionControl>,
    ) -> Result<(), Down> {
        let messages = batch.iter().map(|in_hand| {
            let message = &in_hand.received.message;
            (message.message_id.as_deref(), &message.headers)
        });
        let traced = trace::processing(self.desk.engines.broker, &self.queue, messages);
        let span = tracing::info_span!(parent: &traced, "handle", queue.name = %self.queue, events = batch.len());
        let work = async {
            let (received, tags): (Vec<Received>, Vec<_>) = batch
                .into_iter()
                .map(|in_hand| (in_hand.received, (in_hand.tag, in_hand.returns)))
                .unzip();
            let began = Instant::now();
            let settings = &self.desk.spec.settings;
            let outcomes = call_handler(&*self.desk.handler, &received, settings.timeout).await;
            self.desk.metrics.handled(received.len(), began.elapsed());
            // The next call may begin while the broker confirms this one's publications.
            drop(permit);
            self.freed.notify_one();
            let each = received.into_iter().zip(tags).zip(outcomes);
            let each = each.map(|((received, (tag, returns)), outcome)| {
                let in_hand = InHand {
                    tag,
                    returns,
                    received,
                };
                (in_hand, outcome)
            });
            self.settle(each.collect(), &control).await
        };
        work.instrument(span).instrument(traced).await
    }
}
