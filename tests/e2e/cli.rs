//! The operator's command line.

use anyhow::{Context, Result, ensure};
use testkit::{
    load::{signup, signup_event},
    process::Program,
    receiver::Receiver,
    system::{Destination, System},
};

use crate::SOON;

#[tokio::test]
async fn an_operator_sees_the_system_as_it_is() -> Result<()> {
    let receiver = Receiver::start().await?;
    let system = System::builder()
        .destination(Destination::webhook("crm", &receiver))
        .start()
        .await?;
    system
        .longshore(&["migrate"])
        .await?
        .success()
        .context("a second migration")?;
    let doctor = system.longshore(&["doctor"]).await?;
    // Anyone who helps asks for these first.
    for product in ["broker: RabbitMQ ", "database: PostgreSQL "] {
        let version = doctor.success()?.split_once(product);
        ensure!(
            version.is_some_and(|(_, version)| version.starts_with(|c: char| c.is_ascii_digit())),
            "`doctor` does not tell the version: {doctor:?}"
        );
    }
    system.longshore(&["topology", "verify"]).await?.success()?;
    let shown = system
        .longshore(&["topology", "show", "--json"])
        .await?
        .json()?
        .to_string();
    let queues = system.longshore(&["queues", "--json"]).await?.json()?;
    ensure!(queues["items"].is_array(), "{queues}");
    for queue in ["validate", "store", "integrate.crm", "dead"] {
        let queue = system.named(queue);
        ensure!(
            queues.to_string().contains(&queue),
            "`queues` lacks {queue}: {queues}"
        );
        ensure!(
            shown.contains(&queue),
            "`topology show` lacks {queue}: {shown}"
        );
    }
    let id = system.client().signup(&signup("operator")).await?;
    system.ledger().await?.all_completed(&[id], SOON).await?;
    let event = system
        .longshore(&["events", "show", &id.to_string(), "--json"])
        .await?
        .json()?;
    ensure!(event.to_string().contains("completed"), "{event}");
    system
        .longshore(&["explain", "email_taken"])
        .await?
        .success()?;
    system.finish().await
}

#[tokio::test]
async fn a_missing_queue_is_found_and_put_back() -> Result<()> {
    // A program that runs would put it back by itself.
    let programs = [Program::Producer].into_iter().chain(Program::WORKERS);
    let builder = programs.fold(System::builder(), |some, program| some.copies(program, 0));
    let system = builder.start().await?;
    system.longshore(&["topology", "apply"]).await?.success()?;
    system
        .outsider()
        .await?
        .delete_queue(&system.named("validate"))
        .await?;
    let verdict = system.longshore(&["topology", "verify"]).await?;
    verdict.exit(1)?;
    let told = format!("{}{}", verdict.stdout, verdict.stderr);
    ensure!(told.contains(&system.named("validate")), "{told}");
    system.longshore(&["topology", "apply"]).await?.success()?;
    system.longshore(&["topology", "verify"]).await?.success()?;
    system.finish().await
}

#[tokio::test]
async fn a_file_of_events_is_published() -> Result<()> {
    let system = System::builder().start().await?;
    let lines: Vec<String> = (0..100)
        .map(|number| signup_event(&format!("file-{number}")).to_string())
        .collect();
    let file = system.file("events.ndjson", lines.join("\n"))?;
    let file = file.to_str().context("the scratch folder is no text")?;
    system
        .longshore(&["publish", file, "--yes"])
        .await?
        .success()?;
    system.ledger().await?.await_events(100, SOON).await?;
    // Again: the ids are the keys.
    system
        .longshore(&["publish", file, "--yes"])
        .await?
        .success()?;
    let last = system.client().signup(&signup("last")).await?;
    system.ledger().await?.all_completed(&[last], SOON).await?;
    system.ledger().await?.await_events(101, SOON).await?;
    system.finish().await
}

#[tokio::test]
async fn exit_codes_tell_usage_failure_and_unreachable_apart() -> Result<()> {
    let system = System::builder().start().await?;
    system.longshore(&["no-such-command"]).await?.exit(2)?;
    system.longshore(&["dead", "show"]).await?.exit(2)?;
    let nothing = uuid::Uuid::new_v4().to_string();
    system
        .longshore(&["events", "show", &nothing])
        .await?
        .exit(1)?;
    let port = testkit::port::free()?;
    let database = format!("postgres://nobody:hunter2secret@127.0.0.1:{port}/nothing");
    let down = [("LONGSHORE_DATABASE_URL", database.as_str())];
    let unreachable = system.longshore_with(&down, &["dead", "list"]).await?;
    unreachable.exit(3)?;
    let told = format!("{}{}", unreachable.stdout, unreachable.stderr);
    ensure!(
        !told.contains("hunter2secret"),
        "the password is shown: {told}"
    );
    let broker = format!("amqp://guest:hunter2secret@127.0.0.1:{port}/%2f");
    let down = [("LONGSHORE_BROKER_URL", broker.as_str())];
    let unreachable = system.longshore_with(&down, &["queues"]).await?;
    unreachable.exit(3)?;
    let told = format!("{}{}", unreachable.stdout, unreachable.stderr);
    ensure!(
        !told.contains("hunter2secret"),
        "the password is shown: {told}"
    );
    for (name, url) in [
        (
            "LONGSHORE_DATABASE_URL",
            "postgres://127.0.0.1:1/d?sslpassword=hunter2secret&pasword=hunter2secret",
        ),
        (
            "LONGSHORE_DATABASE_URL",
            "postgres://127.0.0.1:1/d?sslmode=hunter2secret",
        ),
        (
            "LONGSHORE_DATABASE_URL",
            "postgres://u:1/hunter2secret@127.0.0.1:1/d",
        ),
        (
            "LONGSHORE_DATABASE_URL",
            "postgres://u%3Ahunter2secret@127.0.0.1:1/d",
        ),
        ("LONGSHORE_BROKER_URL", "amqp:u:hunter2secret@127.0.0.1"),
        (
            "LONGSHORE_BROKER_URL",
            "amqp://127.0.0.1:1/%2f?auth_mechanism=plain&passwd=hunter2secret",
        ),
        ("LONGSHORE_LOG", "[hunter2secret=!!"),
    ] {
        let told = system.longshore_with(&[(name, url)], &["doctor"]).await?;
        ensure!(told.code != Some(0), "{told:?}");
        let told = format!("{}{}", told.stdout, told.stderr);
        ensure!(!told.contains("hunter2secret"), "{url}: {told}");
    }
    let file = system.file("wrong.toml", "[outbound]\nallwo = []\n")?;
    let path = file.to_str().context("the scratch folder is no text")?;
    let wrong = system
        .longshore_with(&[("LONGSHORE_CONFIG", path)], &["queues"])
        .await?;
    ensure!(wrong.code != Some(0), "a wrong key was taken");
    let told = format!("{}{}", wrong.stdout, wrong.stderr);
    ensure!(
        told.contains("allwo") && told.contains("wrong.toml"),
        "{told}"
    );
    system.finish().await
}
