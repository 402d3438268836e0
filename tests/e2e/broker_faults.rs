//! Faults of a broker and of the way to it.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use testkit::{
    load::{Load, signup},
    private::rabbit::PrivateRabbit,
    proxy::Proxy,
    receiver::Receiver,
    services::Services,
    system::{Builder, Destination, System},
    wait::eventually,
};

use crate::{LATER, SOON, fault::unharmed};

const EVENTS: usize = 400;

fn on(broker_url: String) -> Builder {
    System::builder().services(Services {
        broker_url,
        ..Services::shared()
    })
}

#[tokio::test]
async fn a_private_broker_that_restarts_and_dies_loses_nothing() -> Result<()> {
    let (mut rabbit, receiver) = (PrivateRabbit::start().await?, Receiver::start().await?);
    let system = on(rabbit.url())
        .destination(Destination::webhook("crm", &receiver))
        .start()
        .await?;
    let load = Load::signups(system.client(), EVENTS, 8);
    load.await_accepted(EVENTS / 4, LATER).await?;
    rabbit.restart().await?;
    load.await_accepted(EVENTS / 2, LATER).await?;
    rabbit.kill().await?;
    let refused = system
        .client()
        .post_once("/v1/signups", "down", &signup("down"))
        .await?;
    refused.problem(503)?;
    ensure!(
        system.client().get("/readyz").await?.status == 503,
        "not ready without a broker"
    );
    ensure!(
        system.client().get("/livez").await?.status == 200,
        "but alive"
    );
    rabbit.start_again().await?;
    unharmed(system, load, &receiver).await
}

#[tokio::test]
async fn a_private_broker_that_closes_all_connections_loses_nothing() -> Result<()> {
    let (rabbit, receiver) = (PrivateRabbit::start().await?, Receiver::start().await?);
    let system = on(rabbit.url())
        .destination(Destination::webhook("crm", &receiver))
        .start()
        .await?;
    let load = Load::signups(system.client(), EVENTS, 8);
    for quarter in 1..=3 {
        load.await_accepted(EVENTS * quarter / 4, LATER).await?;
        rabbit.close_all_connections().await?;
    }
    unharmed(system, load, &receiver).await
}

#[tokio::test]
async fn a_private_broker_that_blocks_publishers_is_answered_with_503() -> Result<()> {
    let (rabbit, receiver) = (PrivateRabbit::start().await?, Receiver::start().await?);
    let system = on(rabbit.url())
        .destination(Destination::webhook("crm", &receiver))
        .start()
        .await?;
    let before = system.client().signup(&signup("before")).await?;
    system
        .ledger()
        .await?
        .all_completed(&[before], SOON)
        .await?;
    rabbit.raise_memory_alarm().await?;
    let start = Instant::now();
    let refused = system
        .client()
        .post_once("/v1/signups", "alarm", &signup("alarm"))
        .await?;
    refused.problem(503)?;
    ensure!(
        start.elapsed() < Duration::from_secs(20),
        "a caller waited {:?}",
        start.elapsed()
    );
    eventually(SOON, "the producer not to be ready", || async {
        let status = system.client().get("/readyz").await?.status;
        ensure!(status == 503, "/readyz answers {status}");
        Ok(())
    })
    .await?;
    let load = Load::signups(system.client(), 50, 4);
    rabbit.clear_memory_alarm().await?;
    unharmed(system, load, &receiver).await
}

#[tokio::test]
async fn a_link_that_is_cut_stalls_and_heals_loses_nothing() -> Result<()> {
    let (shared, receiver) = (Services::shared(), Receiver::start().await?);
    let proxy = Proxy::start_before(&shared.broker_url).await?;
    let told = Services {
        broker_url: proxy.before(&shared.broker_url)?,
        ..shared
    };
    let system = System::builder()
        .told(told)
        .destination(Destination::webhook("crm", &receiver))
        .start()
        .await?;
    let load = Load::signups(system.client(), EVENTS, 8);
    load.await_accepted(EVENTS / 5, LATER).await?;
    proxy.reset_connections();
    load.await_accepted(EVENTS * 2 / 5, LATER).await?;
    proxy.cut();
    let refused = load.refused();
    eventually(
        SOON,
        "callers to be refused while the link is cut",
        || async {
            ensure!(load.refused() > refused, "none was");
            Ok(())
        },
    )
    .await?;
    proxy.heal();
    load.await_accepted(EVENTS * 3 / 5, LATER).await?;
    proxy.stall();
    let start = Instant::now();
    let answer = system
        .client()
        .post_once("/v1/signups", "stall", &signup("stall"))
        .await?;
    answer.problem(503)?;
    ensure!(
        start.elapsed() < Duration::from_secs(25),
        "a caller waited {:?}",
        start.elapsed()
    );
    proxy.heal();
    unharmed(system, load, &receiver).await
}
