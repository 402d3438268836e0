//! The store worker with a weak spot. An event that holds `kill the worker` ends the process at
//! once, in the middle of its handler, like a stack overflow or the kernel. An event that holds
//! `kill a task` lets a background task panic. Everything around the handler is the product's own.

use std::process::ExitCode;
use std::sync::Arc;

use async_trait::async_trait;
use common::bootstrap::{self, Failure, Program};
use common::outcome::Outcome;
use common::runtime::{Batch, Handler, Outcomes, Spec};
use common::seal::Seal;
use common::tasks;
use common::topology::{Names, Stage};
use workers::store::StoreEvents;

const DEADLY: &[u8] = b"kill the worker";
const BAD_FOR_A_TASK: &[u8] = b"kill a task";

struct Crashing(StoreEvents);

#[async_trait]
impl Handler for Crashing {
    async fn handle(&self, batch: Batch<'_>) -> Result<Outcomes, Outcome> {
        let holds = |text: &[u8]| {
            let bodies = batch.iter().map(|received| &received.message.body);
            let mut windows = bodies.flat_map(|body| body.windows(text.len()));
            windows.any(|window| window == text)
        };
        if holds(DEADLY) {
            std::process::abort();
        }
        if holds(BAD_FOR_A_TASK) {
            #[expect(clippy::panic, reason = "it is there to panic")]
            tasks::spawn("victim", async { panic!("over an event") });
        }
        self.0.handle(batch).await
    }

    async fn probe(&self) -> Result<(), String> {
        self.0.probe().await
    }
}

fn main() -> ExitCode {
    bootstrap::run("crashing-store", run)
}

async fn run(program: Program) -> Result<(), Failure> {
    let store = program.store()?;
    let rows = Arc::clone(&store);
    workers::serve(program, Some(store), |program, broker| {
        let seal = Seal::of(&program.config)?;
        let destinations = program.config.destinations.clone();
        let handler = Crashing(StoreEvents::new(Arc::clone(&rows), destinations, seal));
        let queue = Names::new(program.config.namespace.clone()).store();
        let spec = Spec::new(queue, program.config.stage(Stage::Store));
        Ok(vec![program.worker(broker, Arc::new(handler), spec)])
    })
    .await
}
