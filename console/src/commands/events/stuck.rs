//! `longshore events stuck`

use clap::Args;
use common::bootstrap::Failure;
use operate::survey::{Missing, Requeued, Survey, Surveyor, requeue};
use operate::words::{count, moment};
use serde_json::json;
use time::OffsetDateTime;

use crate::app::App;
use crate::commands::events::state;
use crate::confirm::confirm;
use crate::output::table;
use crate::survey::survey;
use crate::when;

/// Where to look, and whether to mend it.
#[derive(Debug, Args)]
#[command(after_help = "\
Compares the history with the tables and the queues: stuck is what was received, is at rest nowhere, and is in \
no queue; unknown is what may be in a queue that cannot be looked into without harm. The standing watch sends \
again what is stuck by itself, within a minute (docs/operations.md).

--requeue sends what is not stored to `validate` once more, and what is stored to the destinations where it \
is due still, as the delivery that it is. Every step is idempotent, so this does no harm to what was not \
stuck. What is older than the history (`history.keep`) cannot be found.

Examples:
  longshore events stuck
  longshore events stuck --since 24h --requeue")]
pub struct StuckArgs {
    /// Received since then: so long ago, or a moment
    #[arg(long, value_name = "WHEN", default_value = "1h", value_parser = when::moment)]
    since: OffsetDateTime,
    /// How long what is on its way may take to come to rest
    #[arg(long, alias = "grace", value_name = "DURATION", default_value = "30s", value_parser = common::config::duration::parse)]
    patience: std::time::Duration,
    /// Send them on their way once more
    #[arg(long)]
    requeue: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub(super) async fn run(app: &App, args: StuckArgs) -> Result<(), Failure> {
    let look =
        async |surveyor: &Surveyor<'_>, found: Survey| look(app, &args, surveyor, found).await;
    survey(app, args.since, args.patience, look).await
}

async fn look(
    app: &App,
    args: &StuckArgs,
    surveyor: &Surveyor<'_>,
    survey: Survey,
) -> Result<(), Failure> {
    let stuck = survey.not_at_rest();
    let mut document = json!({
        "items": stuck, "next": null, "received": survey.received, "under_way": survey.under_way,
        "unknown": survey.unknown, "stuck": survey.stuck,
    });
    if args.requeue && !stuck.is_empty() {
        confirm(
            &format!(
                "send {} on their way again",
                count(stuck.len() as u64, "event")
            ),
            args.yes,
        )?;
        let by = app.requester(surveyor.store).await?;
        let requeued = requeue(surveyor, &stuck, &by).await?;
        document["requeued"] = json!(requeued.sent);
        document["left"] = json!(requeued.left);
        return app.output.show(&document, |_| requeued_text(&requeued));
    }
    app.output
        .show(&document, |_| text(&stuck, survey.under_way))
}

fn text(stuck: &[Missing], under_way: u64) -> String {
    if stuck.is_empty() {
        let under_way = match under_way {
            0 => "nothing is under way".to_owned(),
            some => format!("{} under way", count(some, "event")),
        };
        return format!("nothing is stuck; {under_way}");
    }
    let row = |it: &Missing| {
        vec![
            it.event.map(|id| id.to_string()).unwrap_or_default(),
            it.kind.clone(),
            it.received_at.map(|at| moment(at.0)).unwrap_or_default(),
            state(&it.verdict),
            it.known.clone(),
        ]
    };
    let header = ["event", "type", "received", "verdict", "what is known"];
    let rows = table(&header, stuck.iter().map(row).collect());
    format!(
        "{rows}\n\n{} at rest nowhere and not found in a queue; `longshore events stuck --requeue` sends them on \
         their way again. What a worker has had in hand for longer than --patience is listed as well.",
        count(stuck.len() as u64, "event")
    )
}

fn requeued_text(requeued: &Requeued) -> String {
    let mut text = format!("{} sent", count(requeued.sent, "message"));
    for (offset, why) in &requeued.left {
        text.push_str(&format!("\nnot sent: place {offset} of the history: {why}"));
    }
    text
}
