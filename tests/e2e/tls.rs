//! Links over TLS: a whole system, and what is said of certificates that cannot be believed.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use testkit::{
    client::Client,
    load::signup,
    pki::{Authority, LeafFiles},
    private::{postgres::PrivatePostgres, rabbit::PrivateRabbit},
    process::Program,
    receiver::Receiver,
    scratch::Scratch,
    services::Services,
    system::{Destination, Output, System},
    wait::eventually,
};

use crate::{LATER, SOON};

const HOST: &str = "127.0.0.1";

/// The authority of a test, and the files that it has issued.
struct Pki {
    authority: Authority,
    folder: Scratch,
}

impl Pki {
    fn new(name: &str) -> Result<Self> {
        Ok(Self {
            authority: Authority::new(name)?,
            folder: Scratch::new()?,
        })
    }

    fn issue(&self, host: &str, name: &str) -> Result<LeafFiles> {
        let leaf = self.authority.issue(&[host])?;
        self.authority.write(&leaf, self.folder.path(), name)
    }

    fn issue_expired(&self, host: &str, name: &str) -> Result<LeafFiles> {
        let leaf = self.authority.issue_expired(&[host])?;
        self.authority.write(&leaf, self.folder.path(), name)
    }
}

/// The variables that set the certificates of a link.
fn link(section: &str, files: &LeafFiles) -> [(String, String); 3] {
    let parts = [
        ("CA", &files.ca),
        ("CERTIFICATE", &files.certificate),
        ("KEY", &files.key),
    ];
    parts.map(|(key, path)| (format!("LONGSHORE__{section}__TLS__{key}"), text(path)))
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Waits until a client that trusts this authority alone reaches the door.
async fn await_door(client: &Client) -> Result<()> {
    eventually(LATER, "the door to be ready", || async {
        let answer = client.get("/readyz").await?;
        ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_private_system_speaks_tls_everywhere() -> Result<()> {
    let pki = Pki::new("everywhere")?;
    let (server, client) = (
        pki.issue(HOST, "server")?,
        pki.issue("longshore", "client")?,
    );
    let door = pki.issue(HOST, "door")?;
    let rabbit = PrivateRabbit::start_over_tls(&server).await?;
    let postgres = PrivatePostgres::start_over_tls(&server).await?;
    let receiver = Receiver::start().await?;
    let mut builder = System::builder()
        .services(Services {
            broker_url: rabbit.url(),
            database_url: postgres.url(),
        })
        .told(Services {
            broker_url: rabbit.tls_url(),
            database_url: postgres.tls_url(),
        })
        .destination(Destination::webhook("crm", &receiver))
        .copies(Program::Producer, 0)
        .env(
            "LONGSHORE__PRODUCER__TLS__CERTIFICATE",
            &text(&door.certificate),
        )
        .env("LONGSHORE__PRODUCER__TLS__KEY", &text(&door.key));
    for section in ["BROKER", "DATABASE"] {
        for (name, value) in link(section, &client) {
            builder = builder.env(&name, &value);
        }
    }
    let mut system = builder.start().await?;
    system.begin(Program::Producer)?;
    let address = system.address(Program::Producer, 0)?;
    let address = address.replace("http://", "https://");
    let caller = Client::trusting(&address, &pki.authority.pem())?;
    await_door(&caller).await?;
    let id = caller.signup(&signup("encrypted")).await?;
    let status = caller.await_rest(id, LATER).await?;
    ensure!(status.status == "completed", "{status:?}");
    receiver.await_successes(1, SOON).await?;
    let metrics = caller.get("/metrics").await?;
    ensure!(metrics.text().contains("longshore_http_requests_total"));
    system.longshore(&["doctor"]).await?.success()?;
    // Nobody has come in without a certificate.
    let sessions = "select count(*) from pg_stat_ssl join pg_stat_activity using (pid)
        where application_name like 'longshore-%' and not ssl";
    let ledger = system.ledger().await?;
    let plain: i64 = sqlx::query_scalar(sessions)
        .fetch_one(ledger.pool())
        .await?;
    ensure!(plain == 0, "{plain} sessions are not encrypted");

    renewed_certificate_is_shown(&pki, &mut system, &address).await?;
    system.finish().await
}

/// The door shows a new certificate without a restart, and keeps it when the next one is broken.
async fn renewed_certificate_is_shown(pki: &Pki, system: &mut System, address: &str) -> Result<()> {
    let other = Authority::new("next")?;
    let stranger = Client::trusting(address, &other.pem())?;
    let refused = stranger.get("/livez").await;
    ensure!(
        refused.is_err(),
        "an authority that has issued nothing: {refused:?}"
    );
    let folder = pki.folder.path();
    let files = other.write(&other.issue(&[HOST])?, folder, "door")?;
    await_door(&stranger).await?;
    std::fs::write(&files.certificate, "no certificate")?;
    let process = system.process(Program::Producer, 0)?;
    eventually(SOON, "the log to tell of the broken certificate", || {
        let told = process.output();
        async move {
            // Half of the renewal before may have been told as well.
            let is_told = |line: &&str| {
                line.contains("connections still get the old one") && line.contains("found none")
            };
            let told = told.lines().filter(is_told);
            ensure!(told.count() == 1, "not told once");
            Ok(())
        }
    })
    .await?;
    let anew = Client::trusting(address, &other.pem())?;
    await_door(&anew).await
}

/// Runs a command that must fail with this code, and say all of these words once.
fn refused(output: &Output, code: i32, words: &[&str]) -> Result<()> {
    output.exit(code)?;
    for word in words {
        ensure!(
            output.stderr.contains(word),
            "{word:?} is missing: {output:?}"
        );
    }
    ensure!(output.stderr.trim().lines().count() == 1, "{output:?}");
    Ok(())
}

/// Whether `longshore doctor` finds this, ends with 3 and names it in its finding.
async fn found(
    system: &System,
    environment: &[(&str, &str)],
    check: &str,
    words: &[&str],
) -> Result<()> {
    let output = system
        .longshore_with(environment, &["doctor", "--json"])
        .await?;
    output.exit(3)?;
    let report: serde_json::Value = serde_json::from_str(&output.stdout)?;
    let items = report["items"].as_array().context("items")?;
    let finding = items.iter().find(|item| item["check"] == check);
    let finding = finding.with_context(|| format!("no finding {check}: {report}"))?;
    ensure!(finding["verdict"] == "unreachable", "{finding}");
    for word in words {
        let detail = finding["detail"].as_str().unwrap_or_default();
        ensure!(detail.contains(word), "{word:?} is missing: {finding}");
    }
    Ok(())
}

/// A system of no process, whose commands are told these addresses.
async fn commands_only(broker_url: &str, database_url: &str) -> Result<System> {
    let mut builder = System::builder()
        .told(Services {
            broker_url: broker_url.to_owned(),
            database_url: database_url.to_owned(),
        })
        .without_migration();
    for program in [Program::Producer].into_iter().chain(Program::WORKERS) {
        builder = builder.copies(program, 0);
    }
    builder.start().await
}

#[tokio::test]
async fn a_private_broker_that_cannot_be_believed_is_explained() -> Result<()> {
    let (pki, strangers) = (Pki::new("broker")?, Pki::new("strangers")?);
    let server = pki.issue(HOST, "server")?;
    let (client, strange) = (pki.issue("c", "client")?, strangers.issue("c", "client")?);
    let rabbit = PrivateRabbit::start_over_tls(&server).await?;
    let shared = Services::shared();
    let system = commands_only(&rabbit.tls_url(), &shared.database_url).await?;
    let [ca, certificate, key] = link("BROKER", &client);
    let [_, strange_certificate, strange_key] = link("BROKER", &strange);
    let localhost = rabbit.tls_url().replace(HOST, "localhost");
    let elsewhere = ("LONGSHORE_BROKER_URL".to_owned(), localhost);
    let missing = (key.0.clone(), "/nowhere/key.pem".to_owned());

    let all = [&ca, &certificate, &key];
    let good = system.longshore_with(&pairs(&all), &["queues"]).await?;
    good.success()?;
    for (variables, code, words) in [
        (
            vec![&certificate, &key],
            3,
            &[
                "expected a certificate of an authority",
                "set broker.tls.ca",
            ][..],
        ),
        (
            vec![&ca, &certificate, &key, &elsewhere],
            3,
            &["expected a certificate for \"localhost\"", "broker.url"],
        ),
        (
            vec![&ca],
            3,
            &["expects a client certificate, found none", "broker.tls.key"],
        ),
        (
            vec![&ca, &strange_certificate, &strange_key],
            3,
            &["refuses the client certificate", "broker.tls.certificate"],
        ),
        (
            vec![&ca, &certificate, &missing],
            2,
            &["[broker.tls]", "/nowhere/key.pem", "private key in PEM"],
        ),
    ] {
        let variables = pairs(&variables);
        let output = system.longshore_with(&variables, &["queues"]).await?;
        refused(&output, code, words)?;
        if code == 3 {
            found(&system, &variables, "broker", words).await?;
        }
    }

    pki.issue_expired(HOST, "server")?;
    rabbit.read_certificate_again().await?;
    let words = &[
        "expected a certificate that is valid now",
        "expired at",
        "renew it",
    ];
    let output = system.longshore_with(&pairs(&all), &["queues"]).await?;
    refused(&output, 3, words)?;
    found(&system, &pairs(&all), "broker", words).await?;
    system.finish().await
}

#[tokio::test]
async fn a_private_database_that_cannot_be_believed_is_explained() -> Result<()> {
    let (pki, strangers) = (Pki::new("database")?, Pki::new("strangers")?);
    let server = pki.issue(HOST, "server")?;
    let (client, strange) = (pki.issue("c", "client")?, strangers.issue("c", "client")?);
    let postgres = PrivatePostgres::start_over_tls(&server).await?;
    let shared = Services::shared();
    let system = commands_only(&shared.broker_url, &postgres.tls_url()).await?;
    let [ca, certificate, key] = link("DATABASE", &client);
    let [_, strange_certificate, strange_key] = link("DATABASE", &strange);
    let localhost = postgres.tls_url().replace(HOST, "localhost");
    let elsewhere = ("LONGSHORE_DATABASE_URL".to_owned(), localhost);
    let missing = (ca.0.clone(), "/nowhere/ca.pem".to_owned());

    let all = [&ca, &certificate, &key];
    let good = system.longshore_with(&pairs(&all), &["migrate"]).await?;
    good.success()?;
    for (variables, code, words) in [
        (
            vec![&certificate, &key],
            3,
            &[
                "expected a certificate of an authority",
                "set database.tls.ca",
            ][..],
        ),
        (
            vec![&ca, &certificate, &key, &elsewhere],
            3,
            &["expected a certificate for \"localhost\"", "database.url"],
        ),
        (
            vec![&ca],
            3,
            &["client certificate", "set database.tls.certificate"],
        ),
        (
            vec![&ca, &strange_certificate, &strange_key],
            3,
            &["refuses the client certificate", "database.tls.key"],
        ),
        (
            vec![&missing, &certificate, &key],
            2,
            &["[database.tls]", "/nowhere/ca.pem", "a certificate in PEM"],
        ),
    ] {
        let variables = pairs(&variables);
        let output = system.longshore_with(&variables, &["dead", "list"]).await?;
        refused(&output, code, words)?;
        if code == 3 {
            found(&system, &variables, "database", words).await?;
        }
    }

    let expired = pki.issue_expired(HOST, "server")?;
    postgres.show(&expired).await?;
    let words = &[
        "expected a certificate that is valid now",
        "expired at",
        "renew it",
    ];
    eventually(SOON, "the expired certificate to be shown", || async {
        let output = system
            .longshore_with(&pairs(&all), &["dead", "list"])
            .await?;
        refused(&output, 3, words)
    })
    .await?;
    found(&system, &pairs(&all), "database", words).await?;
    system.finish().await
}

/// A database without TLS is not used in the clear once certificates are configured.
#[tokio::test]
async fn a_private_database_without_tls_is_refused_where_certificates_are_configured() -> Result<()>
{
    let pki = Pki::new("database")?;
    let postgres = PrivatePostgres::start().await?;
    let client = pki.issue("c", "client")?;
    let [ca, ..] = link("DATABASE", &client);
    let system = commands_only(&Services::shared().broker_url, &postgres.url()).await?;
    let output = system
        .longshore_with(&pairs(&[&ca]), &["dead", "list"])
        .await?;
    refused(&output, 3, &["expected a database with TLS", "ssl = on"])?;
    system.finish().await
}

fn pairs<'v>(variables: &[&'v (String, String)]) -> Vec<(&'v str, &'v str)> {
    let pairs = variables.iter();
    pairs
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}
