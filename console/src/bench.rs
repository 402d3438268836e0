//! `longshore bench`: the pipeline measured beside something raw, in the same run on the same machine.

mod door;
mod embedded;
mod flood;
mod lab;
mod latency;
mod letters;
mod pipeline;
mod plan;
mod replay;
mod text;

use ::bench::twin::{self, Load, Tuning};
use ::bench::{Report, Unit};
use anyhow::anyhow;
use clap::{Args, Subcommand, ValueEnum};
use common::bootstrap::Failure;
use common::config::Config;
use common::telemetry::stderr;

use crate::app::App;
use crate::output::List;
use crate::stop;
use lab::{EVENT_BYTES, Lab, median};
use pipeline::{Run, Shape};

/// What to measure, and how much of it.
#[derive(Debug, Args)]
#[command(after_help = "\
On RabbitMQ and PostgreSQL each measurement has a namespace of its own and removes it again.
Twin (a program written by hand that does the same hops, inserts and POSTs and nothing else)
and pipeline take turns over the same number of events of 1 kB; the median of the rounds
counts. The pipeline runs twice in each round: as a program for each worker, as in production,
and with all of them in one process, as the twin is one.

On the embedded engine the whole pipeline runs in one process, as `longshore dev` runs it, in a
temporary folder: events come over HTTP in batches of 100, each answered when it is on the
disk, and the clock runs from the first request until the last event is stored and handed on.
Beside it stands a bare SQLite loop with the same durability that inserts each event once, 256
in a transaction, and does nothing else. Memory is watched over ten times as many events, after
half as many again.

Build with --release: the figures of a debug build mean little. Figures with a goal say whether
it is met; a busy machine misses what a quiet one meets, so that changes no exit code without
--check.

Examples:
  longshore bench
  longshore bench --engine embedded --json
  longshore bench --check
  longshore bench --only pipeline --rounds 5
  longshore bench --backlog 500000 --only backlog --json
  longshore bench replay --json
  longshore bench letters --json
  longshore bench flood --json")]
#[command(args_conflicts_with_subcommands = true)]
pub struct BenchArgs {
    #[command(subcommand)]
    command: Option<BenchCommand>,
    /// What to measure on [default: what LONGSHORE_BROKER_URL leads to; embedded without it]
    #[arg(long)]
    engine: Option<Engine>,
    /// Exit with 1 when a goal is missed
    #[arg(long)]
    check: bool,
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

/// What is measured by itself.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Measure a bulk replay of dead letters beside raw publishing
    Replay(replay::BenchReplayArgs),
    /// Measure how fast dead letters are found among a million
    Letters(letters::BenchLettersArgs),
    /// Measure a flood of dead letters beside the pipeline
    Flood(flood::BenchFloodArgs),
}

/// What can be measured on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// SQLite files in a temporary folder
    Embedded,
    /// The RabbitMQ and PostgreSQL of the configuration
    Rabbitmq,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// Pipeline and twin over a backlog, from `received` to a receiver
    Pipeline,
    /// The same, only as far as the database; on the embedded engine beside a bare insert loop
    Store,
    /// What the producer accepts, beside raw publishing
    Producer,
    /// From the door to a receiver at 500 events a second; memory and processor time while idle
    Latency,
    /// Whether a large backlog drains as fast as a small one
    Backlog,
    /// Memory before and after many events; on the embedded engine alone
    Memory,
}

impl Engine {
    /// Whether this can be measured on it.
    fn measures(self, what: What) -> bool {
        match self {
            Self::Embedded => matches!(what, What::Store | What::Memory),
            Self::Rabbitmq => what != What::Memory,
        }
    }
}

