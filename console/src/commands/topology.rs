//! `longshore topology`

use clap::Subcommand;
use common::bootstrap::{self, Failure};
use common::broker::{Broker, Difference};
use common::telemetry::stderr;
use common::topology::{Queue, QueueKind, Target, Topology};
use operate::topology::{TopologyChange, TopologyMade};
use operate::words::count;
use serde_json::json;

use crate::app::App;
use crate::confirm::confirm;
use crate::output::{List, table};

/// What to do with the topology.
#[derive(Debug, Subcommand)]
pub enum TopologyCommand {
    /// Print what the configuration asks for; looks at no broker
    Show {
        /// As a Mermaid flowchart
        #[arg(long)]
        diagram: bool,
    },
    /// Declare what is missing on the broker; what is there stays as it is, but for the list of trusted logins
    Apply {
        /// Replace the list of trusted logins even while workers run that go by the old one
        #[arg(long)]
        yes: bool,
    },
    /// Compare the broker with the configuration; exit code 1 where they differ
    Verify,
    /// Delete every exchange and queue of the namespace, with all messages in them
    Delete {
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

pub(crate) async fn run(app: &App, command: TopologyCommand) -> Result<(), Failure> {
    let topology = app.topology();
    match command {
        TopologyCommand::Show { diagram: true } => {
            let diagram = topology.to_mermaid();
            app.output
                .show(&json!({ "diagram": diagram }), |_| diagram.clone())
        }
        TopologyCommand::Show { diagram: false } => app.output.show(&topology, text),
        TopologyCommand::Apply { yes } => apply(app, &topology, yes).await,
        TopologyCommand::Verify => verify(app, &topology).await,
        TopologyCommand::Delete { yes } => {
            let broker = app.broker()?;
            let deleted = delete(app, broker.as_ref(), &topology, yes).await;
            broker.close().await;
            deleted
        }
    }
}

/// Makes a change of the topology on behalf of the operator at this terminal, and says where it is not recorded. The record
/// is in the database, which may not be there yet: then the change is made all the same.
async fn recorded(
    app: &App,
    change: impl AsyncFnOnce(TopologyChange<'_>) -> Result<TopologyMade, Failure>,
) -> Result<TopologyMade, Failure> {
    let store = app.store().ok();
    let made = async {
        let by = app.requester(store.as_deref()).await?;
        let store = store.as_deref();
        change(TopologyChange { by: &by, store }).await
    };
    let made = made.await;
    if let Some(store) = &store {
        store.close().await;
    }
    if let Ok(TopologyMade {
        unrecorded: Some(why),
        ..
    }) = &made
    {
        stderr::say(&format!("it is done, and not in the audit record: {why}"));
    }
    made
}

/// The topology in a few words.
fn things(app: &App, topology: &Topology) -> String {
    let (exchanges, queues) = (topology.exchanges.len(), topology.queues.len());
    format!(
        "{exchanges} exchanges and {queues} queues of {}",
        app.config.namespace
    )
}

async fn apply(app: &App, topology: &Topology, yes: bool) -> Result<(), Failure> {
    // Not through the app: an embedded broker that does not exist is created here.
    let broker = bootstrap::broker(&app.config, "longshore")?;
    let applied = recorded(app, async |change: TopologyChange<'_>| {
        operate::topology::apply(broker.as_ref(), topology, yes, change).await
    });
    let applied = applied.await;
    broker.close().await;
    let replaced = applied?.replaced;
    let (exchanges, queues) = (topology.exchanges.len(), topology.queues.len());
    let done = json!({ "exchanges": exchanges, "queues": queues, "logins_before": replaced });
    let things = things(app, topology);
    app.output.show(&done, |_| match &replaced {
        None => format!("{things} are declared"),
        Some(before) => format!(
            "{things} are declared\nThe trusted broker logins are {} now, they were {before}: start every \
             program with the new list",
            topology.trusted_logins()
        ),
    })
}

async fn verify(app: &App, topology: &Topology) -> Result<(), Failure> {
    let broker = app.broker()?;
    let differences = broker.verify(topology).await;
    broker.close().await;
    let list = List::whole(differences?);
    app.output.show(&list, |list| {
        differences_text(&list.items, &things(app, topology))
    })?;
    match list.items.len() {
        0 => Ok(()),
        found => Err(Failure::Failed(anyhow::anyhow!(
            "the broker differs from the configuration in {}",
            count(found as u64, "place")
        ))),
    }
}

async fn delete(
    app: &App,
    broker: &dyn Broker,
    topology: &Topology,
    yes: bool,
) -> Result<(), Failure> {
    let messages = operate::topology::count_waiting(broker, topology).await?;
    let things = things(app, topology);
    let waiting = count(messages, "waiting message");
    confirm(&format!("delete {things}, with {waiting}, for good"), yes)?;
    let delete = async |change: TopologyChange<'_>| {
        operate::topology::delete(broker, topology, change).await
    };
    recorded(app, delete).await?;
    let (exchanges, queues) = (topology.exchanges.len(), topology.queues.len());
    let done = json!({ "exchanges": exchanges, "queues": queues, "messages": messages });
    app.output
        .show(&done, |_| format!("{things} are deleted, with {waiting}"))
}

fn differences_text(differences: &[Difference], things: &str) -> String {
    if differences.is_empty() {
        return format!("{things} are as the configuration asks for");
    }
    let row = |difference: &Difference| vec![difference.name.clone(), difference.problem.clone()];
    table(&["name", "problem"], differences.iter().map(row).collect())
}

fn text(topology: &Topology) -> String {
    let queues = topology
        .queues
        .iter()
        .map(|queue| vec![queue.name.clone(), kind(queue)]);
    let bindings = topology.bindings.iter().map(|binding| {
        let to = match &binding.to {
            Target::Queue(name) => name.clone(),
            Target::Exchange(name) => format!("exchange {name}"),
        };
        vec![binding.exchange.clone(), binding.pattern.clone(), to]
    });
    format!(
        "trusted broker logins: {}\n\n{}\n\n{}\n\n{}",
        topology.trusted_logins(),
        table(
            &["exchange"],
            topology
                .exchanges
                .iter()
                .map(|name| vec![name.clone()])
                .collect()
        ),
        table(&["queue", "kind"], queues.collect()),
        table(&["exchange", "routing key", "to"], bindings.collect()),
    )
}

fn kind(queue: &Queue) -> String {
    match &queue.kind {
        QueueKind::Work {
            dead_letter_exchange,
            dead_letter_routing_key,
        } => {
            let to = dead_letter_routing_key
                .as_ref()
                .unwrap_or(dead_letter_exchange);
            format!("work, gives up to {to}")
        }
        QueueKind::Parked => "parked, only people empty it".to_owned(),
        QueueKind::Delay {
            ttl_ms,
            dead_letter_exchange,
        } => {
            format!("delay of {ttl_ms} ms, then {dead_letter_exchange}")
        }
        QueueKind::Stream { max_age_s } => format!("stream, kept {max_age_s} s"),
    }
}
