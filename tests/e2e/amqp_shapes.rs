//! The three shapes in which other systems publish over AMQP.

use anyhow::{Result, ensure};
use serde_json::Value;
use testkit::{
    broker::{Message, Outsider, Published},
    load::{signup, signup_event},
    receiver::Receiver,
    system::{Destination, System},
};

use crate::SOON;

const TYPE: &str = "signup.requested";

async fn publish(system: &System, outsider: &Outsider, message: &Message) -> Result<()> {
    let published = outsider
        .publish(&system.named("received"), TYPE, message)
        .await?;
    ensure!(published == Published::Routed, "{published:?}");
    Ok(())
}

fn binary(prefix: &str, data: &Value, id: &str) -> Message {
    [
        ("specversion", "1.0"),
        ("id", id),
        ("type", TYPE),
        ("source", "/e2e"),
    ]
    .into_iter()
    .fold(Message::json(data), |message, (name, value)| {
        message.text_header(&format!("{prefix}{name}"), value)
    })
}

#[tokio::test]
async fn every_shape_becomes_the_same_kind_of_event() -> Result<()> {
    let receiver = Receiver::start().await?;
    let system = System::builder()
        .destination(Destination::webhook("crm", &receiver))
        .start()
        .await?;
    let outsider = system.outsider().await?;
    let shapes = ["structured", "colon", "underscore", "plain"];
    let data = shapes.map(signup);
    let mut structured = signup_event("structured-1");
    structured["data"] = data[0].clone();
    publish(&system, &outsider, &Message::cloud_event(&structured)).await?;
    publish(
        &system,
        &outsider,
        &binary("cloudEvents:", &data[1], "colon-1"),
    )
    .await?;
    publish(
        &system,
        &outsider,
        &binary("cloudEvents_", &data[2], "underscore-1"),
    )
    .await?;
    let plain = Message::json(&data[3])
        .message_id("plain-1")
        .app_id("legacy-crm")
        .with(|properties| properties.with_timestamp(1_714_564_800));
    publish(&system, &outsider, &plain).await?;

    receiver.await_successes(shapes.len(), SOON).await?;
    let delivered: Vec<Value> = receiver
        .requests()
        .iter()
        .map(testkit::receiver::Request::json)
        .collect::<Result<_>>()?;
    for expected in &data {
        let found = delivered
            .iter()
            .find(|event| event["data"]["email"] == expected["email"]);
        let event = found.map_or(&Value::Null, |event| event);
        ensure!(
            event["type"] == TYPE && event["specversion"] == "1.0",
            "{expected} became {event}"
        );
    }
    let from_plain = delivered
        .iter()
        .find(|event| event["data"]["email"] == data[3]["email"]);
    ensure!(
        from_plain.is_some_and(|event| event["source"] == "legacy-crm"),
        "{from_plain:?}"
    );
    system.ledger().await?.await_events(4, SOON).await?;
    system.finish().await
}

#[tokio::test]
async fn a_message_without_an_id_is_the_same_event_when_it_comes_again() -> Result<()> {
    let system = System::builder().start().await?;
    let (outsider, ledger) = (system.outsider().await?, system.ledger().await?);
    let anonymous = Message::json(&signup("anonymous")).app_id("legacy-crm");
    for _ in 0..3 {
        publish(&system, &outsider, &anonymous).await?;
    }
    let last = system.client().signup(&signup("last")).await?;
    ledger.all_completed(&[last], SOON).await?;
    ledger.await_events(2, SOON).await?;
    outsider.await_empty(&system.named("store"), SOON).await?;
    ensure!(ledger.events().await? == 2);
    system.finish().await
}

#[tokio::test]
async fn two_publishers_may_use_the_same_id() -> Result<()> {
    let system = System::builder().start().await?;
    let (outsider, ledger) = (system.outsider().await?, system.ledger().await?);
    for publisher in ["crm", "shop"] {
        let message = Message::json(&signup(publisher))
            .message_id("1")
            .app_id(publisher);
        publish(&system, &outsider, &message).await?;
    }
    ledger.await_events(2, SOON).await?;
    system.finish().await
}
