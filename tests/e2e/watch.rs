//! The standing watch: lost events are on their way again within a minute, without an operator.

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use lapin::{Connection, ConnectionProperties, types::FieldTable};
use serde_json::{Value, json};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, sqlite::SqliteConnectOptions};
use testkit::{
    broker::Message,
    dev::Dev,
    load::{Load, signup},
    process::Program,
    raw::{RawProperties, RawPublisher},
    receiver::{Answer, Receiver},
    services::Services,
    system::{Destination, System},
    wait::eventually,
};
use uuid::Uuid;

use crate::{LATER, SOON};

/// Looks more often than by default, for the sake of the test's time.
pub(crate) const SWIFT: &str = "[watch]\ninterval = \"1s\"\nlag = \"3s\"";

/// Waits until any program has declared the queue again.
async fn await_queue(system: &System, queue: &str) -> Result<()> {
    let outsider = system.outsider().await?;
    let name = system.named(queue);
    let there = eventually(
        Duration::from_secs(5),
        "the queue to be declared again",
        || async {
            outsider
                .depth(&name)
                .await?
                .context("it is not there")
                .map(|_| ())
        },
    )
    .await;
    if there.is_err() {
        system.longshore(&["topology", "apply"]).await?.success()?;
    }
    Ok(())
}

/// Each event was delivered, and none twice.
async fn delivered_once(system: &System, receiver: &Receiver, accepted: &[Uuid]) -> Result<()> {
    let ledger = system.ledger().await?;
    ledger.all_completed(accepted, LATER).await?;
    let successes = receiver.successes();
    for id in accepted {
        let times = successes.get(&id.to_string()).copied();
        ensure!(times == Some(1), "{id} was delivered {times:?} times");
    }
    Ok(())
}

#[tokio::test]
async fn what_a_deleted_queue_held_is_stored_and_delivered_once() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut system = System::builder()
        .destination(Destination::webhook("crm", &receiver))
        .config(SWIFT)
        .start()
        .await?;
    let outsider = system.outsider().await?;
    system.kill(Program::Validate, 0).await?;
    let accepted = Load::signups(system.client(), 20, 4).finish(SOON).await?;
    outsider
        .await_messages(&system.named("validate"), 20, SOON)
        .await?;
    outsider.delete_queue(&system.named("validate")).await?;
    system.start_again(Program::Validate, 0).await?;
    delivered_once(&system, &receiver, &accepted).await?;
    // The report has each once.
    let told = eventually(SOON, "the doctor to tell", || async {
        let report = system.longshore(&["doctor", "--json"]).await?;
        let report: Value = serde_json::from_str(&report.stdout)?;
        let items = report["items"].as_array().context("no items")?.clone();
        let found = items
            .into_iter()
            .find(|item| item["check"] == "watch: repaired events");
        found.context("nothing of a repair")
    })
    .await?;
    ensure!(
        told["detail"]
            .as_str()
            .is_some_and(|text| text.contains("20 events")),
        "{told}"
    );
    let archive = system.address(Program::Archive, 0)?;
    let metrics = testkit::client::Client::new(archive)?
        .get("/metrics")
        .await?
        .text();
    ensure!(metrics.contains("longshore_watching 1"), "{metrics}");
    ensure!(
        metrics.contains("longshore_watch_findings{finding=\"lost_event\"} 0"),
        "{metrics}"
    );
    let repaired = "longshore_watch_repairs_total{repair=\"event\"} 20";
    ensure!(metrics.contains(repaired), "{metrics}");
    system.finish().await
}

