//! Parts of the topology that somebody deletes under running programs are there again within seconds.

use std::time::Duration;

use anyhow::{Result, ensure};
use testkit::{
    load::signup,
    private::rabbit::PrivateRabbit,
    process::Program,
    receiver::{Answer, Receiver},
    services::Services,
    system::{Destination, System},
    wait::eventually,
};

use crate::watch::SWIFT;
use crate::{LATER, SOON};

/// Within this time everything is back, on a machine that does much else.
const SECONDS: Duration = Duration::from_secs(20);

#[tokio::test]
async fn exchanges_and_queues_that_are_deleted_come_back_without_a_restart() -> Result<()> {
    let system = System::builder().start().await?;
    let outsider = system.outsider().await?;
    let ledger = system.ledger().await?;
    for exchange in ["received", "accepted", "rejected", "stored", "dead"] {
        outsider.delete_exchange(&system.named(exchange)).await?;
        let what = format!("an event to be accepted and stored after {exchange} was deleted");
        let id = eventually(SECONDS, what, || async {
            let body = signup(exchange);
            let answer = system.client().post_once("/v1/signups", exchange, &body);
            answer.await?.accepted()
        })
        .await?;
        ledger.all_completed(&[id], LATER).await?;
    }
    outsider.delete_queue(&system.named("store")).await?;
    let id = system.client().signup(&signup("store")).await?;
    ledger.all_completed(&[id], LATER).await?;
    let verified = system.longshore(&["topology", "verify"]).await?;
    verified.success()?;
    system.finish().await
}

#[tokio::test]
async fn the_producer_alone_brings_its_exchange_back() -> Result<()> {
    let builder = System::builder();
    let system = Program::WORKERS
        .into_iter()
        .fold(builder, |some, worker| some.copies(worker, 0))
        .start()
        .await?;
    let outsider = system.outsider().await?;
    outsider.delete_exchange(&system.named("received")).await?;
    let refused = system
        .client()
        .post_once("/v1/signups", "first", &signup("first"))
        .await?;
    // The keeper may have been faster.
    ensure!([202, 503].contains(&refused.status), "{}", refused.status);
    eventually(SECONDS, "the door to accept again", || async {
        let body = signup("second");
        let answer = system.client().post_once("/v1/signups", "second", &body);
        answer.await?.accepted()
    })
    .await?;
    // With its binding, or nothing would be there.
    outsider
        .await_messages(&system.named("validate"), 1, SOON)
        .await?;
    system.finish().await
}

/// An operator's policy for all queues deletes the delay queues with their messages.
#[tokio::test]
async fn retries_that_a_private_broker_lets_expire_are_made_all_the_same() -> Result<()> {
    let (rabbit, receiver) = (PrivateRabbit::start().await?, Receiver::start().await?);
    receiver.first([500, 500, 500].map(Answer::status));
    let crm = Destination::webhook("crm", &receiver).timeout("1s");
    let system = System::builder()
        .services(Services {
            broker_url: rabbit.url(),
            ..Services::shared()
        })
        .destination(crm.attempts(6, "20s").longest_wait("20s"))
        .config(SWIFT)
        .start()
        .await?;
    let mut ids = Vec::new();
    for part in ["one", "two", "three"] {
        ids.push(system.client().signup(&signup(part)).await?);
    }
    let outsider = system.outsider().await?;
    let waiting = async || -> Result<u32> {
        let mut messages = 0;
        for level in 0..10 {
            let depth = outsider
                .depth(&system.named(&format!("delay.{level:02}")))
                .await?;
            messages += depth.map_or(0, |depth| depth.messages);
        }
        Ok(messages)
    };
    eventually(SOON, "three deliveries to wait", || async {
        let messages = waiting().await?;
        ensure!(messages == 3, "{messages} wait");
        Ok(())
    })
    .await?;
    let (policy, queues) = (r#"{"expires":500}"#, r"\.delay\.[0-9]+$");
    rabbit
        .control(&["set_policy", "tidy", queues, policy, "--apply-to", "queues"])
        .await?;
    eventually(SOON, "them to be lost", || async {
        let messages = waiting().await?;
        ensure!(messages == 0, "{messages} wait");
        Ok(())
    })
    .await?;
    rabbit.control(&["clear_policy", "tidy"]).await?;
    system.ledger().await?.all_completed(&ids, LATER).await?;
    system.finish().await
}
