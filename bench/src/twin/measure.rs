use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::{Finish, Services, Tuning, Twin};
use crate::{
    CpuSplit, Events, Namespace, Percentiles, PublishLoad, Receiver, Stamps, publish_raw, schema,
    topology,
};

/// How long nothing may finish before a measurement is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Confirms in flight while publishing: 2,000 are about 5 percent faster than 1,000, and more gain nothing measurable.
const WINDOW: usize = 2000;

/// The work of the twin.
#[derive(Clone, Debug)]
pub struct Load {
    /// How many events.
    pub count: u64,
    /// Bytes of each.
    pub bytes: usize,
    /// Whether events go on to a receiver or end where they are stored.
    pub deliver: bool,
}

/// The figures of a run of the twin.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// Events whose way ended, each at its one end.
    pub events: u64,
    /// Events a second, over the time the twin ran; of a backlog, from the start of its consumers.
    pub rate: f64,
    /// Seconds that took.
    pub seconds: f64,
    /// Events a second of the raw publishing that fed it.
    pub published_rate: f64,
    /// From a publish's confirm to the event's arrival; only of a fed run that delivers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Percentiles>,
    /// Processor time by process name while the twin ran.
    pub cpu: CpuSplit,
}

/// Publishes a backlog and then measures the twin from the start of its consumers until the way of every event has ended.
///
/// It uses a fresh namespace and removes it again.
///
/// # Errors
/// When anything fails, or nothing finishes for a minute.
pub async fn backlog(services: &Services, load: &Load, tuning: &Tuning) -> Result<Run> {
    in_fresh_namespace(services, load.deliver, async |namespace| {
        let receiver = Receiver::start(None).await?;
        let published = publish_raw(&services.broker_url, namespace, &publishing(load)).await?;
        let before = CpuSplit::now();
        let mut twin = Twin::start(services, namespace, &finish(load, &receiver), tuning).await?;
        twin.wait(load.count, PATIENCE).await?;
        let elapsed = twin.started().elapsed();
        let cpu = CpuSplit::now().since(&before);
        twin.stop().await;
        check(services, namespace, load, &receiver).await?;
        Ok(run(load, elapsed, published.rate(), None, cpu))
    })
    .await
}

/// Publishes while the twin works, at full speed or `rate` events a second, and measures from the first publish until
/// the last event has ended its way.
///
/// It uses a fresh namespace and removes it again.
///
/// Latencies depend on the connection to the database. sqlx 0.9 leaves Nagle's algorithm on over TCP, and from some
/// batch size on each statement then waits about 40 ms for a delayed acknowledgement. A Unix socket
/// (`?host=/var/run/postgresql`) has no such wait.
///
/// # Errors
/// As [`backlog`].
pub async fn fed(
    services: &Services,
    load: &Load,
    rate: Option<u32>,
    tuning: &Tuning,
) -> Result<Run> {
    in_fresh_namespace(services, load.deliver, async |namespace| {
        let start = Instant::now();
        let stamps = || Arc::new(Stamps::new(start, load.count));
        let (confirmed, arrivals) = (stamps(), stamps());
        let receiver = Receiver::start(Some(Arc::clone(&arrivals))).await?;
        let mut twin = Twin::start(services, namespace, &finish(load, &receiver), tuning).await?;
        let publishing = PublishLoad {
            rate,
            confirmed: Some(Arc::clone(&confirmed)),
            ..publishing(load)
        };
        let before = CpuSplit::now();
        let started = Instant::now();
        let (published, ()) = tokio::try_join!(
            publish_raw(&services.broker_url, namespace, &publishing),
            twin.wait(load.count, PATIENCE),
        )?;
        let elapsed = started.elapsed();
        let cpu = CpuSplit::now().since(&before);
        twin.stop().await;
        check(services, namespace, load, &receiver).await?;
        let latency = confirmed.until(&arrivals).percentiles();
        Ok(run(load, elapsed, published.rate(), latency, cpu))
    })
    .await
}

fn publishing(load: &Load) -> PublishLoad {
    PublishLoad {
        events: Events::new(load.bytes),
        count: load.count,
        window: WINDOW,
        rate: None,
        confirmed: None,
    }
}

fn finish(load: &Load, receiver: &Receiver) -> Finish {
    if load.deliver {
        Finish::Delivered {
            url: receiver.url(),
        }
    } else {
        Finish::Stored
    }
}

/// The twin says that it is done; the receiver and the database have to agree.
async fn check(
    services: &Services,
    namespace: &Namespace,
    load: &Load,
    receiver: &Receiver,
) -> Result<()> {
    let (stored, delivered) = schema::counts(&services.database_url, namespace).await?;
    let count = i64::try_from(load.count)?;
    let expected = if load.deliver { count } else { 0 };
    ensure!(
        stored == count,
        "the database holds {stored} events, expected {count}"
    );
    ensure!(
        delivered == expected,
        "the database holds {delivered} finished deliveries, expected {expected}"
    );
    ensure!(
        i64::try_from(receiver.distinct())? == expected,
        "the receiver saw {} events, expected {expected}",
        receiver.distinct()
    );
    Ok(())
}

fn run(
    load: &Load,
    elapsed: Duration,
    published_rate: f64,
    latency: Option<Percentiles>,
    cpu: CpuSplit,
) -> Run {
    let seconds = elapsed.as_secs_f64().max(f64::EPSILON);
    Run {
        events: load.count,
        rate: load.count as f64 / seconds,
        seconds,
        published_rate,
        latency,
        cpu,
    }
}

/// Sets up a namespace of its own for `work` and removes it after success and failure.
async fn in_fresh_namespace(
    services: &Services,
    deliver: bool,
    work: impl AsyncFnOnce(&Namespace) -> Result<Run>,
) -> Result<Run> {
    let namespace = Namespace::fresh("twin")?;
    let worked = async {
        topology::declare(&services.broker_url, &namespace, deliver).await?;
        schema::create(&services.database_url, &namespace).await?;
        work(&namespace).await
    }
    .await;
    let broker = topology::delete(&services.broker_url, &namespace).await;
    let database = schema::drop(&services.database_url, &namespace).await;
    // The first failure matters most; the rest may only follow from it.
    let run = worked?;
    broker
        .and(database)
        .with_context(|| format!("{namespace} was measured but not cleaned up"))?;
    Ok(run)
}
