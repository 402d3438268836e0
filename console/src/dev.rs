//! `longshore dev`: the whole system in this process, on one port, to be worked against.

mod folder;
mod greeting;
pub(crate) mod sharing;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use common::bootstrap::{self, Failure, Program};
use common::broker::Broker;
use common::config::{Config, LogFormat, Sources};
use common::health::Health;
use common::outcome::chain;
use common::runtime::Worker;
use common::seal::Seal;
use common::store::Store;
use producer::{Door, Entrance, Lock};
use workers::operations::Operations;
use workers::{Work, archive, integrate, store, validate, watch};

use crate::data;
use crate::output::Output;
use greeting::Greeting;
use sharing::Sharing;

/// Where to listen and where to keep the data.
#[derive(Debug, Args)]
#[command(after_help = "\
Producer, validate, store, integrate (every destination) and archive in one process. Without
URLs it needs nothing else: the embedded engine keeps everything in one folder, and the next
start goes on from there, however the last one ended. With LONGSHORE_BROKER_URL and
LONGSHORE_DATABASE_URL it works on those. Migrates and declares by itself. Ctrl-C finishes what
is running; twice stops at once.

Commands in the same working directory look where it does, unless LONGSHORE_CONFIG,
LONGSHORE_BROKER_URL, LONGSHORE_DATABASE_URL or LONGSHORE_NAMESPACE says otherwise.

Examples:
  longshore dev
  longshore dev --listen 127.0.0.1:9000 --data /tmp/longshore")]
pub struct DevArgs {
    /// Where to listen: the API, the page, health and metrics [default: LONGSHORE_LISTEN, or
    /// 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// The folder of the embedded engine, where no URL says otherwise [default: longshore-data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Do not answer commands in this folder: for a system of somebody else's that happens to be started here
    #[arg(long, hide = true)]
    pub(crate) unshared: bool,
}

impl DevArgs {
    /// Runs until the program is told to stop.
    pub(crate) fn start(self, output: Output) -> ExitCode {
        // Held for as long as any part runs.
        let mut held = None;
        let mut shared = None;
        let is_shared = !self.unshared;
        let config = self.configure().and_then(|(sources, config)| {
            held = Some(folder::hold(&config)?);
            if is_shared {
                shared = Some(sources.share(&config).map_err(Failure::Usage)?);
            }
            Ok(config)
        });
        let ended = bootstrap::run_with("longshore dev", config, |program| {
            run(program, shared, output)
        });
        drop(held);
        ended
    }

    /// The configuration with the options of the command line.
    fn configure(self) -> Result<(Sources, Config), Failure> {
        let sources = Sources::of_process()?;
        let mut config = sources.config()?;
        config.listen = self.listen.or(config.listen);
        if std::env::var_os("LONGSHORE_LOG_FORMAT").is_none()
            && config.log.format == LogFormat::Text
        {
            config.log.format = LogFormat::Short;
        }
        if let Some(folder) = self.data {
            let folder = std::path::absolute(folder).map_err(anyhow::Error::from)?;
            if !data::keep_in(&mut config, &folder)? {
                return Err(Failure::Usage(format!(
                    "--data {}: expected at least one of broker.url and database.url to be unset, found \
                     both set; they say where the data is",
                    folder.display()
                )));
            }
        }
        Ok((sources, config))
    }
}

/// Runs everything. `shared` is the text that commands in this folder are told.
async fn run(program: Program, shared: Option<String>, output: Output) -> Result<(), Failure> {
    // First, so that a port that is taken is reported before anything is touched.
    let entrance = producer::open(&program.config).await?;
    // One broker and one store for all parts: an embedded engine works best when all of it is in one hand.
    let (broker, store) = (program.broker()?, program.store()?);
    let ended = work(&program, entrance, &broker, &store, shared, output).await;
    broker.close().await;
    store.close().await;
    ended
}

/// Prepares everything, suggests a first command, and runs all parts. The first part that fails ends all of them.
async fn work(
    program: &Program,
    entrance: Entrance,
    broker: &Arc<dyn Broker>,
    store: &Arc<dyn Store>,
    shared: Option<String>,
    output: Output,
) -> Result<(), Failure> {
    store.migrate().await?;
    broker.ready().await?;
    if !program.declare(broker).await? {
        return Ok(());
    }
    let workers = workers(program, broker, store)?;
    watch::start(program, broker, store)?;
    let operations = Operations::new(program, broker, store)?;
    let address = entrance.local_addr().map_err(anyhow::Error::from)?;
    let door = door(program, address, &workers, broker, store)?;
    let has_keys = door.expect_keys().await;
    has_keys.map_err(|error| Failure::Usage(error.to_string()))?;
    let sharing = shared.and_then(share);
    let greeting = Greeting::new(&program.config, address, sharing.is_some());
    if let Err(error) = output.show(&greeting, Greeting::text) {
        // The greeting is missing, and the work goes on.
        tracing::warn!(%error, "the greeting is not shown");
    }

    let stop = &program.stop;
    let serving = async {
        let router = producer::router(door.clone());
        let drain = program.config.worker.drain;
        let ended = producer::serve(entrance, router, stop.clone(), drain).await;
        stop.cancel();
        ended.map_err(|error| Failure::from(anyhow::Error::from(error)))
    };
    let working = async {
        let work = Work {
            workers,
            operations: Some(operations),
        };
        let ended = workers::work(program, work).await;
        stop.cancel();
        ended
    };
    let answering = async {
        if let Some(sharing) = &sharing {
            sharing.answer(stop).await;
        }
    };
    let keeping = async { tokio::join!(door.keep_queue(stop), door.follow_keys(stop)) };
    let (served, worked, _, ()) = tokio::join!(serving, working, keeping, answering);
    worked.and(served)
}

/// The door, and the health of the whole behind it.
fn door(
    program: &Program,
    address: SocketAddr,
    workers: &[Worker],
    broker: &Arc<dyn Broker>,
    store: &Arc<dyn Store>,
) -> Result<Door, Failure> {
    let health = Health {
        broker: Arc::clone(broker),
        declared: Arc::clone(&program.declared),
        queues: workers.iter().map(|it| it.queue().to_owned()).collect(),
        workers: workers.iter().map(Worker::standing).collect(),
        store: Some(Arc::clone(store) as _),
        // Unlike the door alone, the whole system is not ready without the store.
        store_needed: true,
        metrics: program.metrics.clone(),
    };
    let seal = Seal::of(&program.config)?;
    let lock = Lock {
        mode: program.config.auth.door_at(address),
        keys: Arc::clone(store) as _,
    };
    Door::new(
        Arc::clone(&program.config),
        lock,
        health,
        Arc::clone(store) as _,
        seal,
    )
    .map_err(|error| Failure::Usage(chain(&error)))
}

/// Begins to answer commands in this folder, where that is possible.
fn share(text: String) -> Option<Sharing> {
    Sharing::begin(text).unwrap_or_else(|error| {
        tracing::warn!(%error, "commands in this folder do not find this `longshore dev` by themselves");
        None
    })
}

/// All workers of the system.
fn workers(
    program: &Program,
    broker: &Arc<dyn Broker>,
    store: &Arc<dyn Store>,
) -> Result<Vec<Worker>, Failure> {
    let mut workers = vec![
        validate::worker(program, broker)?,
        store::worker(program, broker, store)?,
    ];
    workers.extend(archive::workers(program, broker, store)?);
    let destinations = program.config.destinations.clone();
    workers.extend(integrate::workers(program, broker, store, destinations)?);
    Ok(workers)
}
