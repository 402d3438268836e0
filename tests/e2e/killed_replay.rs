//! SIGKILL of the worker in the middle of a large replay: another one goes on where it was, and no letter is left out.

use std::{collections::HashSet, time::Duration};

use anyhow::{Context, Result, ensure};
use sqlx::{Connection, PgConnection};
use testkit::{
    ledger::Ledger,
    load::Load,
    process::Program,
    proxy::Proxy,
    receiver::{Answer, Receiver},
    services::Services,
    system::{Destination, System},
    wait::eventually,
};
use tokio::time::sleep;
use uuid::Uuid;

use crate::{LATER, SOON};

/// Six batches.
const LETTERS: usize = 3_000;
/// How many are marked when the replay is killed for the first and for the second time.
const FIRST: i64 = 600;
const SECOND: i64 = 1_200;

#[tokio::test]
async fn a_replay_that_is_killed_goes_on_and_sends_every_letter() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.always(Answer::status(500));
    let mut system = System::builder()
        .destination(Destination::webhook("crm", &receiver).attempts(1, "250ms"))
        .start()
        .await?;
    let ledger = system.ledger().await?;
    let accepted = Load::signups(system.client(), LETTERS, 16)
        .finish(LATER)
        .await?;
    eventually(LATER, "every event to die", || async {
        let balance = ledger.balance(&accepted).await?;
        ensure!(balance.dead == LETTERS, "{balance}");
        Ok(())
    })
    .await?;
    receiver.always(Answer::status(200));

    // The first kill: the broker has confirmed a batch, and it is not marked yet.
    let brake = Brake::pull(&ledger, FIRST).await?;
    // With a rate, however high, one batch is in hand at a time.
    let command = ["dead", "replay", "--all", "--yes", "--no-wait"];
    let command = [&command[..], &["--rate", "100000/s"]].concat();
    system.longshore(&command).await?.success()?;
    let marking = brake.held(&ledger).await?;
    system.kill(Program::Archive, 0).await?;
    brake.release(&ledger, Some(marking)).await?;
    let confirmed = Standing::read(&ledger).await?;
    confirmed.is_true_to(&receiver).await?;

    // The second one has taken it over: a batch is claimed, and the broker cannot confirm any of it.
    let id = replay_in_the_way(&system).await?;
    let shared = Services::shared();
    let proxy = Proxy::start_before(&shared.broker_url).await?;
    let brake = Brake::pull(&ledger, SECOND).await?;
    let through_proxy = proxy.before(&shared.broker_url)?;
    let mut archive = system.beside(
        Program::Archive,
        &[("LONGSHORE_BROKER_URL", &through_proxy)],
    )?;
    let held = brake.held(&ledger).await;
    held.with_context(|| archive.output())?;
    proxy.stall();
    let before = Standing::read(&ledger).await?;
    brake.release(&ledger, None).await?;
    let unconfirmed = eventually(SOON, "the next batch to be claimed", || async {
        let standing = Standing::read(&ledger).await?;
        let next = standing.claimed.is_disjoint(&before.claimed) && !standing.claimed.is_empty();
        ensure!(next, "{} are claimed", standing.claimed.len());
        Ok(standing)
    })
    .await?;
    archive.kill().await?;
    unconfirmed.is_true_to(&receiver).await?;

    // The third one sends the rest.
    system.start_again(Program::Archive, 0).await?;
    system
        .longshore(&["replay", "watch", &id])
        .await?
        .success()?;
    let shown = system
        .longshore(&["replay", "show", &id, "--json"])
        .await?
        .json()?;
    ensure!(
        shown["replayed"] == LETTERS && shown["state"] == "done",
        "{shown}"
    );
    ledger.all_completed(&accepted, LATER).await?;
    let letters = ledger.dead_letters().await?;
    ensure!(
        letters.len() == LETTERS && letters.iter().all(|letter| letter.state == "replayed"),
        "{} letters, not all of them replayed",
        letters.len()
    );
    let successes = receiver.successes();
    for event in &accepted {
        let times = successes.get(&event.to_string()).copied();
        // A kill may double letters that were sent and not marked, and no others.
        let claimed = confirmed.claimed.contains(event) || unconfirmed.claimed.contains(event);
        let most = if claimed { 2 } else { 1 };
        ensure!(
            (1..=most).contains(&times.unwrap_or(0)),
            "{event} was delivered {times:?} times"
        );
    }
    ensure!(
        successes.len() == LETTERS,
        "{} deliveries of {LETTERS} letters",
        successes.len()
    );
    let over = system
        .longshore(&["dead", "replay", "--resume", &id, "--yes"])
        .await?;
    over.exit(2)?;
    system.finish().await
}

