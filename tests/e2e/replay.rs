//! Replays in bulk, while broker and database go down, two at once, and out of the history.

use anyhow::{Context, Result, ensure};
use testkit::{
    ledger::Ledger,
    load::Load,
    private::{postgres::PrivatePostgres, rabbit::PrivateRabbit},
    receiver::{Answer, Receiver},
    services::Services,
    system::{Builder, Destination, System},
    wait::eventually,
};
use uuid::Uuid;

use crate::{LATER, SOON};

/// A system where `letters` events have died, and the receiver takes everything again.
pub(crate) async fn dead(
    builder: Builder,
    receiver: &Receiver,
    letters: usize,
) -> Result<(System, Vec<Uuid>)> {
    receiver.always(Answer::status(500));
    let system = builder
        .destination(Destination::webhook("crm", receiver).attempts(1, "250ms"))
        .start()
        .await?;
    let load = Load::signups(system.client(), letters, 16);
    let accepted = load.finish(LATER).await?;
    let ledger = system.ledger().await?;
    ledger.await_dead_letters(letters, LATER).await?;
    receiver.always(Answer::status(200));
    Ok((system, accepted))
}

pub(crate) async fn marked(ledger: &Ledger) -> Result<usize> {
    let (_, replayed) = ledger.count_dead_letters().await?;
    Ok(replayed)
}

