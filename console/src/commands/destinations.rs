//! `longshore destinations`

use clap::Subcommand;
use common::bootstrap::Failure;
use common::store::PausedDestination;
use operate::destinations::{self, Listed, Shown};
use operate::words::moment;
use serde_json::json;

use crate::app::App;
use crate::output::{pairs, table};

/// What to do with destinations.
#[derive(Debug, Subcommand)]
pub enum DestinationsCommand {
    /// List destinations: open or paused, how much waits, how many dead letters
    List,
    /// Show one destination whole
    Show {
        /// The destination
        name: String,
    },
    /// Pause a destination: its deliveries wait, and no attempt is spent
    #[command(after_help = "\
From within a second on, no process makes a delivery there. Those under way end. Events wait in the destination's queue.

Example:
  longshore destinations pause crm --why 'their deploy'")]
    Pause {
        /// The destination
        name: String,
        /// The reason, kept with the record
        #[arg(long, value_name = "TEXT")]
        why: String,
    },
    /// Resume a paused destination: what waits is delivered
    Resume {
        /// The destination
        name: String,
        /// The reason, kept with the record
        #[arg(long, value_name = "TEXT")]
        why: Option<String>,
    },
}

pub(crate) async fn run(app: &App, command: DestinationsCommand) -> Result<(), Failure> {
    match command {
        DestinationsCommand::List => list(app).await,
        DestinationsCommand::Show { name } => show(app, &name).await,
        DestinationsCommand::Pause { name, why } => pause(app, &name, why).await,
        DestinationsCommand::Resume { name, why } => resume(app, &name, why).await,
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
        destination.pause.as_ref().map(paused).unwrap_or_default(),
    ]
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
    let state = match &listed.pause {
        Some(pause) => paused(pause),
        None => listed.state.to_owned(),
    };
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
            format!("{} in each process", shown.concurrency),
        ),
        (
            "rate",
            shown.rate.clone().unwrap_or_else(|| "unbounded".to_owned()),
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
    let document = json!({ "name": name, "state": "open", "ended": ended });
    app.output.show(&document, |_| match &ended {
        Some(pause) => format!("{name} is open again; it was {}", paused(pause)),
        None => format!("{name} was not paused"),
    })
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
