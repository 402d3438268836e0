//! Namespaces and their removal.

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use lapin::{
    Connection, ConnectionProperties,
    options::QueueDeclareOptions,
    types::{AMQPValue, FieldTable},
};
use sqlx::AssertSqlSafe;
use testkit::{
    broker::{Message, Outsider, Published},
    ledger::Ledger,
    namespace::Namespace,
    scratch::Scratch,
    services::Services,
    wait::eventually,
};
use uuid::Uuid;

async fn declare(queue: &str) -> Result<()> {
    let url = Services::shared().broker_url;
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let mut arguments = FieldTable::default();
    arguments.insert(
        "x-queue-type".into(),
        AMQPValue::LongString("quorum".into()),
    );
    channel
        .queue_declare(queue.into(), QueueDeclareOptions::durable(), arguments)
        .await?;
    connection.close(200, "declared".into()).await?;
    Ok(())
}

#[tokio::test]
async fn a_namespace_takes_its_queues_and_its_schema_with_it() -> Result<()> {
    let (services, scratch) = (Services::shared(), Scratch::new()?);
    let namespace = Namespace::new(&services, ["crm"], &scratch).await?;
    let name = namespace.name().to_owned();
    ensure!(
        name.len() < 20 && name.bytes().all(|byte| byte.is_ascii_alphanumeric()),
        "{name}"
    );
    let queues = [
        "store",
        "store.suspect",
        "integrate.crm",
        "dead.parked",
        "delay.07",
    ]
    .map(|short| namespace.named(short));
    for queue in &queues {
        declare(queue).await?;
    }
    let outsider = Outsider::connect(&services.broker_url).await?;
    ensure!(
        outsider
            .publish_to_queue(&queues[0], &Message::new("x"))
            .await?
            == Published::Routed
    );
    outsider
        .await_messages(&queues[0], 1, Duration::from_secs(10))
        .await?;
    let ledger = Ledger::open(&services.database_url, &name).await?;
    sqlx::query(AssertSqlSafe(format!("create schema {name}")))
        .execute(ledger.pool())
        .await?;
    drop(namespace);
    for queue in &queues {
        ensure!(
            outsider.depth(queue).await?.is_none(),
            "{queue} is still there"
        );
    }
    let schemas: i64 = sqlx::query_scalar("select count(*) from pg_namespace where nspname = $1")
        .bind(&name)
        .fetch_one(ledger.pool())
        .await?;
    ensure!(schemas == 0, "the schema is still there");
    Ok(())
}

#[tokio::test]
async fn what_a_killed_test_left_is_removed_by_the_next_one() -> Result<()> {
    let (services, scratch) = (Services::shared(), Scratch::new()?);
    let mut gone = std::process::Command::new("true").spawn()?;
    gone.wait()?;
    let name = format!("t{}", &Uuid::new_v4().simple().to_string()[..10]);
    let base = scratch
        .path()
        .parent()
        .context("a scratch folder is in no folder")?;
    let left = base.join(format!("{}-killed", gone.id()));
    let queue = format!("{name}.integrate.crm");
    declare(&queue).await?;
    // Whole at once, as a parallel test may sweep it at any moment.
    let whole = scratch.path().join("left");
    fs::create_dir(&whole)?;
    fs::write(whole.join("namespace"), format!("{name} crm"))?;
    fs::rename(&whole, &left)?;
    let next = Namespace::new(&services, Vec::<String>::new(), &scratch).await?;
    let outsider = Outsider::connect(&services.broker_url).await?;
    // A parallel test may be the one that sweeps.
    eventually(
        Duration::from_secs(20),
        "the leftover queue to be gone",
        || async {
            ensure!(outsider.depth(&queue).await?.is_none(), "it is there");
            Ok(())
        },
    )
    .await?;
    ensure!(!left.exists(), "the killed test's folder is still there");
    drop(next);
    Ok(())
}
