//! SIGKILL in the middle of load loses nothing.

use anyhow::{Result, ensure};
use testkit::{
    broker::{Message, Published},
    load::Load,
    process::Program,
    receiver::Receiver,
    system::{Destination, System},
};

use crate::{LATER, SOON, fault::unharmed};

const EVENTS: usize = 600;

/// Kills `program` three times while events come in, and checks that every accepted one arrives.
async fn survives(program: Program) -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut system = System::builder()
        .destination(Destination::webhook("crm", &receiver))
        .start()
        .await?;
    let load = Load::signups(system.client(), EVENTS, 8);
    for quarter in 1..=3 {
        load.await_accepted(EVENTS * quarter / 4, LATER).await?;
        system.kill(program, 0).await?;
        system.start_again(program, 0).await?;
    }
    unharmed(system, load, &receiver).await
}

#[tokio::test]
async fn killing_the_producer_loses_nothing_it_accepted() -> Result<()> {
    survives(Program::Producer).await
}

#[tokio::test]
async fn killing_the_validate_worker_loses_nothing() -> Result<()> {
    survives(Program::Validate).await
}

#[tokio::test]
async fn killing_the_store_worker_loses_nothing() -> Result<()> {
    survives(Program::Store).await
}

#[tokio::test]
async fn killing_the_integrate_worker_loses_nothing() -> Result<()> {
    survives(Program::Integrate).await
}

#[tokio::test]
async fn killing_the_archive_worker_loses_no_dead_letter_and_doubles_none() -> Result<()> {
    let mut system = System::builder().start().await?;
    let (outsider, ledger) = (system.outsider().await?, system.ledger().await?);
    let received = system.named("received");
    for number in 0..300 {
        let garbage = Message::new(format!("garbage {number}"));
        let published = outsider
            .publish(&received, "signup.requested", &garbage)
            .await?;
        ensure!(published == Published::Routed);
        if number % 100 == 50 {
            ledger.await_dead_letters(1, SOON).await?;
            system.kill(Program::Archive, 0).await?;
            system.start_again(Program::Archive, 0).await?;
        }
    }
    ledger.await_dead_letters(300, LATER).await?;
    outsider.await_empty(&system.named("dead"), SOON).await?;
    let letters = ledger.dead_letters().await?;
    ensure!(
        letters.len() == 300,
        "{} dead letters for 300 messages",
        letters.len()
    );
    system.finish().await
}
