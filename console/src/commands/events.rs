//! `longshore events`

pub(crate) mod cancel;
pub(crate) mod scheduled;
pub(crate) mod stuck;

use clap::Subcommand;
use common::bootstrap::Failure;
use common::event::EventId;
use common::outcome::FieldError;
use common::store::{DeliveryStatus, EventStatus, FilteredDestination, Timeline};
use operate::events::{self, Found};
use operate::words::moment;
use serde_json::Value;

use crate::app::App;
use crate::output::{pairs, table};

/// What to do with events.
#[derive(Debug, Subcommand)]
pub enum EventsCommand {
    /// Show where one event stands: status, timeline, deliveries, body (secrets masked)
    #[command(
        after_help = "Example:\n  longshore events show 01936b2e-7c1f-7d3e-9a50-3f6c2f1d8e44"
    )]
    Show {
        /// The event id
        id: EventId,
    },
    /// List the events that wait for their moment, the nearest first
    Scheduled(scheduled::ScheduledArgs),
    /// Cancel an event that waits for its moment: nobody gets it
    Cancel(cancel::CancelArgs),
    /// Find what was accepted and is at rest nowhere, and send it on its way again
    Stuck(stuck::StuckArgs),
}

pub(crate) async fn run(app: &App, command: EventsCommand) -> Result<(), Failure> {
    match command {
        EventsCommand::Show { id } => show(app, id).await,
        EventsCommand::Scheduled(args) => scheduled::run(app, args).await,
        EventsCommand::Cancel(args) => cancel::run(app, args).await,
        EventsCommand::Stuck(args) => stuck::run(app, args).await,
    }
}

async fn show(app: &App, id: EventId) -> Result<(), Failure> {
    let store = app.store()?;
    let found = async {
        let by = app.requester(store.as_ref()).await?;
        let found = events::find(store.as_ref(), id).await?;
        Ok::<_, Failure>(by.reads(found))
    };
    let found = found.await;
    store.close().await;
    let Some(found) = found? else {
        return Err(Failure::Failed(anyhow::anyhow!(
            "no event {id} is known to the database of {}; one that was just sent may still be \
             on the broker (`longshore queues`)",
            app.config.namespace
        )));
    };
    let document = found.masked()?;
    app.output
        .show(&document, |document| text(document, &found))
}

fn text(document: &Value, found: &Found) -> String {
    let status = &found.status;
    let mut text = head(found);
    for refused in &found.refused_beside {
        let what = format!("{} ({})", refused.code, refused.detail);
        text.push_str(&pairs([("beside it", what)]));
    }
    text.push('\n');
    let step = |step: &Timeline| {
        let destination = step.destination.clone().unwrap_or_default();
        vec![moment(step.at.0), step.step.to_owned(), destination]
    };
    text.push_str(&table(
        &["when", "what", "where"],
        status.timeline.iter().map(step).collect(),
    ));
    if !status.deliveries.is_empty() {
        text.push_str("\n\n");
        text.push_str(&deliveries(&status.deliveries));
    }
    if !status.filtered.is_empty() {
        text.push_str("\n\n");
        text.push_str(&filtered(&status.filtered));
    }
    if let Some(event) = document.get("event") {
        text.push_str("\n\n");
        text.push_str(&serde_json::to_string_pretty(event).unwrap_or_default());
    }
    text
}

/// The event's identity and standing, and why it is not completed.
fn head(found: &Found) -> String {
    let EventStatus {
        id,
        kind,
        status,
        not_before,
        reason,
        ..
    } = &found.status;
    let stored = found.stored.as_ref();
    let publisher = stored.map(|it| it.publisher.clone());
    let source = stored.map(|it| it.source.clone());
    let mut text = pairs([
        ("id", id.to_string()),
        ("type", kind.clone().unwrap_or_default()),
        ("status", status.to_string()),
        (
            "not before",
            not_before.map(|at| moment(at.0)).unwrap_or_default(),
        ),
        ("publisher", publisher.unwrap_or_default()),
        ("source", source.unwrap_or_default()),
    ]);
    if let Some(reason) = reason {
        let error = |error: &FieldError| format!("\n  {}: {}", error.pointer, error.detail);
        let errors: String = reason.errors.iter().map(error).collect();
        let letter = reason.dead_letter.map(|id| id.to_string());
        text.push_str(&pairs([
            (
                "reason",
                format!("{} ({}){errors}", reason.code, reason.detail),
            ),
            ("dead letter", letter.unwrap_or_default()),
        ]));
    }
    text
}

fn deliveries(deliveries: &[DeliveryStatus]) -> String {
    let row = |delivery: &DeliveryStatus| {
        let last = delivery.last_attempt_at.map(|at| moment(at.0));
        vec![
            delivery.destination.clone(),
            state(&delivery.status),
            delivery.attempts.to_string(),
            delivery.generation.to_string(),
            last.unwrap_or_default(),
            delivery.error.clone().unwrap_or_default(),
        ]
    };
    let header = [
        "destination",
        "status",
        "attempts",
        "generation",
        "last attempt",
        "error",
    ];
    table(&header, deliveries.iter().map(row).collect())
}

/// The destinations where the event is not due, and why.
fn filtered(filtered: &[FilteredDestination]) -> String {
    let row = |filtered: &FilteredDestination| {
        let why = match &filtered.error {
            Some(error) => format!("its filter has no value for the event: {error}"),
            None => "its filter does not match".to_owned(),
        };
        vec![filtered.destination.clone(), why]
    };
    let header = ["not due at", "why"];
    table(&header, filtered.iter().map(row).collect())
}

/// A state as it is written in JSON.
pub(crate) fn state(state: &impl serde::Serialize) -> String {
    match serde_json::to_value(state) {
        Ok(Value::String(text)) => text,
        _ => String::new(),
    }
}
