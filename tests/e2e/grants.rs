//! A login for each program: the printed commands grant what a whole system needs, and nothing more.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use testkit::{
    broker::{Message, Outsider},
    load::signup,
    private::{postgres::PrivatePostgres, rabbit::PrivateRabbit},
    process::Program,
    receiver::{Answer, Receiver},
    services::Services,
    system::{Destination, System},
    wait::eventually,
};

use crate::{LATER, SOON};

/// Each program that gets a login, and the word for it.
const ROLES: [(Program, &str); 6] = [
    (Program::Producer, "producer"),
    (Program::Validate, "validate"),
    (Program::Store, "store"),
    (Program::Integrate, "integrate"),
    (Program::Archive, "archive"),
    (Program::Longshore, "operator"),
];

/// Longer than the wait between two tries of a program.
const QUIET: Duration = Duration::from_secs(5);

struct Place {
    rabbit: PrivateRabbit,
    postgres: PrivatePostgres,
    system: System,
}

impl Place {
    /// A system whose programs do not run yet, migrated by the owner of the database.
    async fn new(receiver: &Receiver) -> Result<Self> {
        let (rabbit, postgres) = (
            PrivateRabbit::start().await?,
            PrivatePostgres::start().await?,
        );
        let mut builder = System::builder()
            .services(Services {
                broker_url: rabbit.url(),
                database_url: postgres.url(),
            })
            .destination(Destination::webhook("crm", receiver).ordered("skip"));
        for (program, _) in ROLES {
            builder = builder.copies(program, 0);
        }
        Ok(Self {
            rabbit,
            postgres,
            system: builder.start().await?,
        })
    }

    fn login(&self, word: &str) -> String {
        format!("{}-{word}", self.system.namespace().name())
    }

    fn broker_url(&self, word: &str) -> String {
        let login = format!("{}:secret-of-{word}", self.login(word));
        self.rabbit.url().replace("guest:guest", &login)
    }

    /// Runs the printed scripts as they are, with passwords in variables.
    async fn grant(&self) -> Result<()> {
        let (mut shell, mut psql) = (Vec::new(), Vec::new());
        for (_, word) in ROLES {
            let secret = format!("secret-of-{word}");
            shell.push((format!("{}_PASSWORD", word.to_uppercase()), secret.clone()));
            psql.push((format!("{word}_password"), secret));
        }
        let printed = async |part: &str| -> Result<String> {
            let output = self.system.longshore(&["doctor", part]).await?;
            Ok(output.success()?.to_owned())
        };
        let broker = printed("--grants=broker").await?;
        let database = printed("--grants=database").await?;
        let all = printed("--grants").await?;
        ensure!(
            all.contains(broker.trim()) && all.contains(database.trim()),
            "{all}"
        );
        ensure!(
            !all.contains("guest"),
            "a login of the configuration: {all}"
        );
        let without = self.rabbit.shell(&broker, &[]).await;
        ensure!(without.is_err(), "logins without passwords were made");
        self.rabbit.shell(&broker, &shell).await?;
        // Run again, it changes nothing.
        for _ in 0..2 {
            self.postgres.psql(&database, &psql).await?;
        }
        Ok(())
    }

    /// From now on every program uses its own login.
    fn log_in(&mut self) {
        let logins = ROLES.map(|(_, word)| format!("{:?}", self.login(word)));
        let list = format!("[{}]", logins.join(", "));
        for (program, word) in ROLES {
            let urls = [
                ("LONGSHORE_BROKER_URL", self.broker_url(word)),
                (
                    "LONGSHORE_DATABASE_URL",
                    self.postgres.url_of(&self.login(word)),
                ),
                ("LONGSHORE__BROKER__LOGINS", list.clone()),
                (
                    "LONGSHORE__SECRETS__SEAL",
                    "a secret of all programs".to_owned(),
                ),
            ];
            for (name, value) in urls {
                self.system.set_of(program, name, &value);
            }
        }
    }
}

/// Runs a command with the operators' login.
async fn operate(system: &System, arguments: &[&str]) -> Result<serde_json::Value> {
    let arguments = [arguments, &["--json"]].concat();
    system.longshore(&arguments).await?.json()
}

