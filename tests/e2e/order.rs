//! Order: an ordered destination gets the events of one key one after the other, as they were accepted.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testkit::{
    client::Client,
    process::Program,
    receiver::{Answer, Receiver, Request},
    system::{Destination, System},
    wait::eventually,
};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{LATER, SOON};

/// The place of an event among those of its key.
fn place(request: &Request) -> Result<(String, u64)> {
    let event = request.json()?;
    let key = event["subject"].as_str().context("a subject")?;
    let number = event["data"]["payload"]["n"].as_u64().context("a number")?;
    Ok((key.to_owned(), number))
}

fn event(key: &str, number: u64) -> Value {
    json!({
        "specversion": "1.0", "id": format!("{key}-{number}"), "type": "processing.requested", "source": "/e2e",
        "subject": key, "data": { "task": "resize", "payload": { "n": number } },
    })
}

/// Publishes events of one key, each when the one before it is accepted.
async fn publish(client: Client, key: String, numbers: std::ops::Range<u64>) -> Result<Vec<Uuid>> {
    let mut ids = Vec::new();
    for number in numbers {
        ids.push(client.event(&event(&key, number)).await?);
    }
    Ok(ids)
}

/// Expects that nothing was sent before the one before it was taken.
fn expect_order(requests: &[Request]) -> Result<()> {
    let mut taken: HashMap<String, u64> = HashMap::new();
    for request in requests {
        let (key, number) = place(request)?;
        let next = taken.entry(key.clone()).or_default();
        ensure!(
            number <= *next,
            "{key}: {number} was sent before {next} was taken"
        );
        if request.answered == Some(200) && number == *next {
            *next += 1;
        }
    }
    Ok(())
}

fn numbers_of(receiver: &Receiver, key: &str) -> Result<Vec<u64>> {
    let places: Vec<(String, u64)> = receiver
        .requests()
        .iter()
        .map(place)
        .collect::<Result<_>>()?;
    let of_key = places.into_iter().filter(|(of, _)| of == key);
    Ok(of_key.map(|(_, number)| number).collect())
}

/// How many keys, and how many events of each: `LONGSHORE_TEST_ORDER=1000x100` asks for others, with `--profile large`.
fn size() -> Result<(u64, u64)> {
    let asked = std::env::var("LONGSHORE_TEST_ORDER").ok();
    let asked = asked.as_deref().unwrap_or("24x20");
    let (keys, each) = asked.split_once('x').context("KEYSxEACH")?;
    Ok((keys.parse()?, each.parse()?))
}

#[tokio::test]
async fn events_of_a_key_arrive_in_order_through_failures_kills_copies_and_a_replay() -> Result<()>
{
    let (keys, each) = size()?;
    let all = usize::try_from(keys * each)?;
    let long = LATER + Duration::from_millis(20) * u32::try_from(all)?;
    let receiver = Receiver::start().await?;
    // One of ten fails.
    receiver.plan(|call| Answer::status(if call.total % 10 == 3 { 503 } else { 200 }));
    let destination = Destination::webhook("crm", &receiver).ordered("hold");
    let mut system = System::builder()
        .destination(
            destination
                .attempts(30, "100ms")
                .longest_wait("500ms")
                .timeout("2s"),
        )
        .copies(Program::Validate, 2)
        .copies(Program::Store, 2)
        .copies(Program::Integrate, 2)
        .start()
        .await?;
    let mut publishers = JoinSet::new();
    for key in 0..keys {
        publishers.spawn(publish(
            system.client().clone(),
            format!("key-{key}"),
            0..each,
        ));
    }
    for part in 1..4 {
        receiver.await_successes(all * part / 4, long).await?;
        for program in [Program::Validate, Program::Store, Program::Integrate] {
            system.kill(program, part % 2).await?;
            system.start_again(program, part % 2).await?;
        }
    }
    let mut accepted = Vec::with_capacity(all);
    while let Some(published) = publishers.join_next().await {
        accepted.extend(published??);
    }
    let ledger = system.ledger().await?;
    ledger.all_completed(&accepted, long).await?;
    let first = receiver.requests();
    expect_order(&first)?;
    ensure!(
        receiver.successes().len() == all,
        "{} requests",
        first.len()
    );

    let replay = [
        "history",
        "replay",
        "--from",
        "1h",
        "--queue",
        "integrate.crm",
        "--yes",
    ];
    system.longshore(&replay).await?.success()?;
    eventually(long, "everything a second time", || async {
        let again = receiver.requests().split_off(first.len());
        let taken = again.iter().filter(|it| it.answered == Some(200)).count();
        ensure!(taken >= all, "{taken} of {all}");
        Ok(())
    })
    .await?;
    expect_order(&receiver.requests()[first.len()..])?;
    system.finish().await
}

