//! What operators start belongs to the system: it runs in the archive's program and goes on whatever ends.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use testkit::{
    client::Client,
    process::Program,
    receiver::{Answer, Receiver},
    system::{Destination, System},
    wait::eventually,
};
use tokio::time::{Instant, sleep};

use crate::{
    LATER, SOON,
    replay::{await_marked, dead, marked},
};

/// The copy of the archive that runs a replay.
async fn runner(system: &mut System, replay: &str, copies: usize) -> Result<usize> {
    let mut found = None;
    let began = Instant::now();
    while found.is_none() && began.elapsed() < SOON {
        for copy in 0..copies {
            let log = system.process(Program::Archive, copy)?.output();
            if log
                .lines()
                .any(|line| line.contains("running an operation") && line.contains(replay))
            {
                found = Some(copy);
            }
        }
        sleep(Duration::from_millis(50)).await;
    }
    found.context("no archive runs the replay")
}

async fn begin(system: &System, more: &[&str]) -> Result<String> {
    let command = ["dead", "replay", "--all", "--yes", "--no-wait", "--json"];
    let begun = system.longshore(&[&command[..], more].concat()).await?;
    let begun = begun.json()?;
    let id = begun["replay"].as_str().context("an id")?;
    Ok(id.to_owned())
}

async fn state(system: &System, replay: &str) -> Result<String> {
    let shown = system
        .longshore(&["replay", "show", replay, "--json"])
        .await?
        .json()?;
    let state = shown["state"].as_str().context("a state")?;
    Ok(state.to_owned())
}

fn none_twice(successes: &HashMap<String, usize>, letters: usize) -> Result<()> {
    ensure!(successes.len() == letters, "{} deliveries", successes.len());
    let most = successes.values().max();
    ensure!(most == Some(&1), "one was delivered {most:?} times");
    Ok(())
}

#[tokio::test]
async fn a_replay_runs_in_the_archive_and_is_seen_in_the_list() -> Result<()> {
    const LETTERS: usize = 300;
    let receiver = Receiver::start().await?;
    let (mut system, accepted) = dead(System::builder(), &receiver, LETTERS).await?;
    let id = begin(&system, &["--why", "the receiver is mended"]).await?;
    let list = system
        .longshore(&["replay", "list", "--json"])
        .await?
        .json()?;
    ensure!(list["items"][0]["id"] == id.as_str(), "{list}");
    let watched = system
        .longshore(&["replay", "watch", &id, "--json"])
        .await?
        .json()?;
    ensure!(watched["stopped"] == false, "{watched}");
    ensure!(state(&system, &id).await? == "done");
    ensure!(marked(&system.ledger().await?).await? == LETTERS);
    let archive = Client::new(system.address(Program::Archive, 0)?)?;
    eventually(SOON, "the end of the run to be counted", || async {
        let metrics = archive.get("/metrics").await?.text();
        for line in [
            "longshore_operations 0".to_owned(),
            format!("longshore_operation_messages_total {LETTERS}"),
            "longshore_operation_runs_total{result=\"done\"} 1".to_owned(),
        ] {
            ensure!(metrics.lines().any(|it| it == line), "{line}: {metrics}");
        }
        Ok(())
    })
    .await?;
    system
        .ledger()
        .await?
        .all_completed(&accepted, LATER)
        .await?;
    none_twice(&receiver.successes(), LETTERS)?;
    system.finish().await
}

#[tokio::test]
async fn an_archive_that_is_stopped_hands_its_replay_over_and_nothing_is_sent_twice() -> Result<()>
{
    const LETTERS: usize = 600;
    let receiver = Receiver::start().await?;
    let builder = System::builder().copies(Program::Archive, 2);
    let (mut system, accepted) = dead(builder, &receiver, LETTERS).await?;
    let ledger = system.ledger().await?;
    let id = begin(&system, &["--rate", "60/s"]).await?;
    let first = runner(&mut system, &id, 2).await?;
    await_marked(&ledger, 60).await?;
    let status = system.terminate(Program::Archive, first, SOON).await?;
    ensure!(status.success(), "{status}");
    let so_far = marked(&ledger).await?;
    ensure!(so_far < LETTERS, "it was over before");
    ensure!(state(&system, &id).await? == "running");
    // Sooner than the lease of one that is killed would end.
    let began = Instant::now();
    await_marked(&ledger, so_far + 1).await?;
    ensure!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
    await_marked(&ledger, LETTERS).await?;
    ledger.all_completed(&accepted, LATER).await?;
    none_twice(&receiver.successes(), LETTERS)?;
    system.finish().await
}

