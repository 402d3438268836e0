//! How every program starts and ends: configuration, engines, telemetry, signals, exit code.

mod arguments;
mod declaring;
mod engines;
mod reloading;
mod telling;

use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use arguments::{command, matches};
pub use engines::{broker, store};
pub use reloading::TakeOver;

use crate::broker::{Broker, BrokerError, PublishError};
use crate::config::{Config, ConfigError, ConfigHash, Contents, Reading, Sources};
use crate::retry::Waits;
use crate::runtime::{Handler, Spec, Surroundings, Unfinished, Worker};
use crate::signals;
use crate::store::{Store, StoreError};
use crate::tasks;
use crate::telemetry::metrics::{self, MetricsPage};
use crate::telemetry::{Telemetry, stderr};
use crate::topology::Topology;

/// How a program ends; the exit codes of every Longshore program.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The work failed (exit code 1).
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
    /// Wrong usage or configuration (exit code 2).
    #[error("{0}")]
    Usage(String),
    /// A dependency is unreachable (exit code 3).
    #[error("{0}")]
    Unreachable(String),
}

impl Failure {
    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) => 3,
        }
    }

    /// The failure and its reason, in one line.
    pub fn in_one_line(&self) -> String {
        match self {
            Self::Failed(error) => format!("{error:#}"),
            other => other.to_string(),
        }
    }
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Unroutable { .. } | PublishError::Invalid(_) => {
                Self::Failed(error.into())
            }
            other => Self::Unreachable(other.to_string()),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<BrokerError> for Failure {
    fn from(error: BrokerError) -> Self {
        match error {
            BrokerError::Unreachable { .. } | BrokerError::Blocked(_) | BrokerError::Lost(_) => {
                Self::Unreachable(error.to_string())
            }
            BrokerError::Distrust { .. } => Self::Usage(error.to_string()),
            _ => Self::Failed(error.into()),
        }
    }
}

impl From<Unfinished> for Failure {
    fn from(error: Unfinished) -> Self {
        Self::Failed(error.into())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => Self::Unreachable(error.to_string()),
            _ => Self::Failed(error.into()),
        }
    }
}

/// The equipment of a running program. A program whose configuration is reloaded has one for each generation.
#[derive(Debug, Clone)]
pub struct Program {
    /// Its name, such as `longshore-store`.
    pub name: &'static str,
    /// The process: another one after each start.
    pub id: Uuid,
    /// The configuration.
    pub config: Arc<Config>,
    /// What the configuration was read from; `None` where it is never reloaded.
    pub sources: Option<Arc<Sources>>,
    /// The contents of their files at the start.
    contents: Contents,
    /// Cancelled when this generation must stop: take nothing new, finish the running work.
    pub stop: CancellationToken,
    /// Cancelled when the program as a whole must stop. Then every generation stops.
    pub end: CancellationToken,
    /// The content of `/metrics`.
    pub metrics: MetricsPage,
    /// Set once [`Program::declare`] has declared the topology.
    pub declared: Arc<AtomicBool>,
    /// The next generation declares its topology, whose new parts are missing.
    declaring: Arc<AtomicBool>,
    /// The hash of the configuration that is in force.
    hash: watch::Sender<ConfigHash>,
    /// Counts the requests to reload the configuration.
    hangups: watch::Receiver<u64>,
}

impl Program {
    /// The first generation of a program.
    pub fn new(name: &'static str, config: Config, metrics: MetricsPage) -> Self {
        let end = CancellationToken::new();
        Self {
            name,
            id: Uuid::now_v7(),
            hash: watch::Sender::new(config.hash()),
            config: Arc::new(config),
            sources: None,
            contents: Contents::default(),
            stop: end.child_token(),
            end,
            metrics,
            declared: Arc::default(),
            declaring: Arc::default(),
            hangups: watch::Sender::default().subscribe(),
        }
    }

    /// The broker of the configuration. Nothing is connected yet.
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub fn broker(&self) -> Result<Arc<dyn Broker>, Failure> {
        engines::broker(&self.config, self.name)
    }

    /// The store of the configuration. Nothing is connected yet.
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub fn store(&self) -> Result<Arc<dyn Store>, Failure> {
        engines::store(&self.config)
    }

    /// A worker of this program, which consumes from `broker`.
    pub fn worker(
        &self,
        broker: &Arc<dyn Broker>,
        handler: Arc<dyn Handler>,
        spec: Spec,
    ) -> Worker {
        let settings = &self.config.worker;
        let surroundings = Surroundings {
            stop: self.stop.clone(),
            end: self.end.clone(),
            drain: settings.drain,
            probe_first: settings.probe_first,
            probe_max: settings.probe_max,
            database: engines::database(&self.config),
            logins: self.config.broker.logins(),
            topology: Topology::new(&self.config.plan()),
        };
        Worker::new(surroundings, Arc::clone(broker), handler, spec)
    }

    /// The waits between two looks at a dependency that is down.
    pub fn waits(&self) -> Waits {
        Waits::between(self.config.worker.probe_first, self.config.worker.probe_max)
    }

