use anyhow::{Context, Result, ensure};
use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use lapin::{Channel, Consumer, message::Delivery, types::ShortString};
use serde::Deserialize;

use super::{Link, Tuning, acks::Acks};
use crate::{
    Namespace,
    amqp::{consuming, publish, publishing, short},
};

/// The first hop: `validate` to `accepted`.
pub(super) struct Validate {
    deliveries: Consumer,
    acks: Acks,
    publishing: Channel,
    accepted: ShortString,
}

/// The parts of an event that are read here.
#[derive(Deserialize)]
struct Envelope<'a> {
    specversion: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
}

impl Validate {
    pub(super) async fn open(link: &Link, namespace: &Namespace, tuning: &Tuning) -> Result<Self> {
        let publishing = publishing(&link.publishing).await?;
        let queue = namespace.name("validate");
        let (channel, deliveries) =
            consuming(&link.consuming, &queue, tuning.validate_prefetch).await?;
        Ok(Self {
            deliveries,
            acks: Acks::new(channel),
            publishing,
            accepted: short(&namespace.name("accepted"))?,
        })
    }

    pub(super) async fn run(self) -> Result<()> {
        let Self {
            mut deliveries,
            mut acks,
            publishing,
            accepted,
        } = self;
        let mut confirms = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                Some(confirmed) = confirms.next(), if !confirms.is_empty() => {
                    acks.done(Result::<u64>::context(confirmed, "the validate hop")?);
                    while let Some(Some(confirmed)) = confirms.next().now_or_never() {
                        acks.done(confirmed?);
                    }
                    acks.settle();
                }
                Some(sent) = acks.sent() => sent?,
                delivery = deliveries.next() => {
                    let delivery = delivery.context("the broker cancelled the consumer of validate")??;
                    confirms.push(forward(&publishing, accepted.clone(), delivery));
                }
            }
        }
    }
}

/// Publishes an event on to `accepted` under its type; answers the tag of its delivery.
async fn forward(channel: &Channel, accepted: ShortString, delivery: Delivery) -> Result<u64> {
    let event: Envelope<'_> =
        serde_json::from_slice(&delivery.data).context("an event is not a CloudEvent")?;
    ensure!(
        event.specversion == "1.0",
        "an event has specversion {:?}",
        event.specversion
    );
    let kind = short(event.kind)?;
    let properties = delivery.properties;
    publish(channel, accepted, kind, true, &delivery.data, properties).await?;
    Ok(delivery.delivery_tag)
}
