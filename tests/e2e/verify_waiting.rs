//! Where messages wait that cannot be looked into, none of them hides the loss of another.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use testkit::{
    broker::Message,
    load::{signup, signup_event},
    process::Program,
    receiver::Receiver,
    system::{Destination, System},
};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::{LATER, SOON};

/// Without the standing watch, which would mend the damage of these tests.
const ALONE: &str = "[watch]\nenabled = false";

/// The report of `verify` since then, and its exit code.
async fn verify(system: &System, since: &str, patience: &str) -> Result<(i32, Value)> {
    let verify = ["verify", "--since", since, "--patience", patience, "--json"];
    let output = system.longshore(&verify).await?;
    let survey = serde_json::from_str(&output.stdout)?;
    Ok((output.code.unwrap_or(-1), survey))
}

fn verdict_of(survey: &Value, event: &str) -> Option<String> {
    let mut items = survey["items"].as_array().into_iter().flatten();
    let item = items.find(|item| item["event"] == event)?;
    item["verdict"].as_str().map(str::to_owned)
}

/// The present moment; nothing that was received before it is received in its millisecond.
async fn now() -> Result<String> {
    let then = OffsetDateTime::now_utc() + time::Duration::milliseconds(2);
    while OffsetDateTime::now_utc() < then {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(then.format(&Rfc3339)?)
}

/// Events that arrive while no worker validates do not hide a purged one; and without a purge, all are found.
#[tokio::test]
async fn what_comes_later_hides_no_loss() -> Result<()> {
    let mut system = System::builder().config(ALONE).start().await?;
    system.kill(Program::Validate, 0).await?;
    let outsider = system.outsider().await?;
    let queue = system.named("validate");
    let client = system.client().clone();
    let traffic = tokio::spawn(async move {
        let mut pace = tokio::time::interval(Duration::from_millis(50));
        for number in 0_u32.. {
            pace.tick().await;
            client.signup(&signup(&number.to_string())).await?;
        }
        anyhow::Ok(())
    });
    outsider.await_messages(&queue, 20, SOON).await?;
    let (code, survey) = verify(&system, "1h", "20s").await?;
    ensure!(
        code == 0 && survey["under_way"].as_u64() >= Some(20),
        "{survey}"
    );

    let purged = outsider.take(&queue, 1).await?;
    let purged = purged[0].message_id().context("an id")?;
    // The arrivals during a count cannot be counted to the last one: the purged event may be stuck, or unknown.
    let (code, survey) = verify(&system, "1h", "5s").await?;
    ensure!(
        code == 1 && verdict_of(&survey, &purged).is_some(),
        "{survey}"
    );
    drop(traffic);
    system.finish().await
}

/// A backlog that is older than the window makes no place either; where it is all there, that is found out.
#[tokio::test]
async fn what_came_before_the_window_hides_no_loss() -> Result<()> {
    let mut system = System::builder().config(ALONE).start().await?;
    system.kill(Program::Validate, 0).await?;
    let outsider = system.outsider().await?;
    let client = system.client().clone();
    for name in ["first", "second", "third"] {
        client.signup(&signup(name)).await?;
    }
    let since = now().await?;
    client.signup(&signup("inside")).await?;
    outsider
        .await_messages(&system.named("validate"), 4, SOON)
        .await?;
    let (code, survey) = verify(&system, &since, "0s").await?;
    ensure!(
        code == 0 && survey["received"] == 1 && survey["under_way"] == 1,
        "{survey}"
    );

    // Events of the history that no queue ever got.
    let since = now().await?;
    let lost = Message::cloud_event(&signup_event("lost"));
    outsider
        .publish_to_queue(&system.named("history"), &lost)
        .await?;
    let (code, survey) = verify(&system, &since, "0s").await?;
    ensure!(code == 1 && survey["received"] == 1, "{survey}");
    ensure!(survey["unknown"] == 1, "{survey}");
    let known = survey["items"][0]["known"].as_str().unwrap_or_default();
    ensure!(
        known.contains("4 messages wait for up to 5 events"),
        "{survey}"
    );
    system.finish().await
}

/// A message that somebody put into the queue past the exchange belongs to no event.
#[tokio::test]
async fn what_is_in_no_history_hides_no_loss() -> Result<()> {
    let mut system = System::builder().config(ALONE).start().await?;
    system.kill(Program::Validate, 0).await?;
    let outsider = system.outsider().await?;
    let queue = system.named("validate");
    let lost = system.client().signup(&signup("lost")).await?;
    outsider.await_messages(&queue, 1, SOON).await?;
    outsider.take(&queue, 1).await?;
    for name in ["one", "another"] {
        let foreign = Message::cloud_event(&signup_event(name));
        outsider.publish_to_queue(&queue, &foreign).await?;
    }
    outsider.await_messages(&queue, 2, SOON).await?;
    let (code, survey) = verify(&system, "1h", "0s").await?;
    let verdict = verdict_of(&survey, &lost.to_string());
    ensure!(
        code == 1 && verdict.as_deref() == Some("unknown"),
        "{survey}"
    );
    system.finish().await
}

/// A dead letter that was sent again is settled, and its message takes no other's place.
#[tokio::test]
async fn what_was_sent_again_hides_no_loss() -> Result<()> {
    let mut system = System::builder().config(ALONE).start().await?;
    let outsider = system.outsider().await?;
    let garbage = Message::new("no event").content_type("text/plain");
    outsider
        .publish(&system.named("received"), "x", &garbage)
        .await?;
    system.ledger().await?.await_dead_letters(1, SOON).await?;
    system.kill(Program::Validate, 0).await?;
    let replay = ["dead", "replay", "--all", "--yes"];
    system.longshore(&replay).await?.success()?;
    outsider
        .await_messages(&system.named("validate"), 1, SOON)
        .await?;
    let lost = Message::cloud_event(&signup_event("lost"));
    outsider
        .publish_to_queue(&system.named("history"), &lost)
        .await?;
    let (code, survey) = verify(&system, "1h", "0s").await?;
    ensure!(code == 1, "{survey}");
    ensure!(survey["mended"] == 1 && survey["unknown"] == 1, "{survey}");
    system.finish().await
}

/// The same at a destination whose worker is stopped.
#[tokio::test]
async fn what_waits_for_a_destination_hides_no_loss() -> Result<()> {
    let crm = Receiver::start().await?;
    let mut system = System::builder()
        .destination(Destination::webhook("crm", &crm))
        .config(ALONE)
        .start()
        .await?;
    system.kill(Program::Integrate, 0).await?;
    let outsider = system.outsider().await?;
    let queue = system.named("integrate.crm");
    let client = system.client().clone();
    for name in ["first", "second"] {
        client.signup(&signup(name)).await?;
    }
    outsider.await_messages(&queue, 2, LATER).await?;
    let since = now().await?;
    client.signup(&signup("inside")).await?;
    outsider.await_messages(&queue, 3, LATER).await?;
    let (code, survey) = verify(&system, &since, "0s").await?;
    ensure!(code == 0 && survey["under_way"] == 1, "{survey}");

    // One of three is gone: which, cannot be seen.
    outsider.take(&queue, 1).await?;
    outsider.await_messages(&queue, 2, SOON).await?;
    let (code, survey) = verify(&system, &since, "0s").await?;
    ensure!(code == 1 && survey["unknown"] == 1, "{survey}");
    let (code, survey) = verify(&system, "1h", "0s").await?;
    ensure!(code == 1 && survey["stuck"] == 1, "{survey}");
    ensure!(survey["under_way"] == 2, "{survey}");

    // And one message too many is nobody's.
    for _ in 0..2 {
        let foreign = Message::cloud_event(&signup_event("foreign"));
        outsider.publish_to_queue(&queue, &foreign).await?;
    }
    outsider.await_messages(&queue, 4, SOON).await?;
    let (code, survey) = verify(&system, "1h", "0s").await?;
    ensure!(code == 1 && survey["unknown"] == 3, "{survey}");
    system.finish().await
}