    /// Waits; `false` when this generation was stopped in the meantime.
    pub async fn pause(&self, wait: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(wait) => true,
            () = self.stop.cancelled() => false,
        }
    }
}

/// Runs a program: reads the configuration, starts telemetry, listens for signals, runs `work` and
/// turns its result into an exit code.
///
/// The first SIGTERM or SIGINT cancels [`Program::end`], SIGHUP asks for the configuration to be read again. A second one, or the drain deadline and a
/// little, ends the process at once. Nothing is lost: the broker redelivers unsettled messages.
pub fn run<F, W>(name: &'static str, work: W) -> ExitCode
where
    W: FnOnce(Program) -> F,
    F: Future<Output = Result<(), Failure>>,
{
    let read = || {
        let sources = Sources::of_process()?;
        let config = sources.config()?;
        Ok((sources, config))
    };
    run_with(name, read(), work)
}

/// [`run`] with a configuration that the caller has read, or could not. It is reloaded from the sources; sections that need
/// a restart stay as they are in it.
pub fn run_with<F, W>(
    name: &'static str,
    config: Result<(Sources, Config), Failure>,
    work: W,
) -> ExitCode
where
    W: FnOnce(Program) -> F,
    F: Future<Output = Result<(), Failure>>,
{
    // One TLS provider for the whole tree; a second start in one process finds it set.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match config.and_then(|(sources, config)| start(name, sources, config, work)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            stderr::say(&format!("{name}: {}", failure.in_one_line()));
            ExitCode::from(failure.code())
        }
    }
}

fn start<F, W>(name: &'static str, sources: Sources, config: Config, work: W) -> Result<(), Failure>
where
    W: FnOnce(Program) -> F,
    F: Future<Output = Result<(), Failure>>,
{
    // At once: a file that changes while the program begins has to show.
    let Reading { sources, contents } = Reading::of(sources);
    let telemetry = Telemetry::start(name, &config.log);
    let _telemetry = telemetry.map_err(|error| Failure::Usage(error.to_string()))?;
    crate::descriptors::raise();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)?;
    let done = runtime.block_on(async {
        let mut program = Program::new(name, config, MetricsPage::start());
        program.sources = Some(Arc::new(sources));
        program.contents = contents;
        let (end, drain) = (program.end.clone(), program.config.worker.drain);
        signals::listen(end.clone(), Some(drain + GRACE)).map_err(anyhow::Error::from)?;
        program.hangups = signals::hangups(end.clone()).map_err(anyhow::Error::from)?;
        say_started(&program);
        let work = work(program);
        tokio::pin!(work);
        tokio::select! {
            done = &mut work => done,
            failure = tasks::failed() => {
                tracing::error!(failure, "stopping: a task that the program cannot do without has ended");
                end.cancel();
                // Running work may finish; the rest will come again.
                let _ = tokio::time::timeout(drain, work).await;
                Err(Failure::Failed(anyhow::anyhow!("{failure}; this is a bug in this program")))
            }
        }
    });
    // Tasks that still run have nothing to settle any more.
    runtime.shutdown_timeout(Duration::from_millis(500));
    tracing::info!(program.name = name, failed = done.is_err(), "ended");
    done
}

fn say_started(program: &Program) {
    let hash = program.config.hash();
    metrics::configuration(None, hash.as_str());
    tracing::info!(
        program.name = program.name,
        program.version = env!("CARGO_PKG_VERSION"),
        namespace = %program.config.namespace,
        broker = %program.config.broker.url,
        database = %program.config.database.url,
        configuration = %hash,
        "started"
    );
}

/// How much longer than the drain deadline the process as a whole may take to end.
const GRACE: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    fn code_of<F>(work: impl FnOnce(Program) -> F) -> String
    where
        F: Future<Output = Result<(), Failure>>,
    {
        let mut config = Config::default();
        config.worker.drain = Duration::from_secs(1);
        let sources = Sources::read([]).unwrap();
        let ended = run_with("longshore-test", Ok((sources, config)), work);
        format!("{ended:?}")
    }

    #[test]
    fn a_background_task_that_panics_ends_the_program_with_1() {
        let ended = code_of(async |program: Program| {
            tasks::spawn("publisher", async { panic!("on purpose") });
            program.stop.cancelled().await;
            Ok(())
        });
        assert_eq!(ended, format!("{:?}", ExitCode::from(1)));
    }

    #[test]
    fn a_background_task_that_ends_before_the_program_is_told_to_ends_it_with_1() {
        let ended = code_of(async |program: Program| {
            tasks::spawn_until("watch", program.stop.clone(), async {});
            program.stop.cancelled().await;
            Ok(())
        });
        assert_eq!(ended, format!("{:?}", ExitCode::from(1)));
    }

    #[test]
    fn work_that_cannot_end_without_the_task_is_not_waited_for() {
        let ended = code_of(async |_| {
            tasks::spawn("publisher", async { panic!("on purpose") });
            std::future::pending().await
        });
        assert_eq!(ended, format!("{:?}", ExitCode::from(1)));
    }
}