/// A system whose receiver refuses the second event of each key `a`, until it is told to take it.
async fn refusing(on_dead: &str) -> Result<(Receiver, System, Arc<AtomicBool>)> {
    let receiver = Receiver::start().await?;
    let takes_all = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&takes_all);
    receiver.plan(move |call| {
        let refuses = !told.load(Ordering::SeqCst)
            && matches!(place(call.request), Ok((key, 1)) if key == "a");
        Answer::status(if refuses { 422 } else { 200 })
    });
    let system = System::builder()
        .destination(Destination::webhook("crm", &receiver).ordered(on_dead))
        .config("[watch]\ninterval = \"500ms\"\n")
        .start()
        .await?;
    Ok((receiver, system, takes_all))
}

#[tokio::test]
async fn those_behind_a_dead_letter_wait_until_it_is_replayed() -> Result<()> {
    let (receiver, system, takes_all) = refusing("hold").await?;
    let client = system.client();
    let mut accepted = publish(client.clone(), "a".to_owned(), 0..4).await?;
    client.await_status(accepted[1], "dead", SOON).await?;
    // Other keys pass, also what comes later.
    accepted.extend(publish(client.clone(), "b".to_owned(), 0..3).await?);
    client.await_status(accepted[6], "completed", SOON).await?;
    ensure!(
        numbers_of(&receiver, "a")? == [0, 1],
        "{:?}",
        numbers_of(&receiver, "a")?
    );
    let verified = system.longshore(&["verify", "--json"]).await?.json()?;
    ensure!(
        verified["balances"] == true && verified["under_way"] == 2,
        "{verified}"
    );
    takes_all.store(true, Ordering::SeqCst);
    system
        .longshore(&["dead", "replay", "--all", "--yes"])
        .await?
        .success()?;
    let ledger = system.ledger().await?;
    ledger.all_completed(&accepted, LATER).await?;
    ensure!(
        numbers_of(&receiver, "a")? == [0, 1, 1, 2, 3],
        "{:?}",
        numbers_of(&receiver, "a")?
    );
    system.finish().await
}

#[tokio::test]
async fn those_behind_a_discarded_letter_go_on() -> Result<()> {
    let (receiver, system, _) = refusing("hold").await?;
    let client = system.client();
    let accepted = publish(client.clone(), "a".to_owned(), 0..4).await?;
    client.await_status(accepted[1], "dead", SOON).await?;
    let discard = ["dead", "discard", "--all", "--yes", "--why", "their bug"];
    system.longshore(&discard).await?.success()?;
    client.await_status(accepted[3], "completed", LATER).await?;
    ensure!(
        numbers_of(&receiver, "a")? == [0, 1, 2, 3],
        "{:?}",
        numbers_of(&receiver, "a")?
    );
    system.finish().await
}

#[tokio::test]
async fn those_behind_a_skipped_letter_go_on_without_it() -> Result<()> {
    let (receiver, system, takes_all) = refusing("skip").await?;
    let client = system.client();
    let accepted = publish(client.clone(), "a".to_owned(), 0..4).await?;
    client.await_status(accepted[3], "completed", LATER).await?;
    ensure!(
        numbers_of(&receiver, "a")? == [0, 1, 2, 3],
        "{:?}",
        numbers_of(&receiver, "a")?
    );
    takes_all.store(true, Ordering::SeqCst);
    system
        .longshore(&["dead", "replay", "--all", "--yes"])
        .await?
        .success()?;
    let ledger = system.ledger().await?;
    ledger.all_completed(&accepted, LATER).await?;
    system.finish().await
}
