//! The program around the door.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use common::bootstrap::{self, Failure, Program, TakeOver};
use common::health::Health;
use common::topology::Names;

use crate::generations::DoorGenerations;
use crate::serve::{open, serve};

const NAME: &str = "longshore-producer";

/// Runs the program `longshore-producer` with these arguments, the first of which is its name.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command = bootstrap::command(NAME, "The HTTP door: takes events and publishes them");
    match bootstrap::matches(command, arguments) {
        Ok(_) => bootstrap::run(NAME, run),
        Err(code) => code,
    }
}

async fn run(program: Program) -> Result<(), Failure> {
    let config = Arc::clone(&program.config);
    // First, so that a taken port is reported at once and not after the broker has answered.
    let entrance = open(&config).await?;
    let address = entrance.local_addr().map_err(anyhow::Error::from)?;
    let broker = program.broker()?;
    let store = program.store()?;
    let health = Health {
        broker: Arc::clone(&broker),
        declared: Arc::clone(&program.declared),
        // The history alone would take an event too, and then nobody would.
        queues: vec![Names::new(config.namespace.clone()).validate()],
        workers: Vec::new(),
        store: Some(Arc::clone(&store) as _),
        // Nothing on the way to a 202 needs it.
        store_needed: false,
        metrics: program.metrics.clone(),
    };
    let doors = DoorGenerations::begin(&program, address, &store, health.clone()).await?;
    let doors = Arc::new(doors);

    // The door is open while the broker is waited for: it says 503, and `/readyz` says why.
    let serving = async {
        let stop = program.end.clone();
        serve(entrance, doors.router(), stop, config.worker.drain)
            .await
            .map_err(|error| Failure::from(anyhow::Error::from(error)))
    };
    let working = async {
        if program.declare(&broker).await? {
            program.tell(&store);
            let prepare = async |next: &Program| {
                let door = doors.prepare(next, health.clone()).await?;
                let (doors, next) = (Arc::clone(&doors), next.clone());
                let take_over: TakeOver = Box::new(move || doors.take_over(door, &next));
                Ok(take_over)
            };
            program
                .follow_configuration(&broker, Some(&store), prepare)
                .await;
        }
        Ok(())
    };
    let keeping = async {
        doors.keep(&program).await;
        Ok(())
    };
    let done = tokio::try_join!(serving, working, keeping).map(|_| ());
    broker.close().await;
    program.leave(&store).await;
    store.close().await;
    done
}
