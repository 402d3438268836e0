//! The embedded engine: the whole pipeline in one process, beside a bare insert loop.

use std::time::Instant;

use anyhow::Context as _;
use bench::http_load::{self, HttpLoad};
use bench::sqlite::{Inserts, inserts};
use bench::{Events, Report, Unit, usage};
use common::bootstrap::Failure;
use longshore::system::System;

use super::door::all_accepted;
use super::lab::{EVENT_BYTES, Lab, MEGABYTE, median};
use super::pipeline::until_stored;
use crate::args::{Cli, What};

/// Events in a request.
const BATCH: u64 = 100;

/// Connections that send them.
const CONNECTIONS: usize = 8;

/// Events a second that the whole is to reach.
const GOAL: f64 = 3000.0;

/// Rows in a transaction of the bare loop.
const ROWS: u64 = 256;

/// Rows that the bare loop writes with a transaction for each.
const LONE_ROWS: u64 = 1000;

/// Maximum growth of memory, in megabytes, that counts as flat after ten times 20,000 events. The allocator's arenas
/// grow by steps of some megabytes now and then. A leak of a hundred bytes for each event would come to as much.
const FLAT: f64 = 20.0;

pub(super) async fn measure(lab: &Lab, args: &Cli, report: &mut Report) -> Result<(), Failure> {
    if args.wants(What::Store) {
        rates(lab, args, report).await?;
    }
    if args.wants(What::Memory) {
        memory(lab, args.events, report).await?;
    }
    Ok(())
}

/// Bare loop and pipeline in turn, so that other load on the machine meets both.
async fn rates(lab: &Lab, args: &Cli, report: &mut Report) -> Result<(), Failure> {
    let (mut bare, mut lone, mut ours) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=args.rounds {
        lab.check()?;
        bare.push(bare_rate(args.events, ROWS).await?);
        lone.push(bare_rate(LONE_ROWS, 1).await?);
        let rate = lab
            .on_a_system("", async |system| {
                let mut whole = Whole::start(system).await?;
                whole.send(system, WARM).await?;
                whole.send(system, args.events).await
            })
            .await?;
        lab.say(&format!("round {round}: {rate:.0} events/s stored"));
        ours.push(rate);
    }
    let (bare, ours) = (median(bare), median(ours));
    report.add("sqlite_inserts", bare, Unit::EventsPerSecond);
    report.add("sqlite_lone_inserts", median(lone), Unit::EventsPerSecond);
    report.aim("embedded_stored", ours, Unit::EventsPerSecond, GOAL);
    report.add("embedded_to_sqlite_inserts", ours / bare, Unit::Ratio);
    Ok(())
}

/// The bare loop, in a temporary folder as the pipeline's files are; rows a second.
async fn bare_rate(count: u64, batch: u64) -> anyhow::Result<f64> {
    let folder = tempfile::Builder::new().prefix("longshore-").tempdir()?;
    let load = Inserts {
        events: Events::new(EVENT_BYTES),
        count,
        batch,
    };
    inserts(&folder.path().join("bare.db"), &load).await
}

/// Memory before and after ten times `events`, once half as many have filled every cache.
async fn memory(lab: &Lab, events: u64, report: &mut Report) -> Result<(), Failure> {
    let many = 10 * events;
    lab.say(&format!("watching memory over {many} events"));
    lab.on_a_system("", async |system| {
        let mut whole = Whole::start(system).await?;
        whole.send(system, many / 2).await?;
        let before = whole.memory()?;
        let rate = whole.send(system, many).await?;
        let after = whole.memory()?;
        report.aim("embedded_stored_long", rate, Unit::EventsPerSecond, GOAL);
        report.add("embedded_memory_before", before, Unit::Megabytes);
        report.add("embedded_memory_after", after, Unit::Megabytes);
        let growth = (after - before).max(0.0);
        report.aim("embedded_memory_growth", growth, Unit::Megabytes, FLAT);
        Ok(())
    })
    .await
}

/// Events that are sent before it counts: connections and caches are warm then.
const WARM: u64 = 1000;

/// The whole pipeline in one process.
struct Whole {
    url: String,
    pid: u32,
    /// Events sent so far.
    sent: u64,
}

impl Whole {
    async fn start(system: &mut System) -> Result<Self, Failure> {
        let address = system.start_dev().await?;
        let (_, pid) = system.processes().pop().context("it has ended already")?;
        Ok(Self {
            url: format!("http://{address}"),
            pid,
            sent: 0,
        })
    }

    /// Sends `count` events and waits until each is stored and handed on; events a second.
    async fn send(&mut self, system: &System, count: u64) -> Result<f64, Failure> {
        let load = HttpLoad {
            base_url: self.url.clone(),
            key: None,
            events: Events::new(EVENT_BYTES),
            count,
            connections: CONNECTIONS,
            rate: None,
            accepted: None,
        };
        let metrics = format!("{}/metrics", self.url);
        let begun = Instant::now();
        let sent = http_load::batches(&load, BATCH).await?;
        all_accepted(&sent, count)?;
        self.sent += count;
        let ended = until_stored(system, &metrics, self.sent).await?;
        let seconds = ended.duration_since(begun).as_secs_f64();
        Ok(count as f64 / seconds.max(f64::EPSILON))
    }

    /// Its resident memory, in megabytes.
    fn memory(&self) -> anyhow::Result<f64> {
        Ok(usage(self.pid)?.resident_bytes as f64 / MEGABYTE)
    }
}
