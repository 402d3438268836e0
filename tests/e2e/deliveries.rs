//! A delivery is made once, by its owner, and in one chain of attempts.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use sqlx::PgPool;
use testkit::{
    client::Client,
    load::{Load, signup},
    private::postgres::PrivatePostgres,
    process::Program,
    proxy::Proxy,
    receiver::{Answer, Receiver},
    services::Services,
    system::{Builder, Destination, System},
    wait::eventually,
};
use uuid::Uuid;

use crate::{LATER, SOON};

/// A system whose programs reach the broker over a proxy.
pub async fn behind_a_proxy() -> Result<(Builder, Proxy)> {
    let shared = Services::shared();
    let proxy = Proxy::start_before(&shared.broker_url).await?;
    let told = Services {
        broker_url: proxy.before(&shared.broker_url)?,
        ..shared
    };
    Ok((System::builder().told(told), proxy))
}

/// How often each delivery was posted, the most often first.
pub fn posts(receiver: &Receiver) -> Vec<(String, usize)> {
    let mut posts: Vec<_> = receiver.attempts().into_iter().collect();
    posts.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
    posts
}

#[tokio::test]
async fn what_was_in_hand_when_the_link_was_lost_is_posted_once() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.always(Answer::status(200).after(Duration::from_millis(250)));
    let (builder, proxy) = behind_a_proxy().await?;
    let system = builder
        .destination(Destination::webhook("crm", &receiver).concurrency(8))
        .start()
        .await?;
    let accepted = Load::signups(system.client(), 120, 8).finish(SOON).await?;
    receiver.await_successes(24, SOON).await?;
    proxy.reset_connections();
    let ledger = system.ledger().await?;
    ledger.all_completed(&accepted, LATER).await?;
    ensure!(receiver.count() == 120, "{:?}", &posts(&receiver)[..8]);
    system.finish().await
}

/// One copy has all of them in hand; while its links are down the broker gives them to the other one.
#[tokio::test]
async fn what_another_copy_has_got_is_not_posted_by_the_one_that_lost_it() -> Result<()> {
    const EVENTS: usize = 120;
    const AT_ONCE: usize = 16;
    let receiver = Receiver::start().await?;
    receiver.always(Answer::status(200).after(Duration::from_millis(500)));
    let (builder, proxy) = behind_a_proxy().await?;
    let crm = Destination::webhook("crm", &receiver)
        .concurrency(u32::try_from(AT_ONCE)?)
        .timeout("2s");
    let mut system = builder
        .destination(crm)
        .copies(Program::Integrate, 2)
        .start()
        .await?;
    system.kill(Program::Integrate, 1).await?;
    let accepted = Load::signups(system.client(), EVENTS, 8)
        .finish(SOON)
        .await?;
    let outsider = system.outsider().await?;
    let queue = system.named("integrate.crm");
    receiver.await_count(1, SOON).await?;
    outsider.await_empty(&queue, SOON).await?;
    system.start_again(Program::Integrate, 1).await?;
    let (before, in_hand) = (receiver.count(), EVENTS - receiver.successes().len());
    ensure!(in_hand > 3 * AT_ONCE, "only {in_hand} are in hand");
    proxy.reset_connections();
    let ledger = system.ledger().await?;
    ledger.all_completed(&accepted, LATER).await?;
    // Only those cannot be helped whose POST was under way when their link was lost.
    let again = receiver.count() - EVENTS;
    ensure!(
        again <= AT_ONCE,
        "{again} were posted again; {before} were posted before"
    );
    system.finish().await
}

#[tokio::test]
async fn links_that_flap_make_no_second_chain_of_retries() -> Result<()> {
    const EVENTS: usize = 10;
    let receiver = Receiver::start().await?;
    receiver.always(Answer::status(500).after(Duration::from_millis(100)));
    let (builder, proxy) = behind_a_proxy().await?;
    let system = builder
        .destination(Destination::webhook("crm", &receiver).attempts(1_000, "250ms"))
        .start()
        .await?;
    let accepted = Load::signups(system.client(), EVENTS, 4)
        .finish(SOON)
        .await?;
    for flap in 1..=10 {
        receiver.await_count(flap * EVENTS / 2, LATER).await?;
        proxy.reset_connections();
    }
    // As many messages as deliveries: in the queue, with a worker or in a delay level.
    eventually(LATER, "one message for each delivery", || async {
        let queues = system.longshore(&["queues", "--json"]).await?.json()?;
        let lines = queues["items"].as_array().context("items")?;
        let waiting: u64 = lines
            .iter()
            .filter(|line| line["kind"] != "history")
            .filter_map(|line| line["messages"].as_u64())
            .sum();
        // Between two queues, or counted a moment ago, it is in none.
        ensure!(waiting <= EVENTS as u64, "{waiting} messages: {queues}");
        Ok(())
    })
    .await?;
    let before = receiver.count();
    receiver.await_count(before + 2 * EVENTS, LATER).await?;
    let ledger = system.ledger().await?;
    for id in &accepted {
        // Those of the last rounds, when no link was lost.
        let mut times: HashMap<i64, usize> = HashMap::new();
        let attempts = ledger.attempts(*id).await?;
        for attempt in attempts.iter().rev().take(2) {
            *times.entry(attempt.attempt).or_default() += 1;
        }
        ensure!(
            times.values().all(|&times| times == 1),
            "{id}: {attempts:?}"
        );
    }
    receiver.always(Answer::status(200));
    ledger.all_completed(&accepted, LATER).await?;
    ensure!(receiver.successes().values().all(|&times| times == 1));
    system.finish().await
}

