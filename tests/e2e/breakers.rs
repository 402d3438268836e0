//! Breakers: a destination that fails is left alone, no attempt is spent meanwhile, and one probe finds out that it is back.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testkit::{
    load::Load,
    process::Program,
    receiver::{Answer, Receiver},
    system::{Destination, System},
    wait::eventually,
};

use crate::{LATER, SOON};

/// Events. Without a breaker each of them would fail at once.
const EVENTS: usize = 120;

/// Deliveries at once, of all copies.
const CONCURRENCY: u32 = 2;

/// Failed attempts that open the breaker in one copy.
const OF: usize = 6;

async fn shown(system: &System) -> Result<Value> {
    let command = ["destinations", "show", "crm", "--json"];
    system.longshore(&command).await?.json()
}

/// A system of two copies, whose only receiver fails.
async fn broken(receiver: &Receiver, open: &str) -> Result<System> {
    receiver.always(Answer::status(503));
    let destination = Destination::webhook("crm", receiver)
        .concurrency(CONCURRENCY)
        .attempts(30, "100ms")
        .longest_wait("1s")
        .breaker(&format!("{{ of = {OF}, open = {open:?} }}"));
    System::builder()
        .destination(destination)
        .copies(Program::Integrate, 2)
        .start()
        .await
}

/// Waits until the breaker is open and this many requests were made, some of which must be probes.
async fn await_probes(system: &System, receiver: &Receiver, requests: usize) -> Result<()> {
    eventually(SOON, "probes of an open breaker", || async {
        let shown = shown(system).await?;
        ensure!(shown["state"] == "broken", "{shown}");
        ensure!(
            receiver.count() >= requests,
            "{} requests",
            receiver.count()
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_destination_that_fails_is_left_alone_until_a_probe_is_delivered() -> Result<()> {
    let receiver = Receiver::start().await?;
    let system = broken(&receiver, "1s").await?;
    let accepted = Load::signups(system.client(), EVENTS, 8)
        .finish(SOON)
        .await?;
    // Both copies may have to see enough failures, and requests under way at the time end.
    let opened = 2 * OF + CONCURRENCY as usize;
    await_probes(&system, &receiver, opened + 2).await?;
    let failed = receiver.count();
    ensure!(
        failed < EVENTS / 2,
        "{failed} requests to a broken receiver"
    );
    let shown = shown(&system).await?;
    let why = shown["breaker"]["why"].as_str().unwrap_or_default();
    ensure!(why.contains("503"), "{shown}");
    let queues = system.longshore(&["queues"]).await?;
    ensure!(
        queues.success()?.contains("destinations resume crm"),
        "{queues:?}"
    );

    receiver.always(Answer::status(200));
    let ledger = system.ledger().await?;
    ledger.all_completed(&accepted, LATER).await?;
    let successes = receiver.successes();
    ensure!(
        successes.len() == EVENTS && successes.values().all(|count| *count == 1),
        "{successes:?}"
    );
    eventually(SOON, "the breaker to be closed", || async {
        let shown = self::shown(&system).await?;
        ensure!(shown["state"] == "active", "{shown}");
        Ok(())
    })
    .await?;
    system.finish().await
}

#[tokio::test]
async fn copies_that_die_and_start_while_a_breaker_is_open_keep_it_and_lose_nothing() -> Result<()>
{
    let receiver = Receiver::start().await?;
    let mut system = broken(&receiver, "3s").await?;
    let accepted = Load::signups(system.client(), EVENTS, 8)
        .finish(SOON)
        .await?;
    await_probes(&system, &receiver, OF).await?;
    for copy in 0..2 {
        system.kill(Program::Integrate, copy).await?;
    }
    let before = receiver.count();
    for copy in 0..2 {
        system.start_again(Program::Integrate, copy).await?;
    }
    await_probes(&system, &receiver, before + 3).await?;
    // Those that were started anew make probes, and nothing else.
    let failed = receiver.count() - before;
    ensure!(failed < 2 * OF, "{failed} requests to a broken receiver");
    receiver.always(Answer::status(200));
    let ledger = system.ledger().await?;
    ledger.all_completed(&accepted, LATER).await?;
    system.finish().await
}

#[tokio::test]
async fn a_receiver_that_comes_back_gets_less_than_its_rate_at_first() -> Result<()> {
    const RATE: usize = 60;
    const WINDOW: Duration = Duration::from_secs(2);
    let receiver = Receiver::start().await?;
    receiver.always(Answer::status(503));
    let destination = Destination::webhook("crm", &receiver)
        .rate(&format!("{RATE}/s"))
        .attempts(30, "100ms")
        .breaker(&format!("{{ of = {OF}, open = \"4s\" }}"));
    let system = System::builder()
        .destination(destination)
        .copies(Program::Integrate, 2)
        .start()
        .await?;
    let accepted = Load::signups(system.client(), 4 * RATE, 8)
        .finish(SOON)
        .await?;
    await_probes(&system, &receiver, OF).await?;
    receiver.always(Answer::status(200));
    let ledger = system.ledger().await?;
    ledger.all_completed(&accepted, LATER).await?;

    let requests = receiver.requests();
    let mut at: Vec<_> = requests
        .iter()
        .filter(|it| it.answered == Some(200))
        .map(|it| it.at)
        .collect();
    at.sort();
    let probe = *at.first().context("nothing was delivered")?;
    let at_first = at.iter().filter(|it| **it - probe <= WINDOW).count();
    // From a tenth of the rate to all of it in four seconds: a third of what the rate allows, were every request in time.
    let half = RATE * WINDOW.as_secs() as usize / 2;
    ensure!(
        at_first <= half,
        "{at_first} deliveries in the first {WINDOW:?}, expected {half} at most"
    );
    ensure!(at.len() == 4 * RATE, "{} deliveries", at.len());
    system.finish().await
}

#[tokio::test]
async fn a_resumed_destination_gets_its_deliveries_before_a_probe_is_due() -> Result<()> {
    let receiver = Receiver::start().await?;
    let system = broken(&receiver, "1h").await?;
    let accepted = Load::signups(system.client(), EVENTS, 8)
        .finish(SOON)
        .await?;
    await_probes(&system, &receiver, OF).await?;
    receiver.always(Answer::status(200));
    let resume = ["destinations", "resume", "crm", "--why", "mended"];
    let resumed = system.longshore(&resume).await?;
    ensure!(resumed.success()?.contains("503"), "{resumed:?}");
    let shown = shown(&system).await?;
    ensure!(shown["state"] == "active", "{shown}");
    let ledger = system.ledger().await?;
    ledger.all_completed(&accepted, LATER).await?;
    system.finish().await
}
