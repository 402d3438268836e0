//! `longshore dead`

mod discard;
mod edit;
mod filter;
mod list;
mod purge;
mod replay;
mod show;
mod spark;
mod stats;

use clap::Subcommand;
use common::bootstrap::Failure;
use uuid::Uuid;

use crate::app::App;

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub enum DeadCommand {
    /// List dead letters, newest first
    List(list::ListArgs),
    /// Count dead letters by what they died of, the most frequent first
    Stats(stats::StatsArgs),
    /// Tell one dead letter's whole story, and what to do about it (secrets masked)
    #[command(after_help = "Example:\n  longshore dead show 0b8e4cde-8f9a-5b0e-a7a1-6d0f6a1f3c11")]
    Show {
        /// The dead letter's id
        id: Uuid,
    },
    /// Mend an open dead letter's body before it is sent again
    Edit(edit::EditArgs),
    /// Send dead letters to their queues again
    Replay(replay::ReplayArgs),
    /// Give dead letters up; can be undone until the retention is over
    Discard(discard::DiscardArgs),
    /// Open discarded dead letters again
    Restore(discard::RestoreArgs),
    /// Remove what was replayed or discarded longer ago than the retention, for good
    Purge(purge::PurgeArgs),
}

pub(crate) async fn run(app: &App, command: DeadCommand) -> Result<(), Failure> {
    match command {
        DeadCommand::List(args) => list::run(app, args).await,
        DeadCommand::Stats(args) => stats::run(app, args).await,
        DeadCommand::Show { id } => show::run(app, id).await,
        DeadCommand::Edit(args) => edit::run(app, args).await,
        DeadCommand::Replay(args) => replay::run(app, args).await,
        DeadCommand::Discard(args) => discard::discard(app, args).await,
        DeadCommand::Restore(args) => discard::restore(app, args).await,
        DeadCommand::Purge(args) => purge::run(app, args).await,
    }
}
