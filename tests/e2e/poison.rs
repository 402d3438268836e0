//! A message that kills workers ends as a dead letter, and harms no neighbour.

use std::time::Duration;

use anyhow::{Result, ensure};
use testkit::{
    load, port,
    process::Program,
    receiver::Receiver,
    system::{Destination, System},
};
use tokio::time::Instant;

use crate::{LATER, SOON};

const NEIGHBOURS: usize = 60;

#[tokio::test]
async fn a_message_that_kills_workers_dies_alone() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut system = System::builder()
        .destination(Destination::webhook("crm", &receiver))
        .copies(Program::Store, 0)
        .start()
        .await?;
    let client = system.client().clone();
    let mut accepted = Vec::new();
    let mut deadly = None;
    for number in 0..NEIGHBOURS {
        accepted.push(
            client
                .signup(&load::signup(&format!("neighbour-{number}")))
                .await?,
        );
        if number == NEIGHBOURS / 2 {
            let mut signup = load::signup("deadly");
            signup["name"] = "kill the worker".into();
            deadly = Some(client.signup(&signup).await?);
        }
    }
    // The worker starts with everything in its queue, and starts again each time it dies.
    system.begin(Program::CrashingStore)?;
    let ledger = system.ledger().await?;
    let deadline = Instant::now() + LATER;
    let mut deaths = 0;
    while ledger.dead_letters().await?.is_empty() {
        ensure!(
            Instant::now() < deadline,
            "no dead letter after {deaths} deaths"
        );
        if system
            .ended(Program::CrashingStore, 0, Duration::from_secs(2))
            .await
            .is_ok()
        {
            deaths += 1;
            system.begin_again(Program::CrashingStore, 0)?;
        }
    }
    ensure!(deaths >= 3, "given up after only {deaths} deaths");
    ensure!(deaths <= 8, "it killed {deaths} workers");
    ledger.all_completed(&accepted, LATER).await?;

    let letters = ledger.dead_letters().await?;
    ensure!(
        letters.len() == 1,
        "only the deadly one may die: {letters:?}"
    );
    ensure!(letters[0].event_id == deadly, "{letters:?}");
    ensure!(letters[0].reason == "crashed", "{letters:?}");
    ensure!(letters[0].queue.ends_with(".store"), "{letters:?}");
    system.finish().await
}

#[tokio::test]
async fn a_panic_in_a_background_task_ends_the_program_and_is_told() -> Result<()> {
    let mut system = System::builder().copies(Program::Store, 0).start().await?;
    let client = system.client().clone();
    let mut accepted = vec![client.signup(&load::signup("neighbour")).await?];
    let mut signup = load::signup("bad");
    signup["name"] = "kill a task".into();
    accepted.push(client.signup(&signup).await?);
    let listen = format!("127.0.0.1:{}", port::free()?);
    let listen = [("LONGSHORE_LISTEN", listen.as_str())];
    let mut victim = system.beside(Program::CrashingStore, &listen)?;
    let status = victim.wait(SOON).await?;
    let output = victim.output();
    ensure!(status.code() == Some(1), "{status}: {output}");
    let told = r#"the task "victim" panicked: over an event"#;
    ensure!(output.contains(told), "{output}");
    // Nothing was lost with it.
    system.add(Program::Store).await?;
    let ledger = system.ledger().await?;
    ledger.all_completed(&accepted, LATER).await?;
    system.finish().await
}
