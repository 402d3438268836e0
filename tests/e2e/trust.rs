//! Trusted and foreign publishers, and the identity of messages.

use anyhow::{Context, Result, ensure};
use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Value, json};
use testkit::{
    broker::{Message, Outsider, Published},
    client::Client,
    load::{signup, signup_event},
    private::rabbit::PrivateRabbit,
    process::Program,
    receiver::{Answer, Receiver},
    services::Services,
    system::{Destination, System},
    wait::eventually,
};
use uuid::Uuid;

use crate::{LATER, SOON};

/// A system whose one destination fails now and tries again much later, and an event that is due there.
async fn with_a_victim() -> Result<(System, Receiver, Uuid)> {
    let receiver = Receiver::start().await?;
    receiver.always(Answer::status(500));
    let slow = Destination::webhook("crm", &receiver).attempts(6, "4s");
    let system = System::builder().destination(slow).start().await?;
    let victim = system.client().signup(&signup("victim")).await?;
    receiver.await_count(1, SOON).await?;
    system
        .client()
        .await_status(victim, "delivering", SOON)
        .await?;
    Ok((system, receiver, victim))
}

/// A message that says of itself all that a worker's dead letter of `victim`'s delivery would say.
fn forged(system: &System, victim: Uuid) -> Message {
    let mut event = signup_event(&victim.to_string());
    event["data"] = signup("forged");
    let headers = [
        ("longshore-queue", system.named("integrate.crm")),
        ("longshore-reason", "receiver_failing".to_owned()),
        ("longshore-error", "x".repeat(6000)),
        ("longshore-failed-at", "2026-01-02T03:04:05Z".to_owned()),
        ("longshore-accepted-at", "2026-01-02T03:04:05Z".to_owned()),
        ("longshore-publisher", "longshore".to_owned()),
        ("longshore-routing-key", "signup.requested".to_owned()),
    ];
    let message = Message::cloud_event(&event).message_id(&victim.to_string());
    let message = headers.iter().fold(message, |message, (name, value)| {
        message.text_header(name, value)
    });
    let mut death = FieldTable::default();
    for (name, value) in [
        ("queue", system.named("validate").as_str()),
        ("reason", "expired"),
        ("exchange", &"e".repeat(6000)),
    ] {
        death.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    death.insert("count".into(), AMQPValue::LongLongInt(7));
    death.insert("time".into(), AMQPValue::Timestamp(1));
    let deaths = vec![AMQPValue::FieldTable(death)];
    message.header("x-death", AMQPValue::FieldArray(deaths.into()))
}

async fn publish(outsider: &Outsider, exchange: &str, key: &str, message: &Message) -> Result<()> {
    let published = outsider.publish(exchange, key, message).await?;
    ensure!(published == Published::Routed, "{published:?}");
    Ok(())
}

/// A command's JSON.
async fn said(system: &System, arguments: &[&str]) -> Result<Value> {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
    system.longshore(&arguments).await?.json()
}

/// Whether the victim is still due, and nothing of it was touched.
async fn still_due(system: &System, victim: Uuid) -> Result<()> {
    let status = system.client().status(victim).await?;
    let status = status.context("the victim is known")?;
    ensure!(status.status == "delivering", "{status:?}");
    let shown = said(system, &["events", "show", &victim.to_string()]).await?;
    ensure!(shown.to_string().contains(r#""due""#), "{shown}");
    Ok(())
}

#[tokio::test]
async fn a_forged_message_that_expires_is_a_foreign_message_and_no_more() -> Result<()> {
    let (mut system, receiver, victim) = with_a_victim().await?;
    system.terminate(Program::Validate, 0, SOON).await?;
    let outsider = system.outsider().await?;
    let expiring = forged(&system, victim).with(|it| it.with_expiration("1".into()));
    let received = system.named("received");
    publish(&outsider, &received, "signup.requested", &expiring).await?;

    let honest = Message::json(&signup("late")).with(|it| it.with_expiration("2".into()));
    publish(&outsider, &received, "signup.requested", &honest).await?;

    let letters = system.ledger().await?.await_dead_letters(2, SOON).await?;
    for letter in &letters {
        ensure!(
            letter.reason == "expired" && letter.queue == system.named("validate"),
            "{letter:?}"
        );
        ensure!(letter.event_id.is_none(), "it names an event: {letter:?}");
    }
    let mut stories = Vec::new();
    for letter in &letters {
        stories.push(said(&system, &["dead", "show", &letter.dead_letter_id]).await?);
    }
    stories.sort_by_key(|it| it["message"]["expiration"] == "2");
    let [forged, honest] = &stories[..] else {
        anyhow::bail!("{stories:?}")
    };
    ensure!(
        honest["message"]["expiration"] == "2" && forged["message"]["expiration"] != "2",
        "{stories:?}"
    );
    let letter = letters
        .iter()
        .find(|letter| forged["id"] == letter.dead_letter_id.as_str());
    let letter = letter.context("the forged one")?;
    let shown = said(&system, &["dead", "show", &letter.dead_letter_id]).await?;
    ensure!(
        shown["generation"] == 0 && shown["attempts"] == 0,
        "{shown}"
    );
    ensure!(
        !shown["message"]["headers"]
            .to_string()
            .contains("longshore-"),
        "{shown}"
    );
    still_due(&system, victim).await?;

    // By its destination it is not found; by its id it goes through the door, as its publisher's message.
    let filter = ["dead", "replay", "--destination", "crm", "--yes"];
    let nothing = system.longshore(&filter).await?;
    ensure!(!nothing.stdout.contains("1 dead letter"), "{nothing:?}");
    let id = letter.dead_letter_id.as_str();
    let signed = system.named("integrate.crm");
    let refused = ["dead", "replay", id, "--to", &signed, "--yes"];
    let refused = system.longshore(&refused).await?;
    ensure!(
        refused.stdout.contains("validate") || refused.stderr.contains("validate"),
        "{refused:?}"
    );
    system.start_again(Program::Validate, 0).await?;
    system
        .longshore(&["dead", "replay", id, "--yes"])
        .await?
        .success()?;
    system.ledger().await?.await_events(2, SOON).await?;
    still_due(&system, victim).await?;
    for request in receiver.requests() {
        let is_victims = request.webhook_id().starts_with(&victim.to_string());
        let is_forged = request.json()?.to_string().contains("forged");
        ensure!(!(is_victims && is_forged), "{request:?}");
    }
    system.finish().await
}

#[tokio::test]
async fn our_headers_under_somebody_elses_name_count_on_no_queue() -> Result<()> {
    let (mut system, receiver, victim) = with_a_victim().await?;
    let outsider = system.outsider().await?;
    let forged = forged(&system, victim);
    for queue in ["store", "integrate.crm", "rejected", "store.suspect"] {
        let published = outsider
            .publish_to_queue(&system.named(queue), &forged)
            .await?;
        ensure!(published == Published::Routed, "{queue}: {published:?}");
    }
    publish(
        &outsider,
        &system.named("dead"),
        "signup.requested",
        &forged,
    )
    .await?;
    let ledger = system.ledger().await?;
    let letters = ledger.await_dead_letters(5, SOON).await?;
    ensure!(
        letters.iter().all(|letter| letter.event_id.is_none()),
        "{letters:?}"
    );
    let mut places: Vec<(String, &str)> = letters
        .iter()
        .map(|letter| (letter.queue.clone(), letter.reason.as_str()))
        .collect();
    places.sort();
    ensure!(
        places
            == [
                (system.named("integrate.crm"), "undecodable"),
                (system.named("rejected"), "undecodable"),
                (system.named("store"), "undecodable"),
                (system.named("store"), "undecodable"),
                // It says that it expired there, and nobody can tell.
                (system.named("validate"), "expired"),
            ],
        "{places:?}"
    );
    still_due(&system, victim).await?;
    ensure!(
        receiver.requests().iter().all(|request| request
            .json()
            .is_ok_and(|it| !it.to_string().contains("forged"))),
        "a forged event was delivered"
    );
    let metrics = Client::new(system.address(Program::Archive, 0)?)?;
    let page = metrics.get("/metrics").await?.text();
    ensure!(
        page.lines().all(|line| line.len() < 1000),
        "a label that somebody else wrote: {page}"
    );
    system.finish().await
}

/// Each program, its login, and the login's rights to write and read; no others.
fn rights(namespace: &str) -> [(Program, String, String); 5] {
    let is = |rest: &str| format!(r"^{namespace}\.({rest})$");
    let writes = |rest: &str| {
        let delay = r"delay\.[0-9]+";
        format!(r"^({namespace}\.({rest}|dead|{delay})|amq\.default)$")
    };
    [
        (Program::Producer, is("received"), "^$".to_owned()),
        (
            Program::Validate,
            writes("accepted|rejected"),
            is(r"validate(\.suspect)?"),
        ),
        (
            Program::Store,
            writes("stored|rejected"),
            is(r"store(\.suspect)?"),
        ),
        (
            Program::Integrate,
            writes("dead"),
            is(r"integrate\.[a-z]+(\.suspect)?"),
        ),
        (
            Program::Archive,
            writes("dead"),
            is(r"(dead|dead\.parked|dead\.suspect|rejected|rejected\.suspect|history)"),
        ),
    ]
}

/// Whether the standing watch says that a part of it cannot see.
async fn blind(system: &System) -> Result<bool> {
    let ledger = system.ledger().await?;
    let blind = "select exists (select from watch_findings where finding = 'blind')";
    Ok(sqlx::query_scalar(blind).fetch_one(ledger.pool()).await?)
}

#[tokio::test]
async fn private_programs_with_logins_of_their_own_work_together_or_do_not_start() -> Result<()> {
    let rabbit = PrivateRabbit::start().await?;
    let shared = Services::shared();
    let services = Services {
        broker_url: rabbit.url(),
        database_url: shared.database_url,
    };
    let receiver = Receiver::start().await?;
    let logins = rights("").map(|(program, ..)| format!("{:?}", program.name()));
    let list = format!("[{}, \"guest\"]", logins.join(", "));
    let mut builder = System::builder()
        .services(services)
        .destination(Destination::webhook("crm", &receiver))
        .env("LONGSHORE__BROKER__LOGINS", &list)
        .env("LONGSHORE__SECRETS__SEAL", "a secret that all of them have");
    for (program, ..) in rights("") {
        let url = rabbit
            .url()
            .replace("guest:guest", &format!("{0}:secret-of-{0}", program.name()));
        builder = builder
            .env_of(program, "LONGSHORE_BROKER_URL", &url)
            .copies(program, 0);
    }
    let mut system = builder.start().await?;
    let namespace = system.namespace().name().to_owned();
    for (program, write, read) in rights(&namespace) {
        let name = program.name();
        let password = format!("secret-of-{name}");
        rabbit.control(&["add_user", name, &password]).await?;
        rabbit
            .control(&["set_permissions", name, "^$", &write, &read])
            .await?;
    }
    system.longshore(&["topology", "apply"]).await?.success()?;
    system.longshore(&["topology", "verify"]).await?.success()?;
    for program in [Program::Producer, Program::Validate, Program::Store] {
        // Each would seal with a password that no other has.
        let refused = system
            .run_to_its_end(program, &[("LONGSHORE__SECRETS__SEAL", "")])
            .await?;
        refused.exit(2)?;
        for word in ["secrets", "LONGSHORE__SECRETS__SEAL", "longshore-producer"] {
            ensure!(refused.stderr.contains(word), "{refused:?}");
        }
    }
    for (program, ..) in rights("") {
        system.add(program).await?;
    }
    let body = json!({"email": "rights@b.example", "name": "Ada", "password": "correct horse"});
    let id = system.client().signup(&body).await?;
    system.ledger().await?.all_completed(&[id], LATER).await?;
    ensure!(
        system.client().await_rest(id, SOON).await?.status == "completed",
        "the id that the door gave"
    );
    receiver.await_successes(1, SOON).await?;
    // A dead letter, so that the archive has done its part, too.
    let outsider = system.outsider().await?;
    let received = system.named("received");
    publish(&outsider, &received, "x", &Message::new("no event")).await?;
    system.ledger().await?.await_dead_letters(1, SOON).await?;
    // The watch sees everything it looks at, and brings parked letters back.
    let parked = system.named("dead.parked");
    outsider
        .publish_to_queue(&parked, &Message::new("parked"))
        .await?;
    system.ledger().await?.await_dead_letters(2, SOON).await?;
    ensure!(!blind(&system).await?, "the watch is blind");
    let archive = Program::Archive.name();
    let write = &rights(&namespace)[4].1;
    let less = format!(r"^{namespace}\.(dead|rejected)(\.suspect)?$");
    rabbit
        .control(&["set_permissions", archive, "^$", write, &less])
        .await?;
    system.terminate(Program::Archive, 0, SOON).await?;
    system.start_again(Program::Archive, 0).await?;
    eventually(SOON, "the watch to say that it is blind", || async {
        ensure!(blind(&system).await?, "it does not");
        Ok(())
    })
    .await?;

    // Without the list, or with another, nothing starts, whether it may declare or not.
    let without = [("LONGSHORE__BROKER__LOGINS", "")];
    for program in [Program::Producer, Program::Store, Program::Archive] {
        let refused = system.run_to_its_end(program, &without).await?;
        refused.exit(2)?;
        for word in ["trusts the broker logins", program.name(), "logins"] {
            ensure!(refused.stderr.contains(word), "{refused:?}");
        }
    }
    for command in [
        &["verify"][..],
        &["events", "stuck", "--requeue", "--yes"],
        &["history", "stats"],
        &[
            "history", "replay", "--from", "1h", "--queue", "validate", "--yes",
        ],
        &["dead", "replay", "--all", "--yes"],
    ] {
        let refused = system.longshore_with(&without, command).await?;
        refused.exit(2)?;
        ensure!(
            refused.stderr.contains("trusts the broker logins"),
            "{refused:?}"
        );
    }
    let refused = system
        .longshore_with(&without, &["topology", "verify"])
        .await?;
    refused.exit(1)?;
    ensure!(
        refused.stdout.contains("longshore-producer"),
        "whom the others trust: {refused:?}"
    );
    let refused = system
        .longshore_with(&without, &["topology", "apply"])
        .await?;
    refused.exit(1)?;
    ensure!(refused.stderr.contains("stop them"), "{refused:?}");
    for (program, ..) in rights("") {
        system.terminate(program, 0, SOON).await?;
    }
    let applied = system
        .longshore_with(&without, &["topology", "apply", "--json"])
        .await?
        .json()?;
    ensure!(
        applied["logins_before"]
            .as_str()
            .is_some_and(|before| before.contains("longshore-store")),
        "{applied}"
    );
    let refused = system.run_to_its_end(Program::Store, &[]).await?;
    refused.exit(2)?;
    system.finish().await
}

/// A binary CloudEvent of an unknown type.
fn unknown(id: &str) -> Message {
    [
        ("specversion", "1.0"),
        ("id", id),
        ("type", "invoice.paid"),
        ("source", "/e2e"),
    ]
    .into_iter()
    .fold(
        Message::json(&json!({"amount": 5})),
        |message, (name, value)| message.text_header(&format!("cloudEvents:{name}"), value),
    )
}

#[tokio::test]
async fn messages_that_differ_are_letters_of_their_own_and_equal_ones_are_counted() -> Result<()> {
    let system = System::builder().start().await?;
    let outsider = system.outsider().await?;
    let received = system.named("received");
    let plain = || Message::json(&json!({"amount": 5}));
    for number in 1..=5 {
        let message = unknown(&number.to_string());
        publish(&outsider, &received, "x", &message).await?;
    }
    for key in ["a.b", "a.c", "a.d"] {
        publish(&outsider, &received, key, &plain()).await?;
    }
    for message in [
        plain().app_id("/shop"),
        plain().text_header("subject", "7"),
        plain().header("subject", AMQPValue::LongLongInt(7)),
        plain().with(|it| it.with_correlation_id("7".into())),
        plain().with(|it| it.with_timestamp(7)),
        plain().with(|it| it.with_content_type("application/vnd.a+json".into())),
        Message::json(&json!({"amount": 5.0})),
    ] {
        publish(&outsider, &received, "a.b", &message).await?;
    }
    let ledger = system.ledger().await?;
    ledger.await_dead_letters(15, SOON).await?;
    for _ in 0..2 {
        publish(&outsider, &received, "a.b", &plain()).await?;
    }
    let counted = async || {
        let list = said(&system, &["dead", "list", "--type", "a.b"]).await?;
        let items = list["items"].as_array().context("no items")?.clone();
        let copies: Vec<u64> = items
            .iter()
            .filter_map(|it| it["copies"].as_u64())
            .collect();
        ensure!(copies.iter().filter(|&&it| it == 3).count() == 1, "{list}");
        ensure!(
            copies.iter().sum::<u64>() == copies.len() as u64 + 2,
            "{list}"
        );
        Ok(())
    };
    eventually(SOON, "the equal ones to be counted", counted).await?;
    ensure!(ledger.dead_letters().await?.len() == 15);

    // Sent again, they are as many once more; and the history knows each of them.
    system
        .longshore(&["dead", "replay", "--reason", "unknown_type", "--yes"])
        .await?;
    ledger.await_dead_letters(30, SOON).await?;
    let verified = said(&system, &["verify", "--since", "1h"]).await;
    let verified = verified.context("each message of the history is accounted for")?;
    ensure!(verified["stuck"] == 0, "{verified}");
    system.finish().await
}

#[tokio::test]
async fn events_without_an_id_are_two_where_they_differ_in_a_header() -> Result<()> {
    let system = System::builder().start().await?;
    let outsider = system.outsider().await?;
    let received = system.named("received");
    let body = json!({"task": "resize", "payload": {}});
    for subject in ["1", "2", "1"] {
        let message = Message::json(&body).text_header("subject", subject);
        publish(&outsider, &received, "processing.requested", &message).await?;
    }
    let ledger = system.ledger().await?;
    ledger.await_events(2, SOON).await?;
    outsider
        .await_empty(&system.named("validate"), SOON)
        .await?;
    outsider.await_empty(&system.named("store"), SOON).await?;
    ensure!(ledger.events().await? == 2);
    system.finish().await
}

#[tokio::test]
async fn what_is_wrong_beside_a_good_body_can_be_mended() -> Result<()> {
    let system = System::builder().start().await?;
    let (outsider, ledger) = (system.outsider().await?, system.ledger().await?);
    let received = system.named("received");
    let good = |part: &str| Message::json(&signup(part)).message_id(part);
    let in_milliseconds = good("ms").with(|it| it.with_timestamp(1_767_322_245_000));
    let untyped = Message::new(signup("untyped").to_string()).message_id("untyped");
    for (key, message) in [
        ("signup.requested", &in_milliseconds),
        ("signup.requested", &untyped),
        ("signup.request", &good("key")),
    ] {
        publish(&outsider, &received, key, message).await?;
    }
    ledger.await_dead_letters(3, SOON).await?;
    let list = said(&system, &["dead", "list", "--state", "open"]).await?;
    let letter = |part: &str| -> Result<String> {
        let items = list["items"].as_array().context("no items")?;
        let wanted = |it: &&Value| it["error"].as_str().is_some_and(|it| it.contains(part));
        let found = items.iter().find(wanted);
        let id = found.and_then(|it| it["id"].as_str());
        Ok(id.with_context(|| format!("{part} in {list}"))?.to_owned())
    };
    let letters = [
        (letter("time")?, "time=2026-01-02T03:04:05Z"),
        (letter("content type")?, "content_type=application/json"),
        (letter("signup.request\"")?, "routing_key=signup.requested"),
    ];
    for (id, set) in &letters {
        let shown = said(&system, &["dead", "show", id]).await?;
        ensure!(shown["next"].to_string().contains("--set"), "{shown}");
        let nonsense = ["dead", "edit", id, "--set", "type=no.such.type"];
        system.longshore(&nonsense).await?.exit(1)?;
        let edit = ["dead", "edit", id, "--set", set, "--why", "a test"];
        let mended = said(&system, &edit).await?;
        ensure!(mended["saved"] == true, "{mended}");
        let shown = said(&system, &["dead", "show", id]).await?;
        let kept = &shown["edits"][0];
        ensure!(
            kept["why"] == "a test" && kept["envelope"]["routing_key"].is_string(),
            "{shown}"
        );
        system
            .longshore(&["dead", "replay", id, "--yes"])
            .await?
            .success()?;
    }
    ledger.await_events(3, LATER).await?;
    // A header that no stream takes: the broker closes the connection, and the history never has the event.
    let value = AMQPValue::DecimalValue(lapin::types::DecimalValue { scale: 2, value: 5 });
    let priced = good("priced").header("price", value);
    let refused = system.outsider().await?;
    let _ = refused
        .publish(&received, "signup.requested", &priced)
        .await;
    ledger.await_events(4, LATER).await?;
    // None of them is called forged.
    let verify = ["verify", "--since", "1h", "--patience", "2s"];
    let survey = said(&system, &verify).await?;
    ensure!(
        survey["balances"] == true && survey["forged"] == 0,
        "{survey}"
    );
    system.finish().await
}

#[tokio::test]
async fn the_editor_shows_what_can_be_mended_of_a_message_that_is_no_event() -> Result<()> {
    let system = System::builder().start().await?;
    let (outsider, ledger) = (system.outsider().await?, system.ledger().await?);
    let message = Message::json(&signup("form"));
    publish(
        &outsider,
        &system.named("received"),
        "signup.request",
        &message,
    )
    .await?;
    let letters = ledger.await_dead_letters(1, SOON).await?;
    let id = letters[0].dead_letter_id.as_str();
    let edited = system
        .longshore_with(
            &[
                ("VISUAL", ""),
                (
                    "EDITOR",
                    "sed -i 's/^routing_key: .*/routing_key: signup.requested/'",
                ),
            ],
            &["dead", "edit", id],
        )
        .await?;
    ensure!(edited.success()?.contains("signup.requested"), "{edited:?}");
    system
        .longshore(&["dead", "replay", id, "--yes"])
        .await?
        .success()?;
    ledger.await_events(1, SOON).await?;
    system.finish().await
}
