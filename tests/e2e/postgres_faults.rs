//! Faults of a database and of the way to it.

use anyhow::{Result, ensure};
use testkit::{
    load::Load,
    private::postgres::PrivatePostgres,
    proxy::Proxy,
    receiver::Receiver,
    services::Services,
    system::{Builder, Destination, System},
};

use crate::{LATER, SOON, fault::unharmed};

const EVENTS: usize = 400;

fn on(database_url: String) -> Builder {
    System::builder().services(Services {
        database_url,
        ..Services::shared()
    })
}

#[tokio::test]
async fn a_private_database_that_crashes_loses_nothing() -> Result<()> {
    let (mut postgres, receiver) = (PrivatePostgres::start().await?, Receiver::start().await?);
    let system = on(postgres.url())
        .destination(Destination::webhook("crm", &receiver))
        .start()
        .await?;
    let load = Load::signups(system.client(), EVENTS, 8);
    for third in 1..=2 {
        load.await_accepted(EVENTS * third / 3, LATER).await?;
        postgres.restart().await?;
    }
    unharmed(system, load, &receiver).await
}

#[tokio::test]
async fn a_private_database_that_terminates_backends_in_a_storm_loses_nothing() -> Result<()> {
    let (postgres, receiver) = (PrivatePostgres::start().await?, Receiver::start().await?);
    let system = on(postgres.url())
        .destination(Destination::webhook("crm", &receiver))
        .start()
        .await?;
    let load = Load::signups(system.client(), EVENTS, 8);
    let mut terminated = 0;
    for step in 1..=20 {
        load.await_accepted(EVENTS * step / 20, LATER).await?;
        terminated += postgres.terminate_backends().await?;
    }
    ensure!(terminated > 0, "the storm hit nobody");
    unharmed(system, load, &receiver).await
}

#[tokio::test]
async fn the_producer_accepts_while_the_private_database_is_down() -> Result<()> {
    let (mut postgres, receiver) = (PrivatePostgres::start().await?, Receiver::start().await?);
    let mut system = on(postgres.url())
        .destination(Destination::webhook("crm", &receiver))
        .start()
        .await?;
    postgres.stop().await?;
    let load = Load::signups(system.client(), 200, 8);
    load.await_accepted(200, SOON).await?;
    ensure!(load.refused() == 0, "{} were refused", load.refused());
    // Garbage waits on the broker too, as nobody can archive it.
    let outsider = system.outsider().await?;
    let garbage = testkit::broker::Message::new("garbage");
    outsider
        .publish(&system.named("received"), "signup.requested", &garbage)
        .await?;
    ensure!(system.client().get("/livez").await?.status == 200);
    for worker in testkit::process::Program::WORKERS {
        ensure!(
            system.process(worker, 0)?.exited()?.is_none(),
            "{worker} gave up"
        );
    }
    postgres.start_again().await?;
    let accepted = load.finish(SOON).await?;
    let ledger = system.ledger().await?;
    ledger.all_completed(&accepted, LATER).await?;
    let letters = ledger.await_dead_letters(1, LATER).await?;
    ensure!(letters.len() == 1, "the outage cost attempts: {letters:?}");
    system.finish().await
}

#[tokio::test]
async fn a_link_to_the_database_that_stalls_and_is_cut_loses_nothing() -> Result<()> {
    let (shared, receiver) = (Services::shared(), Receiver::start().await?);
    let proxy = Proxy::start_before(&shared.database_url).await?;
    let told = Services {
        database_url: proxy.before(&shared.database_url)?,
        ..shared
    };
    let system = System::builder()
        .told(told)
        .destination(Destination::webhook("crm", &receiver))
        .start()
        .await?;
    let load = Load::signups(system.client(), EVENTS, 8);
    load.await_accepted(EVENTS / 4, LATER).await?;
    proxy.stall();
    load.await_accepted(EVENTS / 2, LATER).await?;
    proxy.cut();
    load.await_accepted(EVENTS, LATER).await?;
    ensure!(
        load.refused() == 0,
        "{} were refused though the broker was well",
        load.refused()
    );
    proxy.heal();
    unharmed(system, load, &receiver).await
}
