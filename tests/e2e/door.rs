//! The door's promises and answers: 202 only with the work queue behind it, the hash of a password for one table alone,
//! conflicts with their code, nothing of receivers.

use std::{collections::HashSet, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testkit::{
    broker::Outsider,
    dev::Dev,
    load::signup,
    process::Program,
    receiver::{Answer, Receiver},
    system::{Builder, Destination, System},
    wait::eventually,
};
use tokio::task::JoinSet;

use crate::{LATER, SOON};

/// A producer and nobody behind it.
fn door_alone() -> Builder {
    let builder = System::builder();
    Program::WORKERS
        .into_iter()
        .fold(builder, |some, worker| some.copies(worker, 0))
}

/// The ids in the validate queue.
async fn waiting(system: &System, outsider: &Outsider) -> Result<HashSet<String>> {
    let found = outsider.peek(&system.named("validate"), 10_000).await?;
    found
        .iter()
        .map(|message| message.message_id().context("a message without an id"))
        .collect()
}

#[tokio::test]
async fn a_deleted_work_queue_is_never_answered_with_202() -> Result<()> {
    let system = door_alone().start().await?;
    let outsider = system.outsider().await?;
    // The history is still there, and would take every event.
    outsider.delete_queue(&system.named("validate")).await?;
    let refused = system
        .client()
        .post_once("/v1/signups", "nowhere", &signup("nowhere"))
        .await?;
    refused.problem(503)?;
    let mut accepted = HashSet::new();
    eventually(SOON, "the queue to be declared again", || async {
        let answer = system
            .client()
            .post_once("/v1/signups", "again", &signup("again"))
            .await?;
        answer.accepted().map(|_| ())
    })
    .await?;
    for number in 0..20 {
        let body = signup(&format!("after-{number}"));
        accepted.insert(system.client().signup(&body).await?.to_string());
    }
    let waiting = waiting(&system, &outsider).await?;
    ensure!(
        waiting.is_superset(&accepted),
        "{waiting:?} lacks some of {accepted:?}"
    );
    system.finish().await
}

#[tokio::test]
async fn what_is_accepted_behind_a_deletion_under_load_is_in_the_queue() -> Result<()> {
    const ROUNDS: usize = 5;
    let system = door_alone().start().await?;
    let outsider = system.outsider().await?;
    for round in 0..ROUNDS {
        let deleted = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let mut posts = JoinSet::new();
        for publisher in 0..8 {
            let (client, deleted) = (system.client().clone(), deleted.clone());
            posts.spawn(async move {
                let mut after = HashSet::new();
                for number in 0..40 {
                    let behind = deleted.load(std::sync::atomic::Ordering::SeqCst);
                    let body = signup(&format!("{round}-{publisher}-{number}")).to_string();
                    let answer = client.post("/v1/signups", "application/json", body).await?;
                    if behind && answer.status == 202 {
                        after.insert(answer.accepted()?.to_string());
                    }
                }
                anyhow::Ok(after)
            });
        }
        outsider.delete_queue(&system.named("validate")).await?;
        deleted.store(true, std::sync::atomic::Ordering::SeqCst);
        let mut after = HashSet::new();
        while let Some(posted) = posts.join_next().await {
            after.extend(posted??);
        }
        eventually(SOON, "the queue to be declared again", || async {
            system
                .client()
                .signup(&signup(&format!("end-{round}")))
                .await
                .map(|_| ())
        })
        .await?;
        let waiting = waiting(&system, &outsider).await?;
        let lost: Vec<_> = after.difference(&waiting).collect();
        ensure!(lost.is_empty(), "accepted and in no queue: {lost:?}");
    }
    system.finish().await
}

#[tokio::test]
async fn a_binding_that_is_removed_is_made_again() -> Result<()> {
    let system = door_alone().start().await?;
    let outsider = system.outsider().await?;
    let (exchange, queue) = (system.named("received"), system.named("validate"));
    outsider.unbind(&queue, &exchange, "#").await?;
    eventually(SOON, "events to reach the work queue again", || async {
        let id = system.client().signup(&signup("bound")).await?;
        let waiting = waiting(&system, &outsider).await?;
        ensure!(
            waiting.contains(&id.to_string()),
            "{id} is not in the queue"
        );
        Ok(())
    })
    .await?;
    system.finish().await
}

/// Where in the tables of a namespace the word stands, in text or in bytes.
pub async fn tables_with(system: &System, word: &str) -> Result<Vec<String>> {
    let ledger = system.ledger().await?;
    let tables: Vec<String> =
        sqlx::query_scalar("select table_name::text from information_schema.tables where table_schema = current_schema()")
            .fetch_all(ledger.pool())
            .await?;
    let hex: String = word.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut found = Vec::new();
    for table in tables {
        let query = format!(
            "select count(*) from \"{table}\" as it where it::text like '%{word}%' or it::text like '%{hex}%'"
        );
        let rows: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(query))
            .fetch_one(ledger.pool())
            .await?;
        if rows > 0 {
            found.push(table);
        }
    }
    Ok(found)
}

