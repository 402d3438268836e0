//! Events and other messages, at both doors, over the real wire.

use std::io::Read as _;

use anyhow::{Context, Result, ensure};
use lapin::types::AMQPValue;
use serde_json::{Value, json};
use testkit::{
    broker::{Message, Outsider, Published},
    load::{signup, signup_event},
    process::Program,
    receiver::Receiver,
    scratch::Scratch,
    system::{Destination, System},
};

use crate::SOON;

const SECRET: &str = "Tr0ub4dor-and-3-horses";

async fn publish(system: &System, outsider: &Outsider, key: &str, message: &Message) -> Result<()> {
    let published = outsider
        .publish(&system.named("received"), key, message)
        .await?;
    ensure!(published == Published::Routed, "{published:?}");
    Ok(())
}

/// A binary event as the Python SDK's binding for RabbitMQ writes it.
fn binary(prefix: &str, id: &str, kind: &str, body: &str) -> Message {
    [
        ("specversion", "1.0"),
        ("id", id),
        ("type", kind),
        ("source", "/e2e"),
        ("time", "2026-01-02T03:04:05Z"),
    ]
    .into_iter()
    .fold(Message::new(body), |message, (name, value)| {
        message.text_header(&format!("{prefix}{name}"), value)
    })
}

const TYPES: &str = r#"
[[type]]
name = "note.added"
schema = { type = ["string", "null", "object"] }
[[type]]
name = "thing.seen"
schema_file = "thing.json"
"#;

/// Everything that the database keeps of refused messages.
async fn kept(system: &System) -> Result<String> {
    let ledger = system.ledger().await?;
    let mut rows: Vec<String> =
        sqlx::query_scalar("select dead_letters::text || encode(body, 'escape') from dead_letters")
            .fetch_all(ledger.pool())
            .await?;
    let rejections: Vec<String> =
        sqlx::query_scalar("select rejections::text || encode(body, 'escape') from rejections")
            .fetch_all(ledger.pool())
            .await?;
    rows.extend(rejections);
    Ok(rows.join("\n"))
}

#[tokio::test]
async fn headers_of_every_binding_make_events_of_their_own() -> Result<()> {
    let receiver = Receiver::start().await?;
    let system = System::builder()
        .destination(Destination::webhook("crm", &receiver))
        .start()
        .await?;
    let (outsider, ledger) = (system.outsider().await?, system.ledger().await?);
    let data = json!({"task": "t", "payload": {"same": true}}).to_string();
    let prefixes = ["ce-", "ce_", "cloudEvents:", "cloudEvents_", "Ce-"];
    for prefix in prefixes {
        let message = binary(prefix, prefix, "processing.requested", &data)
            .content_type("application/json")
            .header(&format!("{prefix}count"), AMQPValue::LongInt(7));
        publish(&system, &outsider, "processing.requested", &message).await?;
    }
    ledger.await_events(5, SOON).await?;
    receiver.await_successes(5, SOON).await?;
    for request in receiver.requests() {
        let event = request.json()?;
        ensure!(event["source"] == "/e2e" && event["count"] == 7, "{event}");
        ensure!(event["time"] == "2026-01-02T03:04:05Z", "{event}");
    }
    system.finish().await
}

