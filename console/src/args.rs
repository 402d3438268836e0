//! The command line.

use clap::{Parser, Subcommand};

use crate::commands::{
    audit::AuditCommand, dead::DeadCommand, destinations::DestinationsCommand, doctor::DoctorArgs,
    events::EventsCommand, explain::ExplainArgs, history::HistoryCommand, keys::KeysCommand,
    operators::OperatorsCommand, publish::PublishArgs, replay::ReplayCommand, run::RunArgs,
    topology::TopologyCommand, verify::VerifyArgs,
};
use crate::demo::DemoArgs;
use crate::dev::DevArgs;

const EXAMPLES: &str = "\
Examples:
  longshore doctor                          what is wrong, and what to do about it
  longshore dead list --reason receiver_failing
  longshore dead replay --destination crm   send them again, once the receiver is mended
  longshore demo                            see the whole system work, in a minute
  longshore dev                             run it in one process and work against it

Configuration: environment (LONGSHORE_BROKER_URL, LONGSHORE_DATABASE_URL, LONGSHORE_NAMESPACE, …), \
then the file that LONGSHORE_CONFIG names, then defaults; `longshore doctor` shows what is in force. \
Without URLs everything is kept by the embedded engine, in the folder longshore-data.

Exit codes: 0 done, 1 the work failed, 2 wrong usage or configuration, 3 a dependency is unreachable.";

/// Operates a Longshore system: looks at it, mends it, shows it.
#[derive(Debug, Parser)]
#[command(name = "longshore", version, after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Cli {
    /// Print one JSON document and nothing else on standard output
    #[arg(long, global = true)]
    pub json: bool,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Bring the database schema up to date
    #[command(
        after_help = "Safe at any time and from many places at once; what is up to date stays as it is."
    )]
    Migrate,
    /// Show, declare, check or delete the exchanges and queues
    #[command(subcommand)]
    Topology(TopologyCommand),
    /// Show how full every queue is and who consumes it
    #[command(after_help = "Lines that need somebody's attention say why.")]
    Queues,
    /// Publish events from a file straight to the broker
    Publish(PublishArgs),
    /// Look at events, and find those that are stuck
    #[command(subcommand)]
    Events(EventsCommand),
    /// Find, understand and replay dead letters
    #[command(subcommand)]
    Dead(DeadCommand),
    /// Look at replays and steer them
    #[command(subcommand)]
    Replay(ReplayCommand),
    /// Look at everything that came through a door, and send a part of it again
    #[command(subcommand)]
    History(HistoryCommand),
    /// Look at destinations, pause them and let them go on
    #[command(subcommand)]
    Destinations(DestinationsCommand),
    /// Make, list, rotate and revoke the keys of the door
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Check that everything received is accounted for
    Verify(VerifyArgs),
    /// Make, list and revoke operators, each with a role and a key
    #[command(subcommand)]
    Operators(OperatorsCommand),
    /// Look at the record of what operators did, and check that it is whole
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Explain a reason code, or list them all
    Explain(ExplainArgs),
    /// Look at everything once and say what is wrong and what to do about it
    Doctor(DoctorArgs),
    /// Send real input through a fresh system with failing receivers, and print the ledger
    Demo(DemoArgs),
    /// Run the whole system in this process, to be worked against
    Dev(DevArgs),
    /// Run one of the programs in this process
    Run(RunArgs),
}

#[cfg(test)]
mod tests;
