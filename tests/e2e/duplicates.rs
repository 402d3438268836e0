//! The same thing twice changes nothing.

use anyhow::{Result, ensure};
use testkit::{
    broker::{Message, Published},
    load::{signup, signup_event},
    receiver::Receiver,
    system::{Destination, System},
};

use crate::SOON;

#[tokio::test]
async fn a_message_published_many_times_is_one_event_with_one_delivery() -> Result<()> {
    let receiver = Receiver::start().await?;
    let system = System::builder()
        .destination(Destination::webhook("crm", &receiver))
        .start()
        .await?;
    let (outsider, ledger) = (system.outsider().await?, system.ledger().await?);
    let message = Message::cloud_event(&signup_event("once"));
    for _ in 0..50 {
        let published = outsider
            .publish(&system.named("received"), "signup.requested", &message)
            .await?;
        ensure!(published == Published::Routed);
    }
    let last = system.client().signup(&signup("last")).await?;
    ledger.all_completed(&[last], SOON).await?;
    ledger.await_events(2, SOON).await?;
    receiver.await_successes(2, SOON).await?;
    drained(&system).await?;
    ensure!(receiver.count() == 2, "{:?}", receiver.attempts());
    ensure!(ledger.dead_letters().await?.is_empty());
    system.finish().await
}

#[tokio::test]
async fn a_message_that_comes_again_at_any_stage_is_done_once() -> Result<()> {
    let receiver = Receiver::start().await?;
    let system = System::builder()
        .destination(Destination::webhook("crm", &receiver))
        .start()
        .await?;
    let (outsider, ledger) = (system.outsider().await?, system.ledger().await?);
    let exchanges = ["received", "accepted", "stored"].map(|short| system.named(short));
    let mut feeds = Vec::new();
    for exchange in &exchanges {
        feeds.push(outsider.listen(exchange, "#").await?);
    }
    let id = system.client().signup(&signup("again")).await?;
    ledger.all_completed(&[id], SOON).await?;
    for (exchange, feed) in exchanges.iter().zip(&mut feeds) {
        let message = feed.next(SOON).await?;
        for _ in 0..5 {
            let published = outsider
                .publish(exchange, &message.routing_key, &message.again())
                .await?;
            ensure!(published == Published::Routed, "{exchange}: {published:?}");
        }
    }
    let last = system.client().signup(&signup("last")).await?;
    ledger.all_completed(&[id, last], SOON).await?;
    drained(&system).await?;
    ensure!(ledger.events().await? == 2);
    ensure!(receiver.count() == 2, "{:?}", receiver.attempts());
    ensure!(
        ledger.rejections(id).await?.is_empty(),
        "{:?}",
        ledger.rejections(id).await?
    );
    ensure!(ledger.dead_letters().await?.is_empty());
    system.finish().await
}

/// Waits until no message is left before any stage.
async fn drained(system: &System) -> Result<()> {
    let outsider = system.outsider().await?;
    for queue in ["validate", "store", "integrate.crm", "dead"] {
        outsider.await_empty(&system.named(queue), SOON).await?;
    }
    Ok(())
}
