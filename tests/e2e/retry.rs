//! Deliveries that do not succeed at once.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testkit::{
    load::{Load, signup},
    receiver::{Answer, Receiver},
    system::{Destination, System},
};

use crate::{LATER, SOON};

#[tokio::test]
async fn a_failed_delivery_is_tried_again_with_growing_pauses() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.first([
        Answer::status(500),
        Answer::status(503),
        // A kept connection may have been closed for its age: the request is sent again at once.
        Answer::reset(),
        Answer::reset(),
    ]);
    let system = System::builder()
        .destination(Destination::webhook("crm", &receiver).attempts(6, "1s"))
        .start()
        .await?;
    let id = system.client().signup(&signup("retry")).await?;
    system.ledger().await?.all_completed(&[id], SOON).await?;
    let requests = receiver.requests();
    ensure!(requests.len() == 5, "{requests:?}");
    ensure!(
        receiver.attempts().len() == 1,
        "the webhook-id changed: {:?}",
        receiver.attempts()
    );
    let pauses: Vec<Duration> = requests
        .windows(2)
        .map(|pair| pair[1].at - pair[0].at)
        .collect();
    // 1, 2 and 4 s, give or take the configured jitter of a tenth and the rounding of delays.
    ensure!(pauses[2] < Duration::from_secs(1), "{pauses:?}");
    for (pause, expected) in pauses.iter().zip([1_000, 2_000, 0, 4_000]) {
        ensure!(
            *pause >= Duration::from_millis(expected * 7 / 10),
            "{pauses:?}"
        );
    }
    let attempts = system.ledger().await?.attempts(id).await?;
    let numbers: Vec<i64> = attempts.iter().map(|attempt| attempt.attempt).collect();
    let codes: Vec<Option<i64>> = attempts.iter().map(|attempt| attempt.status_code).collect();
    ensure!(numbers == [1, 2, 3, 4], "{attempts:?}");
    ensure!(
        codes == [Some(500), Some(503), None, Some(200)],
        "{attempts:?}"
    );
    system.finish().await
}

#[tokio::test]
async fn a_delivery_that_keeps_failing_holds_up_no_other() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.plan(|call| {
        let unlucky = String::from_utf8_lossy(&call.request.body).contains("User unlucky");
        Answer::status(if unlucky { 500 } else { 200 })
    });
    let system = System::builder()
        // One at a time: a retry that waited in the worker would stop everything.
        .destination(
            Destination::webhook("crm", &receiver)
                .attempts(20, "4s")
                .concurrency(1),
        )
        .start()
        .await?;
    for _ in 0..5 {
        system.client().signup(&signup("unlucky")).await?;
    }
    receiver.await_count(5, SOON).await?;
    let accepted = Load::signups(system.client(), 50, 4).finish(SOON).await?;
    system
        .ledger()
        .await?
        .all_completed(&accepted, SOON)
        .await?;
    system.finish().await
}

#[tokio::test]
async fn a_broken_destination_slows_no_other() -> Result<()> {
    let (broken, sound) = (Receiver::start().await?, Receiver::start().await?);
    broken.always(Answer::status(500));
    let system = System::builder()
        .destination(Destination::webhook("broken", &broken).attempts(20, "1s"))
        .destination(Destination::webhook("sound", &sound))
        .start()
        .await?;
    Load::signups(system.client(), 60, 4).finish(SOON).await?;
    sound.await_successes(60, SOON).await?;
    ensure!(sound.count() == 60, "{}", sound.count());
    system.finish().await
}

#[tokio::test]
async fn out_of_attempts_is_a_dead_letter_that_says_why() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.always(Answer::status(500).body("the outside system is on fire"));
    let system = System::builder()
        .destination(Destination::webhook("crm", &receiver).attempts(3, "250ms"))
        .start()
        .await?;
    let id = system.client().signup(&signup("doomed")).await?;
    let status = system.client().await_status(id, "dead", LATER).await?;
    ensure!(!status.reason_code().is_empty(), "{status:?}");
    ensure!(receiver.count() == 3, "{} attempts", receiver.count());
    let letters = system.ledger().await?.await_dead_letters(1, SOON).await?;
    let letter = letters.first().context("there is no dead letter")?;
    ensure!(
        letters.len() == 1 && letter.event_id == Some(id),
        "{letters:?}"
    );
    ensure!(
        letter.queue.ends_with("integrate.crm") && letter.state == "open",
        "{letter:?}"
    );
    let balance = system.settled(&[id], SOON).await?;
    ensure!(balance.dead == 1, "{balance}");
    system.finish().await
}

#[tokio::test]
async fn what_the_receiver_refuses_for_good_is_not_tried_again() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.always(Answer::status(410));
    let system = System::builder()
        .destination(Destination::webhook("crm", &receiver))
        .start()
        .await?;
    let id = system.client().signup(&signup("gone")).await?;
    system.client().await_status(id, "dead", SOON).await?;
    ensure!(receiver.count() == 1, "{} attempts", receiver.count());
    system.finish().await
}
