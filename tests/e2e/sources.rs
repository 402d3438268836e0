//! Signed webhooks of a provider, from the door to the database and on.

use anyhow::{Result, ensure};
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::Method;
use serde_json::json;
use sha2::Sha256;
use testkit::{
    client::{Answer, Client},
    process::Program,
    receiver::Receiver,
    system::{Destination, System},
};
use time::OffsetDateTime;

use crate::SOON;

const NEW: &str = "whsec_the_new_secret_of_e2e";
const OLD: &str = "whsec_the_old_secret_of_e2e";

/// The section of a source that believes these secrets, with its types.
fn source(secrets: &[&str]) -> String {
    format!(
        r##"
        [[source]]
        name = "shop"
        scheme = "stripe"
        secret = {secrets:?}
        type = "shop.{{type}}"
        types = ["shop.invoice.#"]
        [[type]]
        name = "shop.invoice.paid"
        schema = true
        "##
    )
}

/// Sends an event that is signed so many seconds from now.
async fn send(client: &Client, secret: &str, off: i64, id: &str) -> Result<Answer> {
    let body = json!({"id": id, "type": "invoice.paid", "created": 1_700_000_000, "total": 1999});
    let body = serde_json::to_string_pretty(&body)?;
    let at = OffsetDateTime::now_utc().unix_timestamp() + off;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())?;
    mac.update(format!("{at}.{body}").as_bytes());
    let digits: String = mac
        .finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let signature = format!("t={at},v1={digits}");
    let headers = [
        ("content-type", "application/json"),
        ("stripe-signature", &*signature),
    ];
    client
        .send(Method::POST, "/v1/sources/shop", &headers, body)
        .await
}

#[tokio::test]
async fn a_webhook_that_its_provider_repeats_is_stored_and_delivered_once() -> Result<()> {
    let receiver = Receiver::start().await?;
    let system = System::builder()
        .config(&source(&[NEW]))
        .destination(Destination::webhook("crm", &receiver))
        .start()
        .await?;
    let (client, ledger) = (system.client(), system.ledger().await?);
    let first = send(client, NEW, 0, "evt_1").await?.accepted()?;
    ledger.all_completed(&[first], SOON).await?;
    // A repetition is signed anew.
    for off in [-20, 20] {
        ensure!(send(client, NEW, off, "evt_1").await?.accepted()? == first);
    }
    let last = send(client, NEW, 0, "evt_2").await?.accepted()?;
    ensure!(last != first);
    ledger.all_completed(&[first, last], SOON).await?;
    ensure!(ledger.events().await? == 2);
    ensure!(receiver.count() == 2, "{:?}", receiver.attempts());
    let delivered = receiver.requests()[0].json()?;
    ensure!(
        delivered["id"] == "evt_1"
            && delivered["source"] == "/v1/sources/shop"
            && delivered["type"] == "shop.invoice.paid"
            && delivered["time"] == "2023-11-14T22:13:20Z"
            && delivered["data"]["total"] == 1999,
        "{delivered}"
    );
    let row: (String, String) =
        sqlx::query_as("select publisher, source_id from events where event_id = $1")
            .bind(first)
            .fetch_one(ledger.pool())
            .await?;
    ensure!(
        row == ("source:shop".to_owned(), "evt_1".to_owned()),
        "{row:?}"
    );
    ensure!(ledger.rejections(first).await?.is_empty());
    system.finish().await
}

#[tokio::test]
async fn a_webhook_that_is_forged_or_old_publishes_nothing() -> Result<()> {
    let system = System::builder().config(&source(&[NEW])).start().await?;
    let (client, ledger) = (system.client(), system.ledger().await?);
    for (secret, off) in [(OLD, 0), (NEW, -400), (NEW, 400)] {
        let problem = send(client, secret, off, "evt_1").await?.problem(401)?;
        ensure!(problem["code"] == "unauthenticated", "{problem}");
        ensure!(!problem.to_string().contains("whsec"), "{problem}");
    }
    client
        .post("/v1/sources/other", "application/json", "{}")
        .await?
        .problem(404)?;
    // A later event arrives later, so nothing of the others can still be coming.
    let after = send(client, NEW, 0, "evt_2").await?.accepted()?;
    ledger.all_completed(&[after], SOON).await?;
    ensure!(ledger.events().await? == 1);
    system.finish().await
}

#[tokio::test]
async fn both_secrets_count_while_one_is_rotated() -> Result<()> {
    let mut system = System::builder()
        .config(&source(&[NEW, OLD]))
        .start()
        .await?;
    let client = system.client().clone();
    let old = send(&client, OLD, 0, "evt_1").await?.accepted()?;
    ensure!(send(&client, NEW, 0, "evt_1").await?.accepted()? == old);
    let doctor = system.longshore(&["doctor"]).await?;
    let told = doctor.success()?;
    let is_told = told
        .lines()
        .any(|line| line.trim_start().starts_with("sources") && line.contains("shop"));
    ensure!(is_told && !told.contains("whsec"), "{told}");

    system.terminate(Program::Producer, 0, SOON).await?;
    system.file("longshore.toml", source(&[NEW]))?;
    system.start_again(Program::Producer, 0).await?;
    send(&client, OLD, 0, "evt_1").await?.problem(401)?;
    ensure!(send(&client, NEW, 0, "evt_1").await?.accepted()? == old);
    system.ledger().await?.all_completed(&[old], SOON).await?;
    system.finish().await
}
