//! An installation of an earlier version goes on under this one.
//!
//! The one in `upgrade/` was made by the programs of commit 7e16087, which ran their replays in the operator's process.
//! It was stopped with messages in every queue, retries that wait, open dead letters and a paused replay.
//! `upgrade/record.rs` records another one.

mod plan;

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use testkit::{
    installation::Installation, load::signup, process::Program, receiver::Receiver,
    services::Services, wait::eventually,
};
use uuid::Uuid;

use self::plan::{Record, builder, folder};
use crate::{LATER, SOON, replay::marked};

fn programs() -> impl Iterator<Item = Program> {
    [Program::Producer].into_iter().chain(Program::WORKERS)
}

#[tokio::test]
async fn an_installation_of_an_earlier_version_goes_on_under_this_one() -> Result<()> {
    let record = std::fs::read_to_string(folder().join("record.json"))?;
    let record: Record = serde_json::from_str(&record)?;
    let (crm, erp) = (Receiver::start().await?, Receiver::start().await?);
    let mut plan = builder(&crm, &erp).without_migration();
    for program in programs() {
        plan = plan.copies(program, 0);
    }
    let mut system = plan.start().await?;
    let before = Installation::read(&folder(), system.namespace().name())?;
    before.restore(&Services::shared()).await?;

    system.longshore(&["migrate"]).await?.success()?;
    system.longshore(&["topology", "apply"]).await?.success()?;
    system.longshore(&["topology", "verify"]).await?.success()?;
    for program in programs() {
        system.add(program).await?;
    }
    let ledger = system.ledger().await?;
    let (letters, sent) = record.letters;
    // All that waited goes on by itself: the rest of the dead letters, and nothing more, is left for people.
    let left = letters - sent + record.later_letters;
    eventually(LATER, "all but the dead letters to be at rest", || async {
        let balance = ledger.balance(&record.accepted).await?;
        ensure!(
            balance.dead == left && balance.completed == record.accepted.len() - left,
            "{balance}"
        );
        Ok(())
    })
    .await?;

    let shown = system
        .longshore(&["replay", "show", &record.replay, "--json"])
        .await?
        .json()?;
    ensure!(
        shown["state"] == "paused" && shown["replayed"] == sent,
        "{shown}"
    );
    ensure!(marked(&ledger).await? == sent, "nobody resumed it");
    let resume = ["replay", "resume", &record.replay, "--yes", "--json"];
    let resumed = system.longshore(&resume).await?.json()?;
    ensure!(resumed["replayed"] == letters - sent, "{resumed}");
    let rest = ["dead", "replay", "--all", "--yes", "--json"];
    let rest = system.longshore(&rest).await?.json()?;
    ensure!(rest["replayed"] == record.later_letters, "{rest}");
    ledger.all_completed(&record.accepted, LATER).await?;
    for (destination, receiver) in [("crm", &crm), ("erp", &erp)] {
        once(&record, destination, &receiver.successes())?;
    }
    let whole = ["verify", "--since", "36500days"];
    system.longshore(&whole).await?.success()?;
    let fresh = system.client().signup(&signup("fresh")).await?;
    ledger.all_completed(&[fresh], SOON).await?;
    system.finish().await
}

/// Every event that the destination had not taken before came once, and no other.
fn once(record: &Record, destination: &str, successes: &HashMap<String, usize>) -> Result<()> {
    let before = record.delivered.get(destination).context("a destination")?;
    for event in record.accepted.iter().map(Uuid::to_string) {
        let times = successes.get(&event).copied().unwrap_or_default();
        let due = usize::from(!before.contains(&event));
        ensure!(
            times == due,
            "{event} came to {destination} {times} times instead of {due}"
        );
    }
    Ok(())
}
