//! A dependency that answers and refuses to work while a backlog waits: one hold, nothing lost, and the rest is handled
//! at full speed.
//!
//! The promise is a minute with 10,000 waiting, measured on a release build. That takes minutes for each test, so it
//! has a profile of its own:
//!
//! ```text
//! cargo build --release -p longshore -p producer -p workers --bins --locked
//! LONGSHORE_OUTAGE_EVENTS=10000 LONGSHORE_OUTAGE_SECONDS=60 LONGSHORE_BIN_DIR=$PWD/target/release \
//!     cargo nextest run --workspace --locked --profile large --no-capture -E 'test(outages)'
//! ```

use std::{env, time::Duration};

use anyhow::{Context, Result, ensure};
use testkit::{
    broker::Message,
    client::Client,
    ledger::Ledger,
    load::Load,
    private::{postgres::PrivatePostgres, rabbit::PrivateRabbit},
    process::Program,
    receiver::Receiver,
    services::Services,
    system::{Destination, System},
};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::LATER;
use crate::holding::{await_hold, refuse_inserts, take_inserts, unharmed_by_one_hold};

/// How many events wait, unless `LONGSHORE_OUTAGE_EVENTS` says otherwise: more than a worker has in hand at once.
const EVENTS: usize = 1_500;
/// How many seconds it refuses, unless `LONGSHORE_OUTAGE_SECONDS` says otherwise: long enough for several trials.
const SECONDS: usize = 8;
/// How many deliveries are at the receiver when it begins to refuse: as many as it is sent at once.
const AT_THE_RECEIVER: usize = 32;
/// How many messages that are not events come meanwhile, for the archive to keep.
const GARBAGE: usize = 20;
/// How long the deliveries of one event may take where many wait.
const EACH: Duration = Duration::from_millis(50);
/// The pause between two looks at a count.
const LOOK: Duration = Duration::from_millis(5);

/// How large the outage is.
#[derive(Clone, Copy)]
struct Scale {
    events: usize,
    outage: Duration,
}

impl Scale {
    fn read() -> Result<Self> {
        let number = |name: &str, usual| match env::var(name) {
            Ok(text) => text.parse().with_context(|| name.to_owned()),
            Err(_) => Ok(usual),
        };
        let seconds = number("LONGSHORE_OUTAGE_SECONDS", SECONDS)?;
        Ok(Self {
            events: number("LONGSHORE_OUTAGE_EVENTS", EVENTS)?,
            outage: Duration::from_secs(u64::try_from(seconds)?),
        })
    }

    /// The deadline of everything's being delivered.
    fn deadline(self) -> Duration {
        LATER.max(EACH * u32::try_from(self.events).unwrap_or(u32::MAX))
    }
}

/// How a backlog was worked off.
#[derive(Debug)]
struct Drain {
    /// How long nothing moved at first.
    waited: Duration,
    /// Events a second, from the first event on. After an outage that is the single one of the trial.
    rate: f64,
}

/// Follows a count until it has reached `target`.
async fn follow(target: usize, count: impl AsyncFn() -> Result<usize>) -> Result<Drain> {
    let began = Instant::now();
    let first = count().await?;
    let mut moving_since = began;
    let mut now = first;
    while now < target {
        ensure!(began.elapsed() < LATER, "{now} of {target}");
        if now == first {
            moving_since = Instant::now();
        }
        sleep(LOOK).await;
        now = count().await?;
    }
    let moved = u32::try_from(now - first).context("a count that shrinks")?;
    Ok(Drain {
        waited: moving_since - began,
        rate: f64::from(moved) / moving_since.elapsed().as_secs_f64(),
    })
}

/// The database's clock, in seconds.
async fn clock(ledger: &Ledger) -> Result<f64> {
    sqlx::query_scalar("select extract(epoch from clock_timestamp())::float8")
        .fetch_one(ledger.pool())
        .await
        .context("asking for the time")
}

