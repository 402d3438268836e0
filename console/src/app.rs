//! What every command has in hand, and how it starts.

use std::sync::Arc;

use common::bootstrap::{self, Failure};
use common::broker::{Broker, BrokerError};
use common::config::Config;
use common::store::Store;
use common::telemetry::Telemetry;
use common::topology::{Names, Topology};

use crate::args::{Cli, Command};
use crate::commands::{
    dead, doctor, events, explain, history, migrate, publish, queues, replay, topology, verify,
};
use crate::output::Output;
use crate::{bench, data, demo};

/// What a command works with.
pub(crate) struct App {
    /// The configuration in force.
    pub(crate) config: Config,
    /// Where results go.
    pub(crate) output: Output,
}

impl App {
    /// The broker of the configuration; nothing is connected yet.
    ///
    /// # Errors
    /// It is an embedded one, and there is none: to look at it is not to make it.
    pub(crate) fn broker(&self) -> Result<Arc<dyn Broker>, Failure> {
        data::expect_file(&self.config.broker.url, "LONGSHORE_BROKER_URL")?;
        Ok(bootstrap::broker(&self.config, "longshore")?)
    }

    /// The broker, for work that goes by whom the programs of the namespace believe: what another list makes of the
    /// history, or publishes, is other events to them.
    ///
    /// # Errors
    /// As for [`App::broker`]; or the programs believe other logins than the configuration says. A broker that cannot
    /// be asked now is left to the work itself, which may wait for it.
    pub(crate) async fn believed_broker(&self) -> Result<Arc<dyn Broker>, Failure> {
        let broker = self.broker()?;
        match broker.expect_same_logins(&self.topology()).await {
            Err(error @ BrokerError::Distrust { .. }) => {
                broker.close().await;
                Err(error.into())
            }
            Ok(()) | Err(_) => Ok(broker),
        }
    }

    /// The store of the configuration; nothing is connected yet.
    ///
    /// # Errors
    /// It is an embedded one, and there is none: to look at it is not to make it.
    pub(crate) fn store(&self) -> Result<Arc<dyn Store>, Failure> {
        data::expect_file(&self.config.database.url, "LONGSHORE_DATABASE_URL")?;
        Ok(bootstrap::store(&self.config)?)
    }

    /// The topology of the configuration.
    pub(crate) fn topology(&self) -> Topology {
        Topology::new(&self.config.plan())
    }

    /// The names of the namespace.
    pub(crate) fn names(&self) -> Names {
        Names::new(self.config.namespace.clone())
    }
}

/// Reads the configuration and does what was asked.
pub(crate) fn run(cli: Cli) -> Result<(), Failure> {
    let output = Output::new(cli.json);
    // Needs no configuration, so it works where that is what is broken.
    if let Command::Explain(args) = &cli.command {
        return explain::run(args, &output);
    }
    let mut config = common::config::load()?;
    if std::env::var_os("LONGSHORE_LOG").is_none() {
        // A person reads this: what went wrong is said once, at the end.
        "error".clone_into(&mut config.log.filter);
    }
    let telemetry = Telemetry::start("longshore", &config.log);
    let _telemetry = telemetry.map_err(|error| Failure::Usage(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)?;
    let done = runtime.block_on(dispatch(App { config, output }, cli.command));
    runtime.shutdown_timeout(std::time::Duration::from_millis(500));
    done
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
        Command::Bench(args) => bench::run(&app, args).await,
        Command::Run(_) | Command::Dev(_) => Err(Failure::Usage(
            "`run` and `dev` start before anything else".to_owned(),
        )),
    }
}
