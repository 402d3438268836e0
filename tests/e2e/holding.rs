//! A worker's report of its holds, and a database that refuses every write.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testkit::{client::Client, ledger::Ledger, wait::eventually};

use crate::SOON;

/// The value of a metric of one queue, summed over its other labels.
pub async fn metric(worker: &Client, name: &str, queue: &str) -> Result<f64> {
    let page = worker.get("/metrics").await?.text();
    let label = format!("queue=\"{queue}\"");
    let mut sum = 0.0;
    for line in page.lines().filter(|line| line.contains(&label)) {
        if let Some((series, value)) = line.rsplit_once(' ')
            && series.starts_with(&format!("{name}{{"))
        {
            sum += value.parse::<f64>().context("reading a metric")?;
        }
    }
    Ok(sum)
}

/// Waits until `/readyz` says that the worker has been holding for this long; returns that page.
pub async fn await_hold(worker: &Client, queue: &str, at_least: Duration) -> Result<String> {
    let within = SOON + at_least;
    eventually(within, format!("the worker of {queue} to hold"), || async {
        let answer = worker.get("/readyz").await?;
        let check = answer.json()?["checks"][queue].clone();
        let text = check.as_str().unwrap_or_default().to_owned();
        let seconds = text
            .strip_prefix("holding for ")
            .and_then(|rest| rest.split(" for ").nth(1)?.split(' ').next()?.parse().ok());
        let long_enough = seconds.is_some_and(|seconds: u64| seconds >= at_least.as_secs());
        ensure!(
            answer.status == 503 && long_enough,
            "{}: {}",
            answer.status,
            answer.text()
        );
        Ok(text)
    })
    .await
}

/// Waits until the worker is ready again; checks that it held once and that no event suffered from it.
pub async fn unharmed_by_one_hold(worker: &Client, queue: &str) -> Result<()> {
    eventually(SOON, "the worker to be ready again", || async {
        let answer = worker.get("/readyz").await?;
        ensure!(answer.status == 200, "{}", answer.text());
        Ok(())
    })
    .await?;
    let holds = metric(worker, "longshore_holds_total", queue).await?;
    ensure!((holds - 1.0).abs() < 0.1, "{queue}: it held {holds} times");
    let suspects = metric(worker, "longshore_suspects_total", queue).await?;
    ensure!(suspects < 0.1, "{queue}: {suspects} events became suspects");
    Ok(())
}

/// Makes every insert into a table fail with this SQLSTATE, as the database itself does when it protects
/// itself against wraparound.
pub async fn refuse_inserts(ledger: &Ledger, table: &str, code: &str) -> Result<()> {
    let function = format!(
        "create function refuse_{table}() returns trigger language plpgsql as
         $$ begin raise exception 'not accepting commands' using errcode = '{code}'; end $$"
    );
    let trigger = format!(
        "create trigger refuse before insert on {table}
         for each statement execute function refuse_{table}()"
    );
    for statement in [function, trigger] {
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .execute(ledger.pool())
            .await?;
    }
    Ok(())
}

/// Takes inserts into a table again.
pub async fn take_inserts(ledger: &Ledger, table: &str) -> Result<()> {
    let statement = format!("drop function refuse_{table} cascade");
    sqlx::query(sqlx::AssertSqlSafe(statement))
        .execute(ledger.pool())
        .await?;
    Ok(())
}
