//! Anything at all on every queue an outsider can reach.

use anyhow::{Result, bail, ensure};
use lapin::types::{AMQPValue, FieldTable};
use serde_json::json;
use testkit::{
    broker::{Message, Published},
    load::{signup, signup_event},
    receiver::Receiver,
    system::{Destination, System},
    wait::eventually,
};
use uuid::Uuid;

use crate::{LATER, SOON};

/// Messages no stage can make sense of. All bodies differ, so that none passes for another's twin.
fn corpus(mark: &str) -> Vec<Message> {
    let deep = |open: &str, close: &str| {
        format!(
            "{}\"{mark}\"{}",
            open.repeat(100_000),
            close.repeat(100_000)
        )
    };
    let event = |change: fn(&mut serde_json::Value)| {
        let mut event = signup_event(&format!("{mark}-{}", Uuid::new_v4()));
        change(&mut event);
        event
    };
    let mut nested = FieldTable::default();
    nested.insert("x".into(), AMQPValue::ByteArray(vec![0xff; 10].into()));
    vec![
        Message::new(format!("not json {mark}")),
        Message::new(format!("not json either {mark}")).content_type("application/json"),
        Message::new(format!("nor this {mark}")).content_type("application/cloudevents+json"),
        Message::new([&[0xff, 0xfe, 0x00], mark.as_bytes()].concat())
            .content_type("application/json"),
        Message::new(utf16(&format!("{{\"email\":\"{mark}\"}}"))).content_type("application/json"),
        Message::new(deep("[", "]")).content_type("application/json"),
        Message::new(deep("{\"a\":", "}")).content_type("application/cloudevents+json"),
        Message::new(format!("gzip? {mark}"))
            .content_type("application/json")
            .with(|properties| properties.with_content_encoding("gzip".into())),
        Message::new(format!("\"{}{mark}\"", "x".repeat(20_000_000)))
            .content_type("application/json"),
        Message::cloud_event(&event(|event| event["type"] = "nobody.knows.this".into())),
        Message::cloud_event(&event(|event| event["specversion"] = "9.9".into())),
        Message::cloud_event(&event(|event| event["id"] = 7.into())),
        Message::cloud_event(&event(|event| event["data"] = json!(null))),
        Message::cloud_event(&json!([mark])),
        Message::json(&json!(mark)).message_id(&"m".repeat(255)),
        Message::json(&json!({"mark": mark})).header("longshore-attempt", AMQPValue::Boolean(true)),
        Message::json(&json!({"headers": mark}))
            .header("cloudEvents:id", AMQPValue::FieldTable(nested)),
        Message::json(&json!({"attempts": mark}))
            .header("longshore-attempt", AMQPValue::LongLongInt(i64::MIN))
            .header("longshore-generation", AMQPValue::LongLongInt(i64::MAX)),
    ]
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// Sends the corpus to one queue and waits until each message has been put away: archived,
/// rejected or, where even archiving is impossible, parked.
async fn garbage_on(queue: &str) -> Result<()> {
    let receiver = Receiver::start().await?;
    let system = System::builder()
        .destination(Destination::webhook("crm", &receiver))
        .start()
        .await?;
    let (outsider, ledger) = (system.outsider().await?, system.ledger().await?);
    let corpus = corpus(queue);
    for message in &corpus {
        let published = outsider
            .publish_to_queue(&system.named(queue), message)
            .await?;
        ensure!(published == Published::Routed, "{published:?}");
    }
    // The neighbours of garbage are not harmed.
    let id = system.client().signup(&signup("neighbour")).await?;
    ledger.all_completed(&[id], LATER).await?;
    eventually(LATER, "all garbage to be put away", || async {
        let dead = ledger.dead_letters().await?.len();
        let rejected: i64 = sqlx::query_scalar("select count(*) from rejections")
            .fetch_one(ledger.pool())
            .await?;
        let parked = outsider.depth(&system.named("dead.parked")).await?;
        let parked = parked.map_or(0, |depth| depth.messages as usize);
        let put_away = dead + usize::try_from(rejected)? + parked;
        if put_away < corpus.len() {
            bail!(
                "{dead} dead, {rejected} rejected, {parked} parked of {}",
                corpus.len()
            );
        }
        Ok(())
    })
    .await?;
    for queue in ["validate", "store", "integrate.crm", "dead"] {
        outsider.await_empty(&system.named(queue), SOON).await?;
    }
    ensure!(ledger.events().await? == 1, "garbage was stored");
    ensure!(
        receiver.count() == 1,
        "garbage was delivered: {:?}",
        receiver.requests()
    );
    for letter in ledger.dead_letters().await? {
        let shown = system
            .longshore(&["dead", "show", &letter.dead_letter_id, "--json"])
            .await?;
        shown.json()?;
    }
    system.finish().await
}

#[tokio::test]
async fn garbage_before_validate_is_put_away_with_a_reason() -> Result<()> {
    garbage_on("validate").await
}

#[tokio::test]
async fn garbage_before_store_is_put_away_with_a_reason() -> Result<()> {
    garbage_on("store").await
}

#[tokio::test]
async fn garbage_before_integrate_is_put_away_with_a_reason() -> Result<()> {
    garbage_on("integrate.crm").await
}

#[tokio::test]
async fn garbage_before_archive_is_put_away_with_a_reason() -> Result<()> {
    garbage_on("dead").await
}