/// Waits until `target` events are stored, and says how those stored since a moment of the database's clock were
/// worked off. The rows tell, from the beginning of the first transaction to that of the last. Counting rows without
/// a pause would slow the workers down, and more so the more rows there are.
async fn follow_rows(ledger: &Ledger, since: f64, target: usize) -> Result<Drain> {
    ledger.await_events(i64::try_from(target)?, LATER).await?;
    let (waited, lasted, moved): (f64, f64, i32) = sqlx::query_as(
        "with stored as (select extract(epoch from stored_at)::float8 as at from events),
         first as (select min(at) as first from stored where at >= $1)
         select first - $1, max(at) - first, (count(*) filter (where at > first))::int
         from stored, first group by first",
    )
    .bind(since)
    .fetch_one(ledger.pool())
    .await
    .context("asking when events were stored")?;
    Ok(Drain {
        waited: Duration::from_secs_f64(waited),
        rate: f64::from(moved) / lasted,
    })
}

/// Says how the backlog was worked off without an outage and after one.
fn compare(usual: &Drain, after: &Drain) {
    println!(
        "{:.0} events/s without an outage; after it {:.0} ({:.2} of that), {:?} after its end",
        usual.rate,
        after.rate,
        after.rate / usual.rate,
        after.waited
    );
}

/// The kind of refusal of the database.
#[derive(Clone, Copy)]
enum Refusal {
    /// To write anything.
    ReadOnly,
    /// To insert events and letters, with this SQLSTATE.
    Inserts(&'static str),
}

impl Refusal {
    async fn begin(self, postgres: &PrivatePostgres, ledger: &Ledger) -> Result<()> {
        match self {
            Self::ReadOnly => postgres.set_read_only(true).await,
            Self::Inserts(code) => {
                refuse_inserts(ledger, "events", code).await?;
                refuse_inserts(ledger, "dead_letters", code).await
            }
        }
    }

    async fn end(self, postgres: &PrivatePostgres, ledger: &Ledger) -> Result<()> {
        match self {
            Self::ReadOnly => postgres.set_read_only(false).await,
            Self::Inserts(_) => {
                take_inserts(ledger, "events").await?;
                take_inserts(ledger, "dead_letters").await
            }
        }
    }

    /// The queues whose workers cannot work meanwhile.
    fn held(self) -> &'static [(Program, &'static str)] {
        const ALL: [(Program, &str); 3] = [
            (Program::Store, "store"),
            (Program::Archive, "dead"),
            (Program::Integrate, "integrate.crm"),
        ];
        match self {
            Self::ReadOnly => &ALL,
            // Attempts are recorded all the same.
            Self::Inserts(_) => &ALL[..2],
        }
    }
}

/// Has this many signups wait for a program that does not run.
async fn wait_for(system: &System, events: usize, queue: &str) -> Result<Vec<Uuid>> {
    let load = Load::signups(system.client(), events, 32);
    let accepted = load.finish(LATER).await?;
    let waiting = u32::try_from(events)?;
    let outsider = system.outsider().await?;
    outsider
        .await_messages(&system.named(queue), waiting, LATER)
        .await?;
    Ok(accepted)
}

async fn refusing_database(refusal: Refusal) -> Result<()> {
    let scale = Scale::read()?;
    let (Scale { events, outage }, deadline) = (scale, scale.deadline());
    let (postgres, receiver) = (PrivatePostgres::start().await?, Receiver::start().await?);
    let mut system = System::builder()
        .services(Services {
            database_url: postgres.url(),
            ..Services::shared()
        })
        .destination(Destination::webhook("crm", &receiver).timeout("150s"))
        .copies(Program::Store, 0)
        .start()
        .await?;
    let ledger = system.ledger().await?;
    let mut accepted = wait_for(&system, events, "store").await?;
    let since = clock(&ledger).await?;
    system.begin(Program::Store)?;
    let usual = follow_rows(&ledger, since, events).await?;
    ledger.all_completed(&accepted, deadline).await?;

    // The receiver has some when the database begins to refuse, and its answers to them cannot be recorded.
    receiver.hold();
    let load = Load::signups(system.client(), AT_THE_RECEIVER, 32);
    accepted.extend(load.finish(LATER).await?);
    let all = accepted.len() + events;
    receiver.await_count(accepted.len(), LATER).await?;
    system.terminate(Program::Store, 0, LATER).await?;
    accepted.extend(wait_for(&system, events, "store").await?);
    refusal.begin(&postgres, &ledger).await?;
    system.begin_again(Program::Store, 0)?;
    receiver.release();
    let (outsider, received) = (system.outsider().await?, system.named("received"));
    for number in 0..GARBAGE {
        let garbage = Message::new(format!("garbage {number}"));
        outsider.publish(&received, "any", &garbage).await?;
    }
    let mut held = Vec::new();
    for &(program, queue) in refusal.held() {
        let worker = Client::new(system.address(program, 0)?)?;
        held.push((worker, system.named(queue)));
    }
    for (worker, queue) in &held {
        let problem = await_hold(worker, queue, outage).await?;
        ensure!(problem.contains("postgres"), "{problem}");
    }
    let since = clock(&ledger).await?;
    refusal.end(&postgres, &ledger).await?;
    let after = follow_rows(&ledger, since, all).await?;
    compare(&usual, &after);
    ledger.all_completed(&accepted, deadline).await?;
    for (worker, queue) in &held {
        unharmed_by_one_hold(worker, queue).await?;
    }
    let letters = ledger.await_dead_letters(GARBAGE, LATER).await?;
    ensure!(
        letters.len() == GARBAGE && letters.iter().all(|letter| letter.reason == "undecodable"),
        "{letters:?}"
    );
    let parked = outsider.depth(&system.named("dead.parked")).await?;
    ensure!(
        parked.is_some_and(|depth| depth.messages == 0),
        "{parked:?}"
    );
    ensure!(receiver.count() == all, "{} posts", receiver.count());
    system.finish().await
}

