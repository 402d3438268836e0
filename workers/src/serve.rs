//! The life of every worker program: health first, then the topology, then work until the stop
//! signal.

use std::process::ExitCode;
use std::sync::Arc;

use common::bootstrap::{self, Failure, Program};
use common::broker::Broker;
use common::runtime::Worker;
use common::scheduling;
use common::store::Store;
use common::telemetry::health::Health;
use futures_util::future::try_join_all;
use tokio_util::sync::CancellationToken;

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

/// Runs the workers that `build` makes, until the program has to stop and they have drained. With
/// `LONGSHORE_LISTEN` set, health and metrics are served meanwhile.
///
/// # Errors
/// The address cannot be bound, the topology is declared otherwise already, or the running calls
/// did not end within the drain deadline.
pub async fn serve(
    program: Program,
    store: Option<Arc<dyn Store>>,
    build: impl FnOnce(&Program, &Arc<dyn Broker>) -> Result<Vec<Worker>, Failure>,
) -> Result<(), Failure> {
    let broker = program.broker()?;
    let workers = build(&program, &broker)?;
    let health = Health {
        broker: Arc::clone(&broker),
        declared: Arc::clone(&program.declared),
        queues: workers
            .iter()
            .map(|worker| worker.queue().to_owned())
            .collect(),
        workers: workers.iter().map(Worker::standing).collect(),
        store: store.clone(),
        store_needed: true,
        metrics: program.metrics.clone(),
    };
    let health_ends = CancellationToken::new();
    let served = async {
        match program.config.listen {
            Some(address) => health.serve(address, health_ends.clone()).await,
            None => Ok(()),
        }
        .map_err(|error| Failure::Failed(error.into()))
    };
    let worked = async {
        let ended = if program.declare(&broker).await? {
            work(&program, workers).await
        } else {
            Ok(())
        };
        health_ends.cancel();
        ended
    };
    let ended = tokio::try_join!(served, worked).map(|_| ());
    broker.close().await;
    if let Some(store) = store {
        store.close().await;
    }
    ended
}

/// Runs workers until the program has to stop and they have drained; without any it only waits.
///
/// # Errors
/// The running calls did not end within the drain deadline.
pub async fn work(program: &Program, workers: Vec<Worker>) -> Result<(), Failure> {
    if workers.is_empty() {
        program.stop.cancelled().await;
    }
    try_join_all(workers.into_iter().map(Worker::run)).await?;
    Ok(())
}
