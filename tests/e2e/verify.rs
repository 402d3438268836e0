//! The ledger of a live system: missing events are named, under traffic.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testkit::{
    broker::{Message, Published},
    load::{Load, signup, signup_event},
    process::Program,
    receiver::{Answer, Receiver},
    system::{Destination, System},
};
use uuid::Uuid;

use crate::{LATER, SOON};

/// Without the standing watch, which would mend the damage of these tests.
const ALONE: &str = "[watch]\nenabled = false";

/// The event and the verdict of everything that a survey names.
fn named(document: &Value) -> Vec<(String, String)> {
    let text = |item: &Value, key: &str| item[key].as_str().unwrap_or_default().to_owned();
    let items = document["items"].as_array().into_iter().flatten();
    items
        .map(|item| (text(item, "event"), text(item, "verdict")))
        .collect()
}

#[tokio::test]
async fn a_system_balances_until_something_is_lost_and_again_once_it_is_requeued() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut system = System::builder()
        .destination(Destination::webhook("crm", &receiver))
        .config(ALONE)
        .start()
        .await?;
    let ledger = system.ledger().await?;
    let accepted = Load::signups(system.client(), 20, 4).finish(SOON).await?;
    ledger.all_completed(&accepted, LATER).await?;
    // Refused events, and messages that are not events, are accounted for as well.
    let outsider = system.outsider().await?;
    let received = system.named("received");
    let garbage = Message::new("garbage");
    outsider
        .publish(&received, "signup.requested", &garbage)
        .await?;
    ledger.await_dead_letters(1, LATER).await?;

    let verify = ["verify", "--since", "1h", "--patience", "2s", "--json"];
    let balanced = system.longshore(&verify).await?.json()?;
    ensure!(balanced["balances"] == true, "{balanced}");
    ensure!(
        balanced["received"] == 21 && balanced["completed"] == 20,
        "{balanced}"
    );
    ensure!(balanced["dead"] == 1, "{balanced}");

    // Somebody empties a queue by hand.
    system.kill(Program::Validate, 0).await?;
    let lost = system.client().signup(&signup("lost")).await?;
    let queue = system.named("validate");
    outsider.await_messages(&queue, 1, SOON).await?;
    let waiting = system.longshore(&verify).await?.json()?;
    ensure!(
        waiting["under_way"] == 1 && waiting["balances"] == true,
        "{waiting}"
    );
    outsider.take(&queue, 1).await?;
    outsider.await_empty(&queue, SOON).await?;
    let unbalanced = system.longshore(&verify).await?;
    unbalanced.exit(1)?;
    ensure!(
        unbalanced.stdout.contains(&lost.to_string()),
        "{}",
        unbalanced.stdout
    );

    let stuck = ["events", "stuck", "--patience", "0s", "--json"];
    let found = system.longshore(&stuck).await?.json()?;
    ensure!(found["items"][0]["event"] == lost.to_string(), "{found}");
    let requeue = [&stuck[..], &["--requeue"]].concat();
    system.longshore(&requeue).await?.exit(2)?;
    let requeued = [&requeue[..], &["--yes"]].concat();
    let requeued = system.longshore(&requeued).await?.json()?;
    ensure!(requeued["requeued"] == 1, "{requeued}");
    system.start_again(Program::Validate, 0).await?;
    ledger.all_completed(&[lost], LATER).await?;
    let mended = system.longshore(&verify).await?.json()?;
    ensure!(
        mended["balances"] == true && mended["completed"] == 21,
        "{mended}"
    );
    system.finish().await
}

