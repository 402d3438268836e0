//! The store worker: events into the database, many in one transaction, each of them once.

mod addressees;
mod details;
mod handler;
mod password;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use common::bootstrap::{self, Failure, Program};
use common::broker::Broker;
use common::runtime::{Spec, Worker};
use common::seal::Seal;
use common::store::Store;
use common::topology::{Names, Stage};

pub use handler::StoreEvents;

const NAME: &str = "longshore-store";

/// Runs the program `longshore-store` with these arguments, the first of which is its name.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command = bootstrap::command(NAME, "Writes events to the database, each of them once");
    match bootstrap::matches(command, arguments) {
        Ok(_) => crate::serve::run(NAME, run),
        Err(code) => code,
    }
}

async fn run(program: Program) -> Result<(), Failure> {
    let store = program.store()?;
    let rows = Arc::clone(&store);
    crate::serve::serve(program, Some(store), |program, broker| {
        Ok(vec![worker(program, broker, &rows)?])
    })
    .await
}

/// The worker of the stage.
///
/// # Errors
/// The key that password hashes are sealed with cannot be read.
pub fn worker(
    program: &Program,
    broker: &Arc<dyn Broker>,
    store: &Arc<dyn Store>,
) -> Result<Worker, Failure> {
    let config = &program.config;
    let seal = Seal::of(config)?;
    let handler = StoreEvents::new(Arc::clone(store), config.destinations.clone(), seal);
    let queue = Names::new(config.namespace.clone()).store();
    let spec = Spec::new(queue, config.stage(Stage::Store));
    Ok(program.worker(broker, Arc::new(handler), spec))
}
