//! The clients of `examples/publish` at real doors.

use std::{collections::BTreeSet, fs, path::PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testkit::{foreign, load::signup, port, proxy::Proxy, scratch::Scratch};
use uuid::Uuid;

use super::{
    Place,
    repository::{read, root},
};
use crate::{
    SOON,
    keys::{await_answer, create, door_with_keys},
};

/// The language of a client.
#[derive(Clone, Copy, Debug)]
pub enum Language {
    Python,
    Node,
}

impl Language {
    fn program(self) -> &'static str {
        match self {
            Self::Python => "python3",
            Self::Node => "node",
        }
    }

    fn ending(self) -> &'static str {
        match self {
            Self::Python => "py",
            Self::Node => "mjs",
        }
    }

    /// The folder of the client.
    fn folder(self) -> PathBuf {
        let name = match self {
            Self::Python => "python",
            Self::Node => "node",
        };
        root().join("examples/publish").join(name)
    }

    /// Makes the calls of a plan. Tells what the client said of each; `None` where the language cannot be had.
    pub async fn call(self, plan: &Value) -> Result<Option<Vec<Value>>> {
        let scratch = Scratch::new()?;
        let driver = root().join(format!("tests/publishers/driver.{}", self.ending()));
        let arguments = [driver, self.folder()].map(|path| path.display().to_string());
        let arguments = arguments.each_ref().map(String::as_str);
        let command = foreign::command(scratch.path(), self.program(), &arguments);
        let Some(output) = foreign::run(command, &plan.to_string()).await? else {
            return Ok(None);
        };
        let lines = output.success()?.lines();
        let said: Vec<Value> = lines.map(serde_json::from_str).collect::<Result<_, _>>()?;
        Ok(Some(said))
    }

    /// Runs the client as a program; `None` where the language cannot be had.
    async fn publish(
        self,
        arguments: &[&str],
        input: &str,
    ) -> Result<Option<testkit::system::Output>> {
        let scratch = Scratch::new()?;
        let client = self.folder().join(format!("publisher.{}", self.ending()));
        let client = client.display().to_string();
        let arguments = [&[client.as_str()], arguments].concat();
        let command = foreign::command(scratch.path(), self.program(), &arguments);
        foreign::run(command, input).await
    }
}

/// The calls to make at a door, with short waits. All times are in milliseconds.
pub fn plan(url: &str, calls: &Value) -> Value {
    json!({
        "url": url, "key": null, "deadline": 60_000, "timeout": 30_000, "first_wait": 20,
        "calls": calls,
    })
}

/// The ids of the events that a call was accepted with.
pub fn accepted(said: &Value) -> Result<Vec<Uuid>> {
    let accepted = said["accepted"].as_array();
    let accepted = accepted.with_context(|| format!("it is not accepted: {said}"))?;
    let ids = accepted
        .iter()
        .map(|one| serde_json::from_value(one["id"].clone()));
    Ok(ids.collect::<Result<_, _>>()?)
}

fn event(source: &str, id: Option<&str>) -> Value {
    let mut event = json!({
        "source": source, "type": "processing.requested", "data": {"task": "try", "payload": {}},
    });
    if let Some(id) = id {
        event["id"] = id.into();
    }
    event
}

/// Each kind of call, some of them twice.
async fn publishes_everything(language: Language, place: &Place) -> Result<()> {
    let one = signup("one");
    let calls = json!([
        ["signup", one, "key-1"],
        ["signup", one, "key-1"],
        ["processing", "try", {"number": 1}],
        ["event", event("/try", Some("order-1"))],
        ["event", event("/try", Some("order-1"))],
        ["event", event("/made", None)],
        ["events", [event("/batch", Some("1")), event("/batch", Some("2"))]],
        ["signup", {"email": "nobody", "name": "Nobody"}],
    ]);
    let Some(mut said) = language.call(&plan(place.door(), &calls)).await? else {
        return Ok(());
    };
    let refused = said.pop().context("every call is answered")?;
    ensure!(
        refused["error"] == "Refused" && refused["status"] == 422 && refused["code"] == "invalid"
    );
    ensure!(refused["errors"][0]["pointer"] == "/email", "{refused}");
    let message = refused["message"].as_str().unwrap_or_default();
    ensure!(message.contains("/email"), "{refused}");

    let ids: Vec<Vec<Uuid>> = said.iter().map(accepted).collect::<Result<_>>()?;
    ensure!(
        ids.len() == 7 && ids[0] == ids[1] && ids[3] == ids[4],
        "{ids:?}"
    );
    let first = &said[0]["accepted"][0];
    ensure!(first["type"] == "signup.requested", "{first}");
    let status_url = format!("{}/v1/events/{}", place.door(), ids[0][0]);
    ensure!(first["status_url"] == status_url, "{first}");

    let events: Vec<Uuid> = BTreeSet::from_iter(ids.concat()).into_iter().collect();
    ensure!(events.len() == 6, "{ids:?}");
    place.await_completed(&events).await?;
    for (source, id) in [("/try", "order-1"), ("/batch", "1"), ("/batch", "2")] {
        let delivered = place.await_event(source, id).await?;
        ensure!(delivered["type"] == "processing.requested", "{delivered}");
    }
    Ok(())
}

/// The door takes the event, and its answer is lost.
async fn repeats_what_may_be_accepted(language: Language, place: &Place) -> Result<()> {
    let proxy = Proxy::start_before(place.door()).await?;
    // The end of the request's document, and of the answer's.
    proxy.swallow_answer(b"}");
    let url = proxy.before(place.door())?;
    let calls = json!([["signup", signup("lost"), null]]);
    let Some(said) = language.call(&plan(&url, &calls)).await? else {
        return Ok(());
    };
    ensure!(!proxy.is_to_swallow() && proxy.accepted() == 2, "{said:?}");
    place.await_completed(&accepted(&said[0])?).await
}

