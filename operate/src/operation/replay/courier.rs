//! Publishes many messages at once, and tells the fate of each.

use common::broker::{Address, Broker, Publication, PublishError};
use common::message::Message;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

/// A message and its queue.
#[derive(Debug, Clone)]
pub struct Parcel {
    /// The queue.
    pub queue: String,
    /// The message.
    pub message: Message,
}

/// The fate of a parcel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// The broker has it.
    Confirmed,
    /// The broker will never take the parcel as it is.
    Refused(String),
    /// The parcel was not sent, or that is not known: it may be sent again.
    Unknown,
}

/// Publishes parcels, all of them at once: the engine bounds how many are under way. Each parcel first waits for
/// `turn`, which says whether it may go at all. Returns when the broker has answered for every parcel, with the
/// fates and the last failure of the broker, if any.
pub async fn publish_all(
    broker: &dyn Broker,
    parcels: &[Parcel],
    turn: impl AsyncFn() -> bool,
    confirmed: impl Fn(),
) -> (Vec<Fate>, Option<PublishError>) {
    let turn = &turn;
    let mut fates = vec![Fate::Unknown; parcels.len()];
    let mut failure = None;
    let mut under_way = FuturesUnordered::new();
    for (nth, parcel) in parcels.iter().enumerate() {
        under_way.push(async move {
            if !turn().await {
                return (nth, None);
            }
            let publication = Publication {
                to: Address::Queue(parcel.queue.clone()),
                message: parcel.message.clone(),
            };
            (nth, Some(broker.publish(publication).await))
        });
    }
    while let Some((nth, published)) = under_way.next().await {
        let fate = match published {
            None => Fate::Unknown,
            Some(Ok(())) => {
                confirmed();
                Fate::Confirmed
            }
            Some(Err(error @ (PublishError::Unroutable { .. } | PublishError::Invalid(_)))) => {
                Fate::Refused(error.to_string())
            }
            Some(Err(error)) => {
                failure = Some(error);
                Fate::Unknown
            }
        };
        if let Some(slot) = fates.get_mut(nth) {
            *slot = fate;
        }
    }
    (fates, failure)
}
