//! A door that takes the tokens of issuers, with the whole system behind it.

use anyhow::{Result, ensure};
use reqwest::Method;
use testkit::{
    client::{Answer, Client},
    load::signup,
    process::Program,
    receiver::{Answer as Reply, Receiver},
    system::{Destination, System},
    tokens::{SigningKey, claims, key_set},
    wait::eventually,
};

use crate::{LATER, SOON, door::tables_with};

/// An issuer: a key, and a server that gives the key set.
struct Issuer {
    name: &'static str,
    key: SigningKey,
    server: Receiver,
}

impl Issuer {
    async fn start(name: &'static str) -> Result<Self> {
        let key = SigningKey::ed25519("first")?;
        let server = Receiver::start().await?;
        server.always(Reply::status(200).body(key_set(&[&key]).to_string()));
        Ok(Self { name, key, server })
    }

    fn section(&self) -> String {
        let (name, url) = (self.name, self.server.url());
        format!(
            "[[issuer]]\nname = {name:?}\nissuer = \"https://{name}.example.com/\"\naudience = \"longshore\"\n\
             jwks = {url:?}\nscope_claim = \"scope\"\n"
        )
    }

    fn token(&self, caller: &str, scope: &str) -> Result<String> {
        let issuer = format!("https://{}.example.com/", self.name);
        self.key.token(&claims(&issuer, "longshore", caller, scope))
    }
}

async fn post(client: &Client, bearer: &str, name: &str) -> Result<Answer> {
    let shown = format!("Bearer {bearer}");
    let headers = [
        ("content-type", "application/json"),
        ("authorization", &*shown),
    ];
    let body = signup(name).to_string();
    client
        .send(Method::POST, "/v1/signups", &headers, body)
        .await
}

async fn status(client: &Client, bearer: &str, id: &str) -> Result<Answer> {
    let shown = format!("Bearer {bearer}");
    let path = format!("/v1/events/{id}");
    client
        .send(Method::GET, &path, &[("authorization", &shown)], "")
        .await
}

#[tokio::test]
async fn the_event_of_a_token_is_delivered_and_seen_by_its_caller_alone() -> Result<()> {
    const SCOPES: &str = "openid events:write:signup.* events:read";
    let (one, two) = (Issuer::start("one").await?, Issuer::start("two").await?);
    let receiver = Receiver::start().await?;
    let mut system = System::builder()
        .env_of(Program::Producer, "LONGSHORE__AUTH__DOOR", "keys")
        .env_of(Program::Producer, "LONGSHORE_LOG", "info,producer=debug")
        .config(&one.section())
        .config(&two.section())
        .destination(Destination::webhook("crm", &receiver))
        .start()
        .await?;
    let client = system.client();
    let token = one.token("web", SCOPES)?;
    let accepted = eventually(SOON, "the door to have the keys of its issuers", || async {
        post(client, &token, "ada").await?.accepted()
    })
    .await?;
    let id = accepted.to_string();
    eventually(SOON, "the event to be delivered", || async {
        let answer = status(client, &token, &id).await?;
        ensure!(answer.json()?["status"] == "completed", "{}", answer.text());
        Ok(())
    })
    .await?;
    receiver.await_successes(1, LATER).await?;

    // A key of the same name, a caller of the same name at another issuer, and another caller of the same issuer.
    let create = ["--json", "keys", "create", "web", "--scope", "events:read"];
    let key = system.longshore(&create).await?.json()?;
    let key = key["key"].as_str().unwrap_or_default();
    eventually(SOON, "the door to have the key", || async {
        status(client, key, &id).await?.problem(404).map(|_| ())
    })
    .await?;
    for other in [two.token("web", SCOPES)?, one.token("app", SCOPES)?] {
        // Each issuer's keys come by themselves.
        let problem = eventually(SOON, "the door to know the caller", || async {
            status(client, &other, &id).await?.problem(404)
        })
        .await?;
        ensure!(problem["code"] == "unknown_event");
    }
    let collides = ["keys", "create", "one/web", "--scope", "events:read"];
    system.longshore(&collides).await?.exit(2)?;
    let unscoped = post(client, &one.token("web", "openid")?, "bob").await?;
    ensure!(unscoped.problem(403)?["code"] == "forbidden");
    ensure!(unscoped.text().contains("events:write"));
    let stranger = SigningKey::ed25519("first")?;
    let forged = stranger.token(&claims(
        "https://one.example.com/",
        "longshore",
        "web",
        SCOPES,
    ))?;
    let forged = post(client, &forged, "eve").await?;
    ensure!(forged.problem(401)?["code"] == "unauthenticated");

    let signature = token.rsplit('.').next().unwrap_or_default();
    let producer = system.process(Program::Producer, 0)?;
    for told in ["one/web", "expected the signature of the issuer"] {
        // A line is written behind its answer.
        eventually(SOON, "the caller and the refusal in the log", || async {
            let log = producer.output();
            ensure!(log.contains(told), "no {told} is in {log}");
            Ok(())
        })
        .await?;
    }
    for program in [Program::Producer, Program::Validate, Program::Store] {
        let output = system.process(program, 0)?.output();
        ensure!(
            !output.is_empty() && !output.contains(signature),
            "{output}"
        );
    }
    let tables = tables_with(&system, signature).await?;
    ensure!(tables.is_empty(), "a token is in {tables:?}");
    system.finish().await
}
