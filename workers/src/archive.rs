//! The archive worker: dead letters and rejections into the database, where people find them. While
//! the database is down they wait on the broker. Its program keeps the standing watch, runs operations and releases
//! scheduled events as well.

mod dead;
mod handler;
mod rejection;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use common::bootstrap::{self, Failure, Program};
use common::broker::Broker;
use common::runtime::{Handler, Spec, Worker};
use common::store::Store;
use common::topology::{Names, Stage, Topology};
use operate::history::Judge;

use crate::generations::Work;
use crate::operations::Operations;
use crate::schedule::Releaser;
use crate::watch;

pub use handler::{KeepDead, KeepRejections};

const NAME: &str = "longshore-archive";

/// Runs the program `longshore-archive` with these arguments, the first of which is its name.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command = bootstrap::command(
        NAME,
        "Keeps dead letters, rejections and the standing watch, runs replays, and releases scheduled events",
    );
    match bootstrap::matches(command, arguments) {
        Ok(_) => crate::serve::run(NAME, run),
        Err(code) => code,
    }
}

async fn run(program: Program) -> Result<(), Failure> {
    let store = program.store()?;
    let rows = Arc::clone(&store);
    crate::serve::serve(program, Some(store), |program, broker| {
        Ok(Work {
            workers: workers(program, broker, &rows)?.into(),
            operations: Some(Operations::new(program, broker, &rows)?),
            watch: watch::of(program, broker, &rows)?,
            releaser: Some(Releaser::new(program, broker, &rows)),
        })
    })
    .await
}

/// The two workers of the stage: one for dead letters, one for rejections.
///
/// # Errors
/// A configured event type or the sealing key cannot be used.
pub fn workers(
    program: &Program,
    broker: &Arc<dyn Broker>,
    store: &Arc<dyn Store>,
) -> Result<[Worker; 2], Failure> {
    let names = Names::new(program.config.namespace.clone());
    let worker = |queue: String, handler: Arc<dyn Handler>, parked| {
        let settings = program.config.stage(Stage::Archive);
        let spec = Spec {
            parked,
            ..Spec::new(queue, settings)
        };
        program.worker(broker, handler, spec)
    };
    let topology = Topology::new(&program.config.plan());
    let judge = Judge::new(&program.config)?;
    let dead = KeepDead::new(Arc::clone(store), names.clone(), &topology, judge);
    let rejections = KeepRejections::new(Arc::clone(store), names.clone());
    Ok([
        worker(names.dead(), Arc::new(dead), Some(names.parked())),
        worker(names.rejected(), Arc::new(rejections), None),
    ])
}
