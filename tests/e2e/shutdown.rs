//! SIGTERM with work in flight.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rustix::process::Signal;
use testkit::{
    load::{Load, signup},
    process::Program,
    receiver::Receiver,
    system::{Destination, System},
    wait::eventually,
};

use crate::{LATER, SOON};

#[tokio::test]
async fn every_idle_program_ends_at_once_with_0() -> Result<()> {
    let mut system = System::builder().start().await?;
    for program in [Program::Producer].into_iter().chain(Program::WORKERS) {
        let start = Instant::now();
        let status = system.terminate(program, 0, SOON).await?;
        ensure!(status.code() == Some(0), "{program}: {status}");
        ensure!(
            start.elapsed() < Duration::from_secs(10),
            "{program} took {:?}",
            start.elapsed()
        );
    }
    system.finish().await
}

#[tokio::test]
async fn calls_that_run_are_finished_and_not_made_again() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.hold();
    let mut system = System::builder()
        .destination(Destination::webhook("crm", &receiver).timeout("20s"))
        .start()
        .await?;
    let id = system.client().signup(&signup("in-flight")).await?;
    receiver.await_count(1, SOON).await?;
    let worker = system.process(Program::Integrate, 0)?;
    worker.signal(Signal::TERM)?;
    eventually(SOON, "the worker to hear the signal", || async {
        let output = worker.output();
        ensure!(output.contains("finishing the running work"), "{output}");
        Ok(())
    })
    .await?;
    receiver.release();
    let status = system.ended(Program::Integrate, 0, SOON).await?;
    ensure!(status.code() == Some(0), "{status}");
    system.start_again(Program::Integrate, 0).await?;
    system.ledger().await?.all_completed(&[id], SOON).await?;
    ensure!(
        receiver.count() == 1,
        "the call was made {} times",
        receiver.count()
    );
    system.finish().await
}

#[tokio::test]
async fn workers_that_are_replaced_under_load_lose_and_double_nothing() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut system = System::builder()
        .destination(Destination::webhook("crm", &receiver))
        .start()
        .await?;
    let load = Load::signups(system.client(), 500, 8);
    for (fifth, program) in (1..).zip(Program::WORKERS) {
        load.await_accepted(100 * fifth, LATER).await?;
        let status = system.terminate(program, 0, SOON).await?;
        ensure!(status.code() == Some(0), "{program}: {status}");
        system.start_again(program, 0).await?;
    }
    let accepted = load.finish(LATER).await?;
    let ledger = system.ledger().await?;
    ledger.all_completed(&accepted, LATER).await?;
    ensure!(
        receiver.successes().len() == 500,
        "{}",
        receiver.successes().len()
    );
    let doubles = receiver
        .successes()
        .values()
        .filter(|count| **count > 1)
        .count();
    ensure!(
        doubles == 0,
        "{doubles} were delivered twice without a fault"
    );
    system.finish().await
}

#[tokio::test]
async fn a_producer_that_is_told_to_end_finishes_what_it_accepted() -> Result<()> {
    let mut system = System::builder().start().await?;
    let load = Load::signups(system.client(), 400, 8);
    load.await_accepted(100, SOON).await?;
    let status = system.terminate(Program::Producer, 0, SOON).await?;
    ensure!(status.code() == Some(0), "{status}");
    system.start_again(Program::Producer, 0).await?;
    let accepted = load.finish(LATER).await?;
    system
        .ledger()
        .await?
        .all_completed(&accepted, LATER)
        .await?;
    system.finish().await
}
