//! The life of every worker program: health first, then the topology, then work until the stop
//! signal.

use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;

use common::bootstrap::{self, Failure, Program, TakeOver};
use common::broker::Broker;
use common::health::Health;
use common::runtime::Worker;
use common::scheduling;
use common::server::Replaceable;
use common::store::Store;
use tokio_util::sync::CancellationToken;

use crate::generations::{Generations, Work};

/// Runs a worker program: as [`bootstrap::run`], with threads that wait their turn at the processor.
pub fn run<F, W>(name: &'static str, work: W) -> ExitCode
where
    W: FnOnce(Program) -> F,
    F: Future<Output = Result<(), Failure>>,
{
    // Before the first thread.
    scheduling::in_turn();
    bootstrap::run(name, work)
}

/// Does the work that `build` makes, until the program has to stop and it has drained. With
/// `LONGSHORE_LISTEN` set, health and metrics are served meanwhile. `build` is asked again for each configuration that is
/// reloaded.
///
/// # Errors
/// The address cannot be bound, the topology is declared otherwise already, or the running calls
/// did not end within the drain deadline.
pub async fn serve<W: Into<Work>>(
    program: Program,
    store: Option<Arc<dyn Store>>,
    build: impl Fn(&Program, &Arc<dyn Broker>) -> Result<W, Failure>,
) -> Result<(), Failure> {
    let broker = program.broker()?;
    let work: Work = build(&program, &broker)?.into();
    let health = |program: &Program, work: &Work| health(program, work, &broker, store.as_ref());
    let face = Replaceable::new(health(&program, &work).router());
    let health_ends = CancellationToken::new();
    let served = async {
        match program.config.listen {
            Some(address) => Health::serve(face.router(), address, health_ends.clone()).await,
            None => Ok(()),
        }
        .map_err(|error| Failure::Failed(error.into()))
    };
    let worked = async {
        let ended = if program.declare(&broker).await? {
            let generations = Rc::new(Generations::new(&program));
            generations.begin(&program, work);
            if let Some(store) = &store {
                program.tell(store);
            }
            let prepare = async |next: &Program| {
                let work: Work = build(next, &broker)?.into();
                let (face, routes) = (face.clone(), health(next, &work).router());
                let (generations, next) = (Rc::clone(&generations), next.clone());
                let take_over: TakeOver = Box::new(move || {
                    generations.begin(&next, work);
                    face.replace(routes);
                });
                Ok(take_over)
            };
            let following = program.follow_configuration(&broker, store.as_ref(), prepare);
            let following = async {
                following.await;
                Ok(())
            };
            tokio::try_join!(generations.run(), following).map(|_| ())
        } else {
            Ok(())
        };
        health_ends.cancel();
        ended
    };
    let ended = tokio::try_join!(served, worked).map(|_| ());
    broker.close().await;
    if let Some(store) = store {
        program.leave(&store).await;
        store.close().await;
    }
    ended
}

/// The health of a generation.
fn health(
    program: &Program,
    work: &Work,
    broker: &Arc<dyn Broker>,
    store: Option<&Arc<dyn Store>>,
) -> Health {
    let workers = work.workers.iter();
    Health {
        broker: Arc::clone(broker),
        declared: Arc::clone(&program.declared),
        queues: workers
            .clone()
            .map(|worker| worker.queue().to_owned())
            .collect(),
        workers: workers.map(Worker::standing).collect(),
        store: store.map(|store| Arc::clone(store) as _),
        store_needed: true,
        metrics: program.metrics.clone(),
    }
}
