//! The validate worker: every event, through whichever door it came, meets the same schema and the
//! same rules here; foreign shapes become canonical events.

mod handler;

use std::process::ExitCode;
use std::sync::Arc;

use common::bootstrap::{self, Failure, Program};
use common::event::Types;
use common::runtime::{Spec, Worker};
use common::topology::{Names, Stage};

pub use handler::Validate;

/// Runs the program `longshore-validate`.
pub fn main() -> ExitCode {
    bootstrap::run("longshore-validate", run)
}

async fn run(program: Program) -> Result<(), Failure> {
    let types =
        Types::with(&program.config.types).map_err(|error| Failure::Usage(error.to_string()))?;
    crate::serve::serve(program, None, |program, broker| {
        let handler = Validate::new(types, program.config.limits.events(), broker.user());
        let spec = Spec {
            queue: Names::new(program.config.namespace.clone()).validate(),
            settings: program.config.stage(Stage::Validate),
            door: true,
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