/// The events whose letters are in each state.
struct Standing {
    marked: HashSet<Uuid>,
    claimed: HashSet<Uuid>,
    open: HashSet<Uuid>,
}

impl Standing {
    async fn read(ledger: &Ledger) -> Result<Self> {
        let letters = ledger.dead_letters().await?;
        let in_state = |state: &str| -> HashSet<Uuid> {
            let letters = letters.iter().filter(|letter| letter.state == state);
            letters.filter_map(|letter| letter.event_id).collect()
        };
        Ok(Self {
            marked: in_state("replayed"),
            claimed: in_state("replaying"),
            open: in_state("open"),
        })
    }

    /// Checks that marked letters arrive, though their sender is dead, and that unclaimed ones were
    /// not sent.
    async fn is_true_to(&self, receiver: &Receiver) -> Result<()> {
        let Self {
            marked,
            claimed,
            open,
        } = self;
        ensure!(
            !marked.is_empty() && !claimed.is_empty() && !open.is_empty(),
            "not the middle: {} marked, {} claimed, {} open",
            marked.len(),
            claimed.len(),
            open.len()
        );
        let delivered = || -> HashSet<Uuid> {
            let ids = receiver.successes().into_keys();
            ids.filter_map(|id| id.parse().ok()).collect()
        };
        eventually(SOON, "what is marked to be delivered", || async {
            let missing = marked.difference(&delivered()).count();
            ensure!(missing == 0, "{missing} of {} are not", marked.len());
            Ok(())
        })
        .await?;
        ensure!(
            delivered().is_disjoint(open),
            "a letter was sent that is not claimed"
        );
        Ok(())
    }
}

/// The replay that has claimed letters and does not run, found as an operator finds it.
async fn replay_in_the_way(system: &System) -> Result<String> {
    let list = ["dead", "list", "--state", "replaying", "--limit", "1"];
    let list = system.longshore(&[&list[..], &["--json"]].concat()).await?;
    let list = list.json()?;
    let letter = list["items"][0]["id"]
        .as_str()
        .with_context(|| format!("no letter is claimed: {list}"))?;
    let shown = system
        .longshore(&["dead", "show", letter, "--json"])
        .await?
        .json()?;
    let id = shown["replay"].as_str();
    let id = id.with_context(|| format!("the letter does not name its replay: {shown}"))?;
    Ok(id.to_owned())
}

/// Stops a replay while it marks confirmed letters, so that a kill is sure to hit it there.
struct Brake {
    /// Has the lock that the mark waits for.
    holder: PgConnection,
}

