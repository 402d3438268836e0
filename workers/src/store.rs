//! The store worker: events into the database, many in one transaction, each of them once.

mod details;
mod handler;

use std::process::ExitCode;
use std::sync::Arc;

use common::bootstrap::{Failure, Program};
use common::broker::Broker;
use common::runtime::{Spec, Worker};
use common::store::Store;
use common::topology::{Names, Stage};

pub use handler::StoreEvents;

/// Runs the program `longshore-store`.
pub fn main() -> ExitCode {
    crate::serve::run("longshore-store", run)
}

async fn run(program: Program) -> Result<(), Failure> {
    let store = program.store()?;
    let rows = Arc::clone(&store);
    crate::serve::serve(program, Some(store), |program, broker| {
        Ok(vec![worker(program, broker, &rows)])
    })
    .await
}

/// The worker of the stage.
pub fn worker(program: &Program, broker: &Arc<dyn Broker>, store: &Arc<dyn Store>) -> Worker {
    let config = &program.config;
    let handler = StoreEvents::new(Arc::clone(store), config.destinations.clone());
    let queue = Names::new(config.namespace.clone()).store();
    let spec = Spec::new(queue, config.stage(Stage::Store));
    Worker::new(program, Arc::clone(broker), Arc::new(handler), spec)
}