#[tokio::test]
async fn a_program_that_is_told_to_stop_gives_back_what_has_not_begun() -> Result<()> {
    const EVENTS: usize = 500;
    const AT_ONCE: usize = 32;
    let receiver = Receiver::start().await?;
    receiver.hold();
    let mut system = System::builder()
        .copies(Program::Integrate, 0)
        .destination(
            Destination::webhook("crm", &receiver)
                // Sixteen times as many are in hand: all.
                .concurrency(AT_ONCE as u32)
                .timeout("18s"),
        )
        .destination(Destination::webhook("paced", &receiver).rate("1/10min"))
        .start()
        .await?;
    let accepted = Load::signups(system.client(), EVENTS, 16)
        .finish(LATER)
        .await?;
    let ledger = system.ledger().await?;
    ledger.await_events(EVENTS as i64, LATER).await?;
    let outsider = system.outsider().await?;
    let queue = system.named("integrate.crm");
    outsider.await_messages(&queue, EVENTS as u32, SOON).await?;
    system.add(Program::Integrate).await?;
    receiver.await_count(AT_ONCE + 1, SOON).await?;
    outsider.await_empty(&queue, SOON).await?;
    let told = Instant::now();
    let worker = system.process(Program::Integrate, 0)?;
    worker.signal(Signal::TERM)?;
    // Events without a place are in the queue again, while the receiver still has the rest.
    let given_back = EVENTS - AT_ONCE;
    outsider
        .await_messages(&queue, given_back as u32, Duration::from_secs(10))
        .await?;
    let gave_back = told.elapsed();
    receiver.release();
    let status = system.ended(Program::Integrate, 0, SOON).await?;
    println!(
        "{given_back} given back after {gave_back:?}, ended after {:?}",
        told.elapsed()
    );
    ensure!(status.code() == Some(0), "{status}");
    ensure!(
        receiver.count() == AT_ONCE + 1,
        "{} posts",
        receiver.count()
    );
    system.start_again(Program::Integrate, 0).await?;
    receiver.await_successes(accepted.len(), LATER).await?;
    eventually(LATER, "all to be delivered", || async {
        let delivered: i64 = sqlx::query_scalar(
            "select count(*) from deliveries where destination = 'crm' and status = 'delivered'",
        )
        .fetch_one(ledger.pool())
        .await?;
        ensure!(delivered == EVENTS as i64, "{delivered}");
        Ok(())
    })
    .await?;
    // The other destination gets one from each of the two processes.
    let of_paced = receiver.count() - EVENTS;
    ensure!(of_paced <= 2, "{of_paced} more than one each");
    system.finish().await
}

#[tokio::test]
async fn waiting_for_a_turn_is_no_attempt() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut system = System::builder()
        .destination(Destination::webhook("paced", &receiver).rate("1/10min"))
        .start()
        .await?;
    let accepted = Load::signups(system.client(), 3, 1).finish(SOON).await?;
    receiver.await_count(1, SOON).await?;
    let outsider = system.outsider().await?;
    let worker = Client::new(system.address(Program::Integrate, 0)?)?;
    eventually(SOON, "the other two to be put off", || async {
        let page = worker.get("/metrics").await?.text();
        let snoozed = page
            .lines()
            .filter(|line| line.contains("outcome=\"snooze\""))
            .any(|line| line.contains("paced\"") && line.ends_with(" 2"));
        ensure!(snoozed, "{page}");
        Ok(())
    })
    .await?;
    outsider
        .await_empty(&system.named("integrate.paced"), SOON)
        .await?;
    let ledger = system.ledger().await?;
    let mut attempts = 0;
    for id in &accepted {
        attempts += ledger.attempts(*id).await?.len();
    }
    ensure!(
        attempts == 1 && receiver.count() == 1,
        "{attempts} attempts"
    );
    system.finish().await
}

