//! `longshore dev`: the whole system in this process, on one port, to be worked against.

mod folder;
mod greeting;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use common::bootstrap::{self, Failure, Program};
use common::broker::Broker;
use common::config::{Config, LogFormat};
use common::outcome::chain;
use common::runtime::Worker;
use common::seal::Seal;
use common::store::Store;
use common::telemetry::health::Health;
use producer::{DEFAULT_LISTEN, Door};
use tokio::net::TcpListener;
use workers::operations::Operations;
use workers::{Work, archive, integrate, store, validate, watch};

use crate::data;
use crate::output::Output;
use greeting::Greeting;

/// Where to listen and where to keep the data.
#[derive(Debug, Args)]
#[command(after_help = "\
Producer, validate, store, integrate (every destination) and archive in one process. Without
URLs it needs nothing else: the embedded engine keeps everything in one folder, and the next
start goes on from there, however the last one ended. With LONGSHORE_BROKER_URL and
LONGSHORE_DATABASE_URL it works on those. Migrates and declares by itself. Ctrl-C finishes what
is running; twice stops at once.

Commands that are run beside it in the same working directory look into the same data.

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
}

impl DevArgs {
    /// Runs until it is told to stop.
    pub(crate) fn start(self, output: Output) -> ExitCode {
        // Held for as long as anything runs.
        let mut held = None;
        let config = self.configure().and_then(|config| {
            held = Some(folder::hold(&config)?);
            Ok(config)
        });
        let ended = bootstrap::run_with("longshore dev", config, |program| run(program, output));
        drop(held);
        ended
    }

    /// The configuration with what was asked for on the command line.
    fn configure(self) -> Result<Config, Failure> {
        let mut config = common::config::load()?;
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
        Ok(config)
    }
}

async fn run(program: Program, output: Output) -> Result<(), Failure> {
    // First, so that a port that is taken is told before anything is touched.
    let listener = producer::bind(program.config.listen.unwrap_or(DEFAULT_LISTEN))
        .await
        .map_err(anyhow::Error::from)?;
    // One of each for all parts: an embedded engine does its best work when all of it is in one hand.
    let (broker, store) = (program.broker()?, program.store()?);
    let ended = work(&program, listener, &broker, &store, output).await;
    broker.close().await;
    store.close().await;
    ended
}

/// Prepares everything, says what to try, and runs all parts. The first one that fails ends them all.
async fn work(
    program: &Program,
    listener: TcpListener,
    broker: &Arc<dyn Broker>,
    store: &Arc<dyn Store>,
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
    let health = Health {
        broker: Arc::clone(broker),
        declared: Arc::clone(&program.declared),
        queues: workers.iter().map(|it| it.queue().to_owned()).collect(),
        workers: workers.iter().map(Worker::standing).collect(),
        store: Some(Arc::clone(store)),
        // Unlike the door alone, the whole is not ready without it.
        store_needed: true,
        metrics: program.metrics.clone(),
    };
    let config = &program.config;
    let seal = Seal::of(config)?;
    let door = Door::new(Arc::clone(config), health, seal)
        .map_err(|error| Failure::Usage(chain(&error)))?;
    let greeting = Greeting::new(config, listener.local_addr().map_err(anyhow::Error::from)?);
    if let Err(error) = output.show(&greeting, Greeting::text) {
        // Nobody is greeted; the work goes on.
        tracing::warn!(%error, "the greeting is not shown");
    }

    let stop = &program.stop;
    let serving = async {
        let router = producer::router(door.clone());
        let ended = producer::serve(listener, router, stop.clone(), config.worker.drain).await;
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
    let (served, worked, ()) = tokio::join!(serving, working, door.keep_queue(stop));
    worked.and(served)
}

/// Every worker there is.
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
    for destination in program.config.destinations.iter().cloned() {
        workers.push(integrate::worker(program, broker, store, destination)?);
    }
    Ok(workers)
}