/// One event purged by hand, one in a delay, one swallowed by a rogue consumer, and traffic all the time: the two are
/// named and the delayed one is found.
#[tokio::test]
async fn under_traffic_what_was_purged_or_swallowed_is_named_and_what_is_delayed_is_found()
-> Result<()> {
    let (good, failing) = (Receiver::start().await?, Receiver::start().await?);
    failing.always(Answer::status(500));
    let slow = Destination::webhook("slow", &failing)
        .types(["processing.*"])
        .attempts(40, "4s");
    let mut system = System::builder()
        .destination(Destination::webhook("crm", &good).types(["signup.*"]))
        .destination(slow)
        .config(ALONE)
        .start()
        .await?;
    let outsider = system.outsider().await?;
    let client = system.client().clone();
    // An event of the day before, by its publisher's word: it is received today.
    let mut old = signup_event("of yesterday");
    old["time"] = "2020-01-01T00:00:00Z".into();
    let old =
        Message::cloud_event(&old).with(|properties| properties.with_timestamp(1_577_836_800));
    let received = system.named("received");
    outsider
        .publish(&received, "signup.requested", &old)
        .await?;

    system.kill(Program::Validate, 0).await?;
    let queue = system.named("validate");
    let purged = client.signup(&signup("purged")).await?;
    outsider.await_messages(&queue, 1, SOON).await?;
    while outsider
        .depth(&queue)
        .await?
        .is_some_and(|depth| depth.messages > 0)
    {
        outsider.take(&queue, 10).await?;
    }
    system.start_again(Program::Validate, 0).await?;
    // Somebody else's program takes a message of the store stage, and forgets it.
    system.kill(Program::Store, 0).await?;
    let swallowed = client.signup(&signup("swallowed")).await?;
    let store = system.named("store");
    outsider.await_messages(&store, 1, SOON).await?;
    while outsider
        .depth(&store)
        .await?
        .is_some_and(|depth| depth.messages > 0)
    {
        outsider.take(&store, 10).await?;
    }
    system.start_again(Program::Store, 0).await?;
    let delayed = serde_json::json!({"task": "resize", "payload": {}});
    let delayed = client.processing(&delayed).await?;
    failing.await_count(1, SOON).await?;

    let traffic = Load::signups(&client, 3_000, 2);
    traffic.await_accepted(20, SOON).await?;
    let verify = ["verify", "--since", "1h", "--patience", "6s", "--json"];
    let output = system.longshore(&verify).await?;
    output.exit(1)?;
    let survey: Value = serde_json::from_str(&output.stdout)?;
    let named = named(&survey);
    let is_named = |id: Uuid| named.iter().any(|(event, _)| *event == id.to_string());
    ensure!(is_named(purged) && is_named(swallowed), "{survey}");
    ensure!(!is_named(delayed), "{survey}");
    ensure!(survey["under_way"].as_u64() >= Some(1), "{survey}");
    ensure!(survey["received"].as_u64() >= Some(24), "{survey}");
    drop(traffic);
    system.finish().await
}

/// An event that was sent twice has two messages: its second one does not stand for another that is gone.
#[tokio::test]
async fn a_repetition_that_waits_hides_no_loss() -> Result<()> {
    let mut system = System::builder().config(ALONE).start().await?;
    system.kill(Program::Validate, 0).await?;
    let outsider = system.outsider().await?;
    let queue = system.named("validate");
    let lost = system.client().signup(&signup("lost")).await?;
    outsider.await_messages(&queue, 1, SOON).await?;
    outsider.take(&queue, 1).await?;
    let received = system.named("received");
    let twice = Message::cloud_event(&signup_event("twice"));
    for _ in 0..2 {
        outsider
            .publish(&received, "signup.requested", &twice)
            .await?;
    }
    outsider.await_messages(&queue, 2, SOON).await?;
    let verify = ["verify", "--since", "1h", "--patience", "0s", "--json"];
    let output = system.longshore(&verify).await?;
    output.exit(1)?;
    let survey: Value = serde_json::from_str(&output.stdout)?;
    ensure!(
        survey["received"] == 2 && survey["under_way"] == 1,
        "{survey}"
    );
    ensure!(named(&survey)[0].0 == lost.to_string(), "{survey}");
    system.finish().await
}