pub(crate) async fn run(app: &App, args: BenchArgs) -> Result<(), Failure> {
    if cfg!(debug_assertions) {
        stderr::say("this is a debug build: its figures mean little (cargo run --release)");
    }
    let engine = engine(&args, &app.config)?;
    let mut config = app.config.clone();
    if engine == Engine::Embedded {
        // In a temporary folder, wherever the configured files are.
        let preset = Config::default();
        (config.broker.url, config.database.url) = (preset.broker.url, preset.database.url);
    }
    let lab = Lab {
        config,
        stop: stop::on_signals()?,
    };
    let mut report = Report::default();
    let check = match (&args.command, engine) {
        (Some(BenchCommand::Replay(replay)), _) => {
            replay::measure(&lab, replay, &mut report).await?;
            replay.check
        }
        (Some(BenchCommand::Letters(letters)), _) => {
            letters::measure(&lab, letters, &mut report).await?;
            letters.check
        }
        (Some(BenchCommand::Flood(flood)), _) => {
            flood::measure(&lab, flood, &mut report).await?;
            flood.check
        }
        (None, Engine::Embedded) => {
            embedded::measure(&lab, &args, &mut report).await?;
            args.check
        }
        (None, Engine::Rabbitmq) => {
            services(&lab, &args, &mut report).await?;
            args.check
        }
    };
    let met = report.met();
    app.output
        .show(&List::whole(report.items), |list| text::text(&list.items))?;
    if check && !met {
        return Err(Failure::Failed(anyhow!("a goal is missed")));
    }
    Ok(())
}

/// The engine to measure on.
fn engine(args: &BenchArgs, config: &Config) -> Result<Engine, Failure> {
    let configured = [&config.broker.url, &config.database.url];
    let services = configured.iter().all(|url| !url.is_embedded());
    let engine = args.engine.unwrap_or(if config.broker.url.is_embedded() {
        Engine::Embedded
    } else {
        Engine::Rabbitmq
    });
    if engine == Engine::Rabbitmq && !services {
        let [broker, database] = configured;
        return Err(Failure::Usage(format!(
            "--engine rabbitmq: expected LONGSHORE_BROKER_URL=amqp://… and \
             LONGSHORE_DATABASE_URL=postgres://…, found {broker} and {database}"
        )));
    }
    match args.only.iter().find(|what| !engine.measures(**what)) {
        Some(what) => Err(Failure::Usage(format!(
            "--only: {what:?} cannot be measured on {engine:?}, see --help"
        ))),
        None => Ok(engine),
    }
}

/// Whether this was asked for.
fn wanted(args: &BenchArgs, what: What) -> bool {
    args.only.is_empty() || args.only.contains(&what)
}

/// The measurements on RabbitMQ and PostgreSQL.
async fn services(lab: &Lab, args: &BenchArgs, report: &mut Report) -> Result<(), Failure> {
    let wanted = |what| wanted(args, what);
    if wanted(What::Pipeline) || wanted(What::Store) {
        lab.say("warming up");
        twin_run(lab, 2000, true).await?;
        pipeline::backlog(lab, 2000, true, Shape::Programs).await?;
    }
    if wanted(What::Pipeline) {
        compare(lab, args, true, report).await?;
    }
    if wanted(What::Store) {
        compare(lab, args, false, report).await?;
    }
    if wanted(What::Producer) {
        door::measure(lab, args.events, args.rounds, report).await?;
    }
    if wanted(What::Latency) {
        latency::measure(lab, report).await?;
    }
    if wanted(What::Backlog) {
        backlogs(lab, args.backlog, report).await?;
    }
    Ok(())
}

/// Who uses the processor, and how the names of their processes begin. `longshore` is also this very
/// program, with the receiver in it.
const PROCESSES: [(&str, &str); 3] = [
    ("broker", "beam.smp"),
    ("database", "postgres"),
    ("own", "longshore"),
];

