//! Events as mail: sent, tried again, refused, and replayed.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use testkit::{
    dev::Dev,
    load::signup,
    mail_server::{MailServer, Offers},
    process::Program,
    scratch::Scratch,
    system::{Destination, System},
};

use crate::{LATER, SOON};

/// The templates of a test.
struct Templates(Scratch);

impl Templates {
    fn new() -> Result<Self> {
        let templates = Self(Scratch::new()?);
        templates.write("subject", "Welcome {{ data.name }}")?;
        templates.write("txt", "Hello {{ data.name }}!\n")?;
        templates.write("html", "<p>Hello {{ data.name }}!</p>\n")?;
        Ok(templates)
    }

    fn write(&self, ending: &str, text: &str) -> Result<()> {
        std::fs::write(self.path().with_extension(ending), text)?;
        Ok(())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("welcome")
    }
}

fn welcome(server: &MailServer, template: &Path) -> Destination {
    Destination::mail("welcome", server.port(), template).attempts(3, "250ms")
}

#[tokio::test]
async fn a_signup_becomes_a_mail() -> Result<()> {
    let server = MailServer::start(Offers::default()).await?;
    let templates = Templates::new()?;
    let system = System::builder()
        .destination(welcome(&server, &templates.path()))
        .start()
        .await?;
    let body = signup("mail");
    let id = system.client().signup(&body).await?;
    system.ledger().await?.all_completed(&[id], LATER).await?;
    let taken = server.taken();
    ensure!(taken.len() == 1, "{taken:?}");
    let name = body["name"].as_str().unwrap_or_default();
    let email = body["email"].as_str().unwrap_or_default();
    ensure!(taken[0].to == [format!("<{email}>")], "{taken:?}");
    ensure!(taken[0].header("subject") == format!("Welcome {name}"));
    ensure!(taken[0].header("message-id") == format!("<{id}.welcome@example.com>"));
    ensure!(taken[0].header("auto-submitted") == "auto-generated");
    let attempts = system.ledger().await?.attempts(id).await?;
    ensure!(attempts.len() == 1, "{attempts:?}");
    system.finish().await
}

#[tokio::test]
async fn a_signup_becomes_a_mail_without_any_service() -> Result<()> {
    let server = MailServer::start(Offers::default()).await?;
    let templates = Templates::new()?;
    let mut dev = Dev::new(&[welcome(&server, &templates.path())])?;
    dev.start().await?;
    server.answers("CONTENT", &["451 4.7.1 greylisted"]);
    let id = dev.client().signup(&signup("mail")).await?;
    let status = dev.client().await_rest(id, LATER).await?;
    ensure!(status.status == "completed", "{status:?}");
    ensure!(server.mails().len() == 2 && server.taken().len() == 1);
    dev.finish()
}

#[tokio::test]
async fn a_greylisted_mail_is_sent_again_as_the_same_mail() -> Result<()> {
    let server = MailServer::start(Offers::default()).await?;
    server.answers("RCPT", &["451 4.7.1 greylisted, try again"]);
    let templates = Templates::new()?;
    let system = System::builder()
        .destination(welcome(&server, &templates.path()))
        .start()
        .await?;
    let id = system.client().signup(&signup("grey")).await?;
    let ledger = system.ledger().await?;
    ledger.all_completed(&[id], LATER).await?;
    ensure!(server.taken().len() == 1);
    let attempts = ledger.attempts(id).await?;
    let codes: Vec<_> = attempts.iter().map(|attempt| attempt.status_code).collect();
    ensure!(codes == [Some(451), Some(250)], "{attempts:?}");

    // A lost reply: the server has the mail, and the worker cannot know.
    server.plan(|call| match (call.verb, call.earlier) {
        ("CONTENT", 1) => testkit::mail_server::Answer::Cut,
        _ => testkit::mail_server::Answer::Usual,
    });
    let id = system.client().signup(&signup("lost")).await?;
    ledger.all_completed(&[id], LATER).await?;
    let ids: Vec<String> = server
        .mails()
        .iter()
        .skip(1)
        .map(|mail| mail.header("message-id"))
        .collect();
    ensure!(ids.len() == 2 && ids[0] == ids[1], "{ids:?}");
    system.finish().await
}

#[tokio::test]
async fn a_refused_mail_is_a_dead_letter_and_is_replayed() -> Result<()> {
    let server = MailServer::start(Offers::default()).await?;
    server.answers(
        "RCPT",
        &["550 5.1.1 no such user", "550 5.1.1 no such user"],
    );
    let templates = Templates::new()?;
    let system = System::builder()
        .destination(welcome(&server, &templates.path()))
        .start()
        .await?;
    let id = system.client().signup(&signup("dead")).await?;
    let other = system.client().signup(&signup("other")).await?;
    let ledger = system.ledger().await?;
    let letters = ledger.await_dead_letters(2, LATER).await?;
    for letter in &letters {
        ensure!(letter.reason == "receiver_refused", "{letter:?}");
        let shown = system
            .longshore(&["dead", "show", &letter.dead_letter_id, "--json"])
            .await?
            .json()?
            .to_string();
        ensure!(
            shown.contains("550") && shown.contains("no such user"),
            "{shown}"
        );
    }
    ensure!(server.mails().is_empty());
    let of = |event: uuid::Uuid| letters.iter().find(|letter| letter.event_id == Some(event));
    let letter = |event| of(event).map_or("", |letter| letter.dead_letter_id.as_str());
    for arguments in [
        &["dead", "replay", letter(id), "--yes"][..],
        &["dead", "replay", letter(other), "--new-ids", "--yes"],
    ] {
        system.longshore(arguments).await?.success()?;
    }
    ledger.all_completed(&[id, other], LATER).await?;
    let ids: Vec<String> = server
        .taken()
        .iter()
        .map(|mail| mail.header("message-id"))
        .collect();
    ensure!(ids.len() == 2, "{ids:?}");
    ensure!(
        ids.contains(&format!("<{id}.welcome@example.com>")),
        "{ids:?}"
    );
    ensure!(
        ids.iter().any(|it| it.starts_with(&format!("<{other}-r"))),
        "{ids:?}"
    );
    system.finish().await
}

#[tokio::test]
async fn an_event_without_the_members_of_a_template_is_a_dead_letter() -> Result<()> {
    let server = MailServer::start(Offers::default()).await?;
    let templates = Templates::new()?;
    templates.write("txt", "Your coupon: {{ data.attributes.coupon }}")?;
    let system = System::builder()
        .destination(welcome(&server, &templates.path()))
        .start()
        .await?;
    system.client().signup(&signup("bare")).await?;
    let letters = system.ledger().await?.await_dead_letters(1, LATER).await?;
    ensure!(letters[0].reason == "template_failed", "{letters:?}");
    ensure!(server.connections() == 0);
    system.finish().await
}

#[tokio::test]
async fn a_wrong_template_keeps_the_worker_from_starting() -> Result<()> {
    let server = MailServer::start(Offers::default()).await?;
    let templates = Templates::new()?;
    let mut system = System::builder()
        .destination(welcome(&server, &templates.path()))
        .copies(Program::Integrate, 0)
        .start()
        .await?;
    templates.write("html", "<p>\n{{ data.name")?;
    system.begin(Program::Integrate)?;
    let status = system.ended(Program::Integrate, 0, SOON).await?;
    let said = system.process(Program::Integrate, 0)?.output();
    ensure!(status.code() == Some(2), "{status:?}: {said}");
    ensure!(said.contains("welcome.html, line 2"), "{said}");
    system.finish().await
}
