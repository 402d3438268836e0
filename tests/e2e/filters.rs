//! Filters: which events a destination gets, and what everybody is told of the others.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testkit::{
    client::{Client, Status},
    dev::Dev,
    load::signup,
    process::Program,
    receiver::Receiver,
    system::{Destination, System},
    wait::eventually,
};

use crate::{LATER, SOON};

/// A signup for a plan with `seats`, if any.
fn signup_for(plan: &str, seats: Option<f64>) -> Value {
    let mut body = signup(plan);
    body["plan"] = json!(plan);
    if let Some(seats) = seats {
        body["attributes"] = json!({ "seats": seats });
    }
    body
}

const PRO: &str = "data.plan == 'pro'";
const LARGE: &str = "data.attributes.seats > 10";

/// The destinations of a status: those with a delivery, and those whose filter passed over the event, with the reasons.
fn destinations(status: &Status) -> (Vec<&str>, Vec<(&str, Option<&str>)>) {
    let deliveries = status.deliveries.iter();
    let deliveries = deliveries.filter_map(|it| it["destination"].as_str());
    let filtered = status.filtered.iter();
    let filtered =
        filtered.filter_map(|it| Some((it["destination"].as_str()?, it["error"].as_str())));
    (deliveries.collect(), filtered.collect())
}

#[tokio::test]
async fn a_destination_gets_the_events_that_its_filter_matches_and_all_else_is_told() -> Result<()>
{
    let (crm, sales, all) = (
        Receiver::start().await?,
        Receiver::start().await?,
        Receiver::start().await?,
    );
    let mut system = System::builder()
        .destination(Destination::webhook("crm", &crm).filter(PRO))
        .destination(Destination::webhook("sales", &sales).filter(LARGE))
        .destination(Destination::webhook("all", &all))
        .start()
        .await?;
    let client = system.client();
    let free = client.signup(&signup_for("free", None)).await?;
    let pro = client.signup(&signup_for("pro", Some(10.5))).await?;
    let small = client.signup(&signup_for("pro", Some(10.0))).await?;
    let ids = [free, pro, small];
    let ledger = system.ledger().await?;
    ledger.all_completed(&ids, LATER).await?;
    ensure!(
        (crm.count(), sales.count(), all.count()) == (2, 1, 3),
        "{:?} {:?} {:?}",
        crm.attempts(),
        sales.attempts(),
        all.attempts()
    );
    ensure!(!crm.attempts().contains_key(&free.to_string()));
    ensure!(sales.attempts().contains_key(&pro.to_string()));

    let missing = Some("data.attributes: no such member");
    for (id, due, filtered) in [
        (free, vec!["all"], vec![("crm", None), ("sales", missing)]),
        (pro, vec!["all", "crm", "sales"], vec![]),
        (small, vec!["all", "crm"], vec![("sales", None)]),
    ] {
        let status = client.status(id).await?.context("it is known")?;
        ensure!(destinations(&status) == (due, filtered), "{status:?}");
        let steps = status.timeline.iter();
        let steps = steps.filter(|step| step["step"] == "filtered").count();
        ensure!(steps == status.filtered.len(), "{status:?}");
        let attempts = ledger.attempts(id).await?;
        ensure!(attempts.len() == status.deliveries.len(), "{attempts:?}");
    }
    let id = free.to_string();
    let shown = system.longshore(&["events", "show", &id]).await?;
    let shown = shown.success()?;
    ensure!(
        shown.contains("its filter does not match")
            && shown.contains("its filter has no value for the event: data.attributes"),
        "{shown}"
    );
    let verify = ["verify", "--since", "1h", "--patience", "2s", "--json"];
    let balance = system.longshore(&verify).await?.json()?;
    ensure!(
        balance["balances"] == true && balance["completed"] == 3,
        "{balance}"
    );
    // Their messages are settled.
    let outsider = system.outsider().await?;
    for name in ["integrate.crm", "integrate.sales"] {
        outsider.await_empty(&system.named(name), SOON).await?;
    }
    let worker = Client::new(system.address(Program::Store, 0)?)?;
    let page = worker.get("/metrics").await?.text();
    for (name, result) in [
        ("crm", "no_match"),
        ("sales", "failed"),
        ("sales", "no_match"),
    ] {
        let line = format!(
            "longshore_events_filtered_total{{destination=\"{name}\",result=\"{result}\"}} 1"
        );
        ensure!(page.contains(&line), "{line}: {page}");
    }
    system.finish().await
}