/// The client as a program.
async fn publishes_from_the_command_line(language: Language, place: &Place) -> Result<()> {
    let door = place.door();
    let document = signup("argument").to_string();
    let key = ["--idempotency-key", "key-2"];
    let arguments = [&["signup", document.as_str(), "--url", door][..], &key].concat();
    let Some(output) = language.publish(&arguments, "").await? else {
        return Ok(());
    };
    let id = serde_json::from_value(output.json()?["id"].clone())?;
    place.await_completed(&[id]).await?;

    let document = event("/stdin", Some("1")).to_string();
    let output = language
        .publish(&["event", "--url", door], &document)
        .await?;
    output.context("the language is here")?.success()?;
    place.await_event("/stdin", "1").await?;

    let document = r#"{"email": "nobody", "name": "Nobody"}"#;
    let options = ["signup", document, "--url", door];
    let output = language.publish(&options, "").await?;
    let output = output.context("the language is here")?;
    output.exit(1)?;
    ensure!(output.stderr.contains("/email"), "{output:?}");

    let nobody = format!("http://127.0.0.1:{}", port::free()?);
    let options = ["signup", document, "--url", &nobody, "--deadline", "0.3"];
    let output = language.publish(&options, "").await?;
    let output = output.context("the language is here")?;
    output.exit(3)?;
    ensure!(output.stderr.contains("--idempotency-key"), "{output:?}");
    let output = language.publish(&["signup", "{"], "").await?;
    output.context("the language is here")?.exit(2)?;
    Ok(())
}

/// The code of the page beside the clients.
async fn publishes_as_the_page_says(language: Language, place: &Place) -> Result<()> {
    let name = match language {
        Language::Python => "python",
        Language::Node => "js",
    };
    let written = "https://events.example.com";
    let code = foreign::code(&read("examples/publish/README.md")?, name)?;
    ensure!(
        code.contains(written),
        "the code of the page lacks {written}"
    );
    let scratch = Scratch::new()?;
    let program = format!("program.{}", language.ending());
    fs::write(
        scratch.path().join(&program),
        code.replace(written, place.door()),
    )?;
    let client = format!("publisher.{}", language.ending());
    fs::copy(
        language.folder().join(&client),
        scratch.path().join(&client),
    )?;
    let mut command = foreign::command(scratch.path(), language.program(), &[&program]);
    // An open door does not look at keys.
    command.env("PUBLISH_KEY", "none");
    let Some(output) = foreign::run(command, "").await? else {
        return Ok(());
    };
    output.success()?;
    place.await_event("/shop", "4711").await?;
    Ok(())
}

async fn try_all(language: Language, place: Place) -> Result<()> {
    publishes_everything(language, &place).await?;
    repeats_what_may_be_accepted(language, &place).await?;
    publishes_from_the_command_line(language, &place).await?;
    publishes_as_the_page_says(language, &place).await?;
    // Also of those that came twice.
    let deliveries = place.receiver.successes();
    ensure!(
        deliveries.values().all(|count| *count == 1),
        "{deliveries:?}"
    );
    place.finish().await
}

#[tokio::test]
async fn the_python_example_publishes_to_rabbitmq() -> Result<()> {
    try_all(Language::Python, Place::on_rabbit().await?).await
}

#[tokio::test]
async fn the_python_example_publishes_to_the_embedded_engine() -> Result<()> {
    try_all(Language::Python, Place::embedded().await?).await
}

#[tokio::test]
async fn the_node_example_publishes_to_rabbitmq() -> Result<()> {
    try_all(Language::Node, Place::on_rabbit().await?).await
}

#[tokio::test]
async fn the_node_example_publishes_to_the_embedded_engine() -> Result<()> {
    try_all(Language::Node, Place::embedded().await?).await
}

#[tokio::test]
async fn a_door_with_keys_takes_the_examples_key_and_no_error_repeats_it() -> Result<()> {
    let system = door_with_keys().start().await?;
    let door = system.client().base();
    let shop = create(&system, "shop", &["events:write"]).await?;
    await_answer(system.client(), &shop.key, "first", 202).await?;
    let mut events = Vec::new();
    for language in [Language::Python, Language::Node] {
        let calls = json!([["signup", signup("key"), null]]);
        let mut plan = plan(door, &calls);
        let Some(said) = language.call(&plan).await? else {
            continue;
        };
        ensure!(
            said[0]["error"] == "Refused" && said[0]["code"] == "unauthenticated",
            "{said:?}"
        );
        plan["key"] = shop.key.clone().into();
        let said = language.call(&plan).await?.context("it is here")?;
        events.extend(accepted(&said[0])?);

        // One that is mistyped, and one that does not fit into a header.
        for (end, error) in [("x", "Refused"), ("\n", "unusable")] {
            plan["key"] = format!("{}{end}", &shop.key[..47]).into();
            let said = language.call(&plan).await?.context("it is here")?;
            ensure!(said[0]["error"] == error, "{said:?}");
            let told = serde_json::to_string(&said)?;
            ensure!(!told.contains(&shop.secret()[..20]), "{told}");
        }
    }
    if !events.is_empty() {
        let balance = system.settled(&events, SOON).await?;
        ensure!(balance.completed == events.len(), "{balance}");
    }
    system.finish().await
}
