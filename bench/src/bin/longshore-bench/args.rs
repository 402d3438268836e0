//! The command line.

use clap::{Parser, Subcommand, ValueEnum};

use crate::measure::flood::FloodArgs;
use crate::measure::isolation::IsolationArgs;
use crate::measure::letters::LettersArgs;
use crate::measure::replay::ReplayArgs;
use crate::measure::schedule::ScheduleArgs;
use crate::measure::shares::SharesArgs;

const ABOUT: &str = "\
On RabbitMQ and PostgreSQL each measurement has a namespace of its own and removes it again.
The twin is a hand-written program that makes the same hops, inserts and POSTs and nothing else.
Twin and pipeline take turns over the same number of events of 1 kB; the median of the rounds
counts. The pipeline runs twice in each round: with a program for each worker, as in production,
and with all workers in one process, like the twin.

On the embedded engine the whole pipeline runs in one process, as `longshore dev` runs it, in a
temporary folder. Events come over HTTP in batches of 100, each answered when it is on the
disk. The clock runs from the first request until the last event is stored and published. The
yardstick is a bare SQLite loop with the same durability: it inserts each event once, 256 in a
transaction. Memory is measured over ten times as many events, after half as many to warm up.

Build with --release: the figures of a debug build mean little. Figures with a goal say whether
it is met. A busy machine may miss a goal that a quiet one meets, so a missed goal changes the
exit code only with --check.

Examples:
  longshore-bench
  longshore-bench --engine embedded --json
  longshore-bench --check
  longshore-bench --only pipeline --rounds 5
  longshore-bench --backlog 500000 --only backlog --json
  longshore-bench replay --json
  longshore-bench letters --json
  longshore-bench flood --json
  longshore-bench isolation --json
  longshore-bench schedule --json
  longshore-bench shares --json

Exit codes: 0 done, 1 the work failed, 2 wrong usage or configuration, 3 a dependency is unreachable.";

/// Measures Longshore beside something raw, in the same run on the same machine.
#[derive(Debug, Parser)]
#[command(name = "longshore-bench", version, after_help = ABOUT, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    /// Print one JSON document and nothing else on standard output
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// The engine to measure [default: that of LONGSHORE_BROKER_URL; embedded without it]
    #[arg(long)]
    pub(crate) engine: Option<Engine>,
    /// Exit with 1 when a goal is missed
    #[arg(long)]
    pub(crate) check: bool,
    /// Events of each round
    #[arg(long, default_value_t = 20_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1000..))]
    pub(crate) events: u64,
    /// Rounds of each comparison
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=99))]
    pub(crate) rounds: u32,
    /// Events of the large backlog; a fifth of it, 10,000 at most, is the small one
    #[arg(long, default_value_t = 50_000, value_name = "N", value_parser = clap::value_parser!(u64).range(10_000..))]
    pub(crate) backlog: u64,
    /// Measure these alone
    #[arg(long, value_delimiter = ',', value_name = "WHAT")]
    pub(crate) only: Vec<What>,
}

/// The measurements that run by themselves.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Measure a bulk replay of dead letters beside raw publishing
    Replay(ReplayArgs),
    /// Measure how fast dead letters are found among a million
    Letters(LettersArgs),
    /// Measure a flood of dead letters beside the pipeline
    Flood(FloodArgs),
    /// Measure whether one sick destination makes nineteen others slower
    Isolation(IsolationArgs),
    /// Measure how punctual scheduled events are, and what many that wait cost
    Schedule(ScheduleArgs),
    /// Measure whether copies that come and go keep the rate that they share
    Shares(SharesArgs),
}

/// The engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    /// SQLite files in a temporary folder
    Embedded,
    /// The RabbitMQ and PostgreSQL of the configuration
    Rabbitmq,
}

/// The measurements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum What {
    /// Pipeline and twin over a backlog, from `received` to a receiver
    Pipeline,
    /// Pipeline and twin as far as the database; on the embedded engine beside a bare insert loop
    Store,
    /// The producer's rate, beside raw publishing
    Producer,
    /// A door that asks for keys, beside an open one; one look among 100,000 keys
    Keys,
    /// From the door to a receiver at 500 events a second; memory and processor time while idle
    Latency,
    /// Whether a large backlog drains as fast as a small one
    Backlog,
    /// Memory before and after many events; on the embedded engine alone
    Memory,
}

impl Engine {
    /// Whether this can be measured on it.
    pub(crate) fn measures(self, what: What) -> bool {
        match self {
            Self::Embedded => matches!(what, What::Store | What::Memory),
            Self::Rabbitmq => what != What::Memory,
        }
    }
}

impl Cli {
    /// Whether this was asked for.
    pub(crate) fn wants(&self, what: What) -> bool {
        self.only.is_empty() || self.only.contains(&what)
    }
}

#[cfg(test)]
mod tests;
