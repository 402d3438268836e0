//! The validate worker: every event, through whichever door it came, meets the same schema and the
//! same rules here; foreign shapes become canonical events.

use std::process::ExitCode;
use std::sync::Arc;

use common::bootstrap::{Failure, Program};
use common::broker::Broker;
use common::event::Types;
use common::runtime::{Spec, Worker};
use common::seal::Seal;
use common::topology::{Names, Stage};
use common::validation::Validate;

/// Runs the program `longshore-validate`.
pub fn main() -> ExitCode {
    crate::serve::run("longshore-validate", run)
}

async fn run(program: Program) -> Result<(), Failure> {
    crate::serve::serve(program, None, |program, broker| {
        Ok(vec![worker(program, broker)?])
    })
    .await
}

/// The worker of the stage.
///
/// # Errors
/// A configured event type cannot be used.
pub fn worker(program: &Program, broker: &Arc<dyn Broker>) -> Result<Worker, Failure> {
    let config = &program.config;
    let types = Types::with(&config.types).map_err(|error| Failure::Usage(error.to_string()))?;
    let seal = Seal::of(config)?;
    let handler = Validate::new(types, config.limits.events(), config.broker.logins(), seal);
    let queue = Names::new(config.namespace.clone()).validate();
    let spec = Spec::new(queue, config.stage(Stage::Validate));
    Ok(Worker::new(
        program,
        Arc::clone(broker),
        Arc::new(handler),
        spec,
    ))
}
