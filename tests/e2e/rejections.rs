//! Events that break a rule: turned away with a code, visible, no dead letters.

use anyhow::{Result, ensure};
use testkit::{
    broker::{Message, Published},
    load::signup,
    system::System,
};

use crate::SOON;

#[tokio::test]
async fn a_second_signup_with_the_same_address_is_rejected_as_email_taken() -> Result<()> {
    let system = System::builder().start().await?;
    let (client, ledger) = (system.client(), system.ledger().await?);
    let first = signup("taken");
    let id = client.signup(&first).await?;
    ledger.all_completed(&[id], SOON).await?;
    let mut second = first.clone();
    // The same address once normalised.
    second["email"] = first["email"]
        .as_str()
        .unwrap_or_default()
        .to_uppercase()
        .into();
    let rejected = client.signup(&second).await?;
    let status = client.await_status(rejected, "rejected", SOON).await?;
    ensure!(status.reason_code() == "email_taken", "{status:?}");
    let balance = ledger.settled(&[id, rejected], SOON).await?;
    ensure!(balance.completed == 1 && balance.rejected == 1, "{balance}");
    ensure!(ledger.dead_letters().await?.is_empty());
    system.finish().await
}

#[tokio::test]
async fn a_foreign_publisher_gets_a_rejection_with_every_field_error() -> Result<()> {
    let system = System::builder().start().await?;
    let (outsider, ledger) = (system.outsider().await?, system.ledger().await?);
    let mut feed = outsider.listen(&system.named("rejected"), "#").await?;
    let mut body = signup("foreign");
    body["email"] = "no address".into();
    body["name"] = "".into();
    let message = Message::json(&body).message_id("r-1").app_id("crm");
    let published = outsider
        .publish(&system.named("received"), "signup.requested", &message)
        .await?;
    ensure!(published == Published::Routed);
    let announced = feed.next(SOON).await?;
    ensure!(announced.routing_key == "signup.requested", "{announced:?}");
    let rejections = ledger.await_rejections(1, SOON).await?;
    let (id, code) = &rejections[0];
    ensure!(!code.is_empty());
    let status = system.client().await_status(*id, "rejected", SOON).await?;
    ensure!(status.reason_code() == code, "{status:?}");
    let shown = status.reason.to_string();
    ensure!(
        shown.contains("/email") && shown.contains("/name"),
        "{shown}"
    );
    ensure!(ledger.dead_letters().await?.is_empty());
    system.finish().await
}

#[tokio::test]
async fn a_plaintext_password_from_outside_is_itself_a_rejection() -> Result<()> {
    let system = System::builder().start().await?;
    let (outsider, ledger) = (system.outsider().await?, system.ledger().await?);
    let mut body = signup("careless");
    body["password"] = "Tr0ub4dor-and-3-horses".into();
    let message = Message::json(&body).message_id("p-1").app_id("crm");
    outsider
        .publish(&system.named("received"), "signup.requested", &message)
        .await?;
    let rejections = ledger.await_rejections(1, SOON).await?;
    ensure!(ledger.events().await? == 0);
    let rows: Vec<String> = sqlx::query_scalar("select rejections::text from rejections")
        .fetch_all(ledger.pool())
        .await?;
    ensure!(
        rows.iter().all(|row| !row.contains("Tr0ub4dor")),
        "the rejection shows it: {rows:?}"
    );
    ensure!(rejections.len() == 1, "{rejections:?}");
    system.finish().await
}
