//! The life of every worker program: health first, then the topology, then work until the stop
//! signal.

use std::process::ExitCode;
use std::sync::Arc;

use common::bootstrap::{self, Failure, Program};
use common::broker::Broker;
use common::health::Health;
use common::runtime::Worker;
use common::scheduling;
use common::store::Schema;
use futures_util::future::try_join_all;
use tokio_util::sync::CancellationToken;

use crate::operations::Operations;

/// What a program does until it is told to stop.
pub struct Work {
    /// The workers, which take from queues.
    pub workers: Vec<Worker>,
    /// What runs operations, where the program does.
    pub operations: Option<Operations>,
}

impl From<Vec<Worker>> for Work {
    fn from(workers: Vec<Worker>) -> Self {
        Self {
            workers,
            operations: None,
        }
    }
}

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
/// `LONGSHORE_LISTEN` set, health and metrics are served meanwhile.
///
/// # Errors
/// The address cannot be bound, the topology is declared otherwise already, or the running calls
/// did not end within the drain deadline.
pub async fn serve<W: Into<Work>>(
    program: Program,
    store: Option<Arc<dyn Schema>>,
    build: impl FnOnce(&Program, &Arc<dyn Broker>) -> Result<W, Failure>,
) -> Result<(), Failure> {
    let broker = program.broker()?;
    let Work {
        workers,
        operations,
    } = build(&program, &broker)?.into();
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
            let all = Work {
                workers,
                operations,
            };
            work(&program, all).await
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

/// Does all work until the program is told to stop and it has drained; without any it only waits.
///
/// # Errors
/// What was running did not end within the drain deadline.
pub async fn work(program: &Program, work: impl Into<Work>) -> Result<(), Failure> {
    let Work {
        workers,
        operations,
    } = work.into();
    let working = async {
        if workers.is_empty() {
            program.stop.cancelled().await;
        }
        try_join_all(workers.into_iter().map(Worker::run)).await?;
        Ok::<_, Failure>(())
    };
    let operating = async {
        if let Some(operations) = operations {
            tokio::select! {
                () = operations.run() => {}
                () = drained(program) => tracing::warn!("operations are cut off: others take them up"),
            }
        }
        Ok(())
    };
    tokio::try_join!(working, operating).map(|_| ())
}

/// Waits until the program was told to stop and its time to drain is over.
async fn drained(program: &Program) {
    program.stop.cancelled().await;
    tokio::time::sleep(program.config.worker.drain).await;
}
