//! Operators with roles, and the record of what they do.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testkit::{
    load::signup,
    receiver::{Answer, Receiver},
    system::{Destination, System},
};

use crate::LATER;

const WHY: &str = "asked for by ada@shop.example";

/// A system with one dead letter, and its id.
async fn one_dead() -> Result<(System, String)> {
    let receiver = Receiver::start().await?;
    receiver.plan(|_| Answer::status(422));
    let system = System::builder()
        .destination(Destination::webhook("crm", &receiver).attempts(1, "250ms"))
        .start()
        .await?;
    system.client().signup(&signup("audited")).await?;
    let letters = system.ledger().await?.await_dead_letters(1, LATER).await?;
    let letter = letters[0].dead_letter_id.clone();
    Ok((system, letter))
}

/// Makes an operator, and gives the id and the key.
async fn operator(system: &System, name: &str, role: &str) -> Result<(String, String)> {
    let made = system
        .longshore(&["operators", "create", name, "--role", role, "--json"])
        .await?
        .json()?;
    let text = |field: &str| made[field].as_str().map(str::to_owned);
    ensure!(made["name"] == name && made["role"] == role, "{made}");
    let id = text("id").context("no id")?;
    let key = text("key").context("no key")?;
    ensure!(key.starts_with("lsk_") && key.contains(&id), "{made}");
    Ok((id, key))
}

/// The entries that match, newest first.
async fn entries(system: &System, filter: &[&str]) -> Result<Vec<Value>> {
    let listed = system
        .longshore(&[&["audit", "list", "--json"], filter].concat())
        .await?
        .json()?;
    listed["items"].as_array().cloned().context("no items")
}

#[tokio::test]
async fn a_role_limits_what_an_operator_does_and_the_record_names_the_operator() -> Result<()> {
    let (system, letter) = one_dead().await?;
    let (_, viewer) = operator(&system, "vera", "viewer").await?;
    let (_, operator) = operator(&system, "otto", "operator").await?;
    let as_ = |key: &str| [("LONGSHORE_OPERATOR_KEY", key.to_owned())];
    let run = async |key: &str, arguments: &[&str]| {
        let [(name, key)] = as_(key);
        system.longshore_with(&[(name, &key)], arguments).await
    };

    let unmasked = system.longshore(&["dead", "show", &letter]).await?;
    ensure!(unmasked.success()?.contains("@example"), "{unmasked:?}");
    let masked = run(&viewer, &["dead", "show", &letter, "--json"]).await?;
    ensure!(!masked.success()?.contains("@example"), "{masked:?}");

    let discard = ["dead", "discard", &letter, "--why", WHY, "--yes"];
    let denied = run(&viewer, &discard).await?;
    denied.exit(1)?;
    ensure!(
        denied.stderr.contains("needs the role operator"),
        "{denied:?}"
    );
    run(&operator, &discard).await?.success()?;
    let purge = ["dead", "purge", "--older-than", "0s", "--yes"];
    let denied = run(&operator, &purge).await?;
    denied.exit(1)?;
    ensure!(denied.stderr.contains("needs the role admin"), "{denied:?}");

    let target = format!("dead:{letter}");
    let told: Vec<_> = entries(&system, &["--target", &target])
        .await?
        .iter()
        .map(|entry| {
            let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
            [text("who"), text("action"), text("outcome"), text("why")]
        })
        .collect();
    let expected = [
        ["operator:otto", "dead.discard", "allowed", WHY],
        ["operator:vera", "dead.discard", "denied", WHY],
    ];
    ensure!(told == expected, "{told:?}");
    for list in [
        &["audit", "list", "--json"][..],
        &["audit", "list", "--ndjson"],
    ] {
        let unmasked = run(&operator, list).await?;
        ensure!(unmasked.success()?.contains(WHY), "{unmasked:?}");
        let masked = run(&viewer, list).await?;
        let masked = masked.success()?;
        ensure!(masked.contains("asked for by ***"), "{masked}");
        ensure!(!masked.contains("@shop.example"), "{masked}");
    }
    let denied = entries(&system, &["--outcome", "denied", "--action", "dead.purge"]).await?;
    ensure!(
        denied.len() == 1 && denied[0]["role"] == "operator",
        "{denied:?}"
    );
    let made = entries(&system, &["--action", "operator.*"]).await?;
    ensure!(
        made.len() == 2 && made[0]["who"].to_string().contains("cli:"),
        "{made:?}"
    );
    system.finish().await
}

#[tokio::test]
async fn a_wrong_or_revoked_key_is_wrong_usage_and_never_told() -> Result<()> {
    let (system, letter) = one_dead().await?;
    let (id, key) = operator(&system, "vera", "admin").await?;
    let show = ["dead", "show", &letter];
    let with = async |key: &str| {
        let output = system
            .longshore_with(&[("LONGSHORE_OPERATOR_KEY", key)], &show)
            .await?;
        ensure!(!format!("{output:?}").contains(key), "{output:?}");
        Ok(output)
    };
    with(&key).await?.success()?;
    with("lsk_hunter2").await?.exit(2)?;
    system
        .longshore(&["operators", "revoke", &id, "--why", "left us"])
        .await?
        .success()?;
    let revoked = with(&key).await?;
    revoked.exit(2)?;
    ensure!(revoked.stderr.contains("revoked"), "{revoked:?}");
    let listed = system.longshore(&["operators", "list", "--json"]).await?;
    let listed = listed.json()?;
    ensure!(listed["items"][0]["revoked_at"].is_string(), "{listed}");
    ensure!(!listed.to_string().contains(&key), "{listed}");
    system.finish().await
}

#[tokio::test]
async fn a_record_that_somebody_has_altered_is_not_whole() -> Result<()> {
    let system = System::builder().start().await?;
    for name in ["one", "two", "three"] {
        operator(&system, name, "viewer").await?;
    }
    let whole = system.longshore(&["audit", "verify", "--json"]).await?;
    let whole = whole.json()?;
    let entries = whole["entries"].as_i64().context("no count")?;
    ensure!(whole["whole"] == true && entries >= 3, "{whole}");
    let kept = format!("{entries}:{}", whole["head"].as_str().unwrap_or_default());
    let later = system
        .longshore(&["audit", "verify", "--expect", &kept])
        .await?;
    later.success()?;
    let lines = system.longshore(&["audit", "list", "--ndjson"]).await?;
    ensure!(
        lines.success()?.lines().count() as i64 == entries,
        "{lines:?}"
    );

    let ledger = system.ledger().await?;
    for (change, first) in [
        (
            "UPDATE audit SET who = 'nobody' WHERE seq = $1",
            entries - 1,
        ),
        ("DELETE FROM audit WHERE seq = $1", entries - 2),
    ] {
        sqlx::query(change)
            .bind(first)
            .execute(ledger.pool())
            .await?;
        let broken = system.longshore(&["audit", "verify", "--json"]).await?;
        let told: Value = serde_json::from_str(broken.exit(1)?)?;
        ensure!(told["whole"] == false, "{told}");
        ensure!(told["first_broken"] == first, "{told}");
        ensure!(broken.stderr.contains(&first.to_string()), "{broken:?}");
    }
    system.finish().await
}
