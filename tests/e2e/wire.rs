//! Messages that RabbitMQ passes on although no library can read them, that are too large for one, or that lost a type
//! on the way; and a broker with a small frame.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sqlx::Row as _;
use testkit::{
    load::signup,
    private::rabbit::PrivateRabbit,
    process::Program,
    raw::{RawProperties, RawPublisher},
    receiver::Receiver,
    services::Services,
    system::{Destination, System},
};

use crate::{LATER, SOON};

/// Maximum time of a step that once stood still for minutes, on a machine that runs many tests at
/// once.
const AT_ONCE: Duration = Duration::from_secs(10);
/// How often each odd message is sent.
const ROUNDS: usize = 20;

/// Odd messages: properties, routing key, and the text of their letter.
pub fn odd() -> Vec<(RawProperties, &'static [u8], &'static str)> {
    let plain = || RawProperties::new().content_type("application/json");
    let key: &[u8] = b"signup.requested";
    let uuid = b"\x01\x90\xa1\xb2\xff\xfe\x70\x00\x80\x00\x00\x00\x00\x00\x00\x01";
    vec![
        (
            plain().app_id([0xe9]),
            key,
            "app_id: expected UTF-8, found the bytes 6Q== (base64)",
        ),
        (
            plain().message_id(uuid),
            key,
            "message_id: expected UTF-8, found the bytes AZChsv/+cACAAAAAAAAAAQ== (base64)",
        ),
        (
            plain().text_header("big", vec![b'x'; 130_900]),
            key,
            "expected at most 100000 bytes",
        ),
        (
            plain().text_header([0xff, 0xfe], "value"),
            key,
            "a header's name: expected UTF-8",
        ),
        (
            plain().deep_header("deep", 1000),
            key,
            "nested at most 32 deep",
        ),
        (plain(), b"signup.\xff", "routing key: expected UTF-8"),
        (
            RawProperties::new()
                .content_type([0x80; 255])
                .correlation_id([0x80; 255])
                .reply_to([0x80; 255])
                .kind([0x80; 255])
                .cluster_id([0x80; 255]),
            key,
            "cluster_id: expected UTF-8",
        ),
    ]
}

#[tokio::test]
async fn what_no_library_can_read_becomes_a_letter_and_harms_nobody() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut system = System::builder()
        .destination(Destination::webhook("crm", &receiver))
        .start()
        .await?;
    let ledger = system.ledger().await?;
    let first = system.client().signup(&signup("before")).await?;
    ledger.all_completed(&[first], LATER).await?;

    let mut publisher = RawPublisher::connect(&Services::shared().broker_url).await?;
    let received = system.named("received");
    let kinds = odd();
    for round in 0..ROUNDS {
        for (number, (properties, key, _)) in kinds.iter().enumerate() {
            let body = format!("{{\"n\":\"{round}-{number}\"}}");
            publisher
                .send(&received, key, properties, body.as_bytes())
                .await?;
        }
    }
    publisher.confirmed().await?;
    let neighbour = system.client().signup(&signup("behind")).await?;
    let began = Instant::now();
    ledger.all_completed(&[neighbour], AT_ONCE).await?;
    let count = ROUNDS * kinds.len();
    ledger.await_dead_letters(count, SOON).await?;
    println!(
        "{count} odd messages were put away {:?} later",
        began.elapsed()
    );

    let letters =
        sqlx::query("select reason, error, convert_from(body, 'UTF8') as body from dead_letters")
            .fetch_all(ledger.pool())
            .await?;
    for letter in letters {
        let (reason, error): (String, String) = (letter.get("reason"), letter.get("error"));
        ensure!(reason == "undecodable", "{reason}: {error}");
        let body: String = letter.get("body");
        let number = body
            .trim_matches(['}', '"'])
            .rsplit('-')
            .next()
            .unwrap_or_default();
        let (_, _, says) = kinds
            .get(number.parse::<usize>()?)
            .context("a kind of its own")?;
        ensure!(error.contains(says), "expected {says:?}, found {error:?}");
    }
    let verify = ["verify", "--since", "1h", "--grace", "0s", "--json"];
    let balance = system.longshore(&verify).await?.json()?;
    ensure!(balance["balances"] == true, "{balance}");
    ensure!(balance["dead"] == u64::try_from(count)?, "{balance}");
    for program in [Program::Validate, Program::Archive] {
        let log = system.process(program, 0)?.output();
        ensure!(!log.contains("lost the"), "{program} lost a link: {log}");
    }
    system.finish().await
}

