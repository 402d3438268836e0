//! The measurements, and the engine of each.

mod door;
mod embedded;
pub(crate) mod flood;
pub(crate) mod isolation;
mod keys;
mod lab;
mod latency;
pub(crate) mod letters;
mod pipeline;
pub(crate) mod replay;
pub(crate) mod schedule;
pub(crate) mod shares;
mod text;

use anyhow::anyhow;
use bench::twin::{self, Load, Tuning};
use bench::{Report, Unit};
use common::bootstrap::Failure;
use common::config::Config;
use common::telemetry::stderr;
use longshore::app::App;
use longshore::output::List;
use longshore::stop;

use crate::args::{Cli, Command, Engine, What};
use lab::{EVENT_BYTES, Lab, median};
use pipeline::{Run, Shape};

/// Makes the chosen measurements and prints the figures.
pub(crate) async fn run(app: &App, args: &Cli) -> Result<(), Failure> {
    if cfg!(debug_assertions) {
        stderr::say("this is a debug build: its figures mean little (cargo run --release)");
    }
    let engine = engine(args, &app.config)?;
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
        (Some(Command::Replay(replay)), _) => {
            replay::measure(&lab, replay, &mut report).await?;
            replay.check
        }
        (Some(Command::Letters(letters)), _) => {
            letters::measure(&lab, letters, &mut report).await?;
            letters.check
        }
        (Some(Command::Flood(flood)), _) => {
            flood::measure(&lab, flood, &mut report).await?;
            flood.check
        }
        (Some(Command::Isolation(isolation)), _) => {
            isolation::measure(&lab, isolation, &mut report).await?;
            isolation.check
        }
        (Some(Command::Schedule(schedule)), _) => {
            schedule::measure(&lab, schedule, &mut report).await?;
            schedule.check
        }
        (Some(Command::Shares(shares)), _) => {
            shares::measure(&lab, shares, &mut report).await?;
            shares.check
        }
        (None, Engine::Embedded) => {
            embedded::measure(&lab, args, &mut report).await?;
            args.check
        }
        (None, Engine::Rabbitmq) => {
            services(&lab, args, &mut report).await?;
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
fn engine(args: &Cli, config: &Config) -> Result<Engine, Failure> {
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

/// The measurements on RabbitMQ and PostgreSQL.
async fn services(lab: &Lab, args: &Cli, report: &mut Report) -> Result<(), Failure> {
    if args.wants(What::Pipeline) || args.wants(What::Store) {
        lab.say("warming up");
        twin_run(lab, 2000, true).await?;
        pipeline::backlog(lab, 2000, true, Shape::Programs).await?;
    }
    if args.wants(What::Pipeline) {
        compare(lab, args, true, report).await?;
    }
    if args.wants(What::Store) {
        compare(lab, args, false, report).await?;
    }
    if args.wants(What::Producer) {
        door::measure(lab, args.events, args.rounds, report).await?;
    }
    if args.wants(What::Keys) {
        keys::measure(lab, args.events, args.rounds, report).await?;
    }
    if args.wants(What::Latency) {
        latency::measure(lab, report).await?;
    }
    if args.wants(What::Backlog) {
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

/// Twin and pipeline in turn, so that other load on the machine meets both. Beside the rates is the
/// processor time of each event: on a busy machine that is the steadier figure.
async fn compare(lab: &Lab, args: &Cli, deliver: bool, report: &mut Report) -> Result<(), Failure> {
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

    fn args(engine: Option<Engine>, only: &[What]) -> Cli {
        Cli {
            json: false,
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
