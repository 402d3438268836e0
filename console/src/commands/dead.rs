//! `longshore dead`

mod filter;
mod list;
mod replay;
mod show;

use clap::Subcommand;
use common::bootstrap::Failure;
use uuid::Uuid;

use crate::app::App;

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub enum DeadCommand {
    /// List dead letters, newest first
    List(list::ListArgs),
    /// Tell one dead letter's whole story, and what to do about it (secrets masked)
    #[command(after_help = "Example:\n  longshore dead show 0b8e4cde-8f9a-5b0e-a7a1-6d0f6a1f3c11")]
    Show {
        /// The dead letter's id
        id: Uuid,
    },
    /// Send dead letters to their queues again
    Replay(replay::ReplayArgs),
}

pub(crate) async fn run(app: &App, command: DeadCommand) -> Result<(), Failure> {
    match command {
        DeadCommand::List(args) => list::run(app, args).await,
        DeadCommand::Show { id } => show::run(app, id).await,
        DeadCommand::Replay(args) => replay::run(app, args).await,
    }
}