/// How many letters: `LONGSHORE_TEST_LETTERS`, else some thousands.
fn letters() -> usize {
    let asked = std::env::var("LONGSHORE_TEST_LETTERS").ok();
    asked.and_then(|asked| asked.parse().ok()).unwrap_or(3_000)
}

#[tokio::test]
async fn an_archive_that_is_killed_is_followed_by_another_and_every_letter_is_sent() -> Result<()> {
    let letters = letters();
    let (long, receiver) = (LATER * 8, Receiver::start().await?);
    receiver.always(Answer::status(500));
    let mut system = System::builder()
        .destination(Destination::webhook("crm", &receiver).attempts(1, "250ms"))
        .copies(Program::Archive, 2)
        .start()
        .await?;
    let load = testkit::load::Load::signups(system.client(), letters, 16);
    let accepted = load.finish(long).await?;
    let ledger = system.ledger().await?;
    ledger.await_dead_letters(letters, long).await?;
    receiver.always(Answer::status(200));

    // It takes six seconds at least, so the kill is in the middle of it.
    let rate = format!("{}/s", letters / 6);
    let command = ["dead", "replay", "--all", "--yes", "--rate", &rate];
    let mut watching = system.longshore_running(&[], &command)?;
    await_marked(&ledger, letters / 10)
        .await
        .with_context(|| watching.output())?;
    let list = system
        .longshore(&["replay", "list", "--json"])
        .await?
        .json()?;
    let id = list["items"][0]["id"].as_str().context("an id")?.to_owned();
    let first = runner(&mut system, &id, 2).await?;
    system.kill(Program::Archive, first).await?;
    let rows = ledger.dead_letters().await?;
    let claimed: Vec<String> = rows
        .iter()
        .filter(|letter| letter.state == "replaying")
        .filter_map(|letter| letter.event_id.map(|id| id.to_string()))
        .collect();
    ensure!(
        rows.iter().any(|letter| letter.state != "replayed"),
        "it was over before the kill"
    );
    let status = watching.wait(long).await?;
    ensure!(status.success(), "{status}: {}", watching.output());
    ensure!(marked(&ledger).await? == letters);
    ledger.all_completed(&accepted, long).await?;
    let successes = receiver.successes();
    for event in &accepted {
        let event = event.to_string();
        let times = successes.get(&event).copied().unwrap_or_default();
        // A kill may double what was sent and not marked, and nothing else.
        let most = if claimed.contains(&event) { 2 } else { 1 };
        ensure!(
            (1..=most).contains(&times),
            "{event} was delivered {times} times"
        );
    }
    system.finish().await
}

#[tokio::test]
async fn letters_are_discarded_and_restored_in_bulk_by_the_archive() -> Result<()> {
    const LETTERS: usize = 700;
    let receiver = Receiver::start().await?;
    let (mut system, accepted) = dead(System::builder(), &receiver, LETTERS).await?;
    let steps = [
        ("discard", "discarded", &["--why", "a test of ours"][..]),
        ("restore", "restored", &[]),
    ];
    for (command, done, more) in steps {
        let command = ["dead", command, "--all", "--yes", "--json"];
        let made = system.longshore(&[&command[..], more].concat()).await?;
        let made = made.json()?;
        ensure!(made[done] == LETTERS, "{made}");
        let id = made["replay"].as_str().context("an operation")?;
        runner(&mut system, id, 1).await?;
        let shown = system.longshore(&["replay", "show", id, "--json"]).await?;
        let shown = shown.json()?;
        ensure!(
            shown["kind"] == command[1] && shown["state"] == "done",
            "{shown}"
        );
        for option in [["--rate", "5/s"], ["--why", "it has begun already"]] {
            let resume = ["replay", "resume", id, "--yes"];
            let refused = system.longshore(&[&resume[..], &option].concat()).await?;
            refused.exit(2)?;
            ensure!(refused.stderr.contains(option[0]), "{}", refused.stderr);
        }
    }
    let replay = ["dead", "replay", "--all", "--yes", "--json"];
    let replayed = system.longshore(&replay).await?.json()?;
    ensure!(replayed["replayed"] == LETTERS, "{replayed}");
    let ledger = system.ledger().await?;
    ledger.all_completed(&accepted, LATER).await?;
    none_twice(&receiver.successes(), LETTERS)?;
    system.finish().await
}

