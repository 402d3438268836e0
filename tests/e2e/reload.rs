//! The configuration is reloaded while the programs run.

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};
use testkit::{
    client::Client,
    dev::Dev,
    load::{Load, signup},
    process::Program,
    receiver::Receiver,
    system::{Destination, System},
    wait::eventually,
};

use crate::{LATER, SOON};

/// A webhook whose secret is in the file: running programs get no other variables.
fn webhook(name: &str, receiver: &Receiver) -> Destination {
    Destination::webhook(name, receiver).signed_by(&format!("{:?}", Destination::SECRET))
}

/// A type that is not built in.
const ORDERS: &str = "[[type]]\nname = \"order.placed\"\nschema = { type = \"object\" }\n";

/// A provider that was not known.
const SOURCE: &str = "[[source]]\nname = \"shop\"\nscheme = \"standard\"\ntype = \"order.{type}\"\n\
                      secret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"\n";

fn order() -> Value {
    json!({
        "specversion": "1.0", "id": "o-1", "type": "order.placed", "source": "/e2e",
        "datacontenttype": "application/json", "data": { "total": 7 },
    })
}

/// How often a program has read its configuration again with this result.
async fn reloads(address: &str, result: &str) -> Result<u64> {
    let page = Client::new(address)?.get("/metrics").await?.text();
    let begin = format!("longshore_configuration_reloads_total{{result=\"{result}\"}} ");
    let line = page.lines().find_map(|line| line.strip_prefix(&begin));
    let count = line.context("no program without this metric")?;
    Ok(count.trim().parse()?)
}

/// Waits until the program at this address has reloaded `count` times with this result.
async fn await_reloads(address: &str, result: &str, count: u64) -> Result<()> {
    eventually(SOON, format!("{count} {result} at {address}"), || async {
        let found = reloads(address, result).await?;
        ensure!(found >= count, "{found}");
        Ok(())
    })
    .await
}

/// Waits until every program has reloaded `count` times with this result.
async fn all_reloaded(system: &mut System, result: &str, count: u64) -> Result<()> {
    for (program, copy) in system.copies() {
        let address = system.address(program, copy)?;
        await_reloads(&address, result, count).await?;
    }
    Ok(())
}

/// Waits until the log of a program has these words: lines are written behind the event that they tell of.
async fn await_log(
    system: &mut System,
    (program, copy): (Program, usize),
    words: [&str; 2],
) -> Result<()> {
    let process = system.process(program, copy)?;
    eventually(
        SOON,
        format!("{words:?} in the log of {program}"),
        || async {
            let log = process.output();
            ensure!(words.iter().all(|word| log.contains(word)), "{log}");
            Ok(())
        },
    )
    .await
}

/// The entry of the audit record about a reload of the producer.
async fn audited(system: &System) -> Result<Value> {
    let audit = system.longshore(&["audit", "list", "--json"]).await?;
    let entries = audit.json()?["items"].clone();
    let mut entries = entries.as_array().context("a list")?.iter();
    let entry = entries
        .find(|it| it["action"] == "configuration.reload" && it["who"] == "longshore-producer");
    entry.cloned().context("no entry of the producer")
}

#[tokio::test]
async fn a_destination_and_a_type_that_are_added_count_without_a_restart() -> Result<()> {
    let (crm, late) = (Receiver::start().await?, Receiver::start().await?);
    let mut system = System::builder()
        .destination(webhook("crm", &crm))
        .destination_later("late")
        .start()
        .await?;
    let ledger = system.ledger().await?;
    let before = system.client().signup(&signup("before")).await?;
    ledger.all_completed(&[before], SOON).await?;
    ensure!(system.client().event(&order()).await.is_err());
    let at_source = async |system: &System| {
        let posted = system
            .client()
            .post("/v1/sources/shop", "application/json", "{}");
        anyhow::Ok(posted.await?.status)
    };
    ensure!(at_source(&system).await? == 404);

    let more = format!("{ORDERS}{SOURCE}");
    system.reconfigure(&[webhook("crm", &crm), webhook("late", &late)], &more)?;
    all_reloaded(&mut system, "applied", 1).await?;
    // It is known, and wants a signature.
    ensure!(at_source(&system).await? == 401);
    let after = system.client().signup(&signup("after")).await?;
    let order = system.client().event(&order()).await?;
    ledger.all_completed(&[after, order], SOON).await?;
    ensure!(
        (crm.count(), late.count()) == (3, 2),
        "{} {}",
        crm.count(),
        late.count()
    );

    let reload = eventually(SOON, "the reload to be recorded", || audited(&system)).await?;
    ensure!(
        reload["before"]["hash"] != reload["after"]["hash"],
        "{reload}"
    );

    // The destination goes again. Its queue stays, and nothing is delivered from it.
    system.reconfigure(&[webhook("crm", &crm)], ORDERS)?;
    all_reloaded(&mut system, "applied", 2).await?;
    let last = system.client().signup(&signup("last")).await?;
    ledger.all_completed(&[last], SOON).await?;
    ensure!(
        (crm.count(), late.count()) == (4, 2),
        "{} {}",
        crm.count(),
        late.count()
    );
    system.finish().await
}