#[tokio::test]
async fn private_programs_work_with_the_printed_rights_and_can_do_no_more() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut place = Place::new(&receiver).await?;
    place.grant().await?;
    place.log_in();
    let system = &mut place.system;
    system.longshore(&["topology", "apply"]).await?.success()?;
    for (program, _) in &ROLES[..5] {
        system.add(*program).await?;
    }
    whole_way(system, &receiver).await?;
    operators_work(&place.system).await?;
    ensure!(
        place.rabbit.refusals() > 0,
        "the programs have not tried to declare"
    );
    refusals_end(&place.rabbit).await?;
    broker_denies(&place).await?;
    database_denies(&place).await?;
    place.system.finish().await
}

/// Waits for a while without a refusal. A program that goes on trying never lets it come.
async fn refusals_end(rabbit: &PrivateRabbit) -> Result<()> {
    eventually(LATER, "a while without a refusal", || async {
        let before = rabbit.refusals();
        tokio::time::sleep(QUIET).await;
        let after = rabbit.refusals();
        ensure!(after == before, "they go on trying: {before}, then {after}");
        Ok(())
    })
    .await
}

/// An event completes, another dies, is archived, and completes after a replay; a third is rejected.
async fn whole_way(system: &System, receiver: &Receiver) -> Result<()> {
    let body = json!({"email": "a@b.example", "name": "Ada", "password": "correct horse"});
    let id = system.client().signup(&body).await?;
    let status = system.client().await_rest(id, LATER).await?;
    ensure!(status.status == "completed", "{status:?}");
    let taken = system.client().signup(&body).await?;
    system
        .client()
        .await_status(taken, "rejected", SOON)
        .await?;

    receiver.always(Answer::status(422));
    let dying = system.client().signup(&signup("dying")).await?;
    system.client().await_status(dying, "dead", LATER).await?;
    receiver.always(Answer::status(200));
    let replay = ["dead", "replay", "--all", "--yes"];
    system.longshore(&replay).await?.success()?;
    system
        .client()
        .await_status(dying, "completed", SOON)
        .await?;

    // A retry waits in the delay levels.
    receiver.first([Answer::status(500)]);
    let retried = system.client().signup(&signup("retried")).await?;
    system
        .client()
        .await_status(retried, "completed", SOON)
        .await?;

    // The second waits for the first, which is skipped.
    receiver.plan(|call| {
        let is_first = call.request.json().is_ok_and(|event| event["id"] == "o-0");
        Answer::status(if is_first { 422 } else { 200 })
    });
    let mut last = retried;
    for number in 0..2 {
        let event = json!({
            "specversion": "1.0", "id": format!("o-{number}"), "type": "processing.requested", "source": "/e2e",
            "subject": "order", "data": { "task": "resize", "payload": {} },
        });
        last = system.client().event(&event).await?;
    }
    system
        .client()
        .await_status(last, "completed", SOON)
        .await?;
    system.longshore(&replay).await?.success()?;
    Ok(())
}

/// The operators' commands, those that write included.
async fn operators_work(system: &System) -> Result<()> {
    let outsider = system.outsider().await?;
    let received = system.named("received");
    for key in ["a", "b"] {
        outsider
            .publish(&received, key, &Message::new(format!("no event {key}")))
            .await?;
    }
    let ledger = system.ledger().await?;
    let letter = eventually(SOON, "the letters of the outsider", || async {
        let letters = ledger.dead_letters().await?;
        let mut theirs = letters.into_iter().filter(|it| it.reason == "undecodable");
        let both = (theirs.next(), theirs.next());
        let (Some(letter), Some(_)) = both else {
            bail!("not both are there: {both:?}")
        };
        Ok(letter)
    })
    .await?;
    let id = letter.dead_letter_id.as_str();
    for arguments in [
        &["doctor"][..],
        &["queues"],
        &["topology", "verify"],
        &["history", "stats"],
        &["events", "stuck"],
        &["verify", "--since", "1h"],
        &["dead", "stats"],
        &["dead", "show", id],
        &["dead", "discard", id, "--why", "a test", "--yes"],
        &["dead", "restore", id, "--yes"],
        &["dead", "discard", id, "--why", "a test", "--yes"],
        &["dead", "purge", "--older-than", "0s", "--yes"],
        &["replay", "list"],
    ] {
        let output = operate(system, arguments).await;
        output.with_context(|| format!("longshore {}", arguments.join(" ")))?;
    }
    Ok(())
}