pub(crate) async fn await_marked(ledger: &Ledger, count: usize) -> Result<()> {
    eventually(LATER, format!("{count} letters to be marked"), || async {
        let marked = marked(ledger).await?;
        ensure!(marked >= count, "{marked} are");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_replay_rides_out_a_private_broker_and_a_private_database_that_are_killed() -> Result<()>
{
    const LETTERS: usize = 1_500;
    let (mut rabbit, receiver) = (PrivateRabbit::start().await?, Receiver::start().await?);
    let mut postgres = PrivatePostgres::start().await?;
    let builder = System::builder().services(Services {
        broker_url: rabbit.url(),
        database_url: postgres.url(),
    });
    let (system, accepted) = dead(builder, &receiver, LETTERS).await?;
    let ledger = system.ledger().await?;

    let command = ["dead", "replay", "--all", "--yes", "--rate", "150/s"];
    let mut replay = system.longshore_running(&[], &command)?;
    await_marked(&ledger, 200)
        .await
        .with_context(|| replay.output())?;
    rabbit.kill().await?;
    rabbit.start_again().await?;
    let so_far = marked(&ledger).await?;
    ensure!(so_far < LETTERS, "it was over before the broker was back");
    await_marked(&ledger, so_far + 200)
        .await
        .with_context(|| replay.output())?;
    postgres.restart().await?;
    let so_far = eventually(SOON, "the database to answer", || marked(&ledger)).await?;
    ensure!(so_far < LETTERS, "it was over before the database was back");
    let status = replay.wait(LATER).await.with_context(|| replay.output())?;
    ensure!(status.success(), "{status}: {}", replay.output());

    ensure!(marked(&ledger).await? == LETTERS, "{}", replay.output());
    ledger.all_completed(&accepted, LATER).await?;
    let successes = receiver.successes();
    for event in &accepted {
        let times = successes.get(&event.to_string());
        ensure!(times.is_some(), "{event} was marked and not delivered");
    }
    system.finish().await
}

#[tokio::test]
async fn two_operators_at_once_send_each_letter_once() -> Result<()> {
    const LETTERS: usize = 1_000;
    let receiver = Receiver::start().await?;
    let (system, accepted) = dead(System::builder(), &receiver, LETTERS).await?;
    let command = ["dead", "replay", "--all", "--yes", "--json"];
    let (one, other) = tokio::join!(system.longshore(&command), system.longshore(&command));
    let (one, other) = (one?.json()?, other?.json()?);
    let sent = |outcome: &serde_json::Value| outcome["replayed"].as_u64().unwrap_or_default();
    ensure!(
        sent(&one) + sent(&other) == LETTERS as u64,
        "{one} and {other}"
    );
    system
        .ledger()
        .await?
        .all_completed(&accepted, LATER)
        .await?;
    let successes = receiver.successes();
    ensure!(successes.len() == LETTERS, "{} deliveries", successes.len());
    ensure!(
        successes.values().all(|&times| times == 1),
        "some were delivered twice"
    );
    let list = system
        .longshore(&["replay", "list", "--json"])
        .await?
        .json()?;
    let items = list["items"].as_array().context("no items")?;
    ensure!(
        !items.is_empty() && items.iter().all(|it| it["state"] == "done"),
        "{list}"
    );
    let id = items[0]["id"].as_str().context("no id")?;
    let shown = system
        .longshore(&["replay", "show", id, "--json"])
        .await?
        .json()?;
    ensure!(
        shown["outcome"]["completed"] == shown["replayed"],
        "{shown}"
    );
    system.finish().await
}

#[tokio::test]
async fn a_replay_is_paused_resumed_and_stopped_from_another_terminal() -> Result<()> {
    const LETTERS: usize = 300;
    let receiver = Receiver::start().await?;
    let (system, _) = dead(System::builder(), &receiver, LETTERS).await?;
    let ledger = system.ledger().await?;
    let command = ["dead", "replay", "--all", "--yes", "--rate", "20/s"];
    let mut replay = system.longshore_running(&[], &command)?;
    await_marked(&ledger, 20)
        .await
        .with_context(|| replay.output())?;
    let list = system
        .longshore(&["replay", "list", "--json"])
        .await?
        .json()?;
    let id = list["items"][0]["id"]
        .as_str()
        .context("no replay")?
        .to_owned();
    let running = system
        .longshore(&["replay", "resume", &id, "--yes"])
        .await?;
    running.exit(2)?;
    system
        .longshore(&["replay", "pause", &id])
        .await?
        .success()?;
    // Nothing is in hand once it has heard of it, and nothing is claimed any more.
    eventually(SOON, "the replay to hold nothing", || async {
        let letters = ledger.dead_letters().await?;
        let held = letters.iter().filter(|it| it.state == "replaying").count();
        ensure!(held == 0, "{held} letters are claimed");
        Ok(())
    })
    .await?;
    let paused = marked(&ledger).await?;
    ensure!(
        paused < LETTERS && replay.exited()?.is_none(),
        "{paused} are sent"
    );
    system
        .longshore(&["replay", "stop", &id])
        .await?
        .success()?;
    let status = replay.wait(SOON).await?;
    ensure!(status.code() == Some(1), "{status}: {}", replay.output());
    ensure!(
        marked(&ledger).await? == paused,
        "it went on while it was paused"
    );
    let resumed = system
        .longshore(&[
            "replay", "resume", &id, "--yes", "--rate", "500/s", "--json",
        ])
        .await?;
    let rest = resumed.json()?;
    ensure!(rest["replayed"] == LETTERS - paused, "{rest}");
    let list = system
        .longshore(&["replay", "list", "--json"])
        .await?
        .json()?;
    ensure!(list["items"][0]["rate"] == 500, "{list}");
    system.finish().await
}

#[tokio::test]
async fn a_replay_stops_by_itself_when_its_letters_die_again() -> Result<()> {
    const LETTERS: usize = 400;
    let receiver = Receiver::start().await?;
    let (system, _) = dead(System::builder(), &receiver, LETTERS).await?;
    receiver.always(Answer::status(500));
    let command = ["dead", "replay", "--all", "--yes", "--rate", "50/s"];
    let stopped = system.longshore(&command).await?;
    stopped.exit(1)?;
    ensure!(stopped.stderr.contains("died again"), "{}", stopped.stderr);
    let sent = marked(&system.ledger().await?).await?;
    ensure!(sent < LETTERS, "all were sent");
    system.finish().await
}

#[tokio::test]
async fn a_new_destination_gets_the_past_out_of_the_history() -> Result<()> {
    const EVENTS: usize = 30;
    let (crm, news) = (Receiver::start().await?, Receiver::start().await?);
    let system = System::builder()
        .destination(Destination::webhook("crm", &crm))
        // Nothing that was received is due there.
        .destination(Destination::webhook("news", &news).types(["later.on"]))
        .start()
        .await?;
    let accepted = Load::signups(system.client(), EVENTS, 4)
        .finish(SOON)
        .await?;
    system
        .ledger()
        .await?
        .all_completed(&accepted, LATER)
        .await?;
    let stats = system
        .longshore(&["history", "stats", "--json"])
        .await?
        .json()?;
    ensure!(stats["types"]["signup.requested"] == EVENTS, "{stats}");
    ensure!(
        stats["from"].is_string() && stats["to"].is_string(),
        "{stats}"
    );

    let replay = [
        "history",
        "replay",
        "--from",
        "1h",
        "--queue",
        "integrate.news",
        "--json",
    ];
    let with = |more: &[&'static str]| [&replay[..], more].concat();
    let dry = system.longshore(&with(&["--dry-run"])).await?.json()?;
    ensure!(dry["accepted"]["signup.requested"] == EVENTS, "{dry}");
    ensure!(news.count() == 0, "a dry run sends nothing");
    let other = with(&["--type", "processing.*", "--dry-run"]);
    let other = system.longshore(&other).await?.json()?;
    ensure!(other["matching"] == 0, "{other}");

    let sent = system
        .longshore(&with(&["--yes", "--why", "a new destination"]))
        .await?;
    let sent = sent.json()?;
    ensure!(sent["replayed"] == EVENTS, "{sent}");
    news.await_successes(EVENTS, LATER).await?;
    let first = news.successes();
    ensure!(
        accepted
            .iter()
            .all(|id| first.contains_key(&id.to_string())),
        "{first:?}"
    );
    // Again, on purpose: a generation on.
    system
        .longshore(&with(&["--yes", "--new-ids"]))
        .await?
        .success()?;
    news.await_successes(2 * EVENTS, LATER).await?;
    let second = news.successes();
    ensure!(
        accepted
            .iter()
            .all(|id| second.contains_key(&format!("{id}-r1"))),
        "{second:?}"
    );
    ensure!(second.values().all(|&times| times == 1), "{second:?}");
    let list = system
        .longshore(&["replay", "list", "--json"])
        .await?
        .json()?;
    ensure!(list["items"][1]["why"] == "a new destination", "{list}");
    system.finish().await
}
