//! No secret is written anywhere.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use serde_json::json;
use testkit::{
    broker::Feed,
    process::Program,
    receiver::{Answer, Receiver, Request},
    system::{Destination, System},
    wait::eventually,
};

use crate::{
    LATER, SOON,
    door::tables_with,
    keys::{Made, await_answer, create, door_with_keys, post},
};

const PASSWORD: &str = "correct-horse-battery-staple";
const OF_URL: &str = "word-of-the-url";
const IN_QUERY: &str = "token-of-the-url";

/// The secrets that a run has used.
struct Secrets {
    shop: Made,
    operator: Made,
}

impl Secrets {
    fn all(&self) -> [&str; 6] {
        [
            self.shop.secret(),
            self.operator.secret(),
            &Destination::SECRET[6..],
            PASSWORD,
            OF_URL,
            IN_QUERY,
        ]
    }

    /// Expects none of them in a text.
    fn expect_none_in(&self, text: &str) -> Result<()> {
        for secret in self.all() {
            ensure!(!text.contains(secret), "a secret is in: {text}");
        }
        Ok(())
    }
}

/// A system that has one receiver which takes everything, and one that takes nothing.
async fn system(takes: &Receiver, refuses: &Receiver) -> Result<System> {
    refuses.always(Answer::status(422));
    let url = refuses.url();
    let host = url.trim_start_matches("http://");
    let refusing = format!("http://longshore:{OF_URL}@{host}?token={IN_QUERY}");
    door_with_keys()
        .destination(Destination::webhook("crm", takes))
        .destination(Destination::at("erp", refusing))
        .start()
        .await
}

#[tokio::test]
async fn no_secret_is_written_anywhere() -> Result<()> {
    let (takes, refuses) = (Receiver::start().await?, Receiver::start().await?);
    let mut system = system(&takes, &refuses).await?;
    let outsider = system.outsider().await?;
    let mut feeds = Vec::new();
    for exchange in ["received", "accepted", "rejected", "stored", "dead"] {
        feeds.push(outsider.listen(&system.named(exchange), "#").await?);
    }
    let scopes = ["events:write", "events:read:all", "metrics"];
    let shop = create(&system, "shop", &scopes).await?;
    let operator = ["--json", "operators", "create", "ada", "--role", "viewer"];
    let operator = Made::read(&system.longshore(&operator).await?.json()?)?;
    let secrets = Secrets { shop, operator };

    let written = run(&mut system, &secrets).await?;
    ensure!(written.iter().all(|text| !text.is_empty()));
    for text in &written {
        secrets.expect_none_in(text)?;
    }
    for secret in secrets.all() {
        let tables = tables_with(&system, secret).await?;
        ensure!(tables.is_empty(), "a secret is in {tables:?}");
    }
    ensure!(messages(&mut feeds, &secrets).await? >= 8, "feeds are read");
    for request in takes.await_count(2, SOON).await? {
        let all = text_of(&request);
        ensure!(!all.contains(PASSWORD), "{all}");
        ensure!(!all.contains(secrets.shop.secret()), "{all}");
    }
    system.finish().await
}

/// Works with every secret, rightly and wrongly; returns what commands, programs and the door have said.
async fn run(system: &mut System, secrets: &Secrets) -> Result<Vec<String>> {
    let (key, client) = (&secrets.shop.key, system.client());
    await_answer(client, key, "first", 202).await?;
    let bearer = format!("Bearer {key}");
    let headers = [
        ("content-type", "application/json"),
        ("authorization", &*bearer),
    ];
    let body = json!({"email": "ada@example.com", "name": "Ada", "password": PASSWORD});
    let answer = client
        .send(Method::POST, "/v1/signups", &headers, body.to_string())
        .await?;
    let id = answer.accepted()?;
    let letter = dead_letter_of(system, &id.to_string()).await?;
    let mut written = vec![answer.text()];
    let wrong = json!({"email": "ada", "name": 1, "password": PASSWORD, "more": PASSWORD});
    let answer = client
        .send(Method::POST, "/v1/signups", &headers, wrong.to_string())
        .await?;
    ensure!(
        answer.status == 422 || answer.status == 400,
        "{}",
        answer.text()
    );
    written.push(answer.text());
    let mistyped = format!("{}x", &key[..47]);
    let answer = post(client, Some(&mistyped), "wrong").await?;
    answer.problem(401)?;
    written.push(answer.text());

    let as_viewer = [("LONGSHORE_OPERATOR_KEY", secrets.operator.key.as_str())];
    let denied = ["keys", "create", "mine", "--scope", "metrics"];
    let denied = system.longshore_with(&as_viewer, &denied).await?;
    denied.exit(1)?;
    ensure!(denied.stderr.contains("needs the role admin"), "{denied:?}");
    written.push(format!("{denied:?}"));
    for arguments in [
        &["--json", "keys", "list"][..],
        &["--json", "operators", "list"],
        &["--json", "audit", "list"],
        &["--json", "doctor"],
        &["doctor", "--grants"],
        &["--json", "dead", "list"],
        &["--json", "dead", "show", &letter],
        &["dead", "show", &letter],
        &["--json", "events", "show", &id.to_string()],
    ] {
        let output = system.longshore(arguments).await?;
        written.push(format!("{output:?}"));
    }
    let metrics = client.send(Method::GET, "/metrics", &headers, "").await?;
    ensure!(metrics.status == 200);
    written.push(metrics.text());
    for program in Program::WORKERS.into_iter().chain([Program::Producer]) {
        written.push(system.process(program, 0)?.output());
    }
    Ok(written)
}

/// The dead letter that a delivery of this event has left.
async fn dead_letter_of(system: &System, event: &str) -> Result<String> {
    eventually(
        LATER,
        "the refused delivery to be a dead letter",
        || async {
            let list = system
                .longshore(&["--json", "dead", "list"])
                .await?
                .json()?;
            let letters = list["items"].as_array().context("a list")?;
            let mut of_event = letters.iter().filter(|letter| letter["event"] == event);
            let letter = of_event.next().context("none of this event yet")?;
            Ok(letter["id"].as_str().context("an id")?.to_owned())
        },
    )
    .await
}

/// Expects no secret in the messages of the broker; returns how many there were.
async fn messages(feeds: &mut [Feed], secrets: &Secrets) -> Result<usize> {
    let mut count = 0;
    for feed in feeds {
        while let Ok(message) = feed.next(Duration::from_millis(200)).await {
            count += 1;
            let body = String::from_utf8_lossy(&message.body);
            secrets.expect_none_in(&format!("{:?} {body}", message.properties))?;
        }
    }
    Ok(count)
}

fn text_of(request: &Request) -> String {
    let body = String::from_utf8_lossy(&request.body);
    format!("{:?} {body}", request.headers)
}
