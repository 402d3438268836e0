//! Pausing a destination: nothing goes there, nothing is lost, and everything is delivered once afterwards.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use testkit::{
    load::{Load, signup},
    process::Program,
    receiver::{Answer, Receiver},
    system::{Destination, System},
    wait::eventually,
};

use crate::{LATER, SOON};

/// How long a copy may go by what it has read of pauses.
const KNOWN_FOR: Duration = Duration::from_millis(500);

/// The state of a destination, as `longshore destinations show` tells it.
async fn shown(system: &System, name: &str) -> Result<Value> {
    let command = ["destinations", "show", name, "--json"];
    system.longshore(&command).await?.json()
}

/// Pauses a destination. Whatever a copy knew before counts no longer.
async fn pause(system: &System, name: &str) -> Result<()> {
    let command = ["destinations", "pause", name, "--why", "their deploy"];
    system.longshore(&command).await?.success()?;
    tokio::time::sleep(KNOWN_FOR).await;
    Ok(())
}

async fn resume(system: &System, name: &str) -> Result<()> {
    let command = ["destinations", "resume", name];
    system.longshore(&command).await?.success()?;
    Ok(())
}

#[tokio::test]
async fn a_paused_destination_gets_nothing_until_it_is_resumed_and_then_all_of_it_once()
-> Result<()> {
    let (crm, mail) = (Receiver::start().await?, Receiver::start().await?);
    let mut system = System::builder()
        .destination(Destination::webhook("crm", &crm))
        .destination(Destination::webhook("mail", &mail))
        .copies(Program::Integrate, 2)
        .start()
        .await?;
    let first = system.client().signup(&signup("before")).await?;
    system.ledger().await?.all_completed(&[first], SOON).await?;

    pause(&system, "crm").await?;
    let accepted = Load::signups(system.client(), 20, 4).finish(SOON).await?;
    mail.await_successes(21, SOON).await?;
    // A new process keeps the pause. Its predecessor ends in order: one killed while it gives messages back may leave both a
    // message and its copy.
    let status = system.terminate(Program::Integrate, 0, SOON).await?;
    ensure!(status.success(), "{status}");
    system.start_again(Program::Integrate, 0).await?;
    let waiting = eventually(SOON, "all to wait", || async {
        let shown = shown(&system, "crm").await?;
        ensure!(shown["messages"] == 20, "{shown}");
        Ok(shown)
    })
    .await?;
    ensure!(
        waiting["state"] == "paused" && waiting["pause"]["paused_why"] == "their deploy",
        "{waiting}"
    );
    ensure!(crm.count() == 1, "{} requests", crm.count());
    let queues = system.longshore(&["queues"]).await?;
    ensure!(
        queues.success()?.contains("destinations resume crm"),
        "{queues:?}"
    );
    let doctor = system.longshore(&["doctor", "--json"]).await?.json()?;
    let finding = doctor["items"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|it| it["check"] == system.named("integrate.crm"));
    ensure!(
        finding.is_some_and(|it| it["verdict"] == "look"),
        "{doctor}"
    );

    resume(&system, "crm").await?;
    let ledger = system.ledger().await?;
    ledger.all_completed(&accepted, LATER).await?;
    let twice: Vec<_> = crm.attempts().into_iter().filter(|it| it.1 > 1).collect();
    ensure!(crm.count() == 21 && twice.is_empty(), "{twice:?}");
    let audit = ["audit", "list", "--json"];
    let audit = system.longshore(&audit).await?.json()?;
    let actions: Vec<&str> = audit["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|entry| entry["action"].as_str())
        .collect();
    ensure!(
        actions.starts_with(&["destination.resume", "destination.pause"]),
        "{actions:?}"
    );
    system.finish().await
}

#[tokio::test]
async fn deliveries_that_wait_for_their_turn_are_given_back_when_the_destination_is_paused()
-> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.hold();
    let system = System::builder()
        .destination(Destination::webhook("crm", &receiver).concurrency(1))
        .start()
        .await?;
    let accepted = Load::signups(system.client(), 12, 4).finish(SOON).await?;
    // One is under way, and the others wait in the hands of the worker.
    receiver.await_count(1, SOON).await?;
    pause(&system, "crm").await?;
    receiver.release();
    receiver.await_successes(1, SOON).await?;
    eventually(SOON, "the others to be back in the queue", || async {
        let shown = shown(&system, "crm").await?;
        ensure!(shown["messages"] == 11, "{shown}");
        Ok(())
    })
    .await?;
    receiver.always(Answer::status(200));
    ensure!(receiver.count() == 1, "{} requests", receiver.count());
    resume(&system, "crm").await?;
    let ledger = system.ledger().await?;
    ledger.all_completed(&accepted, LATER).await?;
    ensure!(receiver.count() == 12, "{} requests", receiver.count());
    system.finish().await
}

#[tokio::test]
async fn a_receiver_that_is_gone_pauses_its_destination_in_every_copy() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.always(Answer::status(410));
    let system = System::builder()
        .destination(Destination::webhook("crm", &receiver))
        .copies(Program::Integrate, 2)
        .start()
        .await?;
    let gone = system.client().signup(&signup("gone")).await?;
    system.client().await_status(gone, "dead", SOON).await?;
    eventually(SOON, "the pause", || async {
        let shown = shown(&system, "crm").await?;
        ensure!(shown["state"] == "paused", "{shown}");
        ensure!(
            shown["pause"]["paused_by"] == "longshore-integrate",
            "{shown}"
        );
        Ok(())
    })
    .await?;
    tokio::time::sleep(KNOWN_FOR).await;
    let waits = system.client().signup(&signup("waits")).await?;
    eventually(SOON, "the event to wait", || async {
        let shown = shown(&system, "crm").await?;
        ensure!(shown["messages"] == 1, "{shown}");
        Ok(())
    })
    .await?;
    ensure!(receiver.count() == 1, "{} requests", receiver.count());
    receiver.always(Answer::status(200));
    resume(&system, "crm").await?;
    let ledger = system.ledger().await?;
    ledger.all_completed(&[waits], LATER).await?;
    system.finish().await
}

#[tokio::test]
async fn a_ping_shows_what_is_sent_and_what_comes_back() -> Result<()> {
    let receiver = Receiver::start().await?;
    let system = System::builder()
        .destination(Destination::webhook("crm", &receiver))
        .start()
        .await?;
    pause(&system, "crm").await?;
    let test = ["destinations", "test", "crm"];
    let text = system.longshore(&test).await?;
    let text = text.success()?;
    let request = receiver.await_count(1, SOON).await?.remove(0);
    ensure!(
        request.json()?["type"] == "longshore.ping"
            && text.contains("method: POST")
            && text.contains(&format!("webhook-id: {}", request.webhook_id()))
            && text.contains("answered 200 in "),
        "{text}"
    );
    receiver.always(Answer::status(503));
    let json = ["destinations", "test", "crm", "--json"];
    let refused = system.longshore(&json).await?;
    let told: Value = serde_json::from_str(refused.exit(1)?)?;
    ensure!(
        told["status"] == 503 && told["code"] == "receiver_failing",
        "{told}"
    );
    let unknown = system.longshore(&["destinations", "test", "crn"]).await?;
    unknown.exit(2)?;
    ensure!(unknown.stderr.contains("(crm)"), "{unknown:?}");
    // A ping is not an event: nothing is stored.
    ensure!(system.ledger().await?.events().await? == 0);
    system.finish().await
}