#[tokio::test]
async fn a_new_filter_holds_for_later_events_and_for_a_replay_of_the_history() -> Result<()> {
    let crm = Receiver::start().await?;
    let configured = |filter: &str| {
        let url = crm.url();
        format!(
            "[outbound]\nallow = [\"127.0.0.0/8\"]\n[[destination]]\nname = \"crm\"\nwhere = {filter:?}\n\
             webhook = {{ url = {url:?} }}\n"
        )
    };
    let mut system = System::builder()
        .destination(Destination::webhook("crm", &crm).filter(PRO))
        .start()
        .await?;
    let ledger = system.ledger().await?;
    let free = system.client().signup(&signup_for("free", None)).await?;
    let pro = system.client().signup(&signup_for("pro", None)).await?;
    ledger.all_completed(&[free, pro], LATER).await?;

    system.file("longshore.toml", configured("data.plan == 'free'"))?;
    system.terminate(Program::Store, 0, SOON).await?;
    system.start_again(Program::Store, 0).await?;
    let later = system.client().signup(&signup_for("free", None)).await?;
    ledger.all_completed(&[later], LATER).await?;
    ensure!(crm.count() == 2, "{:?}", crm.attempts());
    let status = system.client().status(free).await?.context("it is known")?;
    ensure!(status.filtered.len() == 1 && status.deliveries.is_empty());

    let replay = [
        "history", "replay", "--from", "1h", "--queue", "validate", "--yes",
    ];
    system.longshore(&replay).await?.success()?;
    crm.await_successes(3, LATER).await?;
    let status = eventually(SOON, "the replay to be told", || async {
        let status = system.client().status(free).await?.context("it is known")?;
        ensure!(
            status.deliveries.len() == 1 && status.status == "completed",
            "{status:?}"
        );
        Ok(status)
    })
    .await?;
    ensure!(
        status.filtered.is_empty() && status.deliveries[0]["generation"] == 1,
        "{status:?}"
    );
    // To the receiver the one that was delivered twice is the same.
    let attempts = crm.attempts();
    ensure!(attempts.get(&later.to_string()) == Some(&2), "{attempts:?}");
    ensure!(attempts.get(&pro.to_string()) == Some(&1), "{attempts:?}");
    system.finish().await
}

#[tokio::test]
async fn a_filter_works_without_any_service() -> Result<()> {
    let crm = Receiver::start().await?;
    let mut dev = Dev::new(&[Destination::webhook("crm", &crm).filter(PRO)])?;
    dev.start().await?;
    let free = dev.client().signup(&signup_for("free", None)).await?;
    let pro = dev.client().signup(&signup_for("pro", None)).await?;
    for id in [free, pro] {
        dev.client().await_status(id, "completed", LATER).await?;
    }
    let status = dev.client().status(free).await?.context("it is known")?;
    ensure!(
        destinations(&status) == (vec![], vec![("crm", None)]),
        "{status:?}"
    );
    ensure!(crm.count() == 1, "{:?}", crm.attempts());
    dev.finish()
}

#[tokio::test]
async fn no_program_starts_with_a_filter_that_cannot_be_read() -> Result<()> {
    let crm = Receiver::start().await?;
    let programs = [Program::Producer].into_iter().chain(Program::WORKERS);
    let builder = programs
        .clone()
        .fold(System::builder(), |some, program| some.copies(program, 0));
    let system = builder.start().await?;
    let url = crm.url();
    let text = format!(
        "[[destination]]\nname = \"crm\"\nwhere = \"data.plan = 'pro'\"\nwebhook = {{ url = {url:?} }}\n"
    );
    system.file("longshore.toml", text)?;
    let mut outputs = vec![system.longshore(&["queues"]).await?];
    for program in programs {
        outputs.push(system.run_to_its_end(program, &[]).await?);
    }
    for output in outputs {
        output.exit(2)?;
        let words = "destination \"crm\", key `where`, line 1, column 11: expected an expression, found the character '='";
        ensure!(output.stderr.contains(words), "{output:?}");
    }
    system.file("longshore.toml", "")?;
    system.finish().await
}