async fn hash_of(system: &System, email: &str) -> Result<Option<String>> {
    let ledger = system.ledger().await?;
    let hash = sqlx::query_scalar("select password_hash from signups where email = $1");
    Ok(hash
        .bind(email)
        .fetch_optional(ledger.pool())
        .await?
        .flatten())
}

#[tokio::test]
async fn the_hash_of_a_password_reaches_one_table_and_nothing_else() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut system = System::builder()
        .destination(Destination::webhook("crm", &receiver))
        .start()
        .await?;
    let outsider = system.outsider().await?;
    let mut feeds = Vec::new();
    for exchange in ["received", "accepted", "rejected", "stored", "dead"] {
        feeds.push(outsider.listen(&system.named(exchange), "#").await?);
    }
    let with_password =
        |email: &str| json!({"email": email, "name": "Ada", "password": "correct horse"});
    let id = system
        .client()
        .signup(&with_password("a@b.example"))
        .await?;
    system.ledger().await?.all_completed(&[id], SOON).await?;
    let hash = hash_of(&system, "a@b.example").await?.unwrap_or_default();
    ensure!(hash.starts_with("$argon2id$"), "{hash}");

    // One that dies in the store stage, and comes back.
    let ledger = system.ledger().await?;
    let refuse = "alter table signups add constraint for_a_while check (email <> 'dies@b.example')";
    sqlx::query(refuse).execute(ledger.pool()).await?;
    let dies = system
        .client()
        .signup(&with_password("dies@b.example"))
        .await?;
    system.client().await_status(dies, "dead", LATER).await?;
    ensure!(tables_with(&system, "argon2id").await? == ["signups"]);
    let mend = "alter table signups drop constraint for_a_while";
    sqlx::query(mend).execute(ledger.pool()).await?;
    system
        .longshore(&["dead", "replay", "--all", "--yes"])
        .await?
        .success()?;
    system
        .ledger()
        .await?
        .all_completed(&[id, dies], LATER)
        .await?;
    let hash = hash_of(&system, "dies@b.example")
        .await?
        .unwrap_or_default();
    ensure!(hash.starts_with("$argon2id$"), "{hash}");

    ensure!(tables_with(&system, "argon2id").await? == ["signups"]);
    for request in receiver.await_count(2, SOON).await? {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        ensure!(
            !body.contains("argon2id") && !body.contains("password"),
            "{body}"
        );
        ensure!(!format!("{:?}", request.headers).contains("argon2id"));
    }
    for feed in &mut feeds {
        while let Ok(message) = feed.next(Duration::from_millis(200)).await {
            let all = format!(
                "{:?} {}",
                message.properties,
                String::from_utf8_lossy(&message.body)
            );
            ensure!(!all.contains("argon2id"), "{all}");
            let sealed = message.header("longshore-sealed-password-hash").is_some();
            ensure!(!sealed || !message.exchange.ends_with(".stored"), "{all}");
        }
    }
    for program in [
        Program::Producer,
        Program::Validate,
        Program::Store,
        Program::Archive,
    ] {
        let log = system.process(program, 0)?.output();
        ensure!(!log.contains("argon2id"), "{log}");
    }
    system.finish().await
}

#[tokio::test]
async fn a_seal_that_the_store_cannot_open_waits_for_the_key() -> Result<()> {
    let seal = ["one secret of the tests", "another secret of the tests"];
    let mut sealing = door_alone().env("LONGSHORE__SECRETS__SEAL", seal[0]);
    sealing = sealing.copies(Program::Validate, 1);
    let system = sealing.start().await?;
    let body = json!({"email": "a@b.example", "name": "Ada", "password": "correct horse"});
    let id = system.client().signup(&body).await?;
    let outsider = system.outsider().await?;
    outsider
        .await_messages(&system.named("store"), 1, SOON)
        .await?;
    // Workers of the same namespace with another secret.
    let stores = |secret: String| {
        let mut workers = Vec::new();
        for program in [Program::Store, Program::Archive] {
            workers.push(system.beside(program, &[("LONGSHORE__SECRETS__SEAL", &secret)]));
        }
        workers.into_iter().collect::<Result<Vec<_>>>()
    };
    let mut wrong = stores(seal[1].to_owned())?;
    let status = system.client().await_status(id, "dead", LATER).await?;
    ensure!(status.reason_code() == "seal_key_missing", "{status:?}");
    for worker in &mut wrong {
        worker.kill().await?;
    }
    let mut right = stores(format!("[\"{}\", \"{}\"]", seal[1], seal[0]))?;
    system
        .longshore(&["dead", "replay", "--reason", "seal_key_missing", "--yes"])
        .await?
        .success()?;
    system.ledger().await?.all_completed(&[id], LATER).await?;
    let hash = hash_of(&system, "a@b.example").await?.unwrap_or_default();
    ensure!(hash.starts_with("$argon2id$"), "{hash}");
    for worker in &mut right {
        worker.kill().await?;
    }
    system.finish().await
}

