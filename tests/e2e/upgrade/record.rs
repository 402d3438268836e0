//! Records the installation that the test of the upgrade begins with:
//!
//! ```sh
//! LONGSHORE_BIN_DIR=FOLDER cargo run -p e2e --bin record-installation
//! ```
//!
//! The folder has the programs of the version to record. Write that version into the head of `upgrade.rs`.

mod plan;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use plan::{Record, builder, folder};
use testkit::{
    broker::Outsider,
    installation::{Installation, Waiting},
    ledger::Ledger,
    load::signup,
    process::Program,
    receiver::{Answer, Receiver},
    services::Services,
    system::System,
    wait::eventually,
};
use uuid::Uuid;

/// The deadlines of steps.
const SOON: Duration = Duration::from_secs(30);
const LATER: Duration = Duration::from_secs(150);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let (crm, erp) = (Receiver::start().await?, Receiver::start().await?);
    let mut system = builder(&crm, &erp).start().await?;
    let (ledger, outsider) = (system.ledger().await?, system.outsider().await?);
    let mut accepted = Vec::new();

    // Dead letters, some of them replayed before the replay was paused.
    const LETTERS: usize = 8;
    crm.always(Answer::status(500));
    accepted.extend(publish(&system, LETTERS).await?);
    ledger.await_dead_letters(LETTERS, LATER).await?;
    crm.always(Answer::status(200));
    let replay = pause_a_replay(&system, &ledger).await?;
    let (_, sent) = ledger.count_dead_letters().await?;
    ensure!(sent < LETTERS, "it was over before it was paused");

    // Retries that wait. They are taken out of their queues before they are due.
    erp.always(Answer::status(500));
    accepted.extend(publish(&system, 3).await?);
    let taken = take_waiting(&system, &outsider, 3).await?;
    crm.await_successes(sent + 3, LATER).await?;

    // Dead letters that nobody has archived.
    crm.always(Answer::status(500));
    erp.always(Answer::status(200));
    end(&mut system, Program::Archive).await?;
    accepted.extend(publish(&system, 2).await?);
    outsider
        .await_messages(&system.named("dead"), 2, SOON)
        .await?;
    erp.await_successes(LETTERS + 2, LATER).await?;

    // Events before each of the other stages.
    let stages = [
        (Program::Integrate, ["integrate.crm", "integrate.erp"]),
        (Program::Store, ["store", "store"]),
        (Program::Validate, ["validate", "validate"]),
    ];
    for (program, queues) in stages {
        end(&mut system, program).await?;
        accepted.extend(publish(&system, 3).await?);
        for queue in queues {
            outsider
                .await_messages(&system.named(queue), 3, SOON)
                .await?;
        }
    }
    end(&mut system, Program::Producer).await?;

    let namespace = system.namespace().name().to_owned();
    let delivered = [("crm", &crm), ("erp", &erp)].map(|(name, receiver)| {
        let taken = receiver.successes().into_keys();
        let events = taken.map(|id| event_of(&id)).collect();
        (name.to_owned(), events)
    });
    let record = Record {
        accepted,
        delivered: delivered.into(),
        replay,
        letters: (LETTERS, sent),
        later_letters: 2,
    };
    Installation::record(&Services::shared(), &namespace, taken)
        .await?
        .write(&folder())?;
    let record = serde_json::to_string_pretty(&record)?;
    std::fs::write(folder().join("record.json"), record + "\n")?;
    system.finish().await
}

async fn publish(system: &System, count: usize) -> Result<Vec<Uuid>> {
    let mut accepted = Vec::new();
    for _ in 0..count {
        accepted.push(system.client().signup(&signup("upgrade")).await?);
    }
    Ok(accepted)
}

async fn end(system: &mut System, program: Program) -> Result<()> {
    let status = system.terminate(program, 0, SOON).await?;
    ensure!(status.success(), "{program}: {status}");
    Ok(())
}

async fn pause_a_replay(system: &System, ledger: &Ledger) -> Result<String> {
    let command = ["dead", "replay", "--all", "--yes", "--rate", "2/s"];
    let mut replay = system.longshore_running(&[], &command)?;
    eventually(LATER, "two letters to be replayed", || async {
        let (_, sent) = ledger.count_dead_letters().await?;
        ensure!(sent >= 2, "{sent} are");
        Ok(())
    })
    .await
    .with_context(|| replay.output())?;
    let list = system
        .longshore(&["replay", "list", "--json"])
        .await?
        .json()?;
    let id = list["items"][0]["id"].as_str().context("a replay")?;
    system
        .longshore(&["replay", "pause", id])
        .await?
        .success()?;
    eventually(SOON, "the replay to hold nothing", || async {
        let letters = ledger.dead_letters().await?;
        ensure!(letters.iter().all(|it| it.state != "replaying"));
        Ok(())
    })
    .await?;
    replay.kill().await?;
    Ok(id.to_owned())
}

async fn take_waiting(system: &System, outsider: &Outsider, count: usize) -> Result<Vec<Waiting>> {
    // 250 ms, doubled with each level: eight seconds and their jitter are in the level 5, or begin in the level 4.
    let levels = ["delay.04", "delay.05"].map(|level| system.named(level));
    let mut taken = Vec::new();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(6);
    while taken.len() < count {
        ensure!(
            tokio::time::Instant::now() < deadline,
            "{} of {count} retries came in time",
            taken.len()
        );
        for queue in &levels {
            for message in outsider.take(queue, count).await? {
                taken.push(Waiting::new(queue, &message)?);
            }
        }
    }
    Ok(taken)
}

/// The event of a `webhook-id`, which names the generation as well where a replay made a new one.
fn event_of(webhook_id: &str) -> String {
    webhook_id
        .split("-r")
        .next()
        .unwrap_or(webhook_id)
        .to_owned()
}