#[tokio::test]
async fn ctrl_c_ends_the_watching_and_not_the_replay() -> Result<()> {
    const LETTERS: usize = 200;
    let receiver = Receiver::start().await?;
    let (system, accepted) = dead(System::builder(), &receiver, LETTERS).await?;
    let ledger = system.ledger().await?;
    let command = ["dead", "replay", "--all", "--yes", "--rate", "40/s"];
    let mut watching = system.longshore_running(&[], &command)?;
    await_marked(&ledger, 20)
        .await
        .with_context(|| watching.output())?;
    watching.signal(Signal::INT)?;
    let status = watching.wait(SOON).await?;
    let said = watching.output();
    ensure!(status.success(), "{status}: {said}");
    for part in [
        "goes on without this terminal",
        "replay watch",
        "replay pause",
    ] {
        ensure!(said.contains(part), "{part:?} is not said: {said}");
    }
    ensure!(marked(&ledger).await? < LETTERS, "it was over before");
    await_marked(&ledger, LETTERS).await?;
    ledger.all_completed(&accepted, LATER).await?;
    none_twice(&receiver.successes(), LETTERS)?;
    system.finish().await
}

#[tokio::test]
async fn without_a_worker_it_says_so_and_runs_here_where_that_is_asked_for() -> Result<()> {
    const LETTERS: usize = 20;
    let receiver = Receiver::start().await?;
    let (mut system, accepted) = dead(System::builder(), &receiver, LETTERS).await?;
    let ledger = system.ledger().await?;
    system.terminate(Program::Archive, 0, SOON).await?;
    let refused = system
        .longshore(&["dead", "replay", "--all", "--yes"])
        .await?;
    refused.exit(3)?;
    for part in ["no worker runs replay", "longshore-archive", "--here"] {
        ensure!(refused.stderr.contains(part), "{}", refused.stderr);
    }
    ensure!(marked(&ledger).await? == 0, "nobody has sent anything");
    let list = system
        .longshore(&["replay", "list", "--json"])
        .await?
        .json()?;
    let id = list["items"][0]["id"].as_str().context("an id")?;
    ensure!(list["items"][0]["state"] == "running", "{list}");
    let here = system
        .longshore(&["replay", "resume", id, "--here", "--yes", "--json"])
        .await?
        .json()?;
    ensure!(here["replayed"] == LETTERS, "{here}");
    ledger.all_completed(&accepted, LATER).await?;
    none_twice(&receiver.successes(), LETTERS)?;
    system.finish().await
}

/// Under the same lease: what runs here is not run by a worker as well, and goes on there when this process dies.
#[tokio::test]
async fn what_runs_here_is_taken_over_by_a_worker_when_it_is_killed() -> Result<()> {
    const LETTERS: usize = 300;
    let receiver = Receiver::start().await?;
    let (mut system, accepted) = dead(System::builder(), &receiver, LETTERS).await?;
    let ledger = system.ledger().await?;
    let command = [
        "dead", "replay", "--all", "--yes", "--here", "--rate", "30/s",
    ];
    let mut here = system.longshore_running(&[], &command)?;
    await_marked(&ledger, 60)
        .await
        .with_context(|| here.output())?;
    let log = system.process(Program::Archive, 0)?.output();
    ensure!(!log.contains("running an operation"), "two run it: {log}");
    here.kill().await?;
    ensure!(marked(&ledger).await? < LETTERS, "it was over before");
    await_marked(&ledger, LETTERS).await?;
    ledger.all_completed(&accepted, LATER).await?;
    let list = async || {
        let list = system.longshore(&["replay", "list", "--json"]).await?;
        let list = list.json()?;
        ensure!(list["items"][0]["state"] == "done", "{list}");
        Ok(())
    };
    eventually(SOON, "the replay to be done", list).await?;
    system.finish().await
}
