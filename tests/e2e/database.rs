//! The content of the tables, and obstacles between them and the programs.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::json;
use sqlx::{Connection, Executor, PgConnection};
use testkit::{
    broker::Message,
    ledger::Ledger,
    load::{Load, signup_event},
    private::{
        pgbouncer::{Parameters, Pooling, PrivatePgbouncer},
        postgres::PrivatePostgres,
    },
    process::Program,
    receiver::{Answer, Receiver},
    services::Services,
    system::{Destination, System},
    wait::eventually,
};

use crate::{LATER, SOON};

#[tokio::test]
async fn a_system_works_behind_a_pooler_of_transactions() -> Result<()> {
    const EVENTS: usize = 200;
    let (pooler, receiver) = (
        PrivatePgbouncer::start(Pooling::Transaction, Parameters::Dropped).await?,
        Receiver::start().await?,
    );
    let told = Services {
        database_url: pooler.url(),
        ..Services::shared()
    };
    let system = System::builder()
        .told(told)
        .destination(Destination::webhook("crm", &receiver))
        .copies(Program::Store, 2)
        .copies(Program::Integrate, 2)
        .start()
        .await?;
    let accepted = Load::signups(system.client(), EVENTS, 8)
        .finish(LATER)
        .await?;
    // Looked at directly: the tables are in the schema of the namespace.
    let ledger = system.ledger().await?;
    ledger.all_completed(&accepted, LATER).await?;
    let successes = receiver.successes();
    ensure!(
        successes.len() == EVENTS && successes.values().all(|&times| times == 1),
        "{} deliveries of {EVENTS}",
        successes.len()
    );
    let listed = system
        .longshore(&["dead", "list", "--json"])
        .await?
        .json()?;
    ensure!(listed["items"] == json!([]), "{listed}");
    system.finish().await
}

#[tokio::test]
async fn a_pooler_of_statements_is_refused_with_what_to_set() -> Result<()> {
    let pooler = PrivatePgbouncer::start(Pooling::Statement, Parameters::Dropped).await?;
    let told = Services {
        database_url: pooler.url(),
        ..Services::shared()
    };
    let mut builder = System::builder().told(told).without_migration();
    for program in [
        Program::Producer,
        Program::Validate,
        Program::Store,
        Program::Integrate,
        Program::Archive,
    ] {
        builder = builder.copies(program, 0);
    }
    let system = builder.start().await?;
    for command in [&["migrate"][..], &["dead", "list"], &["doctor"]] {
        let output = system.longshore(command).await?;
        ensure!(output.code != Some(0), "{output:?}");
        let said = format!("{}{}", output.stdout, output.stderr);
        ensure!(said.contains("set pool_mode = transaction"), "{said}");
    }
    system.finish().await
}

#[tokio::test]
async fn a_database_of_another_encoding_is_refused_before_anything_is_made() -> Result<()> {
    let postgres = PrivatePostgres::start().await?;
    let mut admin = PgConnection::connect(&postgres.url()).await?;
    let make =
        "create database latin encoding 'LATIN1' lc_collate 'C' lc_ctype 'C' template template0";
    admin.execute(make).await?;
    let url = format!("postgres://postgres@{}/latin", postgres.address());
    let system = System::builder()
        .services(Services {
            database_url: url.clone(),
            ..Services::shared()
        })
        .without_migration()
        .copies(Program::Producer, 0)
        .copies(Program::Validate, 0)
        .copies(Program::Store, 0)
        .copies(Program::Integrate, 0)
        .copies(Program::Archive, 0)
        .start()
        .await?;
    let refused = system.longshore(&["migrate"]).await?;
    ensure!(refused.code != Some(0), "it was migrated");
    ensure!(
        refused.stderr.contains("needs UTF8, found LATIN1"),
        "{}",
        refused.stderr
    );
    let mut latin = PgConnection::connect(&url).await?;
    let schemas: i64 = sqlx::query_scalar(
        "select count(*) from pg_namespace where nspname not like 'pg_%'
            and nspname not in ('public', 'information_schema')",
    )
    .fetch_one(&mut latin)
    .await?;
    ensure!(schemas == 0, "{schemas} schemas were made");
    latin.close().await?;
    admin.close().await?;
    system.finish().await
}

