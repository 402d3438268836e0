//! A whole system of its own. It has a fresh namespace on the configured broker and database (embedded ones in a
//! temporary folder, where none is configured). Its programs are child processes of this very executable.

mod child;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use common::bootstrap::{self, Failure};
use common::broker::{Broker, BrokerError};
use common::config::{Config, LinkTls};
use common::retry::Waits;
use common::store::{Operation, Store};
use common::topology::{Names, Topology};
use operate::history::Judge;
use operate::operation::{Executor, PATIENCE, Runner, longest_attempt};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::commands::run::Program;
use crate::data;
use child::Child;

/// The command that runs one program, and the command that runs all programs in one process.
const RUN: &str = "run";
const DEV: &str = "dev";

/// Keeps commands from finding a system that does not belong to their folder.
const UNSHARED: &str = "--unshared";

/// Maximum of repetitions of a deletion that lost its link.
const DELETIONS: usize = 4;

/// Runs the program of a system, if this process was started as one; `None` otherwise.
///
/// The programs of a system are processes of the executable that creates the system, called as `longshore` is. So
/// every executable that creates a system begins with this call.
pub fn run_program() -> Option<ExitCode> {
    let command = std::env::args_os().nth(1)?;
    (command == RUN || command == DEV).then(crate::main)
}

/// A system of its own.
pub struct System {
    /// The configuration of the programs.
    pub config: Config,
    /// Its broker.
    pub broker: Arc<dyn Broker>,
    /// Its database.
    pub store: Arc<dyn Store>,
    /// Its exchanges and queues.
    pub topology: Topology,
    environment: Vec<(String, String)>,
    /// Whether broker or database are files in `folder`.
    temporary: bool,
    folder: TempDir,
    children: Vec<Child>,
    http: reqwest::Client,
}

