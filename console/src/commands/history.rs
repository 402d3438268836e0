//! `longshore history`

mod replay;
mod stats;

use clap::Subcommand;
use common::bootstrap::Failure;

use crate::app::App;

/// What to do with the history: everything that came through a door, for as long as `history.keep` says.
#[derive(Debug, Subcommand)]
pub enum HistoryCommand {
    /// Show from when to when there is history, and how much of it, by type
    Stats,
    /// Send a part of the history to one queue, such as the past to a new destination
    Replay(replay::HistoryReplayArgs),
}

pub(crate) async fn run(app: &App, command: HistoryCommand) -> Result<(), Failure> {
    match command {
        HistoryCommand::Stats => stats::run(app).await,
        HistoryCommand::Replay(args) => replay::run(app, args).await,
    }
}