#[tokio::test]
async fn a_private_database_that_can_only_be_read_costs_one_hold() -> Result<()> {
    refusing_database(Refusal::ReadOnly).await
}

#[tokio::test]
async fn a_private_database_beyond_a_limit_of_its_own_costs_one_hold() -> Result<()> {
    refusing_database(Refusal::Inserts("54000")).await
}

#[tokio::test]
async fn a_private_database_whose_disk_is_full_costs_one_hold() -> Result<()> {
    refusing_database(Refusal::Inserts("53100")).await
}

#[tokio::test]
async fn a_private_broker_whose_next_queue_is_full_costs_one_hold() -> Result<()> {
    let scale = Scale::read()?;
    let (Scale { events, outage }, deadline) = (scale, scale.deadline());
    let (rabbit, receiver) = (PrivateRabbit::start().await?, Receiver::start().await?);
    let mut system = System::builder()
        .services(Services {
            broker_url: rabbit.url(),
            ..Services::shared()
        })
        .destination(Destination::webhook("crm", &receiver))
        .copies(Program::Store, 0)
        .copies(Program::Validate, 0)
        .start()
        .await?;
    let outsider = system.outsider().await?;
    let (validate, store) = (system.named("validate"), system.named("store"));
    let passed = async || {
        let depth = outsider.depth(&store).await?.context("no store queue")?;
        Ok(usize::try_from(depth.messages)?)
    };
    let mut accepted = wait_for(&system, events, "validate").await?;
    system.begin(Program::Validate)?;
    let usual = follow(events, passed).await?;
    system.terminate(Program::Validate, 0, LATER).await?;

    accepted.extend(wait_for(&system, events, "validate").await?);
    let full = format!("^{}$", store.replace('.', "\\."));
    let limit = format!(
        r#"{{"max-length":{},"overflow":"reject-publish"}}"#,
        events + events / 50
    );
    rabbit
        .control(&["set_policy", "limit", &full, &limit, "--apply-to", "queues"])
        .await?;
    system.begin_again(Program::Validate, 0)?;
    let worker = Client::new(system.address(Program::Validate, 0)?)?;
    let problem = await_hold(&worker, &validate, outage).await?;
    ensure!(problem.contains("rabbitmq"), "{problem}");
    rabbit.control(&["clear_policy", "limit"]).await?;
    let after = follow(2 * events, passed).await?;
    compare(&usual, &after);
    system.add(Program::Store).await?;
    let ledger = system.ledger().await?;
    ledger.all_completed(&accepted, deadline).await?;
    unharmed_by_one_hold(&worker, &validate).await?;
    let letters = ledger.dead_letters().await?;
    ensure!(letters.is_empty(), "{letters:?}");
    let parked = outsider.depth(&system.named("dead.parked")).await?;
    ensure!(
        parked.is_some_and(|depth| depth.messages == 0),
        "{parked:?}"
    );
    ensure!(receiver.count() == 2 * events, "{} posts", receiver.count());
    system.finish().await
}
