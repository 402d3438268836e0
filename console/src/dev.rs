//! `longshore dev`: the whole system in this process, on one port, to be worked against.

mod folder;
mod greeting;
pub(crate) mod sharing;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;

use clap::Args;
use common::bootstrap::{self, Failure, Program, TakeOver};
use common::broker::Broker;
use common::config::{Config, LogFormat, Sources};
use common::health::Health;
use common::runtime::Worker;
use common::store::Store;
use producer::{DoorGenerations, Entrance};
use tokio::sync::watch;
use workers::operations::Operations;
use workers::schedule::Releaser;
use workers::{Generations, Work, archive, integrate, store, validate};

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
                let text = sources.share(&config).map_err(Failure::Usage)?;
                shared = Some(watch::Sender::new(text));
            }
            Ok((sources, config))
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
async fn run(
    program: Program,
    shared: Option<watch::Sender<String>>,
    output: Output,
) -> Result<(), Failure> {
    // First, so that a port that is taken is reported before anything is touched.
    let entrance = producer::open(&program.config).await?;
    // One broker and one store for all parts: an embedded engine works best when all of it is in one hand.
    let system = System {
        broker: program.broker()?,
        store: program.store()?,
        shared,
        program,
    };
    let ended = system.work(entrance, output).await;
    system.broker.close().await;
    system.program.leave(&system.store).await;
    system.store.close().await;
    ended
}

/// The whole system.
struct System {
    program: Program,
    broker: Arc<dyn Broker>,
    store: Arc<dyn Store>,
    /// The text that commands in this folder are told.
    shared: Option<watch::Sender<String>>,
}

impl System {
    /// Prepares everything, suggests a first command, and runs all parts. The first part that fails ends all of them.
    async fn work(&self, entrance: Entrance, output: Output) -> Result<(), Failure> {
        let (program, end) = (&self.program, &self.program.end);
        self.store.migrate().await?;
        self.broker.ready().await?;
        if !program.declare(&self.broker).await? {
            return Ok(());
        }
        let work = self.parts(program)?;
        let address = entrance.local_addr().map_err(anyhow::Error::from)?;
        let health = self.health(&work);
        let doors = DoorGenerations::begin(program, address, &self.store, health).await?;
        let doors = Arc::new(doors);
        let sharing = self.shared.as_ref().and_then(share);
        let greeting = Greeting::new(&program.config, address, sharing.is_some());
        if let Err(error) = output.show(&greeting, Greeting::text) {
            // The greeting is missing, and the work goes on.
            tracing::warn!(%error, "the greeting is not shown");
        }
        let generations = Rc::new(Generations::new(program));
        generations.begin(program, work);
        program.tell(&self.store);

        let serving = async {
            let drain = program.config.worker.drain;
            let ended = producer::serve(entrance, doors.router(), end.clone(), drain).await;
            end.cancel();
            ended.map_err(|error| Failure::from(anyhow::Error::from(error)))
        };
        let working = async {
            let ended = generations.run().await;
            end.cancel();
            ended
        };
        let answering = async {
            if let Some(sharing) = &sharing {
                sharing.answer(end).await;
            }
        };
        let following = self.follow_configuration(&doors, &generations);
        let keeping = doors.keep(program);
        let (served, worked, ..) = tokio::join!(serving, working, keeping, answering, following);
        worked.and(served)
    }

    /// Takes up other configurations until the program ends.
    async fn follow_configuration(
        &self,
        doors: &Arc<DoorGenerations>,
        generations: &Rc<Generations>,
    ) {
        let prepare = async |next: &Program| {
            let work = self.parts(next)?;
            let door = doors.prepare(next, self.health(&work)).await?;
            let sources = next.sources.as_deref();
            let text = sources
                .map(|sources| sources.share(&next.config))
                .transpose();
            let text = text.map_err(Failure::Usage)?;
            let (doors, generations) = (Arc::clone(doors), Rc::clone(generations));
            let (shared, next) = (self.shared.clone(), next.clone());
            let take_over: TakeOver = Box::new(move || {
                generations.begin(&next, work);
                doors.take_over(door, &next);
                if let Some((shared, text)) = shared.zip(text) {
                    shared.send_replace(text);
                }
            });
            Ok(take_over)
        };
        self.program
            .follow_configuration(&self.broker, Some(&self.store), prepare)
            .await;
    }

    /// The health of the whole.
    fn health(&self, work: &Work) -> Health {
        let workers = work.workers.iter();
        Health {
            broker: Arc::clone(&self.broker),
            declared: Arc::clone(&self.program.declared),
            queues: workers.clone().map(|it| it.queue().to_owned()).collect(),
            workers: workers.map(Worker::standing).collect(),
            store: Some(Arc::clone(&self.store) as _),
            // Unlike the door alone, the whole system is not ready without the store.
            store_needed: true,
            metrics: self.program.metrics.clone(),
        }
    }

    /// All parts of the system but the door.
    fn parts(&self, program: &Program) -> Result<Work, Failure> {
        let (broker, store) = (&self.broker, &self.store);
        let mut workers = vec![
            validate::worker(program, broker)?,
            store::worker(program, broker, store)?,
        ];
        workers.extend(archive::workers(program, broker, store)?);
        let destinations = program.config.destinations.clone();
        workers.extend(integrate::workers(program, broker, store, destinations)?);
        Ok(Work {
            workers,
            operations: Some(Operations::new(program, broker, store)?),
            watch: workers::watch::of(program, broker, store)?,
            releaser: Some(Releaser::new(program, broker, store)),
        })
    }
}

/// Begins to answer commands in this folder, where that is possible.
fn share(text: &watch::Sender<String>) -> Option<Sharing> {
    Sharing::begin(text.subscribe()).unwrap_or_else(|error| {
        tracing::warn!(%error, "commands in this folder do not find this `longshore dev` by themselves");
        None
    })
}