/// Twin and pipeline in turn, so that whatever else the machine does meets both. Beside the rates
/// stands what each event cost in processor time: on a busy machine that is the steadier figure.
async fn compare(
    lab: &Lab,
    args: &BenchArgs,
    deliver: bool,
    report: &mut Report,
) -> Result<(), Failure> {
    let mut of = [Vec::new(), Vec::new(), Vec::new()];
    for round in 1..=args.rounds {
        let twin = twin_run(lab, args.events, deliver).await?;
        let program = pipeline::backlog(lab, args.events, deliver, Shape::Programs).await?;
        let whole = pipeline::backlog(lab, args.events, deliver, Shape::OneProcess).await?;
        lab.say(&format!(
            "round {round}: twin {:.0}, pipeline {:.0}, in one process {:.0} events/s",
            twin.rate, program.rate, whole.rate
        ));
        for (runs, run) in of.iter_mut().zip([twin, program, whole]) {
            runs.push(run);
        }
    }
    let name = if deliver { "delivered" } else { "stored" };
    let rates = of
        .each_ref()
        .map(|runs| median(runs.iter().map(|run| run.rate).collect()));
    let shapes = ["twin", "pipeline", "one_process"];
    for (shape, rate) in shapes.iter().zip(rates) {
        report.add(format!("{shape}_{name}"), rate, Unit::EventsPerSecond);
        if *shape != "twin" {
            let ratio = format!("{shape}_to_twin_{name}");
            report.aim(ratio, rate / rates[0], Unit::Ratio, 0.8);
        }
    }
    for (shape, runs) in shapes.iter().zip(&of) {
        for (who, process) in PROCESSES {
            let each = |run: &Run| run.cpu.of(process) * 1e6 / args.events as f64;
            let cost = median(runs.iter().map(each).collect());
            report.add(
                format!("{shape}_{name}_cpu_{who}"),
                cost,
                Unit::Microseconds,
            );
        }
    }
    Ok(())
}

async fn twin_run(lab: &Lab, count: u64, deliver: bool) -> Result<Run, Failure> {
    lab.check()?;
    let load = Load {
        count,
        bytes: EVENT_BYTES,
        deliver,
    };
    let run = twin::backlog(&lab.services(), &load, &Tuning::default()).await?;
    Ok(Run {
        rate: run.rate,
        cpu: run.cpu,
    })
}

async fn backlogs(lab: &Lab, large: u64, report: &mut Report) -> Result<(), Failure> {
    let small = (large / 5).min(10_000);
    lab.say(&format!("a backlog of {small}, then one of {large}"));
    let first = pipeline::backlog(lab, small, true, Shape::Programs).await?;
    let second = pipeline::backlog(lab, large, true, Shape::Programs).await?;
    report.add("backlog_small", first.rate, Unit::EventsPerSecond);
    report.add("backlog_large", second.rate, Unit::EventsPerSecond);
    report.aim(
        "backlog_large_to_small",
        second.rate / first.rate,
        Unit::Ratio,
        0.8,
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(engine: Option<Engine>, only: &[What]) -> BenchArgs {
        BenchArgs {
            command: None,
            engine,
            check: false,
            events: 1000,
            rounds: 1,
            backlog: 10_000,
            only: only.to_vec(),
        }
    }

    #[test]
    fn the_configured_engine_is_measured_unless_another_is_asked_for() {
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let urls = [
            ("LONGSHORE_BROKER_URL", "amqp://h"),
            ("LONGSHORE_DATABASE_URL", "postgres://h/d"),
        ];
        let services = common::config::load_from(urls.map(owned)).unwrap();
        let preset = Config::default();
        let chosen = |asked, config: &Config| engine(&args(asked, &[]), config).ok();
        assert_eq!(chosen(None, &preset), Some(Engine::Embedded));
        assert_eq!(chosen(None, &services), Some(Engine::Rabbitmq));
        let embedded = Some(Engine::Embedded);
        assert_eq!(chosen(embedded, &services), embedded);
        assert_eq!(chosen(Some(Engine::Rabbitmq), &preset), None);
    }

    #[test]
    fn what_an_engine_cannot_measure_is_wrong_usage() {
        let refused = engine(&args(None, &[What::Producer]), &Config::default());
        assert_eq!(refused.map_err(|failure| failure.code()), Err(2));
    }
}
