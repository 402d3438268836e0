//! Public clients, unmodified and in the versions of `tests/publishers`, at broker and doors.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use testkit::{foreign, scratch::Scratch, services::Services, system::Output};
use uuid::Uuid;

use super::{
    Place,
    repository::{read, root},
};

/// An exchange of every broker that leads to no queue here.
const LEADS_NOWHERE: &str = "amq.topic";

/// The scripts of `tests/publishers`, and the packages that they import.
struct Scripts {
    packages: PathBuf,
    scratch: Scratch,
}

impl Scripts {
    /// `None` where `scripts/publishers` has not run.
    fn find() -> Result<Option<Self>> {
        let Some(packages) = foreign::installed("publishers")? else {
            return Ok(None);
        };
        let scratch = Scratch::new()?;
        // Node looks for packages beside a script.
        let modules = scratch.path().join("node_modules");
        symlink(packages.join("node_modules"), modules)?;
        for entry in fs::read_dir(root().join("tests/publishers"))? {
            let entry = entry?;
            fs::copy(entry.path(), scratch.path().join(entry.file_name()))?;
        }
        Ok(Some(Self { packages, scratch }))
    }

    fn write(&self, script: &str, text: &str) -> Result<()> {
        fs::write(self.scratch.path().join(script), text).context("writing a script")
    }

    /// Runs a script; `None` where its language cannot be had.
    async fn run(&self, script: &str, arguments: &[&str]) -> Result<Option<Output>> {
        let is_python = Path::new(script).extension().is_some_and(|it| it == "py");
        let program = if is_python {
            self.packages.join("python/bin/python")
        } else {
            PathBuf::from("node")
        };
        let arguments = [&[script], arguments].concat();
        let command = foreign::command(self.scratch.path(), program, &arguments);
        foreign::run(command, "").await
    }

    /// Publishes over AMQP, where the event must arrive, and to an exchange without a queue, where the client must
    /// learn of it.
    async fn publish(
        &self,
        place: &Place,
        script: &str,
        source: &str,
        more: &[&str],
    ) -> Result<()> {
        let id = Uuid::new_v4().to_string();
        let (broker, exchange) = (Services::shared().broker_url, place.exchange()?);
        let arguments = [&[broker.as_str(), exchange.as_str(), id.as_str()], more].concat();
        let Some(output) = self.run(script, &arguments).await? else {
            return Ok(());
        };
        output.success().context(script.to_owned())?;
        let event = place.await_event(source, &id).await?;
        ensure!(event["specversion"] == "1.0", "{script}: {event}");
        let types = ["processing.requested", "signup.requested"];
        ensure!(
            types.iter().any(|it| event["type"] == *it),
            "{script}: {event}"
        );

        let arguments = [&[broker.as_str(), LEADS_NOWHERE, id.as_str()], more].concat();
        let output = self.run(script, &arguments).await?;
        let output = output.context("the language is here")?;
        output.exit(1).context(script.to_owned())?;
        let is_told = ["NO_ROUTE", "returned"]
            .iter()
            .any(|it| output.stderr.contains(it));
        ensure!(is_told, "{script} did not learn of it: {}", output.stderr);
        Ok(())
    }
}

/// The Python of a page, with its broker, exchange and id from the command line.
fn of_page(page: &str) -> Result<String> {
    let mut code = foreign::code(&read(page)?, "python").context(page.to_owned())?;
    let broker = Services::shared().broker_url;
    let login = url::Url::parse(&broker)?.username().to_owned();
    for (written, given) in [
        ("\"amqp://guest:guest@127.0.0.1:5672/%2f\"", "sys.argv[1]"),
        ("\"longshore.received\"", "sys.argv[2]"),
        ("str(uuid.uuid4())", "sys.argv[3]"),
    ] {
        ensure!(
            code.contains(written),
            "the Python of {page} lacks {written}"
        );
        code = code.replace(written, given);
    }
    let code = code.replace("user_id=\"guest\"", &format!("user_id=\"{login}\""));
    Ok(format!("import sys\n{code}"))
}

