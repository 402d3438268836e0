//! Events that meet no trouble.

use anyhow::{Result, ensure};
use serde_json::json;
use testkit::{
    load::{Load, signup},
    receiver::Receiver,
    system::{Destination, System},
};

use crate::{LATER, SOON};

#[tokio::test]
async fn a_signup_travels_from_the_door_to_the_receiver() -> Result<()> {
    let receiver = Receiver::start().await?;
    let system = System::builder()
        .destination(Destination::webhook("crm", &receiver))
        .start()
        .await?;
    let body = signup("ada");
    let id = system.client().signup(&body).await?;
    let status = system.client().await_rest(id, SOON).await?;
    ensure!(
        status.status == "completed" && status.kind == "signup.requested",
        "{status:?}"
    );
    ensure!(!status.timeline.is_empty(), "{status:?}");
    ensure!(status.deliveries.len() == 1, "{status:?}");
    ensure!(status.deliveries[0]["destination"] == "crm", "{status:?}");

    let requests = receiver.requests();
    ensure!(requests.len() == 1, "{requests:?}");
    let request = &requests[0];
    ensure!(!request.webhook_id().is_empty(), "{request:?}");
    ensure!(
        request.header("webhook-signature").starts_with("v1,"),
        "{request:?}"
    );
    ensure!(
        request.header("webhook-timestamp").parse::<u64>().is_ok(),
        "{request:?}"
    );
    let delivered = request.json()?;
    ensure!(delivered["type"] == "signup.requested", "{delivered}");
    ensure!(delivered["data"]["email"] == body["email"], "{delivered}");

    let attempts = system.ledger().await?.attempts(id).await?;
    ensure!(
        attempts.len() == 1 && attempts[0].status_code == Some(200),
        "{attempts:?}"
    );
    system.finish().await
}

#[tokio::test]
async fn many_signups_are_each_delivered_once() -> Result<()> {
    let receiver = Receiver::start().await?;
    let system = System::builder()
        .destination(Destination::webhook("crm", &receiver))
        .start()
        .await?;
    let load = Load::signups(system.client(), 300, 8);
    let accepted = load.finish(LATER).await?;
    let ledger = system.ledger().await?;
    ledger.all_completed(&accepted, LATER).await?;
    let successes = receiver.successes();
    ensure!(
        successes.len() == accepted.len(),
        "{} were delivered",
        successes.len()
    );
    ensure!(
        receiver.count() == accepted.len(),
        "{} requests",
        receiver.count()
    );
    ensure!(ledger.events().await? == 300);
    ensure!(ledger.double_deliveries().await?.is_empty());
    system.finish().await
}

#[tokio::test]
async fn a_destination_gets_only_the_types_it_asked_for() -> Result<()> {
    let (signups, jobs) = (Receiver::start().await?, Receiver::start().await?);
    let system = System::builder()
        .destination(Destination::webhook("crm", &signups).types(["signup.*"]))
        .destination(Destination::webhook("jobs", &jobs).types(["processing.requested"]))
        .start()
        .await?;
    let client = system.client();
    let signed_up = client.signup(&signup("bob")).await?;
    let job = json!({"task": "thumbnail", "payload": {"width": 100}});
    let processed = client.processing(&job).await?;
    system
        .ledger()
        .await?
        .all_completed(&[signed_up, processed], SOON)
        .await?;
    ensure!(signups.count() == 1 && jobs.count() == 1);
    ensure!(signups.requests()[0].json()?["type"] == "signup.requested");
    let delivered = jobs.requests()[0].json()?;
    ensure!(delivered["type"] == "processing.requested", "{delivered}");
    ensure!(delivered["data"]["payload"]["width"] == 100, "{delivered}");
    system.finish().await
}

#[tokio::test]
async fn an_event_that_no_destination_wants_is_completed_once_stored() -> Result<()> {
    let system = System::builder().start().await?;
    let id = system.client().signup(&signup("carol")).await?;
    let status = system.client().await_rest(id, SOON).await?;
    ensure!(
        status.status == "completed" && status.deliveries.is_empty(),
        "{status:?}"
    );
    system.finish().await
}

#[tokio::test]
async fn anyone_may_listen_to_what_was_stored() -> Result<()> {
    let system = System::builder().start().await?;
    let outsider = system.outsider().await?;
    let mut feed = outsider.listen(&system.named("stored"), "signup.*").await?;
    let id = system.client().signup(&signup("dan")).await?;
    let message = feed.next(SOON).await?;
    ensure!(message.routing_key == "signup.requested", "{message:?}");
    ensure!(message.message_id() == Some(id.to_string()), "{message:?}");
    ensure!(message.json()?["data"]["name"] == "User dan", "{message:?}");
    system.finish().await
}

#[tokio::test]
async fn a_password_is_nowhere_in_the_clear() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut system = System::builder()
        .destination(Destination::webhook("crm", &receiver))
        .start()
        .await?;
    let outsider = system.outsider().await?;
    let mut feed = outsider.listen(&system.named("received"), "#").await?;
    let secret = "Tr0ub4dor-and-3-horses";
    let mut body = signup("eve");
    body["password"] = secret.into();
    let id = system.client().signup(&body).await?;
    system.ledger().await?.all_completed(&[id], SOON).await?;

    let on_the_broker = format!("{:?}", feed.next(SOON).await?.json()?);
    ensure!(!on_the_broker.contains(secret), "the broker saw it");
    let delivered = String::from_utf8_lossy(&receiver.requests()[0].body).into_owned();
    ensure!(!delivered.contains(secret), "the receiver saw it");
    let ledger = system.ledger().await?;
    let events: Vec<String> = sqlx::query_scalar("select events::text from events")
        .fetch_all(ledger.pool())
        .await?;
    let signups: Vec<String> = sqlx::query_scalar("select signups::text from signups")
        .fetch_all(ledger.pool())
        .await?;
    ensure!(events.len() == 1 && signups.len() == 1);
    ensure!(
        !events[0].contains(secret) && !signups[0].contains(secret),
        "a table has it"
    );
    for program in testkit::process::Program::WORKERS {
        ensure!(
            !system.process(program, 0)?.output().contains(secret),
            "{program} logged it"
        );
    }
    let producer = system.process(testkit::process::Program::Producer, 0)?;
    ensure!(
        !producer.output().contains(secret),
        "the producer logged it"
    );
    system.finish().await
}