#[tokio::test]
async fn what_a_database_presets_is_told_where_it_prevents_and_changes_nothing_else() -> Result<()>
{
    const EVENTS: usize = 300;
    let (postgres, crm) = (PrivatePostgres::start().await?, Receiver::start().await?);
    postgres.set_read_only(true).await?;
    let builder = || {
        System::builder()
            .services(Services {
                database_url: postgres.url(),
                ..Services::shared()
            })
            .destination(Destination::webhook("crm", &crm))
    };
    let mut without_programs = builder().without_migration();
    for program in [
        Program::Producer,
        Program::Validate,
        Program::Store,
        Program::Integrate,
        Program::Archive,
    ] {
        without_programs = without_programs.copies(program, 0);
    }
    let system = without_programs.start().await?;
    let refused = system.longshore(&["migrate"]).await?;
    ensure!(refused.code != Some(0), "it was migrated");
    for words in ["SQLSTATE 25006", "default_transaction_read_only"] {
        ensure!(refused.stderr.contains(words), "{}", refused.stderr);
    }
    system.finish().await?;

    postgres.set_read_only(false).await?;
    let mut admin = PgConnection::connect(&postgres.url()).await?;
    admin
        .execute("alter database postgres set default_transaction_isolation = 'serializable'")
        .await?;
    admin.close().await?;
    let system = builder()
        .copies(Program::Store, 2)
        .copies(Program::Integrate, 2)
        .start()
        .await?;
    let accepted = Load::signups(system.client(), EVENTS, 8)
        .finish(LATER)
        .await?;
    let ledger = system.ledger().await?;
    ledger.all_completed(&accepted, LATER).await?;
    let deferred: i64 =
        sqlx::query_scalar("select count(*) from delivery_attempts where attempt > 1")
            .fetch_one(ledger.pool())
            .await?;
    ensure!(deferred == 0, "{deferred} deliveries were tried again");
    ensure!(ledger.dead_letters().await?.is_empty());
    system.finish().await
}

/// A history replay sends the event that was sent before, though the history has it as its publisher wrote it.
#[tokio::test]
async fn a_history_replay_sends_the_event_as_it_is_stored() -> Result<()> {
    let crm = Receiver::start().await?;
    let system = System::builder()
        .destination(Destination::webhook("crm", &crm))
        .start()
        .await?;
    let outsider = system.outsider().await?;
    let received = system.named("received");
    let text = |name: &str| format!("cloudEvents:{name}");
    let binary = Message::json(&json!({"email": "ada@example.com", "name": "Ada"}))
        .text_header(&text("specversion"), "1.0")
        .text_header(&text("id"), "offset")
        .text_header(&text("source"), "/shop")
        .text_header(&text("type"), "signup.requested")
        .text_header(&text("time"), "2026-01-02t03:04:05.120000+01:00");
    let mut structured = signup_event("grace");
    structured["time"] = "2026-01-02T03:04:05.000Z".into();
    // Without a time of its own it has that of its reception.
    let mut timeless = signup_event("alan");
    timeless
        .as_object_mut()
        .context("an object")?
        .remove("time");
    let messages = [
        binary,
        Message::cloud_event(&structured),
        Message::cloud_event(&timeless),
    ];
    for message in &messages {
        outsider
            .publish(&received, "signup.requested", message)
            .await?;
    }
    crm.await_successes(messages.len(), LATER).await?;
    let sent = crm.requests();
    let replay = [
        "history",
        "replay",
        "--new-ids",
        "--from",
        "1h",
        "--queue",
        "integrate.crm",
        "--yes",
    ];
    system.longshore(&replay).await?.success()?;
    let all = crm.await_count(2 * messages.len(), LATER).await?;
    for first in &sent {
        let same = all.iter().filter(|again| again.body == first.body);
        let body = String::from_utf8_lossy(&first.body);
        ensure!(same.count() == 2, "{body} was sent otherwise: {all:?}");
    }
    system.finish().await
}

#[tokio::test]
async fn what_was_sent_is_kept_and_compared_to_the_digit() -> Result<()> {
    let system = System::builder().start().await?;
    let ledger = system.ledger().await?;
    let payload = r#"{"z": 1234567890123456.78, "a":[1e2, 1.0],"big":90071992547409.93}"#;
    let body = |payload: &str| format!(r#"{{"task":"t","payload":{payload}}}"#);
    let send = async |path: &str, body: String| {
        let headers = [
            ("content-type", "application/json"),
            ("idempotency-key", "k-1"),
        ];
        let answer = system.client().send(Method::POST, path, &headers, body);
        answer.await?.accepted()
    };
    let first = send("/v1/processing", body(payload)).await?;
    system.client().await_rest(first, SOON).await?;
    let kept: String =
        sqlx::query_scalar("select payload::text from processing where event_id = $1")
            .bind(first)
            .fetch_one(ledger.pool())
            .await?;
    ensure!(kept == payload, "{kept}");
    // Equal data is not a conflict, in any order and with any white space.
    let shuffled = r#"{ "a": [1e2,1.0], "big":90071992547409.93, "z":1234567890123456.78 }"#;
    ensure!(send("/v1/processing", body(shuffled)).await? == first);
    let other = payload.replace(".93", ".94");
    ensure!(send("/v1/processing", body(&other)).await? == first);
    let signup = r#"{"email":"ada@example.com","name":"Ada"}"#;
    ensure!(send("/v1/signups", signup.to_owned()).await? == first);
    eventually(SOON, "two conflicts", || async {
        let codes = ledger.rejections(first).await?;
        ensure!(codes == ["idempotency_conflict"; 2], "{codes:?}");
        Ok(())
    })
    .await?;
    system.finish().await
}

/// A letter of generation 0 and one of generation 1 of the same delivery: sending both would make it twice.
#[tokio::test]
async fn an_older_letter_is_not_sent_beside_a_newer_one() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.always(Answer::status(500));
    let system = System::builder()
        .destination(Destination::webhook("crm", &receiver).attempts(1, "250ms"))
        .start()
        .await?;
    let ledger = system.ledger().await?;
    let event = system
        .client()
        .signup(&json!({"email": "ada@example.com", "name": "Ada"}))
        .await?;
    ledger.await_dead_letters(1, LATER).await?;
    let replay = [
        "history",
        "replay",
        "--from",
        "1h",
        "--queue",
        "integrate.crm",
        "--yes",
    ];
    system.longshore(&replay).await?.success()?;
    eventually(LATER, "the second generation to die", || async {
        let states = states(&ledger).await?;
        ensure!(
            states == HashMap::from([(0, "superseded".to_owned()), (1, "open".to_owned())]),
            "{states:?}"
        );
        Ok(())
    })
    .await?;
    let listed = system
        .longshore(&["dead", "list", "--state", "superseded", "--json"])
        .await?
        .json()?;
    ensure!(
        listed["items"].as_array().map(Vec::len) == Some(1),
        "{listed}"
    );
    receiver.always(Answer::status(200));
    let replayed = system
        .longshore(&["dead", "replay", "--destination", "crm", "--yes", "--json"])
        .await?
        .json()?;
    ensure!(replayed["replayed"] == 1, "{replayed}");
    ledger.all_completed(&[event], LATER).await?;
    let delivered: usize = receiver.successes().values().sum();
    ensure!(delivered == 1, "delivered {delivered} times");
    system.finish().await
}

