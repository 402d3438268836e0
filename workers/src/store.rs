//! The store worker: events into the database, many in one transaction, each of them once.

mod details;
mod handler;

use std::process::ExitCode;
use std::sync::Arc;

use common::bootstrap::{self, Failure, Program};
use common::runtime::{Spec, Worker};
use common::topology::{Names, Stage};

pub(crate) use handler::DATABASE;
pub use handler::StoreEvents;

/// Runs the program `longshore-store`.
pub fn main() -> ExitCode {
    bootstrap::run("longshore-store", run)
}

async fn run(program: Program) -> Result<(), Failure> {
    let store = program.store()?;
    let rows = Arc::clone(&store);
    crate::serve::serve(program, Some(store), |program, broker| {
        let handler = StoreEvents::new(rows, program.config.destinations.clone());
        let spec = Spec {
            queue: Names::new(program.config.namespace.clone()).store(),
            settings: program.config.stage(Stage::Store),
            door: false,
            parked: None,
        };
        Ok(vec![Worker::new(
            program,
            Arc::clone(broker),
            Arc::new(handler),
            spec,
        )])
    })
    .await
}