#[tokio::test]
async fn what_was_sent_is_recorded_before_it_could_be_sent_again() -> Result<()> {
    let shared = Services::shared();
    let proxy = Proxy::start_before(&shared.database_url).await?;
    let told = Services {
        database_url: proxy.before(&shared.database_url)?,
        ..shared
    };
    let receiver = Receiver::start().await?;
    receiver.hold();
    let system = System::builder()
        .told(told)
        .destination(Destination::webhook("crm", &receiver).timeout("60s"))
        .start()
        .await?;
    let accepted = Load::signups(system.client(), 20, 4).finish(SOON).await?;
    receiver.await_count(20, SOON).await?;
    proxy.cut();
    receiver.release();
    receiver.await_successes(20, SOON).await?;
    // Nothing is sent while it could not be recorded: not these again, nor others.
    let more = Load::signups(system.client(), 20, 4).finish(SOON).await?;
    tokio::time::sleep(Duration::from_secs(8)).await;
    ensure!(receiver.count() == 20, "{:?}", posts(&receiver));
    proxy.heal();
    let all: Vec<Uuid> = accepted.into_iter().chain(more).collect();
    system.ledger().await?.all_completed(&all, LATER).await?;
    ensure!(receiver.count() == 40, "{:?}", posts(&receiver));
    system.finish().await
}

#[tokio::test]
async fn a_private_database_with_two_connections_for_all_costs_no_second_post() -> Result<()> {
    let (postgres, receiver) = (PrivatePostgres::start().await?, Receiver::start().await?);
    let admin = PgPool::connect(&postgres.url()).await?;
    for statement in [
        "CREATE ROLE narrow LOGIN CONNECTION LIMIT 2",
        "GRANT ALL ON DATABASE postgres TO narrow",
    ] {
        sqlx::query(statement).execute(&admin).await?;
    }
    let services = Services {
        database_url: postgres.url(),
        ..Services::shared()
    };
    let told = Services {
        database_url: postgres.url().replace("postgres@", "narrow@"),
        ..Services::shared()
    };
    let system = System::builder()
        .services(services)
        .told(told)
        .destination(Destination::webhook("crm", &receiver))
        .start()
        .await?;
    let accepted = Load::signups(system.client(), 50, 8).finish(SOON).await?;
    system
        .ledger()
        .await?
        .all_completed(&accepted, LATER)
        .await?;
    ensure!(receiver.count() == 50, "{:?}", posts(&receiver));
    system.finish().await
}

#[tokio::test]
async fn a_destination_that_takes_less_gets_less() -> Result<()> {
    let receiver = Receiver::start().await?;
    // A pattern that nobody would think of when the types are narrowed.
    let wide = Destination::webhook("crm", &receiver).types(["*.requested"]);
    let mut system = System::builder().destination(wide).start().await?;
    let ledger = system.ledger().await?;
    let first = system.client().signup(&signup("wide")).await?;
    ledger.all_completed(&[first], SOON).await?;

    receiver.always(Answer::status(500));
    let under_way = system.client().signup(&signup("under-way")).await?;
    receiver.await_count(2, SOON).await?;
    let narrow = format!(
        "[outbound]\nallow = [\"127.0.0.0/8\"]\n[[destination]]\nname = \"crm\"\n\
         types = [\"processing.*\"]\nwebhook = {{ url = {:?} }}\n",
        receiver.url()
    );
    system.file("longshore.toml", narrow)?;
    for program in [Program::Store, Program::Integrate] {
        system.terminate(program, 0, SOON).await?;
        system.start_again(program, 0).await?;
    }
    let before = receiver.count();
    receiver.always(Answer::status(200));
    let after = system.client().signup(&signup("narrow")).await?;
    ledger.all_completed(&[under_way, after], SOON).await?;
    let outsider = system.outsider().await?;
    outsider
        .await_empty(&system.named("integrate.crm"), SOON)
        .await?;
    let posted = &receiver.requests()[before..];
    ensure!(posted.is_empty(), "{posted:?}");
    system.finish().await
}

#[tokio::test]
async fn a_replay_has_the_same_webhook_id_unless_another_is_asked_for() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.always(Answer::status(422));
    let system = System::builder()
        .destination(Destination::webhook("crm", &receiver))
        .start()
        .await?;
    let id = system.client().signup(&signup("replayed")).await?;
    system.client().await_status(id, "dead", SOON).await?;
    let replay = async |more: &[&str]| -> Result<()> {
        let command = [&["dead", "replay", "--all", "--yes", "--json"], more].concat();
        system.longshore(&command).await?.success()?;
        Ok(())
    };
    replay(&[]).await?;
    system.client().await_status(id, "dead", SOON).await?;
    replay(&["--new-ids"]).await?;
    system.client().await_status(id, "dead", SOON).await?;
    receiver.always(Answer::status(200));
    replay(&[]).await?;
    system.ledger().await?.all_completed(&[id], SOON).await?;
    let requests = receiver.requests();
    let ids: Vec<&str> = requests
        .iter()
        .map(|request| request.header("webhook-id"))
        .collect();
    let (own, new) = (id.to_string(), format!("{id}-r2"));
    ensure!(ids == [&own, &own, &new, &new], "{ids:?}");
    system.finish().await
}
