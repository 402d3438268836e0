//! Maps the command line to commands.

use common::bootstrap::Failure;
use common::config::Sources;

use crate::app::{App, sources, start, with_places};
use crate::args::{Cli, Command};
use crate::commands::{
    audit, dead, destinations, doctor, events, explain, history, keys, migrate, operators, publish,
    queues, replay, topology, verify,
};
use crate::demo;
use crate::output::Output;

/// Reads the configuration and runs the command.
pub(crate) fn run(cli: Cli) -> Result<(), Failure> {
    let output = Output::new(cli.json);
    match cli.command {
        // Needs no configuration, so it works even where the configuration is broken.
        Command::Explain(args) => explain::run(&args, &output),
        // A system of its own, whatever else runs in this folder.
        Command::Demo(args) => start("longshore", output, &Sources::of_process()?, async |app| {
            demo::run(&app, args).await
        }),
        // Tells by itself where it looks.
        Command::Doctor(args) => start("longshore", output, &sources()?, async |app| {
            doctor::run(&app, args).await
        }),
        command => start("longshore", output, &sources()?, async |app| {
            let settings = app.settings.clone();
            let done = dispatch(app, command).await;
            done.map_err(|failure| with_places(failure, &settings))
        }),
    }
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
        Command::Destinations(command) => destinations::run(&app, command).await,
        Command::Keys(command) => keys::run(&app, command).await,
        Command::Verify(args) => verify::run(&app, args).await,
        Command::Operators(command) => operators::run(&app, command).await,
        Command::Audit(command) => audit::run(&app, command).await,
        Command::Explain(_)
        | Command::Doctor(_)
        | Command::Demo(_)
        | Command::Run(_)
        | Command::Dev(_) => Err(Failure::Usage(
            "`explain`, `doctor`, `demo`, `run` and `dev` start before anything else".to_owned(),
        )),
    }
}
