//! `longshore events`

pub(crate) mod stuck;

use clap::Subcommand;
use common::bootstrap::Failure;
use common::event::EventId;
use common::store::{DeliveryStatus, EventStatus, RejectionRecord, Store, Timeline};
use operate::words::moment;
use serde::Serialize;
use serde_json::Value;

use crate::app::App;
use crate::mask::mask;
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
    /// Find what was accepted and is at rest nowhere, and send it on its way again
    Stuck(stuck::StuckArgs),
}

pub(crate) async fn run(app: &App, command: EventsCommand) -> Result<(), Failure> {
    match command {
        EventsCommand::Show { id } => show(app, id).await,
        EventsCommand::Stuck(args) => stuck::run(app, args).await,
    }
}

async fn show(app: &App, id: EventId) -> Result<(), Failure> {
    let store = app.store()?;
    let found = look(store.as_ref(), id).await;
    store.close().await;
    let Some(found) = found? else {
        return Err(Failure::Failed(anyhow::anyhow!(
            "no event {id} is known to the database of {}; one that was just sent may still be \
             on the broker (`longshore queues`)",
            app.config.namespace
        )));
    };
    let mut document = serde_json::to_value(&found).map_err(anyhow::Error::from)?;
    mask(&mut document);
    app.output
        .show(&document, |document| text(document, &found))
}

/// All that is known of an event.
#[derive(Serialize)]
struct Found {
    #[serde(flatten)]
    status: EventStatus,
    /// What only a stored event has.
    #[serde(flatten)]
    stored: Option<Stored>,
    /// Other contents that came under its id and were refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    refused_beside: Vec<RejectionRecord>,
}

#[derive(Serialize)]
struct Stored {
    publisher: String,
    source: String,
    event: Value,
}

async fn look(store: &dyn Store, id: EventId) -> Result<Option<Found>, Failure> {
    if let Some(record) = store.event(id).await? {
        let (publisher, source, event) = (record.publisher, record.source, record.event);
        return Ok(Some(Found {
            status: record.status,
            stored: Some(Stored {
                publisher,
                source,
                event,
            }),
            refused_beside: store.rejections(id).await?,
        }));
    }
    // A rejected event has a status but was never stored.
    Ok(store.status(id).await?.map(|status| Found {
        status,
        stored: None,
        refused_beside: Vec::new(),
    }))
}

fn text(document: &Value, found: &Found) -> String {
    let status = &found.status;
    let stored = found.stored.as_ref();
    let mut text = pairs([
        ("id", status.id.to_string()),
        ("type", status.kind.clone().unwrap_or_default()),
        ("status", status.status.to_string()),
        (
            "publisher",
            stored.map(|it| it.publisher.clone()).unwrap_or_default(),
        ),
        (
            "source",
            stored.map(|it| it.source.clone()).unwrap_or_default(),
        ),
    ]);
    if let Some(reason) = &status.reason {
        let error = |error: &common::outcome::FieldError| {
            format!("\n  {}: {}", error.pointer, error.detail)
        };
        let errors: String = reason.errors.iter().map(error).collect();
        text.push_str(&pairs([
            (
                "reason",
                format!("{} ({}){errors}", reason.code, reason.detail),
            ),
            (
                "dead letter",
                reason
                    .dead_letter
                    .map(|id| id.to_string())
                    .unwrap_or_default(),
            ),
        ]));
    }
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
        let row = |delivery: &DeliveryStatus| {
            vec![
                delivery.destination.clone(),
                state(&delivery.status),
                delivery.attempts.to_string(),
                delivery.generation.to_string(),
                delivery
                    .last_attempt_at
                    .map(|at| moment(at.0))
                    .unwrap_or_default(),
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
        text.push_str("\n\n");
        text.push_str(&table(&header, status.deliveries.iter().map(row).collect()));
    }
    if let Some(event) = document.get("event") {
        text.push_str("\n\n");
        text.push_str(&serde_json::to_string_pretty(event).unwrap_or_default());
    }
    text
}

/// A state as it is written in JSON.
pub(crate) fn state(state: &impl serde::Serialize) -> String {
    match serde_json::to_value(state) {
        Ok(Value::String(text)) => text,
        _ => String::new(),
    }
}