#[tokio::test]
async fn clients_of_python_publish_to_rabbitmq_in_every_shape() -> Result<()> {
    let Some(scripts) = Scripts::find()? else {
        return Ok(());
    };
    let place = Place::on_rabbit().await?;
    scripts.write("page.py", &of_page("docs/publishing.md")?)?;
    scripts.write("readme.py", &of_page("README.md")?)?;
    for (script, source, more) in [
        ("page.py", "/billing", &[][..]),
        ("readme.py", "legacy-crm", &[]),
        ("aio-pika-binary.py", "/try/aio-pika", &[]),
        ("kombu-plain.py", "/try/kombu", &[]),
        ("cloudevents-pika.py", "/try/sdk/binary", &["binary"]),
        (
            "cloudevents-pika.py",
            "/try/sdk/structured",
            &["structured"],
        ),
    ] {
        scripts.publish(&place, script, source, more).await?;
    }
    place.finish().await
}

#[tokio::test]
async fn amqplib_of_node_publishes_to_rabbitmq_as_the_page_says() -> Result<()> {
    let Some(scripts) = Scripts::find()? else {
        return Ok(());
    };
    let place = Place::on_rabbit().await?;
    let code = foreign::code(&read("docs/publishing.md")?, "js")?;
    let written = "\"longshore.received\"";
    ensure!(
        code.contains(written),
        "the code of the page lacks {written}"
    );
    let code = code.replace(written, "process.argv[3]");
    let import = "import { channel, data, end, id } from \"./amqplib.mjs\";";
    scripts.write("page.mjs", &format!("{import}\n{code}await end();\n"))?;
    scripts
        .publish(&place, "page.mjs", "legacy-crm", &[])
        .await?;
    place.finish().await
}

/// `curl` as a team would write it.
async fn curl(place: &Place, headers: &[&str], body: &str) -> Result<Option<Output>> {
    let scratch = Scratch::new()?;
    let url = format!("{}/v1/events", place.door());
    let mut arguments = vec!["--silent", "--show-error", "--fail", "--data-binary", body];
    for header in headers {
        arguments.extend(["--header", *header]);
    }
    arguments.push(&url);
    foreign::run(foreign::command(scratch.path(), "curl", &arguments), "").await
}

async fn publish_with_curl(place: &Place) -> Result<()> {
    let data = json!({"task": "try", "payload": {"by": "curl"}});
    let event = json!({
        "specversion": "1.0", "id": "1", "source": "/try/curl", "type": "processing.requested", "data": data,
    });
    let structured = ["Content-Type: application/cloudevents+json"];
    let Some(output) = curl(place, &structured, &event.to_string()).await? else {
        return Ok(());
    };
    output.success()?;
    let batch = ["Content-Type: application/cloudevents-batch+json"];
    let mut second = event;
    second["id"] = "2".into();
    let output = curl(place, &batch, &json!([second]).to_string()).await?;
    output.context("curl is here")?.success()?;
    let binary = [
        "Content-Type: application/json",
        "ce-specversion: 1.0",
        "ce-id: 3",
        "ce-source: /try/curl",
        "ce-type: processing.requested",
    ];
    let output = curl(place, &binary, &data.to_string()).await?;
    output.context("curl is here")?.success()?;
    for id in ["1", "2", "3"] {
        place.await_event("/try/curl", id).await?;
    }
    Ok(())
}

async fn publish_at_the_door(place: Place) -> Result<()> {
    publish_with_curl(&place).await?;
    if let Some(scripts) = Scripts::find()? {
        for (script, name) in [
            ("cloudevents-http.py", "python"),
            ("cloudevents-http.mjs", "node"),
        ] {
            for mode in ["structured", "binary"] {
                let id = Uuid::new_v4().to_string();
                let arguments = [place.door(), id.as_str(), mode];
                let Some(output) = scripts.run(script, &arguments).await? else {
                    continue;
                };
                output.success().context(script)?;
                let event = place
                    .await_event(&format!("/try/{name}/{mode}"), &id)
                    .await?;
                ensure!(event["type"] == "processing.requested", "{script}: {event}");
            }
        }
    }
    place.finish().await
}

#[tokio::test]
async fn clients_of_http_publish_to_rabbitmq() -> Result<()> {
    publish_at_the_door(Place::on_rabbit().await?).await
}

#[tokio::test]
async fn clients_of_http_publish_to_the_embedded_engine() -> Result<()> {
    publish_at_the_door(Place::embedded().await?).await
}