#[tokio::test]
async fn data_of_every_kind_arrives_as_it_was_sent() -> Result<()> {
    let receiver = Receiver::start().await?;
    let folder = Scratch::new()?;
    let schema = folder.path().join("thing.json");
    std::fs::write(&schema, r#"{"type": ["string", "null"], "default": null}"#)?;
    let types = TYPES.replace("thing.json", &schema.display().to_string());
    let system = System::builder()
        .config(&types)
        .destination(Destination::webhook("crm", &receiver).types(["#"]))
        .start()
        .await?;
    let (outsider, ledger) = (system.outsider().await?, system.ledger().await?);
    let send = async |id: &str, kind: &str, content_type: &str, body: &str| {
        let message = binary("ce-", id, kind, body).content_type(content_type);
        publish(&system, &outsider, kind, &message).await
    };
    send("text", "note.added", "text/plain", "grüße\r\n\"").await?;
    send("bytes", "note.added", "application/octet-stream", "\0\u{1}").await?;
    send("none", "thing.seen", "application/json", "").await?;
    send("null", "thing.seen", "application/json", "null").await?;
    let mut over_http = signup_event("http-null");
    over_http["type"] = "thing.seen".into();
    over_http["data"] = Value::Null;
    system.client().event(&over_http).await?;
    ledger.await_events(5, SOON).await?;
    receiver.await_successes(5, SOON).await?;
    let delivered: Vec<Value> = receiver
        .requests()
        .iter()
        .map(testkit::receiver::Request::json)
        .collect::<Result<_>>()?;
    let of = |id: &str| {
        let found = delivered.iter().find(|event| event["id"] == id);
        found.and_then(Value::as_object).context("not delivered")
    };
    ensure!(of("text")?["data"] == "grüße\r\n\"");
    ensure!(of("bytes")?["data_base64"] == "AAE=");
    ensure!(!of("none")?.contains_key("data"));
    ensure!(of("null")?.get("data") == Some(&Value::Null));
    ensure!(of("http-null")?.get("data") == Some(&Value::Null));
    system.finish().await
}

#[tokio::test]
async fn what_one_door_refuses_the_other_refuses() -> Result<()> {
    let system = System::builder().start().await?;
    let (outsider, ledger) = (system.outsider().await?, system.ledger().await?);
    let event = |rest: &str, data: &str| {
        format!(
            r#"{{"specversion":"1.0","id":"{}","source":"/e2e","type":"processing.requested"{rest},"data":{data}}}"#,
            uuid::Uuid::new_v4()
        )
    };
    let good = r#"{"task":"t","payload":{}}"#;
    let media = "application/cloudevents+json";
    let dead = [
        event(r#","ext":1.5"#, good),
        event(r#","id":"twice""#, good),
        event("", r#"{"task":"t","payload":{"a":{"b":1,"b":2}}}"#),
        event("", r#"{"task":"t","payload":{"n":1e400}}"#),
        event("", r#"{"task":"t","payload":{"n":"\ud800"}}"#),
        event(
            "",
            &format!(
                r#"{{"task":"t","payload":{{"n":{}1{}}}}}"#,
                "[".repeat(126),
                "]".repeat(126)
            ),
        ),
        format!("\u{feff}{}", event("", good)),
    ];
    let rejected = [
        event("", r#"{"task":"t","payload":{"n":"\u0000"}}"#),
        event("", r#"{"task":"t","payload":{"a":[{"Api-Key":"x"}]}}"#),
        event(r#","datacontenttype":"text/plain""#, "\"text\""),
    ];
    for body in dead.iter().chain(&rejected) {
        let answer = system
            .client()
            .post("/v1/events", media, body.clone())
            .await?;
        ensure!((400..500).contains(&answer.status), "{body}: {answer:?}");
        let message = Message::new(body.clone()).content_type(media);
        publish(&system, &outsider, "processing.requested", &message).await?;
    }
    ledger.await_dead_letters(dead.len(), SOON).await?;
    ledger.await_rejections(rejected.len(), SOON).await?;
    ensure!(ledger.events().await? == 0);
    system.finish().await
}

#[tokio::test]
async fn no_secret_of_a_refused_message_is_kept() -> Result<()> {
    let system = System::builder().start().await?;
    let (outsider, ledger) = (system.outsider().await?, system.ledger().await?);
    let mut inside = signup("inside");
    inside["attributes"] = json!({"login": [{"passWord": SECRET}]});
    let json = "application/json";
    let whole = json!({"email": "a@b.example", "password": SECRET}).to_string();
    let nested = json!({"note": json!({"password": SECRET}).to_string()}).to_string();
    for (key, message) in [
        (
            "signup.request",
            Message::new(whole.clone()).content_type(json),
        ),
        ("signup.request", Message::new(nested).content_type(json)),
        (
            "signup.requested",
            Message::new(whole.replace('}', ",}")).content_type(json),
        ),
        (
            "signup.requested",
            Message::new(&whole[..whole.len() - 4]).content_type(json),
        ),
        (
            "signup.requested",
            Message::new(format!("a=1&password={SECRET}"))
                .content_type("application/x-www-form-urlencoded"),
        ),
        (
            "signup.requested",
            Message::new("{")
                .content_type(json)
                .text_header("Authorization", SECRET),
        ),
        (
            "signup.request",
            Message::json(&json!([{"name": "password", "value": SECRET}])),
        ),
        (
            "signup.request",
            Message::json(&json!({"kept": "a@b.example"}))
                .message_id(&format!("password={SECRET}"))
                .app_id(&format!("https://u:{SECRET}@h/")),
        ),
        (
            &format!("token={SECRET}"),
            Message::new(packed(&whole)).content_type(json),
        ),
        ("signup.requested", Message::json(&inside)),
        (
            "processing.requested",
            Message::json(&json!({"task": "t", "payload": {"token": SECRET}})),
        ),
    ] {
        publish(&system, &outsider, key, &message).await?;
    }
    ledger.await_dead_letters(9, SOON).await?;
    ledger.await_rejections(2, SOON).await?;
    let packed: Vec<u8> =
        sqlx::query_scalar("select body from dead_letters where routing_key like 'token%'")
            .fetch_one(ledger.pool())
            .await?;
    let mut unpacked = String::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut unpacked)?;
    ensure!(unpacked == whole.replace(SECRET, "***"), "{unpacked}");
    let kept = kept(&system).await?;
    ensure!(!kept.contains("Tr0ub4dor"), "kept in the clear: {kept}");
    ensure!(kept.contains("a@b.example"), "masked too much: {kept}");
    for (path, body) in [
        ("/v1/signups", inside),
        (
            "/v1/processing",
            json!({"task": "t", "payload": {"x": {"client_secret": SECRET}}}),
        ),
    ] {
        let answer = system.client().post(path, json, body.to_string()).await?;
        let problem = answer.problem(422)?;
        ensure!(problem["code"] == "plaintext_password", "{problem}");
    }
    ensure!(ledger.events().await? == 0);
    system.finish().await
}

fn packed(text: &str) -> Vec<u8> {
    let mut packed = Vec::new();
    let mut packer = flate2::read::GzEncoder::new(text.as_bytes(), flate2::Compression::fast());
    // Reading from memory cannot fail.
    let _ = packer.read_to_end(&mut packed);
    packed
}

#[tokio::test]
async fn what_validation_never_saw_is_masked_if_it_would_be_refused() -> Result<()> {
    let mut system = System::builder().start().await?;
    system.terminate(Program::Validate, 0, SOON).await?;
    let (outsider, ledger) = (system.outsider().await?, system.ledger().await?);
    let mut refused = signup("refused");
    refused["password"] = SECRET.into();
    let mut good = signup("good");
    good["name"] = format!("password: {SECRET}").into();
    for body in [&refused, &good] {
        let message = Message::json(body).with(|it| it.with_expiration("1".into()));
        publish(&system, &outsider, "signup.requested", &message).await?;
    }
    ledger.await_dead_letters(2, SOON).await?;
    let bodies: Vec<Vec<u8>> = sqlx::query_scalar("select body from dead_letters")
        .fetch_all(ledger.pool())
        .await?;
    let mut bodies: Vec<Value> = bodies
        .iter()
        .map(|body| serde_json::from_slice(body))
        .collect::<Result<_, _>>()?;
    bodies.sort_by_key(|body| body["email"] == refused["email"]);
    refused["password"] = "***".into();
    ensure!(bodies == [good, refused], "{bodies:?}");
    system.finish().await
}

#[tokio::test]
async fn a_reason_names_what_it_saw() -> Result<()> {
    let system = System::builder().start().await?;
    let (outsider, ledger) = (system.outsider().await?, system.ledger().await?);
    let celery =
        json!([[2, 3], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]);
    let celery = Message::json(&celery)
        .text_header("lang", "py")
        .text_header("task", "shop.add")
        .text_header("id", "7f3a");
    publish(&system, &outsider, "celery", &celery).await?;
    let zlib = [
        &b"\x78\x9c\xab\x56\x4a\x4c\x4c\x52\xb2\x52\x50\x32"[..],
        b"\x04\x00",
    ]
    .concat();
    let zlib = Message::new(zlib)
        .content_type("application/json")
        .text_header("compression", "application/x-gzip");
    publish(&system, &outsider, "signup.requested", &zlib).await?;
    ledger.await_dead_letters(2, SOON).await?;
    let errors: Vec<String> =
        sqlx::query_scalar("select error from dead_letters order by reason desc")
            .fetch_all(ledger.pool())
            .await?;
    ensure!(errors[0].contains("a Celery task"), "{errors:?}");
    ensure!(
        errors[1].contains("zlib-compressed data") && errors[1].contains("uncompressed"),
        "{errors:?}"
    );
    system.finish().await
}

#[tokio::test]
async fn spellings_of_one_address_are_one_signup() -> Result<()> {
    let system = System::builder().start().await?;
    let (client, ledger) = (system.client(), system.ledger().await?);
    let with = |email: &str| {
        let mut body = signup("email");
        body["email"] = email.into();
        body
    };
    for bad in ["a@[]", "a@exa=mple.com", "a@1"] {
        let answer = client
            .post("/v1/signups", "application/json", with(bad).to_string())
            .await?;
        answer.problem(422)?;
    }
    let namaste = client.signup(&with("नमस्ते@example.com")).await?;
    let first = client.signup(&with("josé@bücher.example")).await?;
    ledger.all_completed(&[namaste, first], SOON).await?;
    for same in [
        "jose\u{301}@BÜCHER.example",
        "\"josé\"@xn--bcher-kva.example",
        "ｊｏｓé@bücher.example",
    ] {
        let id = client.signup(&with(same)).await?;
        let status = client.await_status(id, "rejected", SOON).await?;
        ensure!(status.reason_code() == "email_taken", "{same}: {status:?}");
    }
    system.finish().await
}

#[tokio::test]
async fn a_configured_type_may_have_a_token() -> Result<()> {
    let system = System::builder()
        .config("[[type]]\nname = \"device.added\"\nschema = true\n")
        .start()
        .await?;
    let (outsider, ledger) = (system.outsider().await?, system.ledger().await?);
    let message = Message::json(&json!({"token": SECRET}))
        .message_id("1")
        .app_id("/e2e");
    publish(&system, &outsider, "device.added", &message).await?;
    ledger.await_events(1, SOON).await?;
    let body: String = sqlx::query_scalar("select body::text from events")
        .fetch_one(ledger.pool())
        .await?;
    ensure!(body.contains(SECRET), "{body}");
    system.finish().await
}
