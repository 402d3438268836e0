//! The whole system in one process on the embedded engine: `longshore dev`.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use testkit::{
    dev::Dev,
    load::{Load, signup},
    port,
    process::Program,
    receiver::{Answer, Receiver},
    system::{Destination, run},
    wait::eventually,
};
use uuid::Uuid;

use crate::{LATER, SOON};

/// Runs the one command that `longshore dev` prints to be tried; the id that it answers with.
async fn try_the_curl(dev: &Dev) -> Result<Uuid> {
    let printed = dev.output();
    let curl = printed.lines().find_map(|line| line.split_once("curl -i"));
    let (_, arguments) = curl.with_context(|| format!("no curl is printed:\n{printed}"))?;
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("curl -sS -i{arguments}"));
    let answer = run(shell, format!("curl -i{arguments}")).await?;
    let answer = answer.success()?;
    ensure!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").context("no body")?;
    let body: serde_json::Value = serde_json::from_str(body)?;
    serde_json::from_value(body["id"].clone()).with_context(|| format!("no id: {body}"))
}

#[tokio::test]
async fn what_it_prints_works_and_ctrl_c_ends_it_and_the_next_start_goes_on() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut dev = Dev::new(&[Destination::webhook("crm", &receiver)])?;
    dev.start().await?;
    let id = try_the_curl(&dev).await?;
    let status = dev.client().await_rest(id, SOON).await?;
    ensure!(status.status == "completed", "{status:?}");
    receiver.await_successes(1, SOON).await?;

    // Commands beside it find the same data by themselves.
    let shown = dev
        .longshore(&["events", "show", &id.to_string(), "--json"])
        .await?;
    ensure!(shown.json()?["status"] == "completed", "{shown:?}");
    let queues = dev.longshore(&["queues", "--json"]).await?.json()?;
    let consumed = |queue: &str| {
        let items = queues["items"].as_array().into_iter().flatten();
        let found = items.into_iter().find(|item| item["queue"] == queue);
        found.is_some_and(|item| item["consumers"].as_u64() > Some(0))
    };
    for queue in ["validate", "store", "integrate.crm", "dead", "rejected"] {
        let queue = format!("longshore.{queue}");
        ensure!(consumed(&queue), "nobody consumes {queue}: {queues}");
    }
    let letters = dev.longshore(&["dead", "list", "--json"]).await?.json()?;
    ensure!(
        letters["items"].as_array().is_some_and(Vec::is_empty),
        "{letters}"
    );
    dev.longshore(&["doctor", "--json"]).await?.success()?;

    // One page for all parts.
    let page = dev.client().get("/metrics").await?.text();
    for queue in ["validate", "store", "integrate.crm"] {
        let line = page.lines().find(|line| {
            line.starts_with("longshore_outcomes_total{")
                && line.contains(&format!("queue=\"longshore.{queue}\""))
                && line.ends_with(" 1")
        });
        ensure!(line.is_some(), "no outcome of {queue} in\n{page}");
    }
    ensure!(page.contains("longshore_events_received_total"), "{page}");

    let begun = Instant::now();
    dev.interrupt()?;
    let ended = dev.ended(SOON).await?;
    ensure!(ended.code() == Some(0), "{ended}\n{}", dev.output());
    ensure!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );

    dev.start().await?;
    let status = dev.client().await_rest(id, SOON).await?;
    ensure!(status.status == "completed", "{status:?}");
    // Each start suggests another signup.
    let other = try_the_curl(&dev).await?;
    let status = dev.client().await_rest(other, SOON).await?;
    ensure!(status.status == "completed", "{status:?}");
    dev.finish()
}

