//! `longshore destinations`

use clap::Subcommand;
use common::bootstrap::Failure;
use common::store::{OpenBreaker, PausedDestination};
use operate::destinations::{self, Listed, Shown};
use operate::words::moment;
use serde_json::json;
use workers::integrate::{Pinged, RequestLine, ping};

use crate::app::App;
use crate::output::{pairs, table};

/// What to do with destinations.
#[derive(Debug, Subcommand)]
pub enum DestinationsCommand {
    /// List destinations: active, paused or broken, how much waits, how many dead letters
    List,
    /// Show one destination whole
    Show {
        /// The destination
        name: String,
    },
    /// Pause a destination: its deliveries wait, and no attempt is spent
    #[command(after_help = "\
From half a second on, no process begins a delivery there. Those under way end. Events wait in the destination's queue.

Example:
  longshore destinations pause crm --why 'their deploy'")]
    Pause {
        /// The destination
        name: String,
        /// The reason, kept with the record
        #[arg(long, value_name = "TEXT")]
        why: String,
    },
    /// Resume a paused destination: within five seconds, what waits is delivered
    Resume {
        /// The destination
        name: String,
        /// The reason, kept with the record
        #[arg(long, value_name = "TEXT")]
        why: Option<String>,
    },
    /// Send a ping, and show request, answer and time
    #[command(after_help = "\
A ping is one request as a delivery would be, signed and with every header, of an event of the type longshore.ping. A paused \
destination is pinged as well. A mail server is asked whether it would take mail, and gets none.

Example:
  longshore destinations test crm")]
    Test {
        /// The destination
        name: String,
    },
}

pub(crate) async fn run(app: &App, command: DestinationsCommand) -> Result<(), Failure> {
    match command {
        DestinationsCommand::List => list(app).await,
        DestinationsCommand::Show { name } => show(app, &name).await,
        DestinationsCommand::Pause { name, why } => pause(app, &name, why).await,
        DestinationsCommand::Resume { name, why } => resume(app, &name, why).await,
        DestinationsCommand::Test { name } => test(app, &name).await,
    }
}

async fn list(app: &App) -> Result<(), Failure> {
    let (broker, store) = (app.broker()?, app.store()?);
    let listed = destinations::list(&app.config, broker.as_ref(), store.as_ref()).await;
    broker.close().await;
    store.close().await;
    app.output.show(&listed?, |list| {
        if list.items.is_empty() {
            return "no destinations are configured".to_owned();
        }
        let header = ["name", "state", "waiting", "dead", "address", "types", ""];
        table(&header, list.items.iter().map(row).collect())
    })
}

fn row(destination: &Listed) -> Vec<String> {
    vec![
        destination.name.clone(),
        destination.state.to_owned(),
        number(destination.messages),
        destination.dead.to_string(),
        destination.address.clone(),
        destination.types.join(" "),
        why(destination).unwrap_or_default(),
    ]
}

/// Why its deliveries wait, if they do.
fn why(destination: &Listed) -> Option<String> {
    let pause = destination.pause.as_ref().map(paused);
    pause.or_else(|| destination.breaker.as_ref().map(broken))
}

async fn show(app: &App, name: &str) -> Result<(), Failure> {
    let (broker, store) = (app.broker()?, app.store()?);
    let shown = destinations::show(&app.config, broker.as_ref(), store.as_ref(), name).await;
    broker.close().await;
    store.close().await;
    app.output.show(&shown?, whole)
}

