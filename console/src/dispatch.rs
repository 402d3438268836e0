//! Which command does what was asked.

use common::bootstrap::Failure;

use crate::app::{App, start};
use crate::args::{Cli, Command};
use crate::commands::{
    dead, doctor, events, explain, history, migrate, publish, queues, replay, topology, verify,
};
use crate::demo;
use crate::output::Output;

/// Reads the configuration and does what was asked.
pub(crate) fn run(cli: Cli) -> Result<(), Failure> {
    let output = Output::new(cli.json);
    // Needs no configuration, so it works where that is what is broken.
    if let Command::Explain(args) = &cli.command {
        return explain::run(args, &output);
    }
    start("longshore", output, async |app| {
        dispatch(app, cli.command).await
    })
}

async fn dispatch(app: App, command: Command) -> Result<(), Failure> {
    match command {
        Command::Migrate => migrate::run(&app).await,
        Command::Topology(command) => topology::run(&app, command).await,
        Command::Queues => queues::run(&app).await,
        Command::Publish(args) => publish::run(&app, args).await,
        Command::Events(command) => events::run(&app, command).await,
        Command::Dead(command) => dead::run(&app, command).await,
        Command::Replay(command) => replay::run(&app, command).await,
        Command::History(command) => history::run(&app, command).await,
        Command::Verify(args) => verify::run(&app, args).await,
        Command::Explain(args) => explain::run(&args, &app.output),
        Command::Doctor(args) => doctor::run(&app, args).await,
        Command::Demo(args) => demo::run(&app, args).await,
        Command::Run(_) | Command::Dev(_) => Err(Failure::Usage(
            "`run` and `dev` start before anything else".to_owned(),
        )),
    }
}
