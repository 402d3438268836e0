//! `longshore events`

use clap::Subcommand;
use common::bootstrap::Failure;
use common::event::EventId;
use common::store::{DeliveryStatus, EventStatus, Timeline};
use serde_json::Value;

use crate::app::App;
use crate::mask::mask;
use crate::output::{moment, pairs, table};

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
}

pub(crate) async fn run(app: &App, command: EventsCommand) -> Result<(), Failure> {
    let EventsCommand::Show { id } = command;
    let store = app.store()?;
    // A rejected event has a status but was never stored.
    let found = async {
        Ok::<_, Failure>(match store.event(id).await? {
            Some(record) => Some((serde_json::to_value(&record), record.status)),
            None => {
                let status = store.status(id).await?;
                status.map(|status| (serde_json::to_value(&status), status))
            }
        })
    }
    .await;
    store.close().await;
    let Some((document, status)) = found? else {
        return Err(Failure::Failed(anyhow::anyhow!(
            "no event {id} is known to the database of {}; one that was just sent may still be \
             on the broker (`longshore queues`)",
            app.config.namespace
        )));
    };
    let mut document = document.map_err(anyhow::Error::from)?;
    mask(&mut document);
    app.output
        .show(&document, |document| text(document, &status))
}

fn text(document: &Value, status: &EventStatus) -> String {
    let field = |name: &str| document[name].as_str().unwrap_or_default().to_owned();
    let mut text = pairs([
        ("id", status.id.to_string()),
        ("type", status.kind.clone().unwrap_or_default()),
        ("status", status.status.to_owned()),
        ("publisher", field("publisher")),
        ("source", field("source")),
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
