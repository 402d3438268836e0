//! The programmable receiver.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use reqwest::Method;
use testkit::{
    client::Client,
    receiver::{Answer, Receiver},
};

const LIMIT: Duration = Duration::from_secs(10);

fn client(receiver: &Receiver) -> Result<Client> {
    Client::new(receiver.url())
}

#[tokio::test]
async fn answers_follow_the_plan_for_each_webhook_id() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.first([Answer::status(500), Answer::status(429).retry_after(7)]);
    let client = client(&receiver)?;
    let post = async |id| {
        client
            .send(Method::POST, "", &[("webhook-id", id)], "{}")
            .await
    };
    ensure!(post("a").await?.status == 500);
    ensure!(post("b").await?.status == 500);
    let limited = post("a").await?;
    ensure!(limited.status == 429 && limited.header("retry-after") == "7");
    ensure!(post("a").await?.status == 200);
    let requests = receiver.await_count(4, LIMIT).await?;
    ensure!(requests[0].webhook_id() == "a" && requests[0].body == "{}");
    ensure!(receiver.successes() == [("a".to_owned(), 1)].into());
    ensure!(receiver.attempts() == [("a".to_owned(), 3), ("b".to_owned(), 1)].into());
    Ok(())
}

#[tokio::test]
async fn a_reset_is_no_answer_and_no_success() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.first([Answer::reset()]);
    let client = client(&receiver)?;
    ensure!(
        client.get("").await.is_err(),
        "a reset connection gave an answer"
    );
    ensure!(client.get("").await?.status == 200);
    ensure!(receiver.count() == 2);
    ensure!(
        receiver.requests()[0].answered.is_none(),
        "a reset was recorded as an answer"
    );
    Ok(())
}

#[tokio::test]
async fn bodies_can_be_huge_or_slow() -> Result<()> {
    let receiver = Receiver::start().await?;
    let client = client(&receiver)?;
    receiver.always(Answer::status(200).huge(3_000_000));
    ensure!(client.get("").await?.body.len() >= 3_000_000);
    receiver.always(Answer::status(200).drip(4, Duration::from_millis(100)));
    let start = Instant::now();
    ensure!(client.get("").await?.body.len() == 4);
    ensure!(
        start.elapsed() >= Duration::from_millis(400),
        "dripped in {:?}",
        start.elapsed()
    );
    receiver.always(Answer::status(204).after(Duration::from_millis(200)));
    let start = Instant::now();
    ensure!(client.get("").await?.status == 204);
    ensure!(start.elapsed() >= Duration::from_millis(200));
    Ok(())
}

#[tokio::test]
async fn down_closes_the_port_and_up_opens_the_same_again() -> Result<()> {
    let mut receiver = Receiver::start().await?;
    let client = client(&receiver)?;
    ensure!(client.get("").await?.status == 200);
    receiver.down().await;
    ensure!(
        client.get("").await.is_err(),
        "a receiver that is down answered"
    );
    receiver.up().await?;
    ensure!(client.get("").await?.status == 200);
    ensure!(receiver.count() == 2);
    Ok(())
}

#[tokio::test]
async fn held_requests_are_answered_on_release() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.hold();
    let client = client(&receiver)?;
    let waiting = tokio::spawn(async move { client.get("").await });
    receiver.await_count(1, LIMIT).await?;
    ensure!(!waiting.is_finished() && receiver.successes().is_empty());
    receiver.release();
    ensure!(waiting.await??.status == 200);
    ensure!(receiver.successes().len() == 1);
    Ok(())
}