#[tokio::test]
async fn what_was_forged_past_the_doors_is_named_and_nothing_honest_is() -> Result<()> {
    let receiver = Receiver::start().await?;
    let system = System::builder()
        .destination(Destination::webhook("crm", &receiver))
        .config(ALONE)
        .start()
        .await?;
    let ledger = system.ledger().await?;
    let accepted = Load::signups(system.client(), 20, 4).finish(SOON).await?;
    ledger.all_completed(&accepted, LATER).await?;
    let outsider = system.outsider().await?;
    // A login with more rights than it should have.
    let mut forged = Vec::new();
    for (exchange, name) in [("accepted", "one"), ("stored", "two")] {
        let id = Uuid::now_v7();
        let message = Message::cloud_event(&signup_event(name))
            .message_id(&id.to_string())
            .with(|properties| properties.with_type("signup.requested".into()));
        let published = outsider
            .publish(&system.named(exchange), "signup.requested", &message)
            .await?;
        ensure!(published == Published::Routed, "{published:?}");
        forged.push(id);
    }
    let store = system.named("store");
    outsider.await_empty(&store, SOON).await?;
    outsider
        .await_empty(&system.named("integrate.crm"), SOON)
        .await?;
    // It is delivered, or refused as a dead letter; both show.
    let verify = ["verify", "--since", "1h", "--patience", "2s", "--json"];
    let seen = testkit::wait::eventually(SOON, "the forged ones to be settled", || async {
        let output = system.longshore(&verify).await?;
        let survey: Value = serde_json::from_str(&output.stdout)?;
        let letters = ledger.dead_letters().await?;
        let forged_now = survey["forged"].as_u64().unwrap_or_default();
        let settled = forged_now + letters.len() as u64;
        ensure!(settled >= 2, "{survey}");
        Ok((output, survey, letters.len()))
    })
    .await?;
    let (output, survey, letters) = seen;
    ensure!(
        survey["received"] == 20 && survey["completed"] == 20,
        "{survey}"
    );
    let named = named(&survey);
    for (event, verdict) in &named {
        ensure!(verdict == "forged", "{survey}");
        let id: Uuid = event.parse().context("no id")?;
        ensure!(forged.contains(&id), "{survey}");
    }
    ensure!(named.len() + letters >= 2, "{survey}");
    if !named.is_empty() {
        output.exit(1)?;
    }
    system.finish().await
}

/// A window of some size in little memory. The figures are printed: `cargo nextest run --no-capture`.
#[tokio::test]
async fn a_large_window_takes_little_memory() -> Result<()> {
    const EVENTS: usize = 20_000;
    let system = System::builder()
        .copies(Program::Validate, 0)
        .copies(Program::Store, 0)
        .copies(Program::Integrate, 0)
        .copies(Program::Archive, 0)
        .start()
        .await?;
    let client = system.client();
    for part in 0..EVENTS / 1_000 {
        let events: Vec<Value> = (0..1_000)
            .map(|number| signup_event(&format!("{part}-{number}")))
            .collect();
        client.batch(&events).await?;
    }
    let began = std::time::Instant::now();
    let arguments = ["verify", "--since", "1h", "--patience", "0s", "--json"];
    let mut verify = system.longshore_running(&[], &arguments)?;
    let mut most = 0;
    while verify.exited()?.is_none() {
        most = most.max(verify.memory().unwrap_or(0));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let output = verify.output();
    eprintln!(
        "{EVENTS} events: {:?}, {} MB",
        began.elapsed(),
        most / 1_000_000
    );
    ensure!(
        output.contains(&format!("\"received\": {EVENTS}")),
        "{output}"
    );
    ensure!(
        output.contains(&format!("\"under_way\": {EVENTS}")),
        "{output}"
    );
    ensure!(most < 150_000_000, "{most} bytes");
    system.finish().await
}
