//! Confirmations: a signup's mail has a link, and opening it confirms the address, once.

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use testkit::{
    client::Client,
    dev::Dev,
    load::signup,
    mail_server::{MailServer, Offers},
    process::Program,
    receiver::Receiver,
    scratch::Scratch,
    system::{Destination, System},
};
use uuid::Uuid;

use crate::{LATER, SOON};

const SETTINGS: &str =
    "[confirmation]\nurl = \"https://shop.example.com\"\nsecret = \"0123456789abcdef\"\n";

/// A mail server, and the destination whose mails have a link.
struct Mails {
    server: MailServer,
    folder: Scratch,
}

impl Mails {
    async fn start() -> Result<Self> {
        let folder = Scratch::new()?;
        let write = |ending: &str, text: &str| {
            std::fs::write(folder.path().join("confirm").with_extension(ending), text)
        };
        write("subject", "Please confirm your address")?;
        write("txt", "Hello {{ data.name }}!\n\n{{ confirmation_url }}\n")?;
        write("html", "<a href=\"{{ confirmation_url }}\">Confirm</a>")?;
        let server = MailServer::start(Offers::default()).await?;
        Ok(Self { server, folder })
    }

    fn destination(&self) -> Destination {
        let template = self.folder.path().join("confirm");
        Destination::mail("confirm", self.server.port(), &template).types(["signup.requested"])
    }

    /// The path of the link in the last mail.
    fn link(&self) -> Result<String> {
        let mails = self.server.taken();
        let mail = mails.last().context("a mail")?;
        // Lines that are too long for a mail are folded with `=`, which is written `=3D` itself.
        let text = mail.content.replace("=\r\n", "").replace("=3D", "=");
        let path = text.split("https://shop.example.com").nth(1);
        let path = path.and_then(|rest| rest.split(['\r', '"', '<']).next());
        Ok(path.with_context(|| text.clone())?.to_owned())
    }
}

/// Opens a link twice, and gives the event of it.
async fn open_twice(client: &Client, path: &str) -> Result<Uuid> {
    let first = client.get(path).await?.accepted()?;
    let again = client.get(path).await?.accepted()?;
    ensure!(first == again, "{first} and {again}");
    Ok(first)
}

#[tokio::test]
async fn a_signup_is_confirmed_by_the_link_in_its_mail_and_once() -> Result<()> {
    let mails = Mails::start().await?;
    let crm = Receiver::start().await?;
    let system = System::builder()
        .config(SETTINGS)
        .destination(mails.destination())
        .destination(Destination::webhook("crm", &crm).types(["signup.confirmed"]))
        .start()
        .await?;
    let body = signup("confirmed");
    let id = system.client().signup(&body).await?;
    let ledger = system.ledger().await?;
    ledger.all_completed(&[id], LATER).await?;
    let path = mails.link()?;
    let event = open_twice(system.client(), &path).await?;
    ledger.all_completed(&[id, event], LATER).await?;

    let data = &crm.requests()[0].json()?["data"];
    ensure!(
        data["signup"] == id.to_string() && data["email"] == body["email"],
        "{data}"
    );
    ensure!(crm.count() == 1, "{} calls", crm.count());
    let rows: Vec<(Uuid, String, Uuid)> =
        sqlx::query_as("SELECT signup_id, email, event_id FROM confirmations")
            .fetch_all(ledger.pool())
            .await?;
    let email = body["email"].as_str().context("an address")?.to_owned();
    ensure!(rows == [(id, email, event)], "{rows:?}");
    ensure!(ledger.rejections(event).await?.is_empty());

    // The same words from somebody else tell nothing.
    let other = system.client().signup(&signup("other")).await?;
    let forged = serde_json::json!({
        "specversion": "1.0", "id": "1", "source": "/confirm", "type": "signup.confirmed",
        "data": {"signup": other, "email": "ada@example.com"},
    });
    let forged = system.client().event(&forged).await?;
    ledger.all_completed(&[other, forged], LATER).await?;
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM confirmations")
        .fetch_one(ledger.pool())
        .await?;
    ensure!(count == 1, "{count} confirmations");
    system.longshore(&["verify"]).await?.success()?;
    system.finish().await
}

#[tokio::test]
async fn a_signup_is_confirmed_without_any_service() -> Result<()> {
    let mails = Mails::start().await?;
    let mut dev = Dev::configured(&[mails.destination()], SETTINGS)?;
    dev.start().await?;
    let id = dev.client().signup(&signup("confirmed")).await?;
    dev.client().await_rest(id, LATER).await?;
    let event = open_twice(dev.client(), &mails.link()?).await?;
    let status = dev.client().await_rest(event, LATER).await?;
    ensure!(status.status == "completed", "{status:?}");
    let html = [("accept", "text/html")];
    let path = mails.link()?;
    let page = dev.client().send(Method::GET, &path, &html, "").await?;
    ensure!(page.text().contains("is confirmed"), "{}", page.text());
    dev.finish()
}

#[tokio::test]
async fn a_mail_sent_again_has_a_link_that_works() -> Result<()> {
    let mails = Mails::start().await?;
    mails.server.answers("CONTENT", &["550 5.7.1 not today"]);
    let system = System::builder()
        .config(SETTINGS)
        .destination(mails.destination())
        .start()
        .await?;
    let id = system.client().signup(&signup("again")).await?;
    let ledger = system.ledger().await?;
    ledger.await_dead_letters(1, LATER).await?;
    let replay = ["dead", "replay", "--all", "--yes"];
    system.longshore(&replay).await?.success()?;
    ledger.all_completed(&[id], LATER).await?;
    let event = system.client().get(&mails.link()?).await?.accepted()?;
    ledger.all_completed(&[id, event], LATER).await?;
    system.finish().await
}

#[tokio::test]
async fn a_template_with_a_link_needs_the_section() -> Result<()> {
    let mails = Mails::start().await?;
    let mut system = System::builder()
        .destination(mails.destination())
        .copies(Program::Integrate, 0)
        .start()
        .await?;
    system.begin(Program::Integrate)?;
    let status = system.ended(Program::Integrate, 0, SOON).await?;
    let said = system.process(Program::Integrate, 0)?.output();
    ensure!(status.code() == Some(2), "{status:?}: {said}");
    for words in ["confirm.txt", "[confirmation]", "confirmation_url"] {
        ensure!(said.contains(words), "{words}: {said}");
    }
    system.finish().await
}
