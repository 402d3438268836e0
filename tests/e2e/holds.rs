//! Dependencies that answer and refuse to work: a hold that heals, and costs no event anything.

use std::time::Duration;

use anyhow::{Result, ensure};
use testkit::{
    broker::Message, client::Client, process::Program, proxy::Proxy, services::Services,
    system::System, wait::eventually,
};

use crate::holding::{await_hold, metric, refuse_inserts, take_inserts};
use crate::{LATER, SOON};

#[tokio::test]
async fn a_letter_of_the_brokers_own_keeps_its_origin_through_a_hold_of_the_archive() -> Result<()>
{
    let mut system = System::builder()
        .copies(Program::Store, 0)
        .copies(Program::Archive, 0)
        .start()
        .await?;
    let ledger = system.ledger().await?;
    let (stored, dead) = (system.named("store"), system.named("dead"));
    let outsider = system.outsider().await?;
    let expiring = Message::new("{}").with(|properties| properties.with_expiration("1".into()));
    outsider.publish_to_queue(&stored, &expiring).await?;
    outsider.await_messages(&dead, 1, SOON).await?;
    refuse_inserts(&ledger, "dead_letters", "53100").await?;
    system.begin(Program::Archive)?;
    let archive = Client::new(system.address(Program::Archive, 0)?)?;
    await_hold(&archive, &dead, Duration::ZERO).await?;
    // Long enough to come back more than twice.
    eventually(SOON, "several trials", || async {
        let held = metric(&archive, "longshore_outcomes_total", &dead).await?;
        ensure!(held >= 4.0, "{held}");
        Ok(())
    })
    .await?;
    take_inserts(&ledger, "dead_letters").await?;
    let letters = ledger.await_dead_letters(1, LATER).await?;
    ensure!(letters[0].queue == stored, "{letters:?}");
    system.finish().await
}

#[tokio::test]
async fn a_worker_whose_link_is_cut_is_not_ready_and_names_its_queue() -> Result<()> {
    let shared = Services::shared();
    let proxy = Proxy::start_before(&shared.broker_url).await?;
    let told = Services {
        broker_url: proxy.before(&shared.broker_url)?,
        ..shared
    };
    let mut system = System::builder().told(told).start().await?;
    let worker = Client::new(system.address(Program::Store, 0)?)?;
    let queue = system.named("store");
    eventually(SOON, "the worker to be ready", || async {
        let answer = worker.get("/readyz").await?;
        ensure!(answer.status == 200, "{}", answer.text());
        Ok(())
    })
    .await?;
    ensure!(metric(&worker, "longshore_consuming", &queue).await? > 0.9);
    proxy.cut();
    eventually(SOON, "the worker to say what is down", || async {
        let answer = worker.get("/readyz").await?;
        let check = answer.json()?["checks"][&queue].clone();
        let names_it = check
            .as_str()
            .is_some_and(|text| text.contains("is not consumed"));
        ensure!(answer.status == 503 && names_it, "{}", answer.text());
        Ok(())
    })
    .await?;
    proxy.heal();
    eventually(LATER, "the worker to be ready again", || async {
        let answer = worker.get("/readyz").await?;
        ensure!(answer.status == 200, "{}", answer.text());
        Ok(())
    })
    .await?;
    system.finish().await
}
