//! A door that asks for keys, with the whole system behind it: keys open it, and changes reach it at once.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::Value;
use testkit::{
    client::{Answer, Client},
    load::signup,
    process::Program,
    proxy::Proxy,
    services::Services,
    system::{Builder, System},
    wait::eventually,
};

use crate::SOON;

/// A change of keys has to be at the door by then. The contract says a second; the machine of a test is busy.
const AT_THE_DOOR: Duration = Duration::from_secs(5);

pub fn door_with_keys() -> Builder {
    System::builder().env_of(Program::Producer, "LONGSHORE__AUTH__DOOR", "keys")
}

/// A key that the command line has made.
pub struct Made {
    pub id: String,
    pub key: String,
}

impl Made {
    pub fn read(document: &Value) -> Result<Self> {
        let text = |name: &str| document[name].as_str().map(str::to_owned);
        Ok(Self {
            id: text("id").context("a key has an id")?,
            key: text("key").context("a new key is shown")?,
        })
    }

    /// The secret part.
    pub fn secret(&self) -> &str {
        &self.key[12..]
    }
}

pub async fn create(system: &System, name: &str, scopes: &[&str]) -> Result<Made> {
    let mut arguments = vec!["--json", "keys", "create", name];
    for scope in scopes {
        arguments.extend(["--scope", scope]);
    }
    Made::read(&system.longshore(&arguments).await?.json()?)
}

pub async fn post(client: &Client, key: Option<&str>, name: &str) -> Result<Answer> {
    let shown = key.map(|key| format!("Bearer {key}"));
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(shown.iter().map(|it| ("authorization", it.as_str())));
    let body = signup(name).to_string();
    client
        .send(Method::POST, "/v1/signups", &headers, body)
        .await
}

async fn status(client: &Client, key: &str, id: &str) -> Result<Answer> {
    let shown = format!("Bearer {key}");
    let path = format!("/v1/events/{id}");
    client
        .send(Method::GET, &path, &[("authorization", &shown)], "")
        .await
}

/// Waits until the door answers to a key with this status.
pub async fn await_answer(
    client: &Client,
    key: &str,
    name: &str,
    expected: u16,
) -> Result<Duration> {
    let begun = Instant::now();
    eventually(AT_THE_DOOR, "the door to follow its keys", || async {
        let found = post(client, Some(key), name).await?.status;
        ensure!(found == expected, "expected {expected}, found {found}");
        Ok(())
    })
    .await?;
    Ok(begun.elapsed())
}

#[tokio::test]
async fn keys_open_the_door_rotate_and_end_within_moments() -> Result<()> {
    let system = door_with_keys().start().await?;
    let client = system.client();
    let refused = post(client, None, "nobody").await?;
    ensure!(refused.problem(401)?["code"] == "unauthenticated");
    ensure!(refused.header("www-authenticate") == "Bearer realm=\"longshore\"");

    let shop = create(&system, "shop", &["events:write:signup.*", "events:read"]).await?;
    let crm = create(&system, "crm", &["events:write:order.*", "events:read"]).await?;
    await_answer(client, &shop.key, "first", 202).await?;
    let accepted = post(client, Some(&shop.key), "second").await?.accepted()?;
    let id = accepted.to_string();
    eventually(SOON, "the event to be seen by who has sent it", || async {
        let answer = status(client, &shop.key, &id).await?;
        ensure!(answer.json()?["status"] == "completed", "{}", answer.text());
        Ok(())
    })
    .await?;
    // Another caller may not send such events, and sees nothing of it.
    await_answer(client, &crm.key, "third", 403).await?;
    let forbidden = post(client, Some(&crm.key), "third").await?;
    ensure!(forbidden.problem(403)?["code"] == "forbidden");
    ensure!(forbidden.text().contains("events:write:signup.requested"));
    status(client, &crm.key, &id).await?.problem(404)?;

    // Both keys open the door while the old one goes on.
    let rotate = ["--json", "keys", "rotate", &shop.id, "--overlap", "1h"];
    let rotated = Made::read(&system.longshore(&rotate).await?.json()?)?;
    await_answer(client, &rotated.key, "fourth", 202).await?;
    await_answer(client, &shop.key, "fifth", 202).await?;

    let revoke = ["keys", "revoke", &shop.id, "--why", "leaked"];
    system.longshore(&revoke).await?.exit(2)?;
    let revoke = [
        "--json", "keys", "revoke", &shop.id, "--why", "leaked", "--yes",
    ];
    let revoked = system.longshore(&revoke).await?.json()?;
    ensure!(revoked["state"] == "revoked" && revoked["revoked_why"] == "leaked");
    await_answer(client, &shop.key, "sixth", 401).await?;
    await_answer(client, &rotated.key, "seventh", 202).await?;
    // Keys of one name are one caller.
    ensure!(status(client, &rotated.key, &id).await?.status == 200);

    let check = system.longshore(&["keys", "check", &shop.key]).await?;
    check.exit(1)?;
    ensure!(check.stderr.contains("revoked"), "{check:?}");
    let mistyped = format!("{}x", &shop.key[..47]);
    system
        .longshore(&["keys", "check", &mistyped])
        .await?
        .exit(2)?;

    let list = system
        .longshore(&["--json", "keys", "list"])
        .await?
        .json()?;
    let items = list["items"].as_array().context("a list")?;
    ensure!(items.len() == 3, "{list}");
    let audit = system
        .longshore(&["--json", "audit", "list"])
        .await?
        .json()?;
    let actions: Vec<&str> = audit["items"]
        .as_array()
        .context("a list")?
        .iter()
        .filter_map(|entry| entry["action"].as_str())
        .filter(|action| action.starts_with("key."))
        .collect();
    ensure!(actions == ["key.revoke", "key.rotate", "key.create", "key.create"]);
    system.longshore(&["audit", "verify"]).await?.success()?;
    system.finish().await
}

#[tokio::test]
async fn a_door_goes_by_the_keys_it_knows_while_the_database_is_down() -> Result<()> {
    let shared = Services::shared();
    let proxy = Proxy::start_before(&shared.database_url).await?;
    let database = proxy.before(&shared.database_url)?;
    let mut system = door_with_keys()
        .env_of(Program::Producer, "LONGSHORE_DATABASE_URL", &database)
        .start()
        .await?;
    let shop = create(&system, "shop", &["events:write"]).await?;
    await_answer(system.client(), &shop.key, "before", 202).await?;
    proxy.cut();
    for number in 0..10 {
        let answer = post(system.client(), Some(&shop.key), &format!("down-{number}")).await?;
        answer.accepted()?;
    }
    // A door that starts now cannot tell a key from another text of its form, and takes nothing.
    system.kill(Program::Producer, 0).await?;
    system.begin_again(Program::Producer, 0)?;
    eventually(SOON, "the door to answer", || async {
        let answer = post(system.client(), Some(&shop.key), "unknown").await?;
        ensure!(answer.problem(503)?["code"] == "keys_unavailable");
        ensure!(!answer.header("retry-after").is_empty());
        Ok(())
    })
    .await?;
    proxy.heal();
    eventually(SOON, "the door to know its keys", || async {
        let answer = post(system.client(), Some(&shop.key), "after").await?;
        answer.accepted().map(|_| ())
    })
    .await?;
    system.finish().await
}