#[tokio::test]
async fn another_content_under_the_same_key_shows_in_the_status() -> Result<()> {
    let system = System::builder().start().await?;
    let client = system.client();
    let processing = json!({"task": "a", "payload": {}});
    let first = client
        .post_once("/v1/processing", "one-key", &processing)
        .await?
        .accepted()?;
    client.await_status(first, "completed", SOON).await?;
    let second = client
        .post_once("/v1/signups", "one-key", &signup("conflict"))
        .await?
        .accepted()?;
    ensure!(first == second);
    eventually(SOON, "the conflict to show", || async {
        let status = client.get(&format!("/v1/events/{first}")).await?.json()?;
        let conflict = &status["conflicts"][0];
        ensure!(conflict["code"] == "idempotency_conflict", "{status}");
        ensure!(
            conflict["type"] == "signup.requested" && conflict["at"].is_string(),
            "{status}"
        );
        ensure!(status["status"] == "completed" && status["type"] == "processing.requested");
        Ok(())
    })
    .await?;
    let live = client
        .get(&format!("/v1/events/{first}/live"))
        .await?
        .text();
    ensure!(live.contains("idempotency_conflict"), "{live}");
    system.finish().await
}

#[tokio::test]
async fn the_public_status_tells_nothing_of_receivers() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.always(Answer::status(500));
    let system = System::builder()
        .destination(Destination::webhook("crm", &receiver).attempts(2, "250ms"))
        .start()
        .await?;
    let id = system.client().signup(&signup("quiet")).await?;
    system.client().await_status(id, "dead", LATER).await?;
    let status: Value = system
        .client()
        .get(&format!("/v1/events/{id}"))
        .await?
        .json()?;
    let delivery = &status["deliveries"][0];
    ensure!(
        delivery["attempts"] == 2 && delivery["status"] == "dead",
        "{status}"
    );
    ensure!(delivery["reason"] == "receiver_failing", "{status}");
    ensure!(delivery.get("error").is_none(), "{status}");
    // Not the bare number of the answer: by chance it stands in an id.
    for told in ["127.0.0.1", "Internal Server Error", "expected status"] {
        ensure!(!status.to_string().contains(told), "{told}: {status}");
    }
    let shown = system
        .longshore(&["events", "show", &id.to_string(), "--json"])
        .await?;
    ensure!(
        shown.json()?["deliveries"][0]["error"]
            .as_str()
            .is_some_and(|error| error.contains("500 Internal Server Error")),
        "{shown:?}"
    );
    system.finish().await
}

#[tokio::test]
async fn what_kubernetes_sets_is_no_setting() -> Result<()> {
    let system = System::builder()
        .env("LONGSHORE_PORT", "tcp://10.0.0.7:8080")
        .env("LONGSHORE_SERVICE_HOST", "10.0.0.7")
        .env("LONGSHORE_PRODUCER_PORT_8080_TCP_PROTO", "tcp")
        .start()
        .await?;
    let id = system.client().signup(&signup("pod")).await?;
    system.ledger().await?.all_completed(&[id], SOON).await?;
    system.finish().await
}

/// The files below a folder that somebody else may read.
fn readable(folder: &Path) -> Result<Vec<String>> {
    let mut open = Vec::new();
    for file in std::fs::read_dir(folder)? {
        let file = file?;
        let mode = file.metadata()?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            open.push(format!("{:?} {mode:o}", file.file_name()));
        }
    }
    Ok(open)
}

#[tokio::test]
async fn the_files_of_dev_are_nobody_elses() -> Result<()> {
    let mut dev = Dev::new(&[])?;
    let folder = dev.folder().join("longshore-data");
    std::fs::create_dir(&folder)?;
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755))?;
    dev.start().await?;
    let id = dev.client().signup(&signup("private")).await?;
    dev.client().await_status(id, "completed", SOON).await?;
    let open = readable(&folder)?;
    ensure!(open.is_empty(), "{open:?}");
    let mode = std::fs::metadata(&folder)?.permissions().mode() & 0o777;
    ensure!(mode == 0o700, "{mode:o}");
    dev.finish()
}