#[tokio::test]
async fn what_was_accepted_without_a_binding_is_stored() -> Result<()> {
    let receiver = Receiver::start().await?;
    let system = System::builder()
        .destination(Destination::webhook("crm", &receiver))
        .config(SWIFT)
        .start()
        .await?;
    let services = testkit::services::Services::shared();
    let connection =
        Connection::connect(&services.broker_url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let unbind = channel.queue_unbind(
        system.named("validate").as_str().into(),
        system.named("received").as_str().into(),
        "#".into(),
        FieldTable::default(),
    );
    unbind.await?;
    // As an outsider, who does not learn which program took its message.
    let outsider = system.outsider().await?;
    let event = testkit::load::signup_event("unbound");
    let message = Message::cloud_event(&event);
    outsider
        .publish(&system.named("received"), "signup.requested", &message)
        .await?;
    let ledger = system.ledger().await?;
    ledger.await_events(1, LATER).await?;
    receiver.await_successes(1, LATER).await?;
    ensure!(receiver.count() == 1, "{:?}", receiver.requests());
    system.finish().await
}

#[tokio::test]
async fn one_purged_event_is_found_while_others_pass_and_one_watch_takes_over_from_another()
-> Result<()> {
    let receiver = Receiver::start().await?;
    let mut system = System::builder()
        .destination(Destination::webhook("crm", &receiver))
        .config(SWIFT)
        .copies(Program::Archive, 2)
        .start()
        .await?;
    let outsider = system.outsider().await?;
    // If either of the two keeps the watch, the other one goes on.
    system.kill(Program::Archive, 0).await?;
    system.kill(Program::Validate, 0).await?;
    let lost = Load::signups(system.client(), 1, 1).finish(SOON).await?;
    outsider
        .await_messages(&system.named("validate"), 1, SOON)
        .await?;
    outsider.take(&system.named("validate"), 1).await?;
    system.start_again(Program::Validate, 0).await?;
    let traffic = Load::signups(system.client(), 400, 1);
    delivered_once(&system, &receiver, &lost).await?;
    let others = traffic.finish(LATER).await?;
    delivered_once(&system, &receiver, &others).await?;
    let repairs: i64 = sqlx::query_scalar("select count(*) from watch_repairs")
        .fetch_one(system.ledger().await?.pool())
        .await?;
    ensure!(repairs == 1, "{repairs} events were sent again");
    system.finish().await
}

#[tokio::test]
async fn deliveries_of_a_deleted_queue_are_made_once() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut system = System::builder()
        .destination(Destination::webhook("crm", &receiver).timeout("1s"))
        .config(SWIFT)
        .start()
        .await?;
    let ledger = system.ledger().await?;
    let outsider = system.outsider().await?;
    let queue = system.named("integrate.crm");
    system.kill(Program::Integrate, 0).await?;
    let accepted = Load::signups(system.client(), 10, 2).finish(SOON).await?;
    ledger.await_events(10, SOON).await?;
    outsider.await_messages(&queue, 10, SOON).await?;
    outsider.delete_queue(&queue).await?;
    system.start_again(Program::Integrate, 0).await?;
    await_queue(&system, "integrate.crm").await?;
    delivered_once(&system, &receiver, &accepted).await?;
    system.finish().await
}

/// A slow receiver keeps its deliveries waiting in a worker's hands and in delays: none of them is lost.
#[tokio::test]
async fn what_only_waits_is_not_sent_again() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.always(Answer::status(503));
    let system = System::builder()
        .destination(
            Destination::webhook("crm", &receiver)
                .timeout("1s")
                .attempts(6, "4s"),
        )
        .config(SWIFT)
        .start()
        .await?;
    let accepted = Load::signups(system.client(), 5, 1).finish(SOON).await?;
    receiver.await_count(5, SOON).await?;
    // Long enough for several looks of the watch at the delayed messages.
    receiver.await_count(15, LATER).await?;
    receiver.always(Answer::status(200));
    delivered_once(&system, &receiver, &accepted).await?;
    let repairs: i64 = sqlx::query_scalar("select count(*) from watch_repairs")
        .fetch_one(system.ledger().await?.pool())
        .await?;
    ensure!(repairs == 0, "{repairs} were sent again");
    system.finish().await
}

#[tokio::test]
async fn retries_that_vanished_from_their_delay_are_made() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.always(Answer::status(503));
    let system = System::builder()
        .destination(
            Destination::webhook("crm", &receiver)
                .timeout("1s")
                .attempts(6, "4s"),
        )
        .config(SWIFT)
        .start()
        .await?;
    let accepted = Load::signups(system.client(), 10, 2).finish(SOON).await?;
    receiver.await_count(10, SOON).await?;
    // All that waits is gone, as with a policy that lets the queues of the delays expire.
    let outsider = system.outsider().await?;
    let mut gone = 0;
    let deadline = tokio::time::Instant::now() + SOON;
    while gone < 10 && tokio::time::Instant::now() < deadline {
        for level in 0..8 {
            let name = system.named(&format!("delay.{level:02}"));
            if outsider
                .depth(&name)
                .await?
                .is_some_and(|depth| depth.messages > 0)
            {
                gone += outsider.take(&name, 100).await?.len();
            }
        }
    }
    receiver.always(Answer::status(200));
    ensure!(gone > 0, "nothing was in a delay");
    delivered_once(&system, &receiver, &accepted).await?;
    system.finish().await
}

#[tokio::test]
async fn what_is_parked_comes_back_to_the_archive() -> Result<()> {
    let system = System::builder().config(SWIFT).start().await?;
    let outsider = system.outsider().await?;
    let parked = system.named("dead.parked");
    for number in 0..3 {
        let letter = Message::new(format!("letter {number}"));
        outsider.publish_to_queue(&parked, &letter).await?;
    }
    system.ledger().await?.await_dead_letters(3, LATER).await?;
    outsider.await_empty(&parked, SOON).await?;
    system.finish().await
}