#[tokio::test]
async fn a_wrong_file_changes_nothing_until_it_is_mended() -> Result<()> {
    let (crm, late) = (Receiver::start().await?, Receiver::start().await?);
    let mut system = System::builder()
        .destination(webhook("crm", &crm))
        .destination_later("late")
        .start()
        .await?;
    let wrong = "[[type]]\nname = \"order.placed\"\nschema = 7\n";
    system.reconfigure(&[webhook("crm", &crm), webhook("late", &late)], wrong)?;
    all_reloaded(&mut system, "refused", 1).await?;
    for (program, copy) in system.copies() {
        await_log(
            &mut system,
            (program, copy),
            ["is refused", "longshore.toml"],
        )
        .await?;
    }
    let id = system.client().signup(&signup("refused")).await?;
    system.ledger().await?.all_completed(&[id], SOON).await?;
    ensure!((crm.count(), late.count()) == (1, 0));

    system.reconfigure(&[webhook("crm", &crm), webhook("late", &late)], ORDERS)?;
    all_reloaded(&mut system, "applied", 1).await?;
    let id = system.client().signup(&signup("mended")).await?;
    system.ledger().await?.all_completed(&[id], SOON).await?;
    ensure!((crm.count(), late.count()) == (2, 1));
    system.finish().await
}

#[tokio::test]
async fn a_hangup_reads_the_file_again_and_keys_that_need_a_restart_are_named() -> Result<()> {
    let crm = Receiver::start().await?;
    let mut system = System::builder()
        .destination(webhook("crm", &crm))
        .start()
        .await?;
    for (program, copy) in system.copies() {
        system.process(program, copy)?.signal(Signal::HUP)?;
    }
    all_reloaded(&mut system, "unchanged", 1).await?;
    system.reconfigure(&[webhook("crm", &crm)], "[worker]\ndrain = \"7s\"\n")?;
    for (program, copy) in system.copies() {
        system.process(program, copy)?.signal(Signal::HUP)?;
    }
    all_reloaded(&mut system, "unchanged", 2).await?;
    for (program, copy) in system.copies() {
        let words = ["worker.drain", "needs a restart"];
        await_log(&mut system, (program, copy), words).await?;
        ensure!(
            reloads(&system.address(program, copy)?, "applied").await? == 0,
            "{program}"
        );
    }
    system.finish().await
}

#[tokio::test]
async fn reloads_under_load_lose_nothing_and_deliver_nothing_twice() -> Result<()> {
    let (crm, mail) = (Receiver::start().await?, Receiver::start().await?);
    let both = |concurrency| {
        [webhook("crm", &crm), webhook("mail", &mail)].map(|it| it.concurrency(concurrency))
    };
    let mut builder = System::builder();
    for destination in both(32) {
        builder = builder.destination(destination);
    }
    let mut system = builder.copies(Program::Integrate, 2).start().await?;
    let load = Load::signups(system.client(), 600, 8);
    for (round, concurrency) in [8, 16, 24, 4].into_iter().enumerate() {
        load.await_accepted(100 * (round + 1), LATER).await?;
        system.reconfigure(&both(concurrency), "")?;
        all_reloaded(&mut system, "applied", 1 + round as u64).await?;
    }
    let refused = load.refused();
    let accepted = load.finish(LATER).await?;
    ensure!(refused == 0, "{refused} requests were refused or cut");
    let ledger = system.ledger().await?;
    ledger.all_completed(&accepted, LATER).await?;
    for receiver in [&crm, &mail] {
        ensure!(
            receiver.count() == accepted.len(),
            "{} requests",
            receiver.count()
        );
        ensure!(receiver.successes().len() == accepted.len());
    }
    ensure!(ledger.double_deliveries().await?.is_empty());
    system.finish().await
}