fn whole(shown: &Shown) -> String {
    let listed = &shown.listed;
    let state = why(listed).unwrap_or_else(|| listed.state.to_owned());
    pairs([
        ("name", listed.name.clone()),
        ("state", state),
        ("address", listed.address.clone()),
        ("types", listed.types.join(" ")),
        ("waiting", number(listed.messages)),
        ("consumers", number(listed.consumers)),
        ("dead letters", listed.dead.to_string()),
        (
            "concurrency",
            format!("{} in all copies together", shown.concurrency),
        ),
        (
            "rate",
            shown.rate.clone().unwrap_or_else(|| "unbounded".to_owned()),
        ),
        (
            "breaker opens",
            shown
                .breaker_opens
                .as_ref()
                .map_or_else(|| "never".to_owned(), |when| format!("when {when}")),
        ),
        ("timeout", shown.timeout.clone()),
        ("attempts", shown.attempts.to_string()),
    ])
}

async fn pause(app: &App, name: &str, why: String) -> Result<(), Failure> {
    let store = app.store()?;
    let pausing = async {
        let by = app.requester(store.as_ref()).await?;
        destinations::pause(&app.config, store.as_ref(), name, why, &by).await
    };
    let pause = pausing.await;
    store.close().await;
    app.output.show(&pause?, |pause| {
        format!("{} is {}", pause.name, paused(pause))
    })
}

async fn resume(app: &App, name: &str, why: Option<String>) -> Result<(), Failure> {
    let store = app.store()?;
    let resuming = async {
        let by = app.requester(store.as_ref()).await?;
        destinations::resume(&app.config, store.as_ref(), name, why, &by).await
    };
    let ended = resuming.await;
    store.close().await;
    let ended = ended?;
    let document = json!({ "name": name, "state": "active", "ended": ended });
    app.output.show(&document, |_| match &ended {
        Some(pause) => format!("{name} is active again; it was {}", paused(pause)),
        None => format!("{name} was not paused"),
    })
}

async fn test(app: &App, name: &str) -> Result<(), Failure> {
    if app.handed_over {
        return Err(Failure::Usage(
            "expected a configuration with the secrets of destinations, found the one that the `longshore dev` of this \
             folder hands over, which has none: name its file with LONGSHORE_CONFIG, in another folder"
                .to_owned(),
        ));
    }
    let store = app.store()?;
    let permitting = async {
        let by = app.requester(store.as_ref()).await?;
        destinations::permit_test(&app.config, store.as_ref(), name, &by).await
    };
    let permitted = permitting.await;
    store.close().await;
    let pinged = ping(permitted?, &app.config).await;
    let pinged = pinged.map_err(|error| Failure::Usage(error.to_string()))?;
    app.output.show(&pinged, told)?;
    if pinged.taken {
        return Ok(());
    }
    let error = pinged.error.unwrap_or_default();
    Err(Failure::Failed(anyhow::anyhow!(
        "{name} did not take the ping: {error}"
    )))
}

/// A ping in words: the request, a free line, the body, a free line, the answer.
fn told(pinged: &Pinged) -> String {
    let mut text = String::new();
    for RequestLine { name, value } in &pinged.request {
        text.push_str(&format!("{name}: {value}\n"));
    }
    if !pinged.body.is_empty() {
        text.push_str(&format!("\n{}\n", pinged.body));
    }
    let status = pinged.status.map(|status| format!("answered {status}"));
    let status = status.unwrap_or_else(|| "no answer".to_owned());
    let verdict = if pinged.taken { "taken" } else { "not taken" };
    text.push_str(&format!("\n{status} in {} ms: {verdict}", pinged.took_ms));
    if let Some(answer) = &pinged.answer {
        text.push_str(&format!("\n{answer}"));
    }
    text
}

/// An open breaker in words.
fn broken(breaker: &OpenBreaker) -> String {
    let [at, probe] = [breaker.opened_at, breaker.probe_at].map(|at| moment(at.0));
    format!("broken since {at}: {}; a probe at {probe}", breaker.why)
}

/// A pause in words.
fn paused(pause: &PausedDestination) -> String {
    let at = moment(pause.paused_at.0);
    format!(
        "paused since {at} by {}: {}",
        pause.paused_by, pause.paused_why
    )
}

fn number(number: Option<u64>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}
