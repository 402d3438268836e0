//! The surroundings of every command, and how a command starts and ends.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use common::bootstrap::{self, Failure};
use common::broker::{Broker, BrokerError};
use common::config::{Config, ConfigHash, Sources, variables_of_process};
use common::store::Store;
use common::telemetry::{Telemetry, stderr};
use common::topology::{Names, Topology};

use operate::doctor::settings::{Setting, in_force};

use crate::data;
use crate::dev::sharing;
use crate::output::Output;

/// The surroundings of a command.
pub struct App {
    /// The configuration in force.
    pub config: Config,
    /// Its hash.
    pub hash: ConfigHash,
    /// The settings that say where everything is, and where each comes from.
    pub settings: Vec<Setting>,
    /// Whether the configuration came from a running `longshore dev`, without the secrets of destinations.
    pub handed_over: bool,
    /// The output for results.
    pub output: Output,
}

impl App {
    /// The broker of the configuration; nothing is connected yet.
    ///
    /// # Errors
    /// The engine is embedded and its file does not exist: looking at it must not create it.
    pub(crate) fn broker(&self) -> Result<Arc<dyn Broker>, Failure> {
        data::expect_file(&self.config.broker.url, "LONGSHORE_BROKER_URL")?;
        bootstrap::broker(&self.config, "longshore")
    }

    /// The broker, for work that depends on which logins the programs of the namespace believe. With another list
    /// of logins, the history that is read and the messages that are published would be other events to them.
    ///
    /// # Errors
    /// As for [`App::broker`]; or the programs believe other logins than the configuration says. A broker that
    /// cannot be asked now is left to the work itself, which may wait for the broker.
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
    /// The engine is embedded and its file does not exist: looking at it must not create it.
    pub(crate) fn store(&self) -> Result<Arc<dyn Store>, Failure> {
        data::expect_file(&self.config.database.url, "LONGSHORE_DATABASE_URL")?;
        bootstrap::store(&self.config)
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

/// Parses the command line of this process. Help, the version and usage errors are printed here.
///
/// # Errors
/// The exit code: 0 for help and version, 2 for wrong usage.
pub fn parse<C: Parser>() -> Result<C, ExitCode> {
    C::try_parse().map_err(|error| {
        // Where not even this can be written, there is nobody to tell.
        let _ = error.print();
        ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
    })
}

/// The sources of a command's configuration. Where a `longshore dev` of this folder runs and no variable names
/// another system, its configuration counts; else file and variables.
///
/// # Errors
/// The configuration is wrong, or the `longshore dev` of this folder does not answer.
pub(crate) fn sources() -> Result<Sources, Failure> {
    let variables = variables_of_process()?;
    let shared = match sharing::ask() {
        // The variables may name everything that is needed.
        Err(_) if !variables.is_empty() => None,
        asked => asked?,
    };
    if let Some(shared) = shared
        && let Some(sources) = Sources::shared(&shared, variables.clone())?
    {
        return Ok(sources);
    }
    Ok(Sources::read(variables)?)
}

/// Reads the configuration from `sources`, starts logging as `program`, and does `work` to its end.
///
/// # Errors
/// The configuration is wrong, or `work` fails.
pub fn start(
    program: &str,
    output: Output,
    sources: &Sources,
    work: impl AsyncFnOnce(App) -> Result<(), Failure>,
) -> Result<(), Failure> {
    // One TLS provider for the whole tree; a second start in one process finds it set.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut config = sources.config()?;
    if std::env::var_os("LONGSHORE_LOG").is_none() {
        // A person reads this: a failure is told once, at the end.
        "error".clone_into(&mut config.log.filter);
    }
    let telemetry = Telemetry::start(program, &config.log);
    let _telemetry = telemetry.map_err(|error| Failure::Usage(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)?;
    let settings = in_force(&config, sources);
    let app = App {
        hash: sources.hash(&config),
        config,
        settings,
        handed_over: sources.are_handed_over(),
        output,
    };
    let done = runtime.block_on(work(app));
    runtime.shutdown_timeout(std::time::Duration::from_millis(500));
    done
}

/// Adds to the failure of an unreachable dependency the places where it was expected, and the settings that name
/// them.
pub(crate) fn with_places(failure: Failure, settings: &[Setting]) -> Failure {
    let Failure::Unreachable(why) = failure else {
        return failure;
    };
    let places = settings.iter().filter(|it| it.key.ends_with(".url"));
    let places = places.map(|it| format!("{} is {} ({})", it.key, it.value, it.from));
    let places: Vec<String> = places.collect();
    Failure::Unreachable(format!("{why}; {}", places.join(", ")))
}

/// Reports the end of `program`: a failure on standard error, and the exit code.
pub fn exit_code(program: &str, done: Result<(), Failure>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            stderr::say(&format!("{program}: {}", failure.in_one_line()));
            ExitCode::from(failure.code())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_reached_says_where_it_was_looked_for() {
        let variable = ("LONGSHORE_BROKER_URL", "amqp://u:hunter2@h");
        let variables = [(variable.0.to_owned(), variable.1.to_owned())];
        let sources = Sources::read(variables).unwrap();
        let settings = in_force(&sources.config().unwrap(), &sources);
        let failure = with_places(Failure::Unreachable("down".to_owned()), &settings);
        assert_eq!(
            failure.in_one_line(),
            "down; broker.url is amqp://u:***@h (LONGSHORE_BROKER_URL), database.url is \
             sqlite:longshore-data/longshore.db (default)"
        );
        let other = Failure::Usage("wrong".to_owned());
        assert_eq!(with_places(other, &settings).in_one_line(), "wrong");
    }
}
