//! `longshore bench`: the pipeline measured beside a raw twin, in the same run on the same machine.

mod door;
mod lab;
mod latency;
mod pipeline;
mod text;

use ::bench::twin::{self, Load, Tuning};
use ::bench::{Report, Unit};
use clap::{Args, ValueEnum};
use common::bootstrap::Failure;

use crate::app::App;
use crate::output::List;
use crate::stop;
use lab::{EVENT_BYTES, Lab, median};

/// What to measure, and how much of it.
#[derive(Debug, Args)]
#[command(after_help = "\
Each measurement has a namespace of its own on the configured broker and database and removes it
again. Twin and pipeline take turns over the same number of events of 1 kB; the median of the rounds
counts. Build with --release: the figures of a debug build mean little.

Examples:
  longshore bench
  longshore bench --only pipeline --rounds 5
  longshore bench --backlog 500000 --only backlog --json")]
pub struct BenchArgs {
    /// Events of each round
    #[arg(long, default_value_t = 20_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1000..))]
    events: u64,
    /// Rounds of each comparison
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// Events of the large backlog; a fifth of it, 10,000 at most, is the small one
    #[arg(long, default_value_t = 50_000, value_name = "N", value_parser = clap::value_parser!(u64).range(10_000..))]
    backlog: u64,
    /// Measure these alone
    #[arg(long, value_delimiter = ',', value_name = "WHAT")]
    only: Vec<What>,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// Pipeline and twin over a backlog, from `received` to a receiver
    Pipeline,
    /// The same, only as far as the database
    Store,
    /// What the producer accepts, beside raw publishing
    Producer,
    /// From the door to a receiver at 500 events a second; memory and processor time while idle
    Latency,
    /// Whether a large backlog drains as fast as a small one
    Backlog,
}

pub(crate) async fn run(app: &App, args: BenchArgs) -> Result<(), Failure> {
    if cfg!(debug_assertions) {
        eprintln!("this is a debug build: its figures mean little (cargo run --release)");
    }
    let lab = Lab {
        config: &app.config,
        stop: stop::on_signals()?,
    };
    let wanted = |what| args.only.is_empty() || args.only.contains(&what);
    let mut report = Report::default();
    if wanted(What::Pipeline) || wanted(What::Store) {
        lab.say("warming up");
        twin_rate(&lab, 2000, true).await?;
        pipeline::backlog(&lab, 2000, true).await?;
    }
    if wanted(What::Pipeline) {
        compare(&lab, &args, true, &mut report).await?;
    }
    if wanted(What::Store) {
        compare(&lab, &args, false, &mut report).await?;
    }
    if wanted(What::Producer) {
        door::measure(&lab, args.events, args.rounds, &mut report).await?;
    }
    if wanted(What::Latency) {
        latency::measure(&lab, &mut report).await?;
    }
    if wanted(What::Backlog) {
        backlogs(&lab, args.backlog, &mut report).await?;
    }
    app.output
        .show(&List::whole(report.items), |list| text::text(&list.items))
}

/// Twin and pipeline in turn, so that whatever else the machine does meets both.
async fn compare(
    lab: &Lab<'_>,
    args: &BenchArgs,
    deliver: bool,
    report: &mut Report,
) -> Result<(), Failure> {
    let (mut twins, mut ours) = (Vec::new(), Vec::new());
    for round in 1..=args.rounds {
        let twin = twin_rate(lab, args.events, deliver).await?;
        let pipeline = pipeline::backlog(lab, args.events, deliver).await?;
        lab.say(&format!(
            "round {round}: twin {twin:.0}, pipeline {pipeline:.0} events/s"
        ));
        twins.push(twin);
        ours.push(pipeline);
    }
    let (twin, ours) = (median(twins), median(ours));
    let name = if deliver { "delivered" } else { "stored" };
    report.add(format!("twin_{name}"), twin, Unit::EventsPerSecond);
    report.add(format!("pipeline_{name}"), ours, Unit::EventsPerSecond);
    report.aim(
        format!("pipeline_to_twin_{name}"),
        ours / twin,
        Unit::Ratio,
        0.8,
    );
    Ok(())
}

async fn twin_rate(lab: &Lab<'_>, count: u64, deliver: bool) -> Result<f64, Failure> {
    lab.check()?;
    let load = Load {
        count,
        bytes: EVENT_BYTES,
        deliver,
    };
    Ok(twin::backlog(&lab.services(), &load, &Tuning::default())
        .await?
        .rate)
}

async fn backlogs(lab: &Lab<'_>, large: u64, report: &mut Report) -> Result<(), Failure> {
    let small = (large / 5).min(10_000);
    lab.say(&format!("a backlog of {small}, then one of {large}"));
    let first = pipeline::backlog(lab, small, true).await?;
    let rate = pipeline::backlog(lab, large, true).await?;
    report.add("backlog_small", first, Unit::EventsPerSecond);
    report.add("backlog_large", rate, Unit::EventsPerSecond);
    report.aim("backlog_large_to_small", rate / first, Unit::Ratio, 0.8);
    Ok(())
}
