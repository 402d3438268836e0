//! `longshore verify`

use clap::Args;
use common::bootstrap::Failure;
use operate::survey::{Missing, Survey, Surveyor};
use operate::words::{count, moment};
use time::OffsetDateTime;

use crate::app::App;
use crate::survey::survey;
use crate::when;

/// Maximum of troubles that people are shown; `--json` has up to 1,000.
const MAX_SHOWN: usize = 20;

/// Since when.
#[derive(Debug, Args)]
#[command(after_help = "\
Draws up the ledger of the live system: everything that the history holds of that time has to be found \
completed, rejected, dead, or waiting in a queue, and nothing may be stored that was not received. Exit code 1 \
when it is not so; what is missing is named.

  under way  found waiting in a queue, by its id or by its place
  unknown    in no table, and not found, but there is a place that cannot be looked into without harm
  stuck      in no table and in no queue; `longshore events stuck --requeue` sends it on its way again
  forged     stored or delivered, and never received

What was received just now is given time to come to rest. It ends at what was there when it began, and needs \
no more memory for a longer time: ids are kept in temporary files, 73 bytes each.

Examples:
  longshore verify
  longshore verify --since 24h --json")]
pub struct VerifyArgs {
    /// Received since then: so long ago, or a moment
    #[arg(long, value_name = "WHEN", default_value = "1h", value_parser = when::moment)]
    since: OffsetDateTime,
    /// How long what is on its way may take to come to rest
    #[arg(long, alias = "grace", value_name = "DURATION", default_value = "30s", value_parser = common::config::duration::parse)]
    patience: std::time::Duration,
}

pub(crate) async fn run(app: &App, args: VerifyArgs) -> Result<(), Failure> {
    let show = async |_: &Surveyor<'_>, survey: Survey| {
        app.output.show(&survey, text)?;
        survey.verdict()
    };
    survey(app, args.since, args.patience, show).await
}

fn text(survey: &Survey) -> String {
    let mut lines = vec![match survey.since {
        Some(since) => format!("received since {}", moment(since.0)),
        None => "received".to_owned(),
    }];
    let mut line = |number: u64, what: &str| lines.push(format!("{number:>9}  {what}"));
    line(survey.received, "received, each counted once");
    line(survey.completed, "completed");
    for (code, number) in &survey.rejected {
        line(*number, &format!("rejected: {code}"));
    }
    line(survey.dead, "dead");
    if survey.cancelled > 0 {
        line(survey.cancelled, "cancelled");
    }
    if survey.mended > 0 {
        line(survey.mended, "no events, sent again since");
    }
    if survey.scheduled > 0 {
        line(survey.scheduled, "scheduled");
    }
    line(survey.under_way, "under way");
    line(survey.unknown, "unknown");
    line(survey.stuck, "stuck");
    line(survey.forged, "forged");
    if survey.repeated > 0 {
        lines.push(format!(
            "beside them {} of the same ids",
            count(survey.repeated, "repetition")
        ));
    }
    if survey.earlier > 0 {
        lines.push(format!(
            "beside them {} received earlier and stored since",
            count(survey.earlier, "event")
        ));
    }
    for (queue, messages) in &survey.waiting {
        lines.push(format!("in {queue}: {}", count(*messages, "message")));
    }
    lines.extend(survey.items.iter().take(MAX_SHOWN).map(missing));
    if let Some(more) = survey
        .items
        .len()
        .checked_sub(MAX_SHOWN)
        .filter(|it| *it > 0)
    {
        lines.push(format!("and {more} more; `--json` names up to 1,000"));
    }
    lines.push(
        if survey.balances {
            "it balances"
        } else {
            "it does not balance"
        }
        .to_owned(),
    );
    lines.join("\n")
}

fn missing(it: &Missing) -> String {
    let id = match (it.event, it.offset) {
        (Some(event), _) => event.to_string(),
        (None, Some(offset)) => format!("no event, place {offset} of the history"),
        (None, None) => "no event".to_owned(),
    };
    let at = it
        .received_at
        .map_or_else(|| "at an unknown time".to_owned(), |at| moment(at.0));
    format!(
        "{}: {id}  {}  received {at}\n  {}\n  do: {}",
        super::events::state(&it.verdict),
        it.kind,
        it.known,
        it.advice
    )
}