/// The state of each generation's letter.
async fn states(ledger: &Ledger) -> Result<HashMap<i64, String>> {
    let rows: Vec<(i64, String)> = sqlx::query_as("select generation, state from dead_letters")
        .fetch_all(ledger.pool())
        .await?;
    Ok(rows.into_iter().collect())
}

/// Killed between the broker's confirms and the count of the sent letters: repetitions are recognised.
#[tokio::test]
async fn a_history_replay_that_is_killed_before_it_counts_delivers_nothing_twice() -> Result<()> {
    const EVENTS: usize = 40;
    let crm = Receiver::start().await?;
    let mut system = System::builder()
        .destination(Destination::webhook("crm", &crm))
        .copies(Program::Integrate, 2)
        .start()
        .await?;
    let ledger = system.ledger().await?;
    let accepted = Load::signups(system.client(), EVENTS, 4)
        .finish(SOON)
        .await?;
    ledger.all_completed(&accepted, LATER).await?;
    for (queue, receiver, before) in [("integrate.crm", &crm, EVENTS)] {
        // A process that counts waits for this.
        let mut holder = ledger.pool().acquire().await?.detach();
        holder
            .execute(
                "create table brake ();
                create function brake() returns trigger language plpgsql as $$
                begin lock table brake in access share mode; return new; end $$;
                create trigger brake before update on replays for each row execute function brake()",
            )
            .await?;
        holder
            .execute("begin; lock table brake in access exclusive mode")
            .await?;
        let command = [
            "history",
            "replay",
            "--new-ids",
            "--from",
            "1h",
            "--queue",
            queue,
            "--yes",
            "--no-wait",
        ];
        system.longshore(&command).await?.success()?;
        let counting: i32 = eventually(SOON, "the replay to count", || async {
            let waiting =
                "select pid from pg_locks where relation = 'brake'::regclass and not granted";
            let waiting: Option<i32> = sqlx::query_scalar(waiting)
                .fetch_optional(ledger.pool())
                .await?;
            waiting.context("nobody counts yet")
        })
        .await?;
        system.kill(Program::Archive, 0).await?;
        sqlx::query("select pg_terminate_backend($1, 10000)")
            .bind(counting)
            .execute(ledger.pool())
            .await?;
        holder
            .execute("commit; drop function brake() cascade; drop table brake")
            .await?;
        holder.close().await?;
        let list = system
            .longshore(&["replay", "list", "--json"])
            .await?
            .json()?;
        let item = &list["items"][0];
        ensure!(item["replayed"] == 0, "nothing was counted: {item}");
        let id = item["id"].as_str().context("an id")?;
        system.start_again(Program::Archive, 0).await?;
        let watched = system
            .longshore(&["replay", "watch", id, "--json"])
            .await?
            .json()?;
        ensure!(watched["replayed"] == EVENTS, "{watched}");
        receiver.await_successes(before + EVENTS, LATER).await?;
        let queue = system.named(queue);
        eventually(LATER, "the second copies to be gone", || async {
            let depths = system.longshore(&["queues", "--json"]).await?.json()?;
            let items = depths["items"].as_array();
            let items = items.with_context(|| format!("queues: {depths}"))?;
            let depth = items.iter().find(|item| item["queue"] == queue.as_str());
            let depth = depth.with_context(|| format!("no {queue}: {depths}"))?;
            ensure!(depth["messages"] == 0, "{depth}");
            Ok(())
        })
        .await?;
        let delivered: Vec<usize> = receiver.successes().into_values().collect();
        ensure!(
            delivered.len() == before + EVENTS && delivered.iter().all(|&times| times == 1),
            "{} deliveries, at most {:?} times",
            delivered.len(),
            delivered.iter().max()
        );
    }
    system.finish().await
}
