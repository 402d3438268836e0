//! The producer's rate, beside raw publishing.

use anyhow::{Context as _, ensure};
use bench::http_load::{self, HttpLoad, HttpStats};
use bench::{Events, Report, Unit};
use common::bootstrap::Failure;
use longshore::Program;

use super::lab::{EVENT_BYTES, Lab, median};
use super::pipeline::publish;

/// Events in a batch.
const BATCH: u64 = 100;

/// Connections that send batches.
const BATCH_CONNECTIONS: usize = 8;

/// Connections that send single requests.
const CONNECTIONS: usize = 64;

/// Raw publishing, batches and single requests in turn.
pub(super) async fn measure(
    lab: &Lab,
    count: u64,
    rounds: u32,
    report: &mut Report,
) -> Result<(), Failure> {
    let (mut raw, mut batches, mut singles) = (Vec::new(), Vec::new(), Vec::new());
    let mut latencies = Vec::new();
    for round in 1..=rounds {
        raw.push(
            lab.on_a_system("", async |system| publish(lab, system, count).await)
                .await?,
        );
        let (batch, single) = accept(lab, count).await?;
        batches.push(batch.rate());
        singles.push(single.rate());
        latencies.extend(single.latency.map(|latency| latency.p99_ms));
        let rate = batch.rate();
        lab.say(&format!(
            "round {round}: the producer accepts {rate:.0} events/s in batches"
        ));
    }
    let (raw, batches) = (median(raw), median(batches));
    report.add("publish_raw", raw, Unit::EventsPerSecond);
    report.add("producer_batches", batches, Unit::EventsPerSecond);
    report.aim("producer_batches_to_raw", batches / raw, Unit::Ratio, 0.7);
    report.add(
        "producer_single_requests",
        median(singles),
        Unit::RequestsPerSecond,
    );
    report.add(
        "producer_single_request_p99",
        median(latencies),
        Unit::Milliseconds,
    );
    Ok(())
}

/// A producer alone: nothing takes the events off the broker meanwhile, as with raw publishing.
async fn accept(lab: &Lab, count: u64) -> Result<(HttpStats, HttpStats), Failure> {
    lab.on_a_system("", async |system| {
        let door = system.start(&[Program::Producer]).await?;
        let door = door.first().context("the producer listens nowhere")?;
        let load = |count, connections| HttpLoad {
            base_url: format!("http://{door}"),
            key: None,
            events: Events::new(EVENT_BYTES),
            count,
            connections,
            rate: None,
            accepted: None,
        };
        // Connections and caches are warm before it counts.
        http_load::batches(&load(count.min(1000), BATCH_CONNECTIONS), BATCH).await?;
        let batches = http_load::batches(&load(count, BATCH_CONNECTIONS), BATCH).await?;
        all_accepted(&batches, count)?;
        let few = (count / 2).max(1);
        let singles = http_load::singles(&load(few, CONNECTIONS)).await?;
        all_accepted(&singles, few)?;
        Ok((batches, singles))
    })
    .await
}

/// A rate of refusals means nothing.
pub(super) fn all_accepted(stats: &HttpStats, count: u64) -> anyhow::Result<()> {
    ensure!(
        stats.accepted == count,
        "the producer accepted {} of {count} events; answers by status: {:?}",
        stats.accepted,
        stats.statuses
    );
    Ok(())
}
