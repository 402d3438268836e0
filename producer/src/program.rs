//! The program around the door.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use common::bootstrap::{self, Failure, Program};
use common::health::Health;
use common::outcome::chain;
use common::seal::Seal;
use common::topology::Names;

use crate::door::{Door, Lock};
use crate::routes::router;
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
    let seal = Seal::of(&config)?;
    let lock = Lock {
        mode: config.auth.door_at(address),
        keys: Arc::clone(&store) as _,
    };
    let statuses = Arc::clone(&store) as _;
    let door = Door::new(Arc::clone(&config), lock, health, statuses, seal)
        .map_err(|error| Failure::Usage(chain(&error)))?;
    let has_keys = door.expect_keys().await;
    has_keys.map_err(|error| Failure::Usage(error.to_string()))?;

    // The door is open while the broker is waited for: it says 503, and `/readyz` says why.
    let serving = async {
        let stop = program.stop.clone();
        serve(entrance, router(door.clone()), stop, config.worker.drain)
            .await
            .map_err(|error| Failure::from(anyhow::Error::from(error)))
    };
    let declaring = program.declare(&broker);
    let keeping = async {
        door.keep_queue(&program.stop).await;
        Ok(())
    };
    let following = async {
        door.follow_keys(&program.stop).await;
        Ok(())
    };
    let done = tokio::try_join!(serving, declaring, keeping, following).map(|_| ());
    broker.close().await;
    store.close().await;
    done
}
