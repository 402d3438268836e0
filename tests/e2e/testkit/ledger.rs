//! The ledger, against tables as the contract has them.

use std::time::Duration;

use anyhow::{Result, ensure};
use sqlx::AssertSqlSafe;
use testkit::{ledger::Ledger, namespace::Namespace, scratch::Scratch, services::Services};
use uuid::Uuid;

const TABLES: &str = "
create schema {ns};
create table {ns}.events (event_id uuid);
create table {ns}.deliveries (event_id uuid, destination text, generation int, status text);
create table {ns}.delivery_attempts
    (event_id uuid, destination text, generation int, attempt int, status_code int);
create table {ns}.dead_letters
    (dead_letter_id uuid, event_id uuid, queue text, reason text, state text);
create table {ns}.rejections (event_id uuid, reason text);
create table {ns}.scheduled_events (event_id uuid, released_at timestamptz, cancelled_at timestamptz);";

/// Rows of one event, `{id}` standing for it, and where the event then is.
const CASES: &[(&str, &str)] = &[
    ("insert into events values ('{id}')", "completed"),
    (
        "insert into events values ('{id}');
         insert into deliveries values ('{id}', 'crm', 0, 'delivered'), ('{id}', 'mail', 0, 'discarded')",
        "completed",
    ),
    (
        // Died, was replayed, and then was delivered.
        "insert into events values ('{id}');
         insert into deliveries values ('{id}', 'crm', 0, 'dead'), ('{id}', 'crm', 1, 'delivered');
         insert into dead_letters values (gen_random_uuid(), '{id}', 'integrate.crm', 'x', 'replayed')",
        "completed",
    ),
    ("insert into rejections values ('{id}', 'invalid')", "rejected"),
    (
        "insert into events values ('{id}');
         insert into rejections values ('{id}', 'idempotency_conflict')",
        "completed",
    ),
    (
        "insert into events values ('{id}');
         insert into deliveries values ('{id}', 'crm', 0, 'dead');
         insert into dead_letters values (gen_random_uuid(), '{id}', 'integrate.crm', 'x', 'open')",
        "dead",
    ),
    ("insert into dead_letters values (gen_random_uuid(), '{id}', 'store', 'x', 'open')", "dead"),
    ("", "pending"),
    (
        "insert into events values ('{id}');
         insert into scheduled_events values ('{id}', null, null)",
        "pending",
    ),
    (
        "insert into events values ('{id}');
         insert into scheduled_events values ('{id}', now(), null)",
        "completed",
    ),
    (
        "insert into events values ('{id}');
         insert into deliveries values ('{id}', 'crm', 0, 'due')",
        "pending",
    ),
    (
        // Dead, but no letter an operator could find: lost.
        "insert into events values ('{id}');
         insert into deliveries values ('{id}', 'crm', 0, 'dead')",
        "pending",
    ),
    (
        "insert into events values ('{id}');
         insert into rejections values ('{id}', 'invalid')",
        "double",
    ),
    ("insert into rejections values ('{id}', 'invalid'), ('{id}', 'invalid')", "double"),
    (
        "insert into dead_letters values (gen_random_uuid(), '{id}', 'store', 'x', 'open'),
                                         (gen_random_uuid(), '{id}', 'store', 'x', 'open')",
        "double",
    ),
];

#[tokio::test]
async fn every_event_is_found_in_the_one_place_where_it_is() -> Result<()> {
    let (services, scratch) = (Services::shared(), Scratch::new()?);
    let namespace = Namespace::new(&services, Vec::<String>::new(), &scratch).await?;
    let ledger = Ledger::open(&services.database_url, namespace.name()).await?;
    let tables = TABLES.replace("{ns}", namespace.name());
    sqlx::raw_sql(AssertSqlSafe(tables))
        .execute(ledger.pool())
        .await?;
    for (rows, place) in CASES {
        let id = Uuid::new_v4();
        let rows_of_it = rows.replace("{id}", &id.to_string());
        sqlx::raw_sql(AssertSqlSafe(rows_of_it))
            .execute(ledger.pool())
            .await?;
        let balance = ledger.balance(&[id]).await?;
        let counts = [
            ("completed", balance.completed),
            ("rejected", balance.rejected),
            ("dead", balance.dead),
            ("pending", balance.pending.len()),
            ("double", balance.double.len()),
        ];
        for (name, count) in counts {
            ensure!(
                count == usize::from(name == *place),
                "{rows:?} should be {place}: {balance}"
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_missing_event_is_named_when_the_wait_is_over() -> Result<()> {
    let (services, scratch) = (Services::shared(), Scratch::new()?);
    let namespace = Namespace::new(&services, Vec::<String>::new(), &scratch).await?;
    let ledger = Ledger::open(&services.database_url, namespace.name()).await?;
    let tables = TABLES.replace("{ns}", namespace.name());
    sqlx::raw_sql(AssertSqlSafe(tables))
        .execute(ledger.pool())
        .await?;
    let lost = Uuid::new_v4();
    let verdict = ledger.settled(&[lost], Duration::from_millis(200)).await;
    let message = verdict.map_or_else(|error| format!("{error:#}"), |balance| balance.to_string());
    ensure!(message.contains(&lost.to_string()), "{message}");
    let twice = ledger
        .settled(&[lost, lost], Duration::from_millis(200))
        .await;
    ensure!(twice.is_err_and(|error| error.to_string().contains("same id")));
    Ok(())
}
