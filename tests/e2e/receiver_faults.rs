//! Faults of outside systems, as the integrate worker meets them.

use std::time::Duration;

use anyhow::{Result, ensure};
use testkit::{
    load::{Load, signup},
    process::Program,
    receiver::{Answer, Receiver},
    system::{Destination, System},
};

use crate::{LATER, SOON};

#[tokio::test]
async fn a_receiver_that_is_down_for_a_while_gets_everything_later() -> Result<()> {
    let mut receiver = Receiver::start().await?;
    let system = System::builder()
        .destination(Destination::webhook("crm", &receiver).attempts(12, "250ms"))
        .start()
        .await?;
    let load = Load::signups(system.client(), 200, 8);
    load.await_accepted(50, SOON).await?;
    receiver.down().await;
    let accepted = load.finish(SOON).await?;
    system.ledger().await?.await_events(200, SOON).await?;
    receiver.up().await?;
    system
        .ledger()
        .await?
        .all_completed(&accepted, LATER)
        .await?;
    ensure!(
        receiver.successes().len() == 200,
        "{}",
        receiver.successes().len()
    );
    system.finish().await
}

#[tokio::test]
async fn a_receiver_that_asks_for_time_is_given_it() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.first([Answer::status(429).retry_after(3)]);
    let system = System::builder()
        .destination(Destination::webhook("crm", &receiver))
        .start()
        .await?;
    let id = system.client().signup(&signup("patient")).await?;
    system.ledger().await?.all_completed(&[id], SOON).await?;
    let requests = receiver.requests();
    ensure!(requests.len() == 2, "{requests:?}");
    let pause = requests[1].at - requests[0].at;
    ensure!(
        pause >= Duration::from_millis(2_900),
        "asked for 3 s, came back after {pause:?}"
    );
    system.finish().await
}

#[tokio::test]
async fn an_answer_that_drips_is_cut_off_at_the_timeout() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.plan(|call| {
        let slow = Answer::status(200).drip(600, Duration::from_millis(100));
        if call.earlier == 0 {
            slow
        } else {
            Answer::status(200)
        }
    });
    let system = System::builder()
        .destination(
            Destination::webhook("crm", &receiver)
                .timeout("1s")
                .concurrency(4),
        )
        .start()
        .await?;
    let accepted = Load::signups(system.client(), 20, 4).finish(SOON).await?;
    // Twenty answers of a minute each, four at a time, would take five minutes.
    system
        .ledger()
        .await?
        .all_completed(&accepted, Duration::from_secs(60))
        .await?;
    system.finish().await
}

#[tokio::test]
async fn a_huge_answer_costs_no_memory() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.always(Answer::status(200).huge(200_000_000));
    let mut system = System::builder()
        .destination(Destination::webhook("crm", &receiver))
        .start()
        .await?;
    let accepted = Load::signups(system.client(), 20, 4).finish(SOON).await?;
    system
        .ledger()
        .await?
        .all_completed(&accepted, LATER)
        .await?;
    let memory = system.process(Program::Integrate, 0)?.memory()?;
    ensure!(
        memory < 150_000_000,
        "the integrate worker grew to {memory} bytes"
    );
    system.finish().await
}

#[tokio::test]
async fn a_receiver_that_never_answers_is_given_up_on_and_dead_lettered() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.hold();
    let system = System::builder()
        .destination(
            Destination::webhook("crm", &receiver)
                .attempts(2, "250ms")
                .timeout("1s"),
        )
        .start()
        .await?;
    let id = system.client().signup(&signup("silence")).await?;
    system.client().await_status(id, "dead", SOON).await?;
    ensure!(receiver.count() == 2, "{} attempts", receiver.count());
    system.finish().await
}
