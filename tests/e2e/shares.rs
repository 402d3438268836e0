//! What a destination allows is shared by all copies of the worker.

use anyhow::{Result, ensure};
use testkit::{
    client::Client,
    load::Load,
    process::Program,
    receiver::Receiver,
    system::{Destination, System},
};

use crate::{LATER, SOON};

/// Deliveries a second, of all copies together.
const RATE: f64 = 20.0;

/// Expects that deliveries were not made faster than the rate, but for `joins` copies that came.
fn expect_the_rate(receiver: &Receiver, joins: u32) -> Result<()> {
    let mut at: Vec<_> = receiver.requests().iter().map(|it| it.at).collect();
    at.sort();
    let took = at[at.len() - 1].duration_since(at[0]).as_secs_f64();
    // A copy that comes is unknown to the others until their next sign of life, for a second and the time of two requests
    // to the database. Meanwhile it has half the rate beside theirs.
    let unknown = f64::from(joins) * RATE;
    let most = 1.0 + took * RATE + unknown;
    ensure!(
        at.len() as f64 <= most,
        "{} deliveries in {took:.1} s, expected {most:.0} at most",
        at.len()
    );
    Ok(())
}

/// How many deliveries a copy has made.
async fn delivered_by(system: &mut System, copy: usize) -> Result<u64> {
    let worker = Client::new(system.address(Program::Integrate, copy)?)?;
    let page = worker.get("/metrics").await?.text();
    let lines = page
        .lines()
        .filter(|line| line.starts_with("longshore_outcomes_total{") && line.contains("\"done\""));
    let counts = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    Ok(counts.sum())
}

#[tokio::test]
async fn copies_deliver_no_faster_together_than_one_alone() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut system = System::builder()
        .destination(Destination::webhook("paced", &receiver).rate("20/s"))
        .copies(Program::Integrate, 2)
        .start()
        .await?;
    let accepted = Load::signups(system.client(), 160, 8).finish(SOON).await?;
    let ledger = system.ledger().await?;
    ledger.all_completed(&accepted, LATER).await?;
    ensure!(receiver.count() == 160, "{} requests", receiver.count());
    expect_the_rate(&receiver, 1)?;
    for copy in 0..2 {
        let delivered = delivered_by(&mut system, copy).await?;
        ensure!(delivered >= 20, "copy {copy} made {delivered} deliveries");
    }
    system.finish().await
}

#[tokio::test]
async fn copies_that_come_and_go_keep_the_rate_and_lose_nothing() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut system = System::builder()
        .destination(Destination::webhook("paced", &receiver).rate("20/s"))
        .start()
        .await?;
    let accepted = Load::signups(system.client(), 200, 8).finish(SOON).await?;
    receiver.await_successes(30, SOON).await?;
    system.add(Program::Integrate).await?;
    receiver.await_successes(80, SOON).await?;
    system.kill(Program::Integrate, 0).await?;
    let ledger = system.ledger().await?;
    ledger.all_completed(&accepted, LATER).await?;
    expect_the_rate(&receiver, 1)?;
    let delivered = delivered_by(&mut system, 1).await?;
    ensure!(
        delivered >= 80,
        "the second copy made {delivered} deliveries"
    );
    system.finish().await
}
