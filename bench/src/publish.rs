use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt, stream::FuturesUnordered};
use lapin::{BasicProperties, types::ShortString};

use crate::{
    Events, Namespace, SIGNUP_REQUESTED, Stamps,
    amqp::{connect, publish, publishing, short},
    pace::Pace,
};

/// The events to publish.
#[derive(Clone, Debug)]
pub struct PublishLoad {
    /// Where the events come from; sequence numbers count from 0.
    pub events: Events,
    /// How many.
    pub count: u64,
    /// How many may wait for their confirm at a time; over about 2,000 the client's own bookkeeping starts to cost.
    pub window: usize,
    /// Events a second; `None` is as fast as it goes.
    pub rate: Option<u32>,
    /// Marked with each event's number as it is confirmed.
    pub confirmed: Option<Arc<Stamps>>,
}

/// The figures of publishing.
#[derive(Clone, Copy, Debug)]
pub struct PublishStats {
    /// Events published and confirmed.
    pub events: u64,
    /// From the first publish to the last confirm.
    pub elapsed: Duration,
}

impl PublishStats {
    /// Events a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.events as f64 / self.elapsed.as_secs_f64().max(f64::EPSILON)
    }
}

/// Publishes events to the namespace's `received` exchange, persistent and mandatory, with pipelined confirms on one
/// channel. No program can publish faster without the risk of loss.
///
/// # Errors
/// When the broker cannot be reached, or refuses or returns an event; then an unknown part of the load was published.
pub async fn publish_raw(
    broker_url: &str,
    namespace: &Namespace,
    load: &PublishLoad,
) -> Result<PublishStats> {
    ensure!(
        load.window > 0,
        "a window of 0 publishes nothing: expected 1 or more"
    );
    let connection = connect(broker_url, "bench-publish").await?;
    let channel = publishing(&connection).await?;
    let exchange = short(&namespace.name("received"))?;
    let routing_key = short(SIGNUP_REQUESTED)?;
    let properties = BasicProperties::default()
        .with_delivery_mode(2)
        .with_content_type(short("application/cloudevents+json")?)
        .with_type(routing_key.clone())
        .with_app_id(short("bench")?);

    let pace = Pace::new(load.rate)?;
    let started = Instant::now();
    let mut pending = FuturesUnordered::new();
    let mut next = 0;
    while next < load.count || !pending.is_empty() {
        let room = next < load.count && pending.len() < load.window;
        tokio::select! {
            biased;
            Some(result) = pending.next(), if !pending.is_empty() => {
                let seq: u64 = Result::<u64>::with_context(result, || {
                    format!("publishing stopped after {next} of {} events", load.count)
                })?;
                if let Some(stamps) = &load.confirmed {
                    stamps.mark(seq);
                }
            }
            () = pace.wait(next), if room => {
                let (channel, seq) = (&channel, next);
                let event = load.events.event(seq);
                let id: ShortString = short(event.id.as_hyphenated().encode_lower(&mut [0; 36]))?;
                let properties = properties.clone().with_message_id(id);
                let (exchange, routing_key) = (exchange.clone(), routing_key.clone());
                pending.push(async move {
                    publish(channel, exchange, routing_key, true, &event.body, properties).await?;
                    anyhow::Ok(seq)
                });
                next += 1;
            }
        }
    }
    let elapsed = started.elapsed();
    drop(pending);
    connection
        .close(200, short("done")?)
        .await
        .context("the connection did not close")?;
    Ok(PublishStats {
        events: load.count,
        elapsed,
    })
}