#[tokio::test]
async fn what_no_library_can_read_is_put_away_at_every_queue() -> Result<()> {
    let receiver = Receiver::start().await?;
    let system = System::builder()
        .destination(Destination::webhook("crm", &receiver))
        .start()
        .await?;
    let ledger = system.ledger().await?;
    let mut publisher = RawPublisher::connect(&Services::shared().broker_url).await?;
    let queues = [
        "validate",
        "store",
        "integrate.crm",
        "rejected",
        "dead",
        "store.suspect",
    ];
    for queue in queues {
        let properties = RawProperties::new().app_id([0xe9]);
        let body = format!("{{\"q\":\"{queue}\"}}");
        publisher
            .publish("", system.named(queue), &properties, body.as_bytes())
            .await?;
    }
    let letters = ledger.await_dead_letters(queues.len(), SOON).await?;
    for queue in queues {
        let queue = system.named(queue);
        let queue = queue.trim_end_matches(".suspect");
        ensure!(
            letters
                .iter()
                .any(|letter| letter.queue == queue && letter.reason == "undecodable"),
            "{queue}: {letters:?}"
        );
    }
    ensure!(receiver.count() == 0, "nothing of it was delivered");
    system.finish().await
}

#[tokio::test]
async fn a_replay_is_the_message_that_came() -> Result<()> {
    let receiver = Receiver::start().await?;
    let system = System::builder()
        .destination(Destination::webhook("crm", &receiver))
        .start()
        .await?;
    let ledger = system.ledger().await?;
    let mut publisher = RawPublisher::connect(&Services::shared().broker_url).await?;
    let properties = RawProperties::new()
        .content_type("application/json")
        .content_encoding("identity")
        .correlation_id("c-1")
        .reply_to("theirs")
        .expiration("600000")
        .priority(3)
        .cluster_id("east")
        .text_header("cloudEvents:specversion", "1.0")
        .text_header("cloudEvents:id", "1")
        .text_header("cloudEvents:source", "/shop")
        .text_header("cloudEvents:type", "not.configured")
        .header("cloudEvents:time", b'T', 1_767_322_245_u64.to_be_bytes())
        .header("small", b'I', 7_i32.to_be_bytes());
    publisher
        .publish(&system.named("received"), "any", &properties, b"{\"n\":1}")
        .await?;
    let letters = ledger.await_dead_letters(1, SOON).await?;
    let replay = [
        "dead",
        "replay",
        letters[0].dead_letter_id.as_str(),
        "--yes",
    ];
    system.longshore(&replay).await?.success()?;
    ledger.await_dead_letters(2, SOON).await?;
    let letters: Vec<(String, Value, Value)> =
        sqlx::query_as("select reason, properties, headers from dead_letters")
            .fetch_all(ledger.pool())
            .await?;
    for (reason, properties, headers) in &letters {
        ensure!(reason == "unknown_type", "{reason}");
        for (property, value) in [
            ("content_encoding", "identity"),
            ("correlation_id", "c-1"),
            ("reply_to", "theirs"),
            ("expiration", "600000"),
            ("cluster_id", "east"),
        ] {
            ensure!(properties[property] == value, "{property}: {properties}");
        }
        ensure!(properties["priority"] == 3, "{properties}");
        let types = &properties["header_types"];
        ensure!(types["/cloudEvents:time"] == "timestamp", "{properties}");
        ensure!(types["/small"] == "int32", "{properties}");
        ensure!(headers["cloudEvents:time"] == 1_767_322_245, "{headers}");
        ensure!(headers["small"] == 7, "{headers}");
    }
    system.finish().await
}

