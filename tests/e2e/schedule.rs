//! Scheduled events: nobody gets one before its moment, each is delivered once after it, whatever dies meanwhile, and one that is
//! cancelled reaches nobody.

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{
    broker::{Message, Published},
    client::{Answer, Client},
    dev::Dev,
    load::{signup, signup_event},
    process::Program,
    receiver::Receiver,
    system::{Destination, System},
    wait::eventually,
};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::time::Instant;
use uuid::Uuid;

use crate::keys::{create, door_with_keys};
use crate::{LATER, SOON};

/// The moment this far from now, and its text.
fn away(wait: Duration) -> Result<(OffsetDateTime, String)> {
    let moment = OffsetDateTime::now_utc() + wait;
    Ok((moment, moment.format(&Rfc3339)?))
}

/// A clock that says when requests came.
struct Clock(Instant, OffsetDateTime);

impl Clock {
    fn start() -> Self {
        Self(Instant::now(), OffsetDateTime::now_utc())
    }

    /// Expects that each request came at this moment or later.
    fn expect_none_before(&self, receiver: &Receiver, moment: OffsetDateTime) -> Result<()> {
        for request in receiver.requests() {
            let at = self.1 + request.at.saturating_duration_since(self.0);
            // Two looks at two clocks of one machine.
            let early = moment - at;
            ensure!(
                early < Duration::milliseconds(5),
                "{} came {early} too early",
                request.webhook_id()
            );
        }
        Ok(())
    }
}

/// Sends one event through each call of the door, none of which anybody may get before the moment.
async fn send_to_each_call(client: &Client, moment: &str) -> Result<Vec<Uuid>> {
    let mut structured = signup_event("structured");
    structured["notbefore"] = json!(moment);
    let mut in_batch = signup_event("in a batch");
    in_batch["notbefore"] = json!(moment);
    let mut ids = vec![client.event(&structured).await?];
    ids.extend(client.batch(&[in_batch]).await?);
    let headers = [
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", "binary"),
        ("ce-source", "/e2e"),
        ("ce-type", "signup.requested"),
        ("ce-notbefore", moment),
    ];
    let data = signup("binary").to_string();
    let binary = client.send(Method::POST, "/v1/events", &headers, data);
    ids.push(binary.await?.accepted()?);
    let headers = [
        ("content-type", "application/json"),
        ("longshore-not-before", moment),
    ];
    let work = json!({ "task": "resize", "payload": { "n": 1 } });
    for (path, body) in [("/v1/signups", signup("simple")), ("/v1/processing", work)] {
        let sent = client.send(Method::POST, path, &headers, body.to_string());
        ids.push(sent.await?.accepted()?);
    }
    Ok(ids)
}

async fn await_scheduled(client: &Client, ids: &[Uuid]) -> Result<()> {
    for id in ids {
        client.await_status(*id, "scheduled", SOON).await?;
    }
    Ok(())
}

#[tokio::test]
async fn nobody_gets_an_event_before_its_moment_from_any_door() -> Result<()> {
    let receiver = Receiver::start().await?;
    let crm = Destination::webhook("crm", &receiver).types(["#"]);
    let system = System::builder().destination(crm).start().await?;
    let (clock, (moment, text)) = (Clock::start(), away(Duration::seconds(20))?);
    let mut ids = send_to_each_call(system.client(), &text).await?;

    let outsider = system.outsider().await?;
    let mut foreign = signup_event("foreign");
    foreign["notbefore"] = json!(text);
    let binary = [
        "specversion=1.0",
        "id=amqp",
        "source=/e2e",
        "type=signup.requested",
    ]
    .iter()
    .filter_map(|attribute| attribute.split_once('='))
    .fold(Message::json(&signup("amqp")), |message, (name, value)| {
        message.text_header(&format!("cloudEvents:{name}"), value)
    })
    .text_header("cloudEvents:notbefore", &text);
    for message in [Message::cloud_event(&foreign), binary] {
        let exchange = system.named("received");
        let published = outsider.publish(&exchange, "signup.requested", &message);
        ensure!(published.await? == Published::Routed);
    }
    await_scheduled(system.client(), &ids).await?;
    let list = eventually(SOON, "all to be listed", || async {
        let list = system.longshore(&["events", "scheduled", "--json"]).await?;
        let list = list.json()?;
        let items = list["items"].as_array().context("a list")?;
        ensure!(items.len() == ids.len() + 2, "{list}");
        Ok(items.clone())
    })
    .await?;
    let listed: Result<Vec<Uuid>, _> = list
        .iter()
        .map(|item| serde_json::from_value(item["id"].clone()))
        .collect();
    let survey = system
        .longshore(&["verify", "--since", "1h", "--json"])
        .await?;
    let survey = survey.json()?;
    ensure!(
        survey["balances"] == true && survey["scheduled"] == ids.len() + 2,
        "{survey}"
    );
    ensure!(receiver.count() == 0, "{} requests", receiver.count());

    ids = listed?;
    system.ledger().await?.all_completed(&ids, LATER).await?;
    clock.expect_none_before(&receiver, moment)?;
    let successes = receiver.successes();
    ensure!(
        successes.len() == ids.len() && successes.values().all(|count| *count == 1),
        "{successes:?}"
    );
    system.finish().await
}

