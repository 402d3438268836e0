//! Dependencies that answer and refuse to work: a hold that heals, and costs no event anything.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{
    broker::Message,
    client::Client,
    ledger::Ledger,
    load::Load,
    private::{postgres::PrivatePostgres, rabbit::PrivateRabbit},
    process::Program,
    proxy::Proxy,
    services::Services,
    system::{Builder, System},
    wait::eventually,
};

use crate::{LATER, SOON};

/// More than a worker has in hand at once.
const EVENTS: usize = 1_500;

/// How long a dependency refuses: long enough for several trials.
const OUTAGE: Duration = Duration::from_secs(8);

fn without(programs: &[Program]) -> Builder {
    let builder = System::builder();
    programs
        .iter()
        .fold(builder, |some, program| some.copies(*program, 0))
}

/// The value of a metric of one queue, summed over its other labels.
async fn metric(worker: &Client, name: &str, queue: &str) -> Result<f64> {
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

/// Waits until `/readyz` says that the worker has been holding for this long; returns what it says.
async fn await_hold(worker: &Client, queue: &str, at_least: Duration) -> Result<String> {
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
async fn unharmed_by_one_hold(worker: &Client, queue: &str, ledger: &Ledger) -> Result<()> {
    eventually(SOON, "the worker to be ready again", || async {
        let answer = worker.get("/readyz").await?;
        ensure!(answer.status == 200, "{}", answer.text());
        Ok(())
    })
    .await?;
    let holds = metric(worker, "longshore_holds_total", queue).await?;
    ensure!((holds - 1.0).abs() < 0.1, "it held {holds} times");
    let suspects = metric(worker, "longshore_suspects_total", queue).await?;
    ensure!(suspects < 0.1, "{suspects} events became suspects");
    let letters = ledger.dead_letters().await?;
    ensure!(letters.is_empty(), "{} events died", letters.len());
    Ok(())
}

#[tokio::test]
async fn a_private_database_that_can_only_be_read_costs_one_hold() -> Result<()> {
    let postgres = PrivatePostgres::start().await?;
    let services = Services {
        database_url: postgres.url(),
        ..Services::shared()
    };
    let builder = without(&[Program::Store, Program::Integrate]);
    let mut system = builder.services(services).start().await?;
    let load = Load::signups(system.client(), EVENTS, 16);
    let accepted = load.finish(LATER).await?;
    let queue = system.named("store");
    postgres.set_read_only(true).await?;
    system.begin(Program::Store)?;
    let worker = Client::new(system.address(Program::Store, 0)?)?;
    let problem = await_hold(&worker, &queue, OUTAGE).await?;
    ensure!(
        problem.contains("postgres") && problem.contains("read-only"),
        "{problem}"
    );
    postgres.set_read_only(false).await?;
    let ledger = system.ledger().await?;
    ledger.all_completed(&accepted, LATER).await?;
    unharmed_by_one_hold(&worker, &queue, &ledger).await?;
    system.finish().await
}

#[tokio::test]
async fn a_private_broker_whose_next_queue_is_full_costs_one_hold() -> Result<()> {
    let rabbit = PrivateRabbit::start().await?;
    let services = Services {
        broker_url: rabbit.url(),
        ..Services::shared()
    };
    let builder = without(&[Program::Store, Program::Validate, Program::Integrate]);
    let mut system = builder.services(services).start().await?;
    let load = Load::signups(system.client(), EVENTS, 16);
    let accepted = load.finish(LATER).await?;
    let queue = system.named("validate");
    let full = format!("^{}$", system.named("store").replace('.', "\\."));
    let limit = r#"{"max-length":5}"#;
    rabbit
        .control(&["set_policy", "limit", &full, limit, "--apply-to", "queues"])
        .await?;
    system.begin(Program::Validate)?;
    let worker = Client::new(system.address(Program::Validate, 0)?)?;
    let problem = await_hold(&worker, &queue, OUTAGE).await?;
    ensure!(problem.contains("rabbitmq"), "{problem}");
    rabbit.control(&["clear_policy", "limit"]).await?;
    system.add(Program::Store).await?;
    let ledger = system.ledger().await?;
    ledger.all_completed(&accepted, LATER).await?;
    unharmed_by_one_hold(&worker, &queue, &ledger).await?;
    system.finish().await
}

/// Makes every insert into a table fail with this SQLSTATE, as the database itself does when it protects
/// itself against wraparound.
async fn refuse_inserts(ledger: &Ledger, table: &str, code: &str) -> Result<()> {
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

async fn take_inserts(ledger: &Ledger, table: &str) -> Result<()> {
    let statement = format!("drop function refuse_{table} cascade");
    sqlx::query(sqlx::AssertSqlSafe(statement))
        .execute(ledger.pool())
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_database_beyond_a_limit_of_its_own_kills_no_event() -> Result<()> {
    let mut system = without(&[Program::Store, Program::Archive]).start().await?;
    let ledger = system.ledger().await?;
    let client = system.client().clone();
    let accepted = Load::signups(&client, 40, 4).finish(LATER).await?;
    // Garbage, for the archive to keep.
    let outsider = system.outsider().await?;
    let (received, kind) = (system.named("received"), "signup.requested");
    for number in 0..20 {
        let garbage = Message::new(format!("garbage {number}"));
        outsider.publish(&received, kind, &garbage).await?;
    }
    refuse_inserts(&ledger, "events", "54000").await?;
    refuse_inserts(&ledger, "dead_letters", "54000").await?;
    system.begin(Program::Store)?;
    system.begin(Program::Archive)?;
    let store = Client::new(system.address(Program::Store, 0)?)?;
    let archive = Client::new(system.address(Program::Archive, 0)?)?;
    let (stored, dead) = (system.named("store"), system.named("dead"));
    await_hold(&store, &stored, OUTAGE).await?;
    await_hold(&archive, &dead, OUTAGE).await?;
    take_inserts(&ledger, "events").await?;
    take_inserts(&ledger, "dead_letters").await?;
    ledger.all_completed(&accepted, LATER).await?;
    let letters = ledger.await_dead_letters(20, LATER).await?;
    ensure!(
        letters.iter().all(|letter| letter.reason == "undecodable"),
        "{letters:?}"
    );
    for (worker, queue) in [(&store, &stored), (&archive, &dead)] {
        let suspects = metric(worker, "longshore_suspects_total", queue).await?;
        ensure!(suspects < 0.1, "{suspects} of {queue} became suspects");
    }
    let parked = outsider.depth(&system.named("dead.parked")).await?;
    ensure!(
        parked.is_some_and(|depth| depth.messages == 0),
        "{parked:?}"
    );
    system.finish().await
}

#[tokio::test]
async fn a_letter_of_the_brokers_own_keeps_its_origin_through_a_hold_of_the_archive() -> Result<()>
{
    let mut system = without(&[Program::Store, Program::Archive]).start().await?;
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