/// Each login is refused what its program does not need.
async fn broker_denies(place: &Place) -> Result<()> {
    let named = |short: &str| place.system.named(short);
    let message = || Message::new("x");
    for (word, exchange, key) in [
        ("producer", "accepted", "signup.requested"),
        ("producer", "dead", "signup.requested"),
        ("producer", "received", "some.other.type"),
        ("validate", "received", "signup.requested"),
        ("validate", "stored", "signup.requested"),
        ("store", "received", "signup.requested"),
        ("store", "accepted", "signup.requested"),
        ("integrate", "received", "signup.requested"),
        ("integrate", "stored", "signup.requested"),
        ("archive", "received", "signup.requested"),
    ] {
        let outsider = Outsider::connect(&place.broker_url(word)).await?;
        let published = outsider.publish(&named(exchange), key, &message()).await;
        let error = published
            .err()
            .with_context(|| format!("{word} published to {exchange}"))?;
        ensure!(format!("{error:?}").contains("ACCESS_REFUSED"), "{error:?}");
    }
    let outsider = Outsider::connect(&place.broker_url("producer")).await?;
    let direct = outsider.publish_to_queue(&named("store"), &message()).await;
    ensure!(
        direct.is_err(),
        "the door published past the exchange: {direct:?}"
    );
    for (word, queue) in [
        ("producer", "validate"),
        ("producer", "history"),
        ("validate", "store"),
        ("store", "validate"),
        ("store", "integrate.crm"),
        ("integrate", "store"),
        ("integrate", "dead"),
        ("archive", "integrate.crm"),
    ] {
        let outsider = Outsider::connect(&place.broker_url(word)).await?;
        let taken = outsider.take(&named(queue), 1).await;
        ensure!(taken.is_err(), "{word} took from {queue}");
        let deleted = outsider.delete_queue(&named(queue)).await;
        ensure!(deleted.is_err(), "{word} deleted {queue}");
    }
    Ok(())
}

/// SQLSTATE of an act without the right to it.
const INSUFFICIENT_PRIVILEGE: &str = "42501";

async fn database_denies(place: &Place) -> Result<()> {
    let schema = place.system.namespace().name();
    for (word, statement) in [
        ("producer", "SELECT body FROM events"),
        ("producer", "SELECT email FROM signups"),
        ("producer", "SELECT body FROM dead_letters"),
        ("producer", "DELETE FROM deliveries"),
        ("store", "DROP TABLE events"),
        ("store", "SELECT password_hash FROM signups"),
        ("store", "DELETE FROM signups"),
        ("store", "SELECT count(*) FROM dead_letters"),
        ("store", "CREATE TABLE mine ()"),
        // Bodies it reads, as a destination is ordered.
        ("integrate", "SELECT fingerprint FROM events"),
        ("integrate", "DELETE FROM deliveries"),
        ("integrate", "SELECT body FROM dead_letters"),
        ("integrate", "UPDATE dead_letters SET queue = 'x'"),
        ("archive", "SELECT email FROM signups"),
        ("archive", "DELETE FROM dead_letters"),
        ("archive", "DELETE FROM events"),
        ("operator", "SELECT password_hash FROM signups"),
        ("operator", "DROP TABLE replays"),
        ("operator", "DELETE FROM _sqlx_migrations"),
    ] {
        let mut connection =
            PgConnection::connect(&place.postgres.url_of(&place.login(word))).await?;
        sqlx::query(AssertSqlSafe(format!("SET search_path TO \"{schema}\"")))
            .execute(&mut connection)
            .await?;
        let done = sqlx::query(statement).execute(&mut connection).await;
        let error = done
            .err()
            .with_context(|| format!("{word} could: {statement}"))?;
        let code = error
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code);
        ensure!(
            code.as_deref() == Some(INSUFFICIENT_PRIVILEGE),
            "{word}: {statement}: {error}"
        );
    }
    let validate = PgConnection::connect(&place.postgres.url_of(&place.login("validate"))).await;
    ensure!(validate.is_err(), "validation needs no database");
    Ok(())
}
