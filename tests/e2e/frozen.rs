//! A process that stood still, and another one that took over meanwhile: nothing is posted that is recorded.

use anyhow::{Result, ensure};
use rustix::process::Signal;
use testkit::{
    client::Client,
    load::Load,
    process::Program,
    receiver::Receiver,
    system::{Destination, System},
    wait::eventually,
};

use crate::deliveries::{behind_a_proxy, posts};
use crate::holding::metric;
use crate::{LATER, SOON};

/// How many deliveries are at the receiver when the process freezes.
const AT_ONCE: usize = 4;

/// Waits until a copy of the integrate worker is ready and holds nothing.
async fn has_nothing_in_hand(system: &mut System, copy: usize) -> Result<()> {
    let worker = Client::new(system.address(Program::Integrate, copy)?)?;
    let queue = system.named("integrate.crm");
    eventually(SOON, "the worker to have nothing in hand", || async {
        let answer = worker.get("/readyz").await?;
        let in_flight = metric(&worker, "longshore_in_flight_events", &queue).await?;
        ensure!(
            answer.status == 200 && in_flight < 0.5,
            "{in_flight}: {}",
            answer.text()
        );
        Ok(())
    })
    .await
}

/// Requests that a process had at the receiver when it froze are posted by another one as well, since no
/// process can have recorded them. No other request is repeated. The frozen one wakes soon, before it can have noticed
/// that its link is lost.
#[tokio::test]
async fn a_process_that_was_frozen_does_not_post_what_another_has_delivered() -> Result<()> {
    const EVENTS: usize = 100;
    let receiver = Receiver::start().await?;
    receiver.hold();
    let (builder, proxy) = behind_a_proxy().await?;
    let mut system = builder
        .destination(
            Destination::webhook("crm", &receiver)
                .concurrency(AT_ONCE as u32)
                .timeout("60s"),
        )
        .start()
        .await?;
    let accepted = Load::signups(system.client(), EVENTS, 8)
        .finish(SOON)
        .await?;
    // All places are taken, so no other request begins before the process freezes.
    receiver.await_count(AT_ONCE, SOON).await?;
    system
        .process(Program::Integrate, 0)?
        .signal(Signal::STOP)?;
    let at_the_receiver = receiver.attempts();
    ensure!(at_the_receiver.len() == AT_ONCE, "{at_the_receiver:?}");
    // The broker redelivers the frozen one's messages.
    proxy.reset_connections();
    receiver.release();
    system.add(Program::Integrate).await?;
    let ledger = system.ledger().await?;
    ledger.all_completed(&accepted, LATER).await?;
    system
        .process(Program::Integrate, 0)?
        .signal(Signal::CONT)?;
    // It has made its way through everything that it had in hand.
    has_nothing_in_hand(&mut system, 0).await?;
    let mut twice = posts(&receiver);
    twice.retain(|(_, times)| *times > 1);
    ensure!(
        twice.len() == AT_ONCE
            && twice
                .iter()
                .all(|(id, times)| *times == 2 && at_the_receiver.contains_key(id)),
        "{twice:?}"
    );
    system.finish().await
}

/// The frozen process wakes and records the requests that it had posted, while another one waits for a place with a
/// copy that was due when it looked.
#[tokio::test]
async fn a_copy_that_waits_is_not_posted_once_another_process_has_recorded_it() -> Result<()> {
    let receiver = Receiver::start().await?;
    // Answered while their sender is frozen.
    receiver.hold();
    let (builder, proxy) = behind_a_proxy().await?;
    let mut system = builder
        .destination(
            Destination::webhook("crm", &receiver)
                .concurrency(AT_ONCE as u32)
                .timeout("60s"),
        )
        .start()
        .await?;
    let accepted = Load::signups(system.client(), AT_ONCE, AT_ONCE)
        .finish(SOON)
        .await?;
    receiver.await_count(AT_ONCE, SOON).await?;
    system
        .process(Program::Integrate, 0)?
        .signal(Signal::STOP)?;
    receiver.release();
    receiver.await_successes(AT_ONCE, SOON).await?;
    receiver.hold();
    // The other one has a single place.
    let one_place = format!(
        "[outbound]\nallow = [\"127.0.0.0/8\"]\n[[destination]]\nname = \"crm\"\nconcurrency = 1\n\
         timeout = \"60s\"\nwebhook = {{ url = {:?} }}\n",
        receiver.url()
    );
    system.file("longshore.toml", one_place)?;
    proxy.reset_connections();
    system.add(Program::Integrate).await?;
    receiver.await_count(AT_ONCE + 1, SOON).await?;
    system
        .process(Program::Integrate, 0)?
        .signal(Signal::CONT)?;
    let ledger = system.ledger().await?;
    ledger.all_completed(&accepted, LATER).await?;
    receiver.release();
    let outsider = system.outsider().await?;
    outsider
        .await_empty(&system.named("integrate.crm"), SOON)
        .await?;
    has_nothing_in_hand(&mut system, 1).await?;
    ensure!(receiver.count() == AT_ONCE + 1, "{:?}", posts(&receiver));
    system.finish().await
}
