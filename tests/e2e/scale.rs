//! More workers are more processes, with no setting changed.

use anyhow::{Context, Result, ensure};
use testkit::{
    load::Load,
    process::Program,
    receiver::Receiver,
    system::{Destination, System},
};

use crate::{LATER, SOON};

#[tokio::test]
async fn copies_of_each_worker_share_the_load() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut builder = System::builder().destination(Destination::webhook("crm", &receiver));
    for worker in Program::WORKERS {
        builder = builder.copies(worker, 3);
    }
    let mut system = builder.start().await?;
    let outsider = system.outsider().await?;
    let stages = [
        ("validate", Program::Validate),
        ("store", Program::Store),
        ("integrate.crm", Program::Integrate),
        ("dead", Program::Archive),
    ];
    for (queue, _) in stages {
        outsider
            .await_consumers(&system.named(queue), 3, SOON)
            .await?;
    }
    let mut before = Vec::new();
    for (_, program) in &stages[..3] {
        for copy in 0..3 {
            before.push(system.process(*program, copy)?.cpu_time()?);
        }
    }
    let accepted = Load::signups(system.client(), 1_500, 16)
        .finish(LATER)
        .await?;
    let ledger = system.ledger().await?;
    ledger.all_completed(&accepted, LATER).await?;
    let mut before = before.into_iter();
    for (queue, program) in &stages[..3] {
        let mut used = Vec::new();
        for copy in 0..3 {
            let earlier = before.next().context("every copy was measured before")?;
            used.push(system.process(*program, copy)?.cpu_time()? - earlier);
        }
        let (least, most) = (used.iter().min(), used.iter().max());
        let shared = least
            .zip(most)
            .is_some_and(|(least, most)| *least * 5 >= *most);
        ensure!(shared, "the copies at {queue} worked unequally: {used:?}");
    }
    ensure!(receiver.count() == 1_500, "{} calls", receiver.count());
    ensure!(ledger.double_deliveries().await?.is_empty());
    system.finish().await
}

#[tokio::test]
async fn a_copy_that_comes_later_and_one_that_dies_change_nothing() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut system = System::builder()
        .destination(Destination::webhook("crm", &receiver))
        .start()
        .await?;
    let load = Load::signups(system.client(), 600, 8);
    load.await_accepted(150, LATER).await?;
    for worker in Program::WORKERS {
        system.add(worker).await?;
    }
    load.await_accepted(400, LATER).await?;
    for worker in Program::WORKERS {
        system.kill(worker, 0).await?;
    }
    let accepted = load.finish(LATER).await?;
    system
        .ledger()
        .await?
        .all_completed(&accepted, LATER)
        .await?;
    system.finish().await
}
