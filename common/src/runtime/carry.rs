//! Moving messages from one queue to another, each published before it is acked.

use std::time::Duration;

use futures_util::StreamExt as _;

use crate::broker::{Address, Broker, BrokerError, Publication, PublishError, Settlement};
use crate::message::Message;

/// Maximum wait for a message that the queue was said to hold.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(2);

/// The counts of a move.
#[derive(Debug, Default)]
pub struct Carried {
    /// How many messages were moved.
    pub moved: u64,
    /// How many messages `change` left in their queue.
    pub left: u64,
    /// The broker's refusal of a message; the messages behind it stay.
    pub refused: Option<PublishError>,
}

/// Moves up to `most` of the messages that wait in `from` to the queue `to`, the oldest first. `change` may change
/// each, and says whether it is moved at all.
///
/// # Errors
/// The broker is out of reach or has no queue `from`. Messages that are not moved stay.
pub async fn carry(
    broker: &dyn Broker,
    from: &str,
    to: &str,
    most: u16,
    mut change: impl FnMut(&mut Message) -> bool,
) -> Result<Carried, BrokerError> {
    let mut carried = Carried::default();
    let depth = broker.depth(from).await?;
    let waiting = depth.map_or(0, |depth| depth.messages);
    let count = u16::try_from(waiting).unwrap_or(u16::MAX).min(most);
    if count == 0 {
        return Ok(carried);
    }
    let mut subscription = broker.subscribe(from, count).await?;
    for _ in 0..count {
        let next = tokio::time::timeout(DELIVERY_TIMEOUT, subscription.deliveries.next()).await;
        let Ok(Some(delivery)) = next else { break };
        let delivery = delivery?;
        let mut message = delivery.message;
        let settlement = if carried.refused.is_some() || !change(&mut message) {
            carried.left += 1;
            Settlement::GiveBack
        } else {
            let to = Address::Queue(to.to_owned());
            match broker.publish(Publication { to, message }).await {
                Ok(()) => {
                    carried.moved += 1;
                    Settlement::Ack
                }
                Err(error) => {
                    carried.refused = Some(error);
                    Settlement::GiveBack
                }
            }
        };
        subscription.control.settle(delivery.tag, settlement);
    }
    let flushed = subscription.control.flush().await;
    subscription.control.close().await;
    flushed.map(|()| carried)
}
