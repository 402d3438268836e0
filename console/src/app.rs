//! What every command has in hand, and how it starts and ends.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use common::bootstrap::{self, Failure};
use common::broker::{Broker, BrokerError};
use common::config::Config;
use common::store::Store;
use common::telemetry::{Telemetry, stderr};
use common::topology::{Names, Topology};

use crate::data;
use crate::output::Output;

/// What a command works with.
pub struct App {
    /// The configuration in force.
    pub config: Config,
    /// Where results go.
    pub output: Output,
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

/// Parses the command line of this process. Help, the version and usage errors are printed here.
///
/// # Errors
/// The exit code: 0 for help and version, 2 for wrong usage.
pub fn parse<C: Parser>() -> Result<C, ExitCode> {
    C::try_parse().map_err(|error| {
        // Where not even this can be written there is nobody to tell.
        let _ = error.print();
        ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
    })
}

/// Reads the configuration, starts logging as `program`, and does `work` to its end.
///
/// # Errors
/// The configuration is wrong, or what `work` says.
pub fn start(
    program: &str,
    output: Output,
    work: impl AsyncFnOnce(App) -> Result<(), Failure>,
) -> Result<(), Failure> {
    // One TLS provider for the whole tree; a second start in one process finds it set.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut config = common::config::load()?;
    if std::env::var_os("LONGSHORE_LOG").is_none() {
        // A person reads this: what went wrong is said once, at the end.
        "error".clone_into(&mut config.log.filter);
    }
    let telemetry = Telemetry::start(program, &config.log);
    let _telemetry = telemetry.map_err(|error| Failure::Usage(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)?;
    let done = runtime.block_on(work(App { config, output }));
    runtime.shutdown_timeout(std::time::Duration::from_millis(500));
    done
}

/// Says how `program` ended: on standard error what failed, and the exit code.
pub fn exit_code(program: &str, done: Result<(), Failure>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            stderr::say(&format!("{program}: {}", failure.in_one_line()));
            ExitCode::from(failure.code())
        }
    }
}