impl System {
    /// A system in namespace `STEM_RANDOM`, migrated and declared, with no program running.
    /// `settings` is a configuration file without broker, database and namespace.
    ///
    /// # Errors
    /// Broker or database cannot be reached. All that was made until then is removed again.
    pub async fn create(like: &Config, stem: &str, settings: &str) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new()
            .prefix("longshore-")
            .tempdir()
            .context("no folder for temporary files")?;
        let mut like = like.clone();
        let temporary = data::keep_in(&mut like, folder.path())?;
        let file = folder.path().join("longshore.toml");
        tokio::fs::write(&file, settings)
            .await
            .context("the configuration cannot be written")?;
        let namespace = format!("{stem}_{:08x}", rand::random::<u32>());
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut environment = vec![
            pair("LONGSHORE_CONFIG", &file.to_string_lossy()),
            pair("LONGSHORE_BROKER_URL", like.broker.url.expose()),
            pair("LONGSHORE_DATABASE_URL", like.database.url.expose()),
            pair("LONGSHORE_NAMESPACE", &namespace),
        ];
        environment.extend(certificates("BROKER", &like.broker.tls));
        environment.extend(certificates("DATABASE", &like.database.tls));
        let config = common::config::load_from(environment.iter().cloned())?;
        let broker = bootstrap::broker(&config, "longshore")?;
        let store = bootstrap::store(&config)?;
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(20))
            .build()
            .context("no HTTP client")?;
        let topology = Topology::new(&config.plan());
        let children = Vec::new();
        let system = Self {
            config,
            broker,
            store,
            topology,
            environment,
            temporary,
            folder,
            children,
            http,
        };
        let made = async {
            system.broker.ready().await?;
            system.store.migrate().await?;
            system.broker.apply(&system.topology).await?;
            Ok::<_, Failure>(())
        }
        .await;
        match made {
            Ok(()) => Ok(system),
            Err(failure) => {
                // The reason why the system could not be made matters more than its remains.
                let _ = system.remove().await;
                Err(failure)
            }
        }
    }

    /// The client for calls of the programs over HTTP.
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Starts programs and waits until each is ready. Returns the addresses on which they listen, in order.
    ///
    /// # Errors
    /// A program ended, or was not ready in time. The message has the end of its log.
    pub async fn start(&mut self, programs: &[Program]) -> Result<Vec<SocketAddr>, Failure> {
        let first = self.children.len();
        for &program in programs {
            let child = self.spawn(program.as_str(), &[RUN, program.as_str()])?;
            self.children.push(child);
        }
        for child in self.children.iter_mut().skip(first) {
            child.ready(&self.http).await?;
        }
        Ok(self
            .children
            .iter()
            .skip(first)
            .map(Child::address)
            .collect())
    }

    /// Starts all programs in one process, as `longshore dev` does, and waits until it is ready. Returns the
    /// address on which it listens.
    ///
    /// # Errors
    /// See [`System::start`].
    pub async fn start_dev(&mut self) -> Result<SocketAddr, Failure> {
        let mut child = self.spawn(DEV, &[DEV, UNSHARED])?;
        let ready = child.ready(&self.http).await;
        let address = child.address();
        self.children.push(child);
        ready.map(|()| address)
    }

    fn spawn(&self, name: &'static str, command: &[&str]) -> Result<Child, Failure> {
        let number = self.children.len();
        Child::spawn(name, command, number, &self.environment, self.folder.path())
    }

    /// Replays dead letters in this process. Returns how many messages the broker has confirmed.
    ///
    /// # Errors
    /// Broker or database were down for too long.
    pub async fn replay(
        &self,
        replay: &Operation,
        stop: &CancellationToken,
    ) -> Result<u64, Failure> {
        let names = Names::new(self.config.namespace.clone());
        let judge = Judge::new(&self.config)?;
        let executor = Executor {
            broker: self.broker.as_ref(),
            store: self.store.as_ref(),
            topology: &self.topology,
            names: &names,
            judge: &judge,
            destinations: &self.config.destinations,
            stop,
            patience: PATIENCE,
            longest_attempt: longest_attempt(&self.config),
            runner: Runner::Operator,
        };
        Ok(executor.begin(replay, |_| {}).await?.replayed)
    }

    /// The running programs and their process ids.
    pub fn processes(&self) -> Vec<(&'static str, u32)> {
        self.children
            .iter()
            .filter_map(|child| Some((child.name(), child.id()?)))
            .collect()
    }

    /// Ends the program that was started last, in good order.
    pub async fn stop_last(&mut self) {
        if let Some(mut child) = self.children.pop() {
            child.terminate();
            child.ended().await;
        }
    }

    /// Ends every program in good order.
    pub async fn stop(&mut self) {
        for child in &self.children {
            child.terminate();
        }
        for mut child in self.children.drain(..) {
            child.ended().await;
        }
    }

    /// Ends every program and removes everything that the system made on broker and database.
    ///
    /// # Errors
    /// Broker or database could not be cleared; the message says what is left.
    pub async fn remove(mut self) -> Result<(), Failure> {
        self.stop().await;
        let namespace = &self.config.namespace;
        let queues = self.delete_queues().await;
        let schema = self.store.remove_schema().await;
        self.broker.close().await;
        self.store.close().await;
        queues
            .with_context(|| format!("the exchanges and queues of {namespace} are still there"))?;
        schema.with_context(|| format!("schema {namespace} is still there"))?;
        Ok(())
    }

    /// Deletes exchanges and queues. RabbitMQ sometimes breaks a link over a quorum queue that is deleted while it
    /// is busy. Over a new link, the same deletion succeeds.
    async fn delete_queues(&self) -> Result<(), BrokerError> {
        let mut waits = Waits::between(Duration::from_millis(200), Duration::from_secs(2));
        for _ in 0..DELETIONS {
            match self.broker.delete(&self.topology).await {
                Err(BrokerError::Lost(_)) => tokio::time::sleep(waits.next_wait()).await,
                done => return done,
            }
        }
        self.broker.delete(&self.topology).await
    }

    /// Ends every program and leaves everything else. Returns the variables that lead to the system.
    pub(crate) async fn keep(mut self) -> Vec<(String, String)> {
        self.stop().await;
        self.broker.close().await;
        self.store.close().await;
        let _ = self.folder.keep();
        let (temporary, config) = (self.temporary, &self.config);
        // A URL of our own file holds no password. The user knows the URLs that were given.
        let told = |name: &str| match name {
            "LONGSHORE_BROKER_URL" => temporary && config.broker.url.is_embedded(),
            "LONGSHORE_DATABASE_URL" => temporary && config.database.url.is_embedded(),
            _ => true,
        };
        self.environment
            .into_iter()
            .filter(|(name, _)| told(name))
            .collect()
    }
}

/// The variables that hand the certificates of a link on.
fn certificates(section: &str, tls: &LinkTls) -> impl Iterator<Item = (String, String)> {
    let files = [
        ("CA", &tls.ca),
        ("CERTIFICATE", &tls.certificate),
        ("KEY", &tls.key),
    ];
    files.into_iter().filter_map(move |(key, path)| {
        let path = path.as_ref()?;
        // The programs may run in another folder.
        let whole = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let name = format!("LONGSHORE__{section}__TLS__{key}");
        Some((name, whole.to_string_lossy().into_owned()))
    })
}
