mod record;
mod signature;

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use http::HeaderValue;
use lapin::{Consumer, message::Delivery};
use sqlx::PgPool;
use tokio::{task::JoinHandle, time::Instant};
use uuid::Uuid;

use self::{record::Record, signature::Signer};
use super::{Link, Tuning, acks::Acks};
use crate::{
    Namespace,
    amqp::consuming,
    client::{Client, Target},
    progress::Progress,
    topology::DESTINATION_QUEUE,
};

/// The third hop: `integrate.bench` to the receiver and the delivery's record.
pub(super) struct Integrate {
    deliveries: Consumer,
    acks: Acks,
    record: Arc<Record>,
    batch: usize,
    transactions: usize,
}

/// The connections to the receiver.
pub(super) struct Pool {
    target: Target,
    idle: Vec<Client>,
}

/// An answered POST.
struct Delivered {
    tag: u64,
    event_id: Uuid,
    status: u16,
    took: Duration,
}

impl Pool {
    pub(super) async fn connect(url: &str, connections: usize) -> Result<Self> {
        let target = Target::new(url)?;
        let mut idle = Vec::with_capacity(connections);
        for _ in 0..connections {
            idle.push(Client::connect(&target).await?);
        }
        Ok(Self { target, idle })
    }
}

impl Integrate {
    pub(super) async fn open(
        link: &Link,
        namespace: &Namespace,
        tuning: &Tuning,
        pool: PgPool,
    ) -> Result<Self> {
        let queue = namespace.name(DESTINATION_QUEUE);
        let (channel, deliveries) =
            consuming(&link.consuming, &queue, tuning.integrate_prefetch).await?;
        Ok(Self {
            deliveries,
            acks: Acks::new(channel),
            record: Arc::new(Record::new(pool, namespace)),
            batch: tuning.batch,
            transactions: tuning.transactions,
        })
    }

    /// Runs for ever; `finished` counts the events whose way ends here.
    pub(super) async fn run(self, receiver: Pool, finished: Option<Arc<Progress>>) -> Result<()> {
        let Self {
            mut deliveries,
            mut acks,
            record,
            batch,
            transactions,
        } = self;
        let Pool { target, mut idle } = receiver;
        let signer = Signer::new();
        let mut posting = FuturesUnordered::new();
        let mut delivered: Vec<Delivered> = Vec::with_capacity(batch);
        let mut recording: FuturesUnordered<JoinHandle<Result<Vec<Delivered>>>> =
            FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                Some(posted) = posting.next(), if !posting.is_empty() => {
                    let (client, answer): (Client, Delivered) = Result::context(posted, "the integrate hop")?;
                    idle.push(client);
                    delivered.push(answer);
                    while let Some(Some(posted)) = posting.next().now_or_never() {
                        let (client, answer) = posted?;
                        idle.push(client);
                        delivered.push(answer);
                    }
                }
                Some(recorded) = recording.next(), if !recording.is_empty() => {
                    for delivered in recorded.context("a record panicked")?? {
                        acks.done(delivered.tag);
                    }
                    let settled = acks.settle();
                    if let Some(finished) = &finished {
                        finished.add(settled);
                    }
                }
                Some(sent) = acks.sent() => sent?,
                delivery = deliveries.next(), if !idle.is_empty() => {
                    let delivery = delivery.context("the broker cancelled the consumer of integrate")??;
                    if let Some(client) = idle.pop() {
                        posting.push(post(client, &target, &signer, delivery));
                    }
                }
            }
            // As in the store hop: a transaction alone takes all that is there, a second one has to be full.
            let room = recording.is_empty()
                || (recording.len() < transactions && delivered.len() >= batch);
            if room && !delivered.is_empty() {
                let rows = std::mem::replace(&mut delivered, Vec::with_capacity(batch));
                recording.push(tokio::spawn(Arc::clone(&record).run(rows)));
            }
        }
    }
}

/// POSTs one event, signed; returns the connection, free again, and the result.
async fn post(
    mut client: Client,
    target: &Target,
    signer: &Signer,
    delivery: Delivery,
) -> Result<(Client, Delivered)> {
    let Delivery {
        delivery_tag,
        properties,
        data,
        ..
    } = delivery;
    let id = properties
        .message_id()
        .as_ref()
        .context("an event has no message_id")?
        .as_str();
    let event_id =
        Uuid::try_parse(id).with_context(|| format!("message_id {id:?} is not a UUID"))?;
    let sent = Instant::now();
    let headers = signer.headers(id, &data)?;
    let content_type = HeaderValue::from_static("application/cloudevents+json");
    let mut request = target.post(content_type, Bytes::from(data));
    request.headers_mut().extend(headers);
    let (status, _answer) = client.send(request).await?;
    ensure!(status.is_success(), "the receiver answered {status}");
    let answer = Delivered {
        tag: delivery_tag,
        event_id,
        status: status.as_u16(),
        took: sent.elapsed(),
    };
    Ok((client, answer))
}