#[tokio::test]
async fn the_embedded_engine_waits_as_well_and_across_a_kill() -> Result<()> {
    let receiver = Receiver::start().await?;
    let crm = Destination::webhook("crm", &receiver).types(["#"]);
    let mut dev = Dev::new(&[crm])?;
    dev.start().await?;
    let (clock, (moment, text)) = (Clock::start(), away(Duration::seconds(20))?);
    let ids = send_to_each_call(dev.client(), &text).await?;
    await_scheduled(dev.client(), &ids).await?;
    let cancelled = ids[0].to_string();
    let cancel = ["events", "cancel", &cancelled, "--why", "a test", "--yes"];
    dev.longshore(&cancel).await?.success()?;
    dev.kill().await?;
    dev.start().await?;
    for id in &ids[1..] {
        let status = dev.client().await_rest(*id, SOON).await?;
        ensure!(status.status == "completed", "{status:?}");
    }
    clock.expect_none_before(&receiver, moment)?;
    ensure!(receiver.count() == ids.len() - 1, "{}", receiver.count());
    let status = dev.client().await_rest(ids[0], SOON).await?;
    ensure!(status.status == "cancelled", "{status:?}");
    dev.finish()
}

/// A caller at a door that asks for keys.
struct Caller<'c> {
    client: &'c Client,
    bearer: String,
}

impl<'c> Caller<'c> {
    async fn named(system: &'c System, name: &str) -> Result<Self> {
        let made = create(system, name, &["events:write:#", "events:read"]).await?;
        Ok(Self {
            client: system.client(),
            bearer: format!("Bearer {}", made.key),
        })
    }

    async fn sign_up(&self, name: &str, moment: &str) -> Result<Uuid> {
        let headers = [
            ("content-type", "application/json"),
            ("authorization", &*self.bearer),
            ("idempotency-key", name),
            ("longshore-not-before", moment),
        ];
        let body = signup(name).to_string();
        eventually(SOON, "the door to know the key", || async {
            let path = "/v1/signups";
            let sent = self.client.send(Method::POST, path, &headers, body.clone());
            sent.await?.accepted()
        })
        .await
    }

    async fn cancel(&self, id: Uuid) -> Result<Answer> {
        let path = format!("/v1/events/{id}/cancel");
        let headers = [("authorization", &*self.bearer)];
        self.client.send(Method::POST, &path, &headers, "").await
    }
}

#[tokio::test]
async fn a_cancelled_event_reaches_nobody_and_its_publisher_alone_cancels_it() -> Result<()> {
    let receiver = Receiver::start().await?;
    let system = door_with_keys()
        .destination(Destination::webhook("crm", &receiver))
        .start()
        .await?;
    let shop = Caller::named(&system, "shop").await?;
    let other = Caller::named(&system, "other").await?;
    let (_, later) = away(Duration::HOUR)?;
    let by_caller = shop.sign_up("by-its-caller", &later).await?;
    let by_operator = shop.sign_up("by-an-operator", &later).await?;
    let (_, passed) = away(-Duration::HOUR)?;
    let at_once = shop.sign_up("at-once", &passed).await?;
    let ledger = system.ledger().await?;
    eventually(SOON, "a cancelled event", || async {
        let answer = shop.cancel(by_caller).await?;
        ensure!(answer.status == 200, "{}", answer.text());
        ensure!(answer.json()?["status"] == "cancelled", "{}", answer.text());
        Ok(())
    })
    .await?;
    ensure!(shop.cancel(by_caller).await?.status == 200);
    ensure!(other.cancel(by_operator).await?.problem(404)?["code"] == "unknown_event");
    ensure!(shop.cancel(Uuid::new_v4()).await?.problem(404)?["code"] == "unknown_event");

    let id = by_operator.to_string();
    let cancel = [
        "events",
        "cancel",
        &*id,
        "--why",
        "an accident",
        "--yes",
        "--json",
    ];
    let done = system.longshore(&cancel).await?.json()?;
    ensure!(done["before"] == false, "{done}");
    let done = system.longshore(&cancel).await?.json()?;
    ensure!(done["before"] == true, "{done}");
    let audit = system
        .longshore(&["audit", "list", "--json"])
        .await?
        .json()?;
    let newest = &audit["items"][0];
    ensure!(
        newest["action"] == "event.cancel" && newest["why"] == "an accident",
        "{audit}"
    );

    ledger.all_completed(&[at_once], LATER).await?;
    ensure!(shop.cancel(at_once).await?.problem(409)?["code"] == "too_late");
    let id = at_once.to_string();
    let late = ["events", "cancel", &*id, "--why", "too late", "--yes"];
    let refused = system.longshore(&late).await?;
    refused.exit(1)?;
    ensure!(refused.stderr.contains("handed on"), "{refused:?}");
    let survey = system
        .longshore(&["verify", "--since", "1h", "--json"])
        .await?;
    let survey = survey.json()?;
    ensure!(
        survey["balances"] == true && survey["cancelled"] == 2,
        "{survey}"
    );
    ensure!(receiver.count() == 1, "{} requests", receiver.count());
    system.finish().await
}