#[tokio::test]
async fn a_command_in_its_folder_finds_what_it_runs_with() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut dev = Dev::new(&[Destination::webhook("crm", &receiver)])?;
    let data = dev.folder().join("data elsewhere");
    let data = data.to_str().context("the folder is no text")?.to_owned();
    let elsewhere = ["--data", &*data];
    dev.start_with(&elsewhere).await?;
    let id = dev.client().signup(&signup("found")).await?;
    dev.client().await_rest(id, SOON).await?;

    // Without its variables, its file and its flags.
    let shown = ["events", "show", &id.to_string(), "--json"];
    let shown = dev.beside(&[], &shown).await?.json()?;
    ensure!(shown["status"] == "completed", "{shown}");
    let queues = dev.beside(&[], &["queues", "--json"]).await?.json()?;
    let items = queues["items"].as_array().into_iter().flatten();
    let mut crm = items.filter(|item| item["queue"] == "longshore.integrate.crm");
    let is_consumed = crm.any(|item| item["consumers"].as_u64() > Some(0));
    ensure!(is_consumed, "the destination is not known: {queues}");
    dev.beside(&[], &["dead", "list"]).await?.success()?;
    let doctor = dev.beside(&[], &["doctor"]).await?;
    ensure!(
        doctor.stdout.contains("`longshore dev` (process"),
        "{doctor:?}"
    );

    // What names another system wins, and an error says where it looked.
    let other = [("LONGSHORE_DATABASE_URL", "sqlite:nowhere/x.db")];
    let refused = dev.beside(&other, &["dead", "list"]).await?;
    refused.exit(3)?;
    let named = "sqlite:nowhere/x.db (LONGSHORE_DATABASE_URL)";
    ensure!(refused.stderr.contains(named), "{refused:?}");
    let file = dev.folder().join("other.toml");
    std::fs::write(&file, "[database]\nurl = \"sqlite:nowhere/y.db\"\n")?;
    let file = file.to_str().context("the folder is no text")?;
    let refused = dev
        .beside(&[("LONGSHORE_CONFIG", file)], &["dead", "list"])
        .await?;
    refused.exit(3)?;
    ensure!(
        refused.stderr.contains("sqlite:nowhere/y.db ("),
        "{refused:?}"
    );

    // Only one that runs is asked, and nothing is left of it.
    dev.kill().await?;
    let refused = dev.beside(&[], &["dead", "list"]).await?;
    refused.exit(3)?;
    let preset = "sqlite:longshore-data/longshore.db (default)";
    ensure!(refused.stderr.contains(preset), "{refused:?}");
    dev.start_with(&elsewhere).await?;
    dev.beside(&[], &["dead", "list"]).await?.success()?;
    dev.interrupt()?;
    let ended = dev.ended(SOON).await?;
    ensure!(ended.code() == Some(0), "{ended}");
    ensure!(!dev.folder().join("longshore-data").exists());
    dev.finish()
}

#[tokio::test]
async fn it_runs_the_replays_that_are_started_beside_it() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.always(Answer::status(422));
    let mut dev = Dev::new(&[Destination::webhook("crm", &receiver)])?;
    dev.start().await?;
    let id = dev.client().signup(&signup("again")).await?;
    dev.client().await_status(id, "dead", SOON).await?;
    receiver.always(Answer::status(200));
    let replayed = dev
        .longshore(&["dead", "replay", "--all", "--yes", "--json"])
        .await?
        .json()?;
    ensure!(replayed["replayed"] == 1, "{replayed}");
    ensure!(replayed["became"]["completed"] == 1, "{replayed}");
    let log = dev.output();
    ensure!(
        log.contains("running an operation"),
        "it ran elsewhere: {log}"
    );
    dev.finish()
}

#[tokio::test]
async fn ctrl_c_finishes_what_is_running() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.hold();
    let mut dev = Dev::new(&[Destination::webhook("crm", &receiver).timeout("20s")])?;
    dev.start().await?;
    let id = dev.client().signup(&signup("in-flight")).await?;
    receiver.await_count(1, SOON).await?;
    dev.interrupt()?;
    // The door closes at once; the delivery is still under way then.
    eventually(SOON, "the door to close", || async {
        match dev.client().get("/livez").await {
            Err(_) => Ok(()),
            Ok(answer) => bail!("it is open: {}", answer.status),
        }
    })
    .await?;
    receiver.release();
    let ended = dev.ended(SOON).await?;
    ensure!(ended.code() == Some(0), "{ended}\n{}", dev.output());
    dev.start().await?;
    let status = dev.client().await_rest(id, SOON).await?;
    ensure!(status.status == "completed", "{status:?}");
    ensure!(
        receiver.count() == 1,
        "the call was made {} times",
        receiver.count()
    );
    dev.finish()
}

/// Rounds of the test below, and events of each.
const ROUNDS: usize = 10;
const EVENTS: usize = 150;

