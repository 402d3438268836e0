//! The outsider on AMQP.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use testkit::{
    broker::{Message, Outsider, Published},
    services::Services,
};
use uuid::Uuid;

const LIMIT: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_feed_gets_what_is_published_with_all_its_properties() -> Result<()> {
    let outsider = Outsider::connect(&Services::shared().broker_url).await?;
    let mut feed = outsider.listen("amq.topic", "e2e.*").await?;
    let key = format!("e2e.{}", Uuid::new_v4().simple());
    let message = Message::json(&json!({"n": 1}))
        .message_id("m-1")
        .app_id("crm")
        .text_header("colour", "blue");
    ensure!(outsider.publish("amq.topic", &key, &message).await? == Published::Routed);
    loop {
        // Parallel tests may use the same exchange.
        let received = feed.next(LIMIT).await?;
        if received.routing_key != key {
            continue;
        }
        ensure!(received.message_id().as_deref() == Some("m-1"));
        ensure!(received.header("colour").as_deref() == Some("blue"));
        ensure!(received.json()? == json!({"n": 1}));
        return Ok(());
    }
}

#[tokio::test]
async fn a_publish_nobody_wants_is_returned() -> Result<()> {
    let outsider = Outsider::connect(&Services::shared().broker_url).await?;
    let nowhere = format!("nowhere.{}", Uuid::new_v4().simple());
    ensure!(
        outsider
            .publish("amq.topic", &nowhere, &Message::new("x"))
            .await?
            == Published::Returned
    );
    ensure!(outsider.depth(&nowhere).await?.is_none());
    // And the outsider goes on after a failed look.
    ensure!(outsider.depth(&nowhere).await?.is_none());
    Ok(())
}