#[tokio::test]
async fn kills_at_the_moment_lose_nothing_and_double_nothing() -> Result<()> {
    const EVENTS: usize = 300;
    let receiver = Receiver::start().await?;
    let mut system = System::builder()
        .destination(Destination::webhook("crm", &receiver))
        .copies(Program::Archive, 2)
        .copies(Program::Store, 2)
        .start()
        .await?;
    // Two a hundredth of a second, from a moment on at which all are stored.
    let clock = Clock::start();
    let (first, _) = away(Duration::seconds(15))?;
    let events = (0..EVENTS).map(|number| {
        let moment = first + Duration::milliseconds(10) * (number as i32 / 2);
        let mut event = signup_event(&number.to_string());
        event["notbefore"] = json!(moment.format(&Rfc3339)?);
        anyhow::Ok(event)
    });
    let events: Vec<Value> = events.collect::<Result<_>>()?;
    let mut ids = Vec::new();
    for part in events.chunks(100) {
        ids.extend(system.client().batch(part).await?);
    }
    let list = ["events", "scheduled", "--limit", "1000", "--json"];
    let listed = eventually(SOON, "all to be stored", || async {
        let list = system.longshore(&list).await?.json()?;
        let listed = list["items"].as_array().map_or(0, Vec::len);
        ensure!(listed == EVENTS, "{listed}");
        Ok(OffsetDateTime::now_utc())
    })
    .await?;
    ensure!(listed < first, "too late");
    for round in 0..4 {
        receiver.await_successes(20 + 50 * round, SOON).await?;
        for program in [Program::Archive, Program::Store] {
            system.kill(program, round % 2).await?;
            system.start_again(program, round % 2).await?;
        }
    }
    system.ledger().await?.all_completed(&ids, LATER).await?;
    clock.expect_none_before(&receiver, first)?;
    let successes = receiver.successes();
    ensure!(successes.len() == EVENTS, "{} of {EVENTS}", successes.len());
    let doubled = system.ledger().await?.double_deliveries().await?;
    ensure!(doubled.is_empty(), "{doubled:?}");
    system.finish().await
}

#[tokio::test]
async fn a_moment_that_is_none_is_refused_at_the_door() -> Result<()> {
    let system = System::builder().start().await?;
    let client = system.client();
    let mut event = signup_event("wrong");
    event["notbefore"] = json!("tomorrow");
    let media = "application/cloudevents+json";
    let answer = client.post("/v1/events", media, event.to_string()).await?;
    let problem = answer.problem(422)?;
    ensure!(problem["errors"][0]["pointer"] == "/notbefore", "{problem}");
    let with = async |path: &str, media: &str, moment: &str, body: Value| {
        let headers = [("content-type", media), ("longshore-not-before", moment)];
        let sent = client.send(Method::POST, path, &headers, body.to_string());
        sent.await?.problem(400)
    };
    let json = "application/json";
    let problem = with("/v1/signups", json, "tomorrow", signup("wrong")).await?;
    ensure!(problem["code"] == "not_before", "{problem}");
    // A CloudEvent says so itself: a header beside it would be overlooked.
    let (_, text) = away(Duration::HOUR)?;
    let problem = with("/v1/events", media, &text, signup_event("beside")).await?;
    ensure!(problem["code"] == "not_before", "{problem}");
    system.finish().await
}
