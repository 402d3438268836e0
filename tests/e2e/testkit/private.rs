//! Brokers and databases of a test's own.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lapin::{
    Connection, ConnectionProperties,
    options::QueueDeclareOptions,
    types::{AMQPValue, FieldTable},
};
use sqlx::{Connection as _, PgConnection};
use testkit::{
    broker::{Message, Outsider, Published},
    private::{postgres::PrivatePostgres, rabbit::PrivateRabbit},
    wait::eventually,
};

const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_private_broker_keeps_its_messages_through_stop_and_kill() -> Result<()> {
    let mut rabbit = PrivateRabbit::start().await?;
    let connection = Connection::connect(&rabbit.url(), ConnectionProperties::default()).await?;
    let mut arguments = FieldTable::default();
    arguments.insert(
        "x-queue-type".into(),
        AMQPValue::LongString("quorum".into()),
    );
    let channel = connection.create_channel().await?;
    channel
        .queue_declare("kept".into(), QueueDeclareOptions::durable(), arguments)
        .await?;
    let outsider = Outsider::connect(&rabbit.url()).await?;
    ensure!(
        outsider
            .publish_to_queue("kept", &Message::new("1"))
            .await?
            == Published::Routed
    );

    rabbit.close_all_connections().await?;
    eventually(LIMIT, "the client to notice", || async {
        if connection.status().connected() {
            bail!("still connected")
        } else {
            Ok(())
        }
    })
    .await?;

    rabbit.restart().await?;
    let outsider = Outsider::connect(&rabbit.url()).await?;
    ensure!(
        outsider
            .publish_to_queue("kept", &Message::new("2"))
            .await?
            == Published::Routed
    );
    rabbit.kill().await?;
    ensure!(
        Outsider::connect(&rabbit.url()).await.is_err(),
        "a killed node answered"
    );
    rabbit.start_again().await?;
    let outsider = Outsider::connect(&rabbit.url()).await?;
    outsider.await_messages("kept", 2, LIMIT).await?;

    rabbit.raise_memory_alarm().await?;
    let blocked = Message::new("3");
    let publish = outsider.publish_to_queue("kept", &blocked);
    tokio::pin!(publish);
    let early = tokio::time::timeout(Duration::from_secs(2), &mut publish).await;
    ensure!(early.is_err(), "a broker in alarm confirmed: {early:?}");
    rabbit.clear_memory_alarm().await?;
    ensure!(publish.await? == Published::Routed);
    Ok(())
}

#[tokio::test]
async fn a_private_database_keeps_what_was_committed() -> Result<()> {
    let mut postgres = PrivatePostgres::start().await?;
    let mut client = PgConnection::connect(&postgres.url()).await?;
    sqlx::raw_sql("create table kept (n int); insert into kept values (1)")
        .execute(&mut client)
        .await?;
    ensure!(postgres.terminate_backends().await? == 1);
    ensure!(
        sqlx::raw_sql("select 1")
            .execute(&mut client)
            .await
            .is_err(),
        "it was terminated"
    );
    postgres.restart().await?;
    let mut client = PgConnection::connect(&postgres.url()).await?;
    let kept: i64 = sqlx::query_scalar("select count(*) from kept")
        .fetch_one(&mut client)
        .await?;
    ensure!(kept == 1);
    let durable: String = sqlx::query_scalar("show fsync")
        .fetch_one(&mut client)
        .await?;
    ensure!(durable == "on");
    postgres.stop().await?;
    ensure!(
        PgConnection::connect(&postgres.url()).await.is_err(),
        "a stopped database answered"
    );
    postgres
        .start_again()
        .await
        .context("starting after an orderly stop")
}