#[tokio::test]
async fn killing_it_at_any_moment_loses_nothing_it_accepted() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut dev = Dev::new(&[Destination::webhook("crm", &receiver)])?;
    dev.start().await?;
    let mut accepted = Vec::new();
    for _ in 0..ROUNDS {
        let load = Load::signups(dev.client(), EVENTS, 8);
        let random = Uuid::new_v4().as_u64_pair().0;
        load.await_accepted((random % EVENTS as u64) as usize, LATER)
            .await?;
        // Between two answers too: a moment that nothing can be awaited for.
        tokio::time::sleep(Duration::from_micros(random >> 32 & 0x7fff)).await;
        dev.kill().await?;
        dev.start().await?;
        accepted.extend(load.finish(LATER).await?);
    }
    ensure!(accepted.len() == ROUNDS * EVENTS);
    for id in &accepted {
        let status = dev.client().await_rest(*id, LATER).await?;
        ensure!(status.status == "completed", "{status:?}");
    }
    let successes = receiver.successes();
    ensure!(
        successes.len() == accepted.len(),
        "{} were delivered",
        successes.len()
    );
    let letters = dev.longshore(&["dead", "list", "--json"]).await?.json()?;
    ensure!(
        letters["items"].as_array().is_some_and(Vec::is_empty),
        "{letters}"
    );
    dev.interrupt()?;
    let ended = dev.ended(SOON).await?;
    ensure!(ended.code() == Some(0), "{ended}");
    dev.finish()
}

#[tokio::test]
async fn a_second_one_on_the_same_data_says_who_has_it() -> Result<()> {
    let mut dev = Dev::new(&[])?;
    dev.start().await?;
    let listen = format!("127.0.0.1:{}", port::free()?);
    let second = dev.longshore(&["dev", "--listen", &listen]).await?;
    second.exit(1)?;
    for words in ["another `longshore dev`", "longshore-data", "--data"] {
        ensure!(second.stderr.contains(words), "{second:?}");
    }
    // The first one goes on unharmed.
    let id = dev.client().signup(&signup("after")).await?;
    let status = dev.client().await_rest(id, SOON).await?;
    ensure!(status.status == "completed", "{status:?}");
    dev.finish()
}

#[tokio::test]
async fn a_port_in_use_is_told_at_once() -> Result<()> {
    let mut dev = Dev::new(&[])?;
    dev.start().await?;
    let other = dev.folder().join("other data");
    let other = other.to_str().context("the folder is no text")?;
    let listen = dev.listen().to_owned();
    let second = dev
        .longshore(&["dev", "--listen", &listen, "--data", other])
        .await?;
    second.exit(1)?;
    for words in [
        "cannot listen on",
        listen.as_str(),
        "another program listens there",
    ] {
        ensure!(second.stderr.contains(words), "{second:?}");
    }
    dev.finish()
}

#[tokio::test]
async fn a_folder_that_cannot_hold_data_is_told_and_two_urls_need_none() -> Result<()> {
    let dev = Dev::new(&[])?;
    let file = dev.folder().join("file");
    std::fs::write(&file, "")?;
    let data = file.to_str().context("the folder is no text")?;
    let refused = dev.longshore(&["dev", "--data", data]).await?;
    refused.exit(1)?;
    ensure!(
        refused.stderr.contains("the data cannot be kept in"),
        "{refused:?}"
    );

    let mut command = Program::Longshore.command()?;
    command
        .args(["dev", "--data", data])
        .env(
            "LONGSHORE_BROKER_URL",
            "amqp://guest:hunter2@127.0.0.1:1/%2f",
        )
        .env(
            "LONGSHORE_DATABASE_URL",
            "postgres://u:hunter2@127.0.0.1:1/d",
        );
    let refused = run(command, "longshore dev --data".to_owned()).await?;
    refused.exit(2)?;
    ensure!(refused.stderr.contains("database.url"), "{refused:?}");
    ensure!(!refused.stderr.contains("hunter2"), "{refused:?}");
    dev.finish()
}

#[tokio::test]
async fn a_command_where_there_is_no_data_makes_none() -> Result<()> {
    let dev = Dev::new(&[])?;
    for command in [&["queues"][..], &["dead", "list"], &["doctor"]] {
        let refused = dev.longshore(command).await?;
        refused.exit(3)?;
        let told = format!("{}{}", refused.stdout, refused.stderr);
        ensure!(
            told.contains("there is no file longshore-data/"),
            "{refused:?}"
        );
    }
    let left = std::fs::read_dir(dev.folder())?.count();
    ensure!(
        left == 0,
        "{left} things were made in the working directory"
    );
    dev.finish()
}