#[tokio::test]
async fn a_slow_destination_delays_its_own_successor_alone() -> Result<()> {
    let (crm, slow) = (Receiver::start().await?, Receiver::start().await?);
    let both = |rate: &str| {
        let slow = webhook("slow", &slow).timeout("60s");
        [webhook("crm", &crm).rate(rate), slow]
    };
    let mut builder = System::builder();
    for destination in both("1000/s") {
        builder = builder.destination(destination);
    }
    let mut system = builder.start().await?;
    slow.hold();
    let first = system.client().signup(&signup("first")).await?;
    crm.await_successes(1, SOON).await?;
    slow.await_count(1, SOON).await?;
    system.reconfigure(&both("900/s"), "")?;
    all_reloaded(&mut system, "applied", 1).await?;
    let second = system.client().signup(&signup("second")).await?;
    crm.await_successes(2, SOON).await?;
    ensure!(
        slow.count() == 1,
        "the call that is under way goes on alone"
    );
    slow.release();
    let ledger = system.ledger().await?;
    ledger.all_completed(&[first, second], SOON).await?;
    ensure!((crm.count(), slow.count()) == (2, 2), "{}", slow.count());
    system.finish().await
}

#[tokio::test]
async fn doctor_names_a_copy_with_another_configuration() -> Result<()> {
    let crm = Receiver::start().await?;
    let system = System::builder()
        .destination(webhook("crm", &crm))
        .env_of(Program::Archive, "LONGSHORE__DEAD__RETENTION", "1h")
        .start()
        .await?;
    let configurations = async || -> Result<Vec<Value>> {
        let report = system.longshore(&["doctor", "--json"]).await?.json()?;
        let items = report["items"].as_array().context("a list")?.clone();
        let is_of_it = |it: &Value| {
            it["check"]
                .as_str()
                .is_some_and(|it| it.starts_with("configuration"))
        };
        Ok(items.into_iter().filter(is_of_it).collect())
    };
    let found = eventually(SOON, "the archive to be named", || async {
        let found = configurations().await?;
        ensure!(found[0]["verdict"] == "look", "{found:?}");
        Ok(found)
    })
    .await?;
    ensure!(found.len() == 1, "{found:?}");
    ensure!(
        found[0]["check"] == "configuration of longshore-archive",
        "{found:?}"
    );
    let detail = found[0]["detail"].as_str().context("a text")?;
    ensure!(
        detail.contains("runs with") && detail.contains("since"),
        "{detail}"
    );
    ensure!(
        found[0]["advice"]
            .as_str()
            .is_some_and(|it| it.contains("SIGHUP")),
        "{found:?}"
    );
    system.finish().await
}

#[tokio::test]
async fn the_embedded_engine_reloads_as_well() -> Result<()> {
    let (crm, late) = (Receiver::start().await?, Receiver::start().await?);
    let mut dev = Dev::new(&[webhook("crm", &crm)])?;
    dev.start().await?;
    let address = dev.client().base().to_owned();
    dev.hang_up()?;
    await_reloads(&address, "unchanged", 1).await?;
    let both = [webhook("crm", &crm), webhook("late", &late)];
    dev.reconfigure(&both, "[[type]]\nname = 7\n")?;
    await_reloads(&address, "refused", 1).await?;
    let id = dev.client().signup(&signup("refused")).await?;
    dev.client().await_status(id, "completed", SOON).await?;
    ensure!((crm.count(), late.count()) == (1, 0));

    dev.reconfigure(&both, ORDERS)?;
    await_reloads(&address, "applied", 1).await?;
    let id = dev.client().event(&order()).await?;
    dev.client().await_status(id, "completed", SOON).await?;
    ensure!((crm.count(), late.count()) == (2, 1));
    // Commands beside it are told what it runs with now.
    let report = dev.longshore(&["doctor", "--json"]).await?.json()?;
    let items = report["items"].as_array().context("a list")?.iter();
    let found = items.filter(|it| {
        it["check"]
            .as_str()
            .is_some_and(|it| it.starts_with("configuration"))
    });
    let found: Vec<&Value> = found.collect();
    ensure!(found.len() == 1 && found[0]["verdict"] == "ok", "{found:?}");
    dev.finish()
}