impl Brake {
    /// Stops the process that marks letter number `letters`.
    async fn pull(ledger: &Ledger, letters: i64) -> Result<Self> {
        let mut holder = ledger.pool().acquire().await?.detach();
        let trigger = format!(
            "create table brake ();
            create function brake() returns trigger language plpgsql as $$
            begin
                lock table brake in access share mode;
                return new;
            end $$;
            create trigger brake before update on replays for each row
            when (new.replayed >= {letters}) execute function brake();"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(trigger))
            .execute(&mut holder)
            .await?;
        sqlx::raw_sql("begin; lock table brake in access exclusive mode")
            .execute(&mut holder)
            .await?;
        Ok(Self { holder })
    }

    /// Waits until somebody is held; gives the process id of their session.
    async fn held(&self, ledger: &Ledger) -> Result<i32> {
        eventually(SOON, "the replay to mark its letters", || async {
            let waiting: Option<i32> = sqlx::query_scalar(
                "select pid from pg_locks where relation = 'brake'::regclass and not granted",
            )
            .fetch_optional(ledger.pool())
            .await?;
            waiting.context("nobody marks yet")
        })
        .await
    }

    /// Lets everybody pass. The session named is ended before that and its mark undone, as when its
    /// host has died.
    async fn release(mut self, ledger: &Ledger, ended: Option<i32>) -> Result<()> {
        sqlx::query("select pg_terminate_backend($1, 10000)")
            .bind(ended)
            .execute(ledger.pool())
            .await?;
        sqlx::raw_sql("commit; drop function brake() cascade; drop table brake")
            .execute(&mut self.holder)
            .await?;
        Ok(self.holder.close().await?)
    }
}

/// Killed again and again, at any point: before the broker has confirmed, before it has counted, in between. The worker
/// recognises repetitions.
#[tokio::test]
async fn a_history_replay_that_is_killed_anywhere_delivers_nothing_twice() -> Result<()> {
    // Four batches.
    const EVENTS: usize = 2_000;
    const KILLS: u64 = 3;
    let receiver = Receiver::start().await?;
    let mut system = System::builder()
        .destination(Destination::webhook("crm", &receiver))
        .start()
        .await?;
    let ledger = system.ledger().await?;
    let accepted = Load::signups(system.client(), EVENTS, 16)
        .finish(LATER)
        .await?;
    ledger.all_completed(&accepted, LATER).await?;
    let queue = ["--from", "1h", "--queue", "integrate.crm"];
    let begin = [
        &[
            "history",
            "replay",
            "--new-ids",
            "--yes",
            "--rate",
            "1000/s",
        ],
        &queue[..],
    ];
    let begun = [&begin.concat()[..], &["--no-wait", "--json"]].concat();
    let begun = system.longshore(&begun).await?.json()?;
    let id = begun["replay"].as_str().context("an id")?.to_owned();
    let sent = async || -> Result<i64> {
        let sent = sqlx::query_scalar("select replayed::bigint from replays");
        Ok(sent.fetch_optional(ledger.pool()).await?.unwrap_or(0))
    };
    for kill in 1..=KILLS {
        let before = sent().await?;
        eventually(LATER, "the next batch to be counted", || async {
            let sent = sent().await?;
            ensure!(sent > before, "{sent}");
            Ok(())
        })
        .await?;
        // Each time at another moment of the batch that follows.
        sleep(Duration::from_millis(80 * kill)).await;
        system.kill(Program::Archive, 0).await?;
        system.start_again(Program::Archive, 0).await?;
    }
    system
        .longshore(&["replay", "watch", &id])
        .await?
        .success()?;
    ensure!(sent().await? == i64::try_from(EVENTS)?, "{}", sent().await?);
    eventually(
        LATER,
        format!("everything of {id} to be delivered"),
        || async {
            let generations: Vec<(i64, i64)> = sqlx::query_as(
                "select generation::bigint, count(*) from deliveries where status = 'delivered'
             group by generation order by generation",
            )
            .fetch_all(ledger.pool())
            .await?;
            let events = i64::try_from(EVENTS)?;
            ensure!(generations == [(0, events), (1, events)], "{generations:?}");
            Ok(())
        },
    )
    .await?;
    let outsider = system.outsider().await?;
    outsider
        .await_empty(&system.named("integrate.crm"), LATER)
        .await?;
    let posts = receiver.attempts();
    ensure!(posts.len() == 2 * EVENTS, "{} ids", posts.len());
    ensure!(
        posts.values().all(|&times| times == 1),
        "one was posted {:?} times",
        posts.values().max()
    );
    system.finish().await
}