/// The embedded engines: messages are deleted from the broker's file, a delivery from its delay and an event from its
/// first queue.
#[tokio::test]
async fn what_vanished_from_the_file_of_dev_is_sent_again_once_and_doctor_says_so() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.always(Answer::status(503));
    let crm = Destination::webhook("crm", &receiver)
        .timeout("1s")
        .attempts(6, "4s");
    let mut dev = Dev::configured(&[crm], SWIFT)?;
    dev.start().await?;
    dev.client().signup(&signup("due")).await?;
    receiver.await_count(1, SOON).await?;
    dev.kill().await?;
    let event = json!({
        "type": "signup.requested", "id": "accepted",
        "data": {"email": "accepted@example.com", "name": "Accepted"},
    });
    fs::write(dev.folder().join("events.ndjson"), event.to_string())?;
    let publish = ["publish", "events.ndjson", "--yes"];
    dev.longshore(&publish).await?.success()?;
    let file = dev.folder().join("longshore-data").join("broker.db");
    let mut broker = SqliteConnectOptions::new().filename(file).connect().await?;
    let gone = broker
        .execute("DELETE FROM waiting; DELETE FROM held")
        .await?;
    ensure!(gone.rows_affected() >= 1, "nothing was there");
    broker.close().await?;
    receiver.always(Answer::status(200));
    dev.start().await?;
    receiver.await_successes(2, LATER).await?;
    let told = eventually(LATER, "doctor to tell of both", || async {
        let told = dev.longshore(&["doctor", "--json"]).await?.stdout;
        for subject in ["events", "deliveries"] {
            let check = format!("\"watch: repaired {subject}\"");
            ensure!(told.contains(&check), "{told}");
        }
        Ok(told)
    })
    .await?;
    let twice: Vec<_> = receiver
        .successes()
        .into_iter()
        .filter(|(_, times)| *times > 1)
        .collect();
    ensure!(twice.is_empty(), "{twice:?}: {told}");
    dev.finish()
}

/// Plain events without ids of their own, with parts that the history does not keep.
#[tokio::test]
async fn what_the_history_has_under_another_id_is_not_sent_again() -> Result<()> {
    let receiver = Receiver::start().await?;
    let system = System::builder()
        .destination(Destination::webhook("crm", &receiver))
        .config(SWIFT)
        .start()
        .await?;
    let ledger = system.ledger().await?;
    let mut publisher = RawPublisher::connect(&Services::shared().broker_url).await?;
    let bodies = [
        r#"{"email":"ada@example.com","name":"Ada"}"#,
        r#"{"email":"nobody","name":"Nobody"}"#,
        r#"{"email":"ada@example.com","name":"Another"}"#,
    ];
    for (body, rows) in bodies.into_iter().zip([(1, 0), (1, 1), (1, 2)]) {
        let properties = RawProperties::new()
            .content_type("application/json")
            .cluster_id("east")
            .deep_header("tags", 2);
        publisher
            .publish(
                &system.named("received"),
                "signup.requested",
                &properties,
                body.as_bytes(),
            )
            .await?;
        eventually(SOON, "it to be stored or rejected", || async {
            let found: (i64, i64) = sqlx::query_as(
                "select (select count(*) from events), (select count(*) from rejections)",
            )
            .fetch_one(ledger.pool())
            .await?;
            ensure!(found == rows, "{found:?}");
            Ok(())
        })
        .await?;
    }
    eventually(SOON, "the watch to leave them behind", || async {
        let position: Option<i64> = sqlx::query_scalar("select position from leases")
            .fetch_one(ledger.pool())
            .await?;
        ensure!(position >= Some(2), "{position:?}");
        Ok(())
    })
    .await?;
    let verify = ["verify", "--since", "1h", "--patience", "10s", "--json"];
    let verified = system.longshore(&verify).await?;
    verified.success()?;
    let balance = verified.json()?;
    ensure!(balance["balances"] == true, "{balance}");
    let codes = json!({"invalid": 1, "email_taken": 1});
    ensure!(
        balance["received"] == 3 && balance["completed"] == 1 && balance["rejected"] == codes,
        "{balance}"
    );
    let repairs: i64 = sqlx::query_scalar("select count(*) from watch_repairs")
        .fetch_one(ledger.pool())
        .await?;
    ensure!(repairs == 0, "{repairs} were sent again");
    ensure!(receiver.count() == 1, "one delivery");
    system.finish().await
}
