//! The validate worker: every event, from every door, passes one schema and one set of rules here;
//! foreign shapes become canonical events.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use common::bootstrap::{self, Failure, Program};
use common::broker::Broker;
use common::event::Types;
use common::runtime::{Spec, Worker};
use common::seal::Seal;
use common::topology::{Names, Stage};
use common::validation::Validate;

const NAME: &str = "longshore-validate";

/// Runs the program `longshore-validate` with these arguments, the first of which is its name.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command = bootstrap::command(NAME, "Checks events against schema and rules");
    match bootstrap::matches(command, arguments) {
        Ok(_) => crate::serve::run(NAME, run),
        Err(code) => code,
    }
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
    Ok(program.worker(broker, Arc::new(handler), spec))
}