#[tokio::test]
async fn a_small_frame_bounds_what_is_published() -> Result<()> {
    let receiver = Receiver::start().await?;
    let shared = Services::shared();
    let mut system = System::builder()
        .told(Services {
            broker_url: format!("{}?frame_max=8192", shared.broker_url),
            ..shared.clone()
        })
        .destination(Destination::webhook("crm", &receiver))
        .start()
        .await?;
    let ledger = system.ledger().await?;
    let mut publisher = RawPublisher::connect(&shared.broker_url).await?;
    let received = system.named("received");
    for number in 0..5 {
        let properties = RawProperties::new()
            .text_header("theirs", vec![b'x'; 7900])
            .text_header("small", "stays");
        publisher
            .publish(
                &received,
                "any",
                &properties,
                format!("bad {number}").as_bytes(),
            )
            .await?;
    }
    let neighbour = system.client().signup(&signup("neighbour")).await?;
    ledger.all_completed(&[neighbour], AT_ONCE).await?;
    ledger.await_dead_letters(5, SOON).await?;
    let headers: Vec<(Value,)> = sqlx::query_as("select headers from dead_letters")
        .fetch_all(ledger.pool())
        .await?;
    for (headers,) in &headers {
        ensure!(headers["small"] == "stays", "{headers}");
        let note = headers["longshore-note"].as_str().unwrap_or_default();
        ensure!(note.contains("\"theirs\""), "{headers}");
    }
    for program in [Program::Validate, Program::Archive] {
        let log = system.process(program, 0)?.output();
        ensure!(!log.contains("lost the"), "{program} lost a link: {log}");
    }
    system.finish().await
}

#[tokio::test]
async fn a_private_broker_without_the_right_to_declare_is_enough() -> Result<()> {
    let (rabbit, receiver) = (PrivateRabbit::start().await?, Receiver::start().await?);
    let mut system = System::builder()
        .services(Services {
            broker_url: rabbit.url(),
            ..Services::shared()
        })
        .destination(Destination::webhook("crm", &receiver))
        .start()
        .await?;
    rabbit
        .control(&["set_permissions", "guest", "^$", ".*", ".*"])
        .await?;
    for program in [Program::Producer].into_iter().chain(Program::WORKERS) {
        system.terminate(program, 0, SOON).await?;
        system.start_again(program, 0).await?;
    }
    let ledger = system.ledger().await?;
    let id = system.client().signup(&signup("limited")).await?;
    ledger.all_completed(&[id], SOON).await?;
    let log = system.process(Program::Validate, 0)?.output();
    let warnings = log.matches("may not declare everything").count();
    ensure!(warnings == 1, "{warnings} warnings: {log}");
    system.longshore(&["topology", "apply"]).await?.success()?;
    // A missing part is an error that names it. No program is left to declare it meanwhile.
    for program in [Program::Producer].into_iter().chain(Program::WORKERS) {
        system.terminate(program, 0, SOON).await?;
    }
    let outsider = system.outsider().await?;
    rabbit
        .control(&["set_permissions", "guest", ".*", ".*", ".*"])
        .await?;
    outsider.delete_queue(&system.named("rejected")).await?;
    rabbit
        .control(&["set_permissions", "guest", "^$", ".*", ".*"])
        .await?;
    let missing = system.longshore(&["topology", "apply"]).await?;
    ensure!(
        missing.code != Some(0) && missing.stderr.contains("rejected"),
        "{missing:?}"
    );
    system.finish().await
}

#[tokio::test]
async fn a_private_broker_that_refused_for_long_is_used_again_at_once() -> Result<()> {
    let (rabbit, receiver) = (PrivateRabbit::start().await?, Receiver::start().await?);
    let mut system = System::builder()
        .services(Services {
            broker_url: rabbit.url(),
            ..Services::shared()
        })
        .destination(Destination::webhook("crm", &receiver))
        .start()
        .await?;
    let ledger = system.ledger().await?;
    system.kill(Program::Store, 0).await?;
    let policy = r#"{"max-length":2,"overflow":"reject-publish"}"#;
    rabbit
        .control(&[
            "set_policy",
            "small",
            r"\.store$",
            policy,
            "--apply-to",
            "queues",
        ])
        .await?;
    let mut ids = Vec::new();
    for number in 0..40 {
        ids.push(
            system
                .client()
                .signup(&signup(&format!("{number}")))
                .await?,
        );
    }
    let validate = system.process(Program::Validate, 0)?;
    testkit::wait::eventually(SOON, "validate to be refused", || async {
        ensure!(validate.output().contains("did not take"), "not yet");
        Ok(())
    })
    .await?;
    // Longer than a refused channel is used.
    tokio::time::sleep(Duration::from_secs(8)).await;
    rabbit.control(&["clear_policy", "small"]).await?;
    system.start_again(Program::Store, 0).await?;
    ledger.all_completed(&ids, SOON).await?;
    system.finish().await
}
